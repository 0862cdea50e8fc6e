//! What comes out of the address of a database, and that its password never does.

use foundation::database::DatabaseUrl;
use foundation::settings::{DatabaseSettings, Environment, FoundationSettings, Section as _};
use proptest::prelude::*;

/// A URL, the hosts, the name of the database, and how it is shown. `USER` is who runs this.
type Expected = (&'static str, &'static [&'static str], &'static str, &'static str);

const POSTGRES: &[Expected] = &[
    ("postgresql://", &["localhost:5432"], "USER", "postgresql://USER@localhost:5432/USER"),
    ("postgresql:///app", &["localhost:5432"], "app", "postgresql://USER@localhost:5432/app"),
    ("postgresql://db", &["db:5432"], "USER", "postgresql://USER@db:5432/USER"),
    ("postgresql://me@db", &["db:5432"], "me", "postgresql://me@db:5432/me"),
    ("postgresql://me@/app", &["localhost:5432"], "app", "postgresql://me@localhost:5432/app"),
    ("postgresql://me:secret@db:6543/app", &["db:6543"], "app", "postgresql://me:[redacted]@db:6543/app"),
    (
        "postgresql://me:se%40cr%3Fet%2F@db/my%20app",
        &["db:5432"],
        "my app",
        "postgresql://me:[redacted]@db:5432/my app",
    ),
    ("postgresql://me:se:cr/et@db/app", &["db:5432"], "app", "postgresql://me:[redacted]@db:5432/app"),
    ("postgresql://me@[::1]:6543/app", &["[::1]:6543"], "app", "postgresql://me@[::1]:6543/app"),
    (
        "postgresql://me@a,b:6543,[fe80::1]/app?target_session_attrs=read-write",
        &["a:5432", "b:6543", "[fe80::1]:5432"],
        "app",
        "postgresql://me@a:5432,b:6543,[fe80::1]:5432/app",
    ),
    (
        "postgresql://me@%2Fvar%2Frun%2Fpostgresql/app",
        &["/var/run/postgresql"],
        "app",
        "postgresql://me@%2Fvar%2Frun%2Fpostgresql/app",
    ),
    (
        "postgresql:///app?host=/var/run/postgresql&user=me&password=secret",
        &["/var/run/postgresql"],
        "app",
        "postgresql://me:[redacted]@%2Fvar%2Frun%2Fpostgresql/app",
    ),
    (
        "postgresql://me@one,two:6543/app?hostaddr=10.0.0.1,::1",
        &["10.0.0.1:5432", "[::1]:6543"],
        "app",
        "postgresql://me@10.0.0.1:5432,[::1]:6543/app",
    ),
    (
        "postgresql://me@/app?hostaddr=10.0.0.1,10.0.0.2",
        &["10.0.0.1:5432", "10.0.0.2:5432"],
        "app",
        "postgresql://me@10.0.0.1:5432,10.0.0.2:5432/app",
    ),
    (
        "postgresql://db/app?sslmode=disable",
        &["db:5432"],
        "app",
        "postgresql://USER@db:5432/app?sslmode=disable",
    ),
    (
        "postgresql+asyncpg://db/app?ssl=verify-full&sslrootcert=%2Fetc%2Fca.pem",
        &["db:5432"],
        "app",
        "postgresql://USER@db:5432/app?sslmode=verify-full",
    ),
    (
        "postgresql://db/app?options=-c%20search_path%3Dmine&application_name=x&connect_timeout=3&keepalives=1",
        &["db:5432"],
        "app",
        "postgresql://USER@db:5432/app",
    ),
];

#[test]
fn addresses_of_postgresql() {
    let user = whoami::username().unwrap();
    for (url, hosts, name, shown) in POSTGRES {
        let (name, shown) = (name.replace("USER", &user), shown.replace("USER", &user));
        let parsed: DatabaseUrl = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(parsed.hosts(), *hosts, "{url}");
        assert_eq!(parsed.name(), name, "{url}");
        assert_eq!(parsed.to_string(), shown, "{url}");
        assert_eq!(format!("{parsed:?}"), shown, "{url}");
    }
}

#[test]
fn percent_encoding_and_order_do_not_matter() {
    let same = |left: &str, right: &str| {
        assert_eq!(left.parse::<DatabaseUrl>().unwrap(), right.parse::<DatabaseUrl>().unwrap(), "{left}");
    };
    same("postgresql://me:p%61ss@db/app", "postgres://me:pass@db:5432/app");
    same(
        "postgresql://db/app?sslmode=require&connect_timeout=3",
        "postgresql://db/app?connect_timeout=3&sslmode=require",
    );
    same("postgresql://db/app?sslmode=allow", "postgresql://db/app?sslmode=prefer");
    same("postgresql://db/app?", "postgresql://db/app");
    let open = "postgresql://db/app".parse::<DatabaseUrl>().unwrap();
    for other in
        ["?target_session_attrs=read-write", "?options=-cx%3D1", "?sslrootcert=x", "?connect_timeout=1"]
    {
        assert_ne!(open, format!("postgresql://db/app{other}").parse().unwrap(), "{other} is kept");
    }
}

#[test]
fn the_settings_fill_in_what_the_url_leaves_open() {
    let shown = |url: &str, mode: &str| {
        let mut environment = Environment::from_pairs([("DATABASE_URL", url), ("DATABASE_SSL_MODE", mode)]);
        let settings = FoundationSettings::read(&mut environment);
        environment.finish().unwrap();
        settings.database_url.to_string()
    };
    assert!(shown("postgresql://db/app", "verify-ca").ends_with("?sslmode=verify-ca"));
    assert!(shown("postgresql://db/app", "").ends_with("?sslmode=prefer"));
    assert!(shown("postgresql://db/app?sslmode=disable", "require").ends_with("?sslmode=disable"));
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    for (url, said) in [
        ("", "not a URL"),
        ("bedplate.db", "not a URL"),
        ("postgresql:/db/app", "not a URL"),
        ("mysql://db/app", "neither postgresql:// nor sqlite://"),
        ("postgresql://db:port/app", "malformed"),
        ("postgresql://db:65536/app", "malformed"),
        ("postgresql://::1/app", "malformed"),
        ("postgresql://[::1/app", "malformed"),
        ("postgresql://me:%ff@db/%ff", "malformed"),
        ("postgresql://db/app?color=red", "parameter color is unknown"),
        ("postgresql://db/app?connect_timeout=soon", "parameter connect_timeout is unknown, or its value"),
        ("postgresql://db/app?target_session_attrs=primary", "parameter target_session_attrs"),
        ("postgresql://db/app?sslmode=on", "sslmode: there is no such mode (disable, prefer"),
        ("postgresql://db/app?sslmode", "a parameter after the ? has no value"),
        ("postgresql://me:pass@hunter2@db/app", "@ is %40"),
        ("postgresql://me:12?hunter2=@db/app", "? is %3F"),
        ("sqlite://x.db", "three slashes"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite+aiosqlite:///:memory:?cache=shared", "in memory"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "starts with file:"),
        ("sqlite:////tmp", "this is a folder"),
        ("sqlite:///./data/", "this is a folder"),
    ] {
        let error = url.parse::<DatabaseUrl>().unwrap_err();
        assert!(error.contains(said), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn sqlite_files_are_relative_with_three_slashes_and_absolute_with_four() {
    for (url, path) in [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:///./a/x.db", "./a/x.db"),
        ("sqlite:////a/x.db", "/a/x.db"),
        ("sqlite:///with space.db?timeout=5", "with space.db"),
        ("sqlite:///a%20b.db", "a%20b.db"),
    ] {
        let parsed: DatabaseUrl = url.parse().unwrap();
        assert_eq!((parsed.name(), parsed.hosts()), (path.to_owned(), Vec::new()));
        assert_eq!(parsed, DatabaseUrl::sqlite(path));
        assert_eq!(parsed.to_string().parse::<DatabaseUrl>().unwrap(), parsed, "{url}");
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Everything that is ever shown of an address, whether it can be read or not.
fn everything_shown(address: &str) -> String {
    let mut environment = Environment::from_pairs([("DATABASE_URL", address), ("OTEL_SERVICE_NAME", "x")]);
    let settings = DatabaseSettings::read(&mut environment);
    let before = format!("{settings:?} {environment:?}");
    format!("{before} {:?} {:?}", address.parse::<DatabaseUrl>(), environment.finish())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_encoded_password_is_never_shown(password in "\\PC{6,40}[Q#]", sslmode in "(disable|verify-full|nonsense)") {
        let encoded = percent_encoded(&password);
        for address in [
            format!("postgresql://me:{encoded}@db.example/app?sslmode={sslmode}"),
            format!("postgresql://db.example/app?user=me&password={encoded}&sslmode={sslmode}"),
            format!("postgresql://me:{encoded}@db.example:port/app"),
        ] {
            let shown = everything_shown(&address);
            prop_assert!(!shown.contains(&encoded), "{shown}");
prop_assert!(!shown.contains(&password), "{shown}");
        }
    }

    /// Somebody forgot to percent-encode: it may be refused or understood, but never shown.
    #[test]
    fn a_raw_password_is_never_shown(password in "[A-Za-z0-9!#$%&'()*+,./:;<=>?@^_{|}~-]{6,40}") {
        let marked = format!("Q7{password}Z9");
        let shown = everything_shown(&format!("postgresql://me:{marked}@db.example/app"));
        prop_assert!(!shown.contains(&marked), "{shown}");
        let pieces = marked.split(['@', '?', '/', '&', '=', ':', ',']);
        for piece in pieces.filter(|it| it.len() >= 4 && !["true", "false", "Some", "None"].contains(it)) {
prop_assert!(!shown.contains(piece), "{piece} in {shown}");
        }
    }
}
