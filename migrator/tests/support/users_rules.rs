//! What the table `users` accepts and refuses, as data: the same cases are run on both databases.
//!
//! The SQL is such that both understand it. Run [`STANDING_ROWS`] once, then each case's
//! `INSERT INTO users (columns) VALUES (values)` for itself, rolled back afterwards.

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes in.
    Accepted,
    /// The CHECK constraint of this name refuses it, and the database's message says so.
    RefusedBy(&'static str),
    /// It is refused by a type, a NOT NULL or a unique key, which the two databases name differently.
    Refused,
}

/// One row.
pub(crate) struct Case {
    /// What is tried.
    pub(crate) name: &'static str,
    /// The columns of the INSERT.
    pub(crate) columns: &'static str,
    /// The values of the INSERT, as SQL.
    pub(crate) values: &'static str,
    /// What shall become of it.
    pub(crate) verdict: Verdict,
}

impl Case {
    /// The whole statement.
    pub(crate) fn insert(&self) -> String {
        format!("INSERT INTO users ({}) VALUES ({})", self.columns, self.values)
    }
}

/// Rows that are there before each case: one of each type.
pub(crate) const STANDING_ROWS: &str = r"
INSERT INTO users (id, username, email, password_hash, user_type) VALUES
    ('01890000-0000-7000-8000-000000000001', 'Alice', 'Alice@Example.org', '$argon2id$x', 'local'),
    ('01890000-0000-7000-8000-000000000002', '\corp\Carol', NULL, '$argon2id$x', 'domain');
INSERT INTO users (id, username, user_type, eve_character_id) VALUES
    ('01890000-0000-7000-8000-000000000003', 'Eve Pilot', 'eve_sso', 90000001);
";

const BASE: &str = "id, username, user_type, password_hash";

/// 255 characters and twice as many bytes.
macro_rules! long {
    () => {
        concat!(
            "äääääääääääääääääääääääääääääääääääääääääääääääääää",
            "äääääääääääääääääääääääääääääääääääääääääääääääääää",
            "äääääääääääääääääääääääääääääääääääääääääääääääääää",
            "äääääääääääääääääääääääääääääääääääääääääääääääääää",
            "äääääääääääääääääääääääääääääääääääääääääääääääääää"
        )
    };
}

macro_rules! case {
    ($name:literal, $columns:expr, $values:expr, $verdict:expr) => {
        Case {
            name: $name,
            columns: $columns,
            values: concat!("'01890000-0000-7000-8000-0000000000ff', ", $values),
            verdict: $verdict,
        }
    };
}

const TYPE: Verdict = Verdict::RefusedBy("users_user_type_known");
const CREDENTIALS: Verdict = Verdict::RefusedBy("users_credentials_match_type");
const NAME: Verdict = Verdict::RefusedBy("users_username_matches_type");
const BASE_EMAIL: &str = "id, username, user_type, password_hash, email";
const BASE_EVE: &str = "id, username, user_type, password_hash, eve_character_id";
const BASE_VERSION: &str = "id, username, user_type, password_hash, version";
const BASE_BLOCKED: &str = "id, username, user_type, password_hash, is_blocked";

/// Every case, by the rule that it tries.
pub(crate) const CASES: &[Case] = &[
    // The types and their credentials.
    case!("a local user", BASE, "'bob', 'local', 'h'", Verdict::Accepted),
    case!("a local user without a hash", BASE, "'bob', 'local', NULL", CREDENTIALS),
    case!("a local user with a character too", BASE_EVE, "'bob', 'local', 'h', 5", Verdict::Accepted),
    case!("a domain user", BASE, r"'\corp\bob', 'domain', 'h'", Verdict::Accepted),
    case!("a domain user without a hash", BASE, r"'\corp\bob', 'domain', NULL", CREDENTIALS),
    case!("a pilot", BASE_EVE, "'Pilot', 'eve_sso', NULL, 5", Verdict::Accepted),
    case!("a pilot with a hash", BASE_EVE, "'Pilot', 'eve_sso', 'h', 5", CREDENTIALS),
    case!("a pilot without a character", BASE, "'Pilot', 'eve_sso', NULL", CREDENTIALS),
    case!("an unknown type", BASE, "'bob', 'ldap', 'h'", TYPE),
    case!("a type in capitals", BASE, "'bob', 'LOCAL', 'h'", TYPE),
    case!("no type", BASE, "'bob', NULL, 'h'", Verdict::Refused),
    case!("an empty hash", BASE, "'bob', 'local', ''", Verdict::RefusedBy("users_password_hash_length")),
    // Names of domain users, and of the others.
    case!("a domain name with blanks and dots", BASE, r"'\my corp\b. ob', 'domain', 'h'", Verdict::Accepted),
    case!("a domain name of single letters", BASE, r"'\a\b', 'domain', 'h'", Verdict::Accepted),
    case!("a domain name with GLOB's signs", BASE, r"'\*[a]\?', 'domain', 'h'", Verdict::Accepted),
    case!("a domain name beyond ASCII", BASE, r"'\köln\žan', 'domain', 'h'", Verdict::Accepted),
    case!("a domain name with a line end", BASE, "'\\a\\b\nc', 'domain', 'h'", Verdict::Accepted),
    case!("a domain name ending in a line end", BASE, "'\\a\\b\n', 'domain', 'h'", Verdict::Accepted),
    case!("a domain user's plain name", BASE, "'bob', 'domain', 'h'", NAME),
    case!("a domain name without the first backslash", BASE, r"'corp\bob', 'domain', 'h'", NAME),
    case!("a domain name with one part", BASE, r"'\corp', 'domain', 'h'", NAME),
    case!("a domain name with an empty name", BASE, r"'\corp\', 'domain', 'h'", NAME),
    case!("a domain name with an empty domain", BASE, r"'\\bob', 'domain', 'h'", NAME),
    case!("a domain name of three parts", BASE, r"'\a\b\c', 'domain', 'h'", NAME),
    case!("a domain name with text before it", BASE, r"'x\a\b', 'domain', 'h'", NAME),
    case!("a domain name of backslashes", BASE, r"'\\\', 'domain', 'h'", NAME),
    case!("a domain name ending in a backslash", BASE, r"'\a\b\', 'domain', 'h'", NAME),
    case!("a local name with a backslash", BASE, r"'bo\b', 'local', 'h'", NAME),
    case!("a local name like a domain's", BASE, r"'\corp\bob', 'local', 'h'", NAME),
    case!("a pilot's name with a backslash", BASE_EVE, r"'a\b', 'eve_sso', NULL, 5", NAME),
    // Lengths.
    case!("no name", BASE, "NULL, 'local', 'h'", Verdict::Refused),
    case!("an empty name", BASE, "'', 'local', 'h'", Verdict::RefusedBy("users_username_length")),
    Case {
        name: "a name of 255",
        columns: BASE,
        values: concat!("'01890000-0000-7000-8000-0000000000ff', ", "'", long!(), "', 'local', 'h'"),
        verdict: Verdict::Accepted,
    },
    Case {
        name: "a name of 256",
        columns: BASE,
        values: concat!("'01890000-0000-7000-8000-0000000000ff', ", "'", long!(), "x', 'local', 'h'"),
        verdict: Verdict::Refused,
    },
    case!("an email of 255", BASE_EMAIL, concat!("'bob', 'local', 'h', '", long!(), "'"), Verdict::Accepted),
    case!("an email of 256", BASE_EMAIL, concat!("'bob', 'local', 'h', '", long!(), "x'"), Verdict::Refused),
    case!("an empty email", BASE_EMAIL, "'bob', 'local', 'h', ''", Verdict::RefusedBy("users_email_length")),
    case!("an email", BASE_EMAIL, "'bob', 'local', 'h', 'bob@example.org'", Verdict::Accepted),
    // Unique without case, in ASCII.
    case!("the same name in other case", BASE, "'aLICE', 'local', 'h'", Verdict::Refused),
    case!("the same domain name in other case", BASE, r"'\CORP\carol', 'domain', 'h'", Verdict::Refused),
    case!(
        "the same email in other case",
        BASE_EMAIL,
        "'bob', 'local', 'h', 'ALICE@example.ORG'",
        Verdict::Refused
    ),
    case!("the same character", BASE_EVE, "'Pilot', 'eve_sso', NULL, 90000001", Verdict::Refused),
    case!(
        "a second user without email and character",
        BASE_EMAIL,
        "'bob', 'local', 'h', NULL",
        Verdict::Accepted
    ),
    // Numbers and flags.
    case!(
        "character 0",
        BASE_EVE,
        "'P', 'eve_sso', NULL, 0",
        Verdict::RefusedBy("users_eve_character_id_positive")
    ),
    case!("a character beyond 32 bits", BASE_EVE, "'P', 'eve_sso', NULL, 9000000000", Verdict::Accepted),
    case!("version 0", BASE_VERSION, "'bob', 'local', 'h', 0", Verdict::RefusedBy("users_version_positive")),
    case!("no version", BASE_VERSION, "'bob', 'local', 'h', NULL", Verdict::Refused),
    case!("a blocked user", BASE_BLOCKED, "'bob', 'local', 'h', true", Verdict::Accepted),
    case!("a flag of 2", BASE_BLOCKED, "'bob', 'local', 'h', 2", Verdict::Refused),
    case!("no flag", BASE_BLOCKED, "'bob', 'local', 'h', NULL", Verdict::Refused),
    case!(
        "a key of one's own",
        "id, username, user_type, password_hash, username_key",
        "'bob', 'local', 'h', 'x'",
        Verdict::Refused
    ),
    // Ids.
    Case {
        name: "no id",
        columns: "username, user_type, password_hash",
        values: "'bob', 'local', 'h'",
        verdict: Verdict::Refused,
    },
    Case {
        name: "an id that is no UUID",
        columns: BASE,
        values: "'bob', 'bob', 'local', 'h'",
        verdict: Verdict::Refused,
    },
    Case {
        name: "an id with a wrong digit",
        columns: BASE,
        values: "'01890000-0000-7000-8000-00000000000g', 'bob', 'local', 'h'",
        verdict: Verdict::Refused,
    },
    Case {
        name: "an id that is taken",
        columns: BASE,
        values: "'01890000-0000-7000-8000-000000000001', 'bob', 'local', 'h'",
        verdict: Verdict::Refused,
    },
];

/// Statements that read the first standing row by what it must look like: each gives one row with `1`.
pub(crate) const TRUTHS: &[&str] = &[
    "SELECT 1 FROM users WHERE username = 'Alice' AND username_key = 'alice' AND email_key = 'alice@example.org'",
    "SELECT 1 FROM users WHERE username = 'Alice' AND is_active AND NOT is_blocked AND NOT is_admin",
    "SELECT 1 FROM users WHERE username = 'Alice' AND NOT is_test_user AND version = 1 AND last_login IS NULL",
    "SELECT 1 FROM users WHERE username = 'Alice' AND created_at IS NOT NULL AND updated_at = created_at",
    r"SELECT 1 FROM users WHERE username_key >= '\corp\' AND username_key < '\corp]'",
];
