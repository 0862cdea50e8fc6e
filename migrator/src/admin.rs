//! The administrator that is made when there is none, so that somebody can sign in.

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use foundation::clock::Clock;
use foundation::database::{Connection, DatabaseError, DatabaseErrorKind, Statement, Value};
use foundation::entropy::Entropy;
use foundation::passwords;
use foundation::settings::Secret;

use crate::error::MigratorError;
use crate::own::{Asked, Question, question};
use crate::session::{Change, Guard, Work};
use crate::settings::AdminSettings;

/// The password that the manifests for development give the administrator: there, and nowhere else, it is
/// taken although it stands in the list of those that everybody tries first.
const OF_DEVELOPMENT: &str = "bedplate-development";

/// Passwords that production refuses, also with other punctuation and other capitals.
const WELL_KNOWN: &[&str] = &["administrator", "change-me", "change-this", OF_DEVELOPMENT, "postgres"];

/// What OWASP asks of argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How much memory it takes to make or to verify the hash of the administrator that is made here, in bytes.
pub const HASH_MEMORY: u64 = MEMORY_KIB as u64 * 1024;

const EXISTS: Question = question!("users":
    "SELECT 1 AS one FROM users AS u WHERE is_admin AND is_active AND NOT is_blocked AND user_type <> 'eve_sso' AND" own "u" of "users" "LIMIT 1"
);

const INSERT: Statement = Statement::write(
    "users",
    "INSERT INTO users (id, username, email, password_hash, user_type, is_admin, created_at, updated_at) VALUES ($1, $2, $3, $4, 'local', $5, $6, $6)",
);

/// Whether somebody can sign in as an administrator, which an `eve_sso` user cannot yet. Nobody can where there is no table of users yet.
///
/// # Errors
/// What the database says.
pub async fn exists(connection: &mut Connection) -> Result<bool, DatabaseError> {
    match Asked::Connection(&mut *connection).own_rows(&EXISTS, &[]).await {
        Ok(rows) => Ok(rows.is_some_and(|rows| !rows.is_empty())),
        // A table of that name without our columns: a schema from before the users of this release.
        Err(error) if error.kind() == DatabaseErrorKind::UndefinedName => Ok(false),
        Err(error) => Err(error),
    }
}

/// The administrator that is going to be made.
pub(crate) struct NewAdmin {
    pub(crate) username: String,
    email: Option<String>,
    password: Secret,
    /// Whether the password was made here, so that it has to be told.
    pub(crate) generated: bool,
}

impl NewAdmin {
    /// Takes the settings, or makes a password where that is allowed.
    pub(crate) fn from_settings(
        settings: &AdminSettings,
        production: bool,
        entropy: &Entropy,
    ) -> Result<Self, MigratorError> {
        let refuse = |sentence: &str| Err(MigratorError::Settings(sentence.to_owned()));
        let (password, generated) = match &settings.password {
            Some(password) => (password.clone(), false),
            None if production => {
                return refuse(
                    "there is no administrator yet: set ADMIN_PASSWORD or ADMIN_PASSWORD_FILE (and ADMIN_USERNAME) so that one can be made",
                );
            }
            None => (Secret::from(generate(entropy)), true),
        };
        if let Err(reason) = check_password(password.expose(), &settings.username, production) {
            return refuse(&format!("ADMIN_PASSWORD: {reason}"));
        }
        let email = settings.email.as_deref().unwrap_or_default();
        if settings.username.chars().count() > 255 || email.chars().count() > 255 {
            return refuse("ADMIN_USERNAME and ADMIN_EMAIL must have at most 255 characters");
        }
        if settings.username.contains('\\') {
            return refuse("ADMIN_USERNAME must not contain a backslash: it is a local account");
        }
        Ok(Self { username: settings.username.clone(), email: settings.email.clone(), password, generated })
    }

    /// The password, to be shown once where it was made here.
    pub(crate) fn password(&self) -> &Secret {
        &self.password
    }

    /// The one INSERT, made only while there is still no administrator.
    pub(crate) fn change(&self, clock: &Clock, entropy: &Entropy) -> Result<Change, MigratorError> {
        let now = clock.now();
        let values: Vec<Value> = vec![
            entropy.uuid_v7(now).into(),
            self.username.as_str().into(),
            self.email.clone().into(),
            hash(&self.password, entropy)?.into(),
            true.into(),
            now.into(),
        ];
        let work = vec![Work::Execute(INSERT, values)];
        Ok(Change { title: "the default administrator".to_owned(), guard: Guard::NoAdmin, work })
    }

    /// What to do when the INSERT was refused.
    pub(crate) fn explain(&self, error: MigratorError) -> MigratorError {
        match error {
            MigratorError::Failed { source, .. } if source.kind() == DatabaseErrorKind::UniqueViolation => {
                MigratorError::Settings(format!(
                    "no active administrator exists, and one named {:?} cannot be made because an account with that name or mail address exists; choose another ADMIN_USERNAME or ADMIN_EMAIL",
                    self.username
                ))
            }
            MigratorError::Failed { source, .. } if source.kind() == DatabaseErrorKind::CheckViolation => {
                MigratorError::Settings(
                    "ADMIN_USERNAME or ADMIN_EMAIL is not one that an account can have".to_owned(),
                )
            }
            error => error,
        }
    }
}

/// The rule that the service has for every account, and in production a stricter one.
fn check_password(password: &str, username: &str, production: bool) -> Result<(), &'static str> {
    if !production && password == OF_DEVELOPMENT {
        return Ok(());
    }
    passwords::check(password, username)?;
    let is_same = |known: &&str| folded(known) == folded(password);
    if production && WELL_KNOWN.iter().any(is_same) {
        return Err("the password is one that everybody tries first; choose another");
    }
    Ok(())
}

/// A password in small letters and digits alone.
fn folded(password: &str) -> String {
    password.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The hash of a password as a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$...`).
///
/// # Errors
/// When argon2 refuses the password: never for one of 8 to 128 characters.
pub fn hash(password: &Secret, entropy: &Entropy) -> Result<String, MigratorError> {
    let refused = |error: &dyn std::fmt::Display| {
        MigratorError::Settings(format!("the password cannot be hashed: {error}"))
    };
    let parameters = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| refused(&error))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let hash = argon2
        .hash_password_with_salt(password.expose().as_bytes(), &entropy.bytes::<16>())
        .map_err(|error| refused(&error))?;
    Ok(hash.to_string())
}

/// 20 letters and digits that are not mistaken for each other: 116 bits.
fn generate(entropy: &Entropy) -> String {
    const ALPHABET: &[u8; 56] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut password = String::new();
    while password.len() < 20 {
        let [byte] = entropy.bytes::<1>();
        // 224 is four times 56: what lies above would make some letters likelier than others.
        if byte < 224 {
            password.push(char::from(ALPHABET[usize::from(byte % 56)]));
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(password: Option<&str>) -> AdminSettings {
        AdminSettings {
            username: "admin".to_owned(),
            password: password.map(|it| Secret::from(it.to_owned())),
            email: None,
        }
    }

    #[test]
    fn a_generated_password_is_long_and_another_each_time() {
        let make = || NewAdmin::from_settings(&settings(None), false, &Entropy::system()).unwrap();
        let (first, second) = (make(), make());
        assert!(first.generated && first.password().expose().len() == 20);
        assert_ne!(first.password().expose(), second.password().expose());
    }

    #[test]
    fn production_wants_a_password_that_is_not_well_known() {
        for password in [
            None,
            Some("short"),
            Some("ChangeMe"),
            Some("CHANGE-ME"),
            Some("password"),
            Some("bedplate-development"),
            Some("Bedplate_Development"),
            Some("Change This"),
        ] {
            let refused = NewAdmin::from_settings(&settings(password), true, &Entropy::system());
            let error = refused.err().expect("it is refused");
            assert!(error.to_string().contains("ADMIN_PASSWORD"), "{error}");
            assert_eq!(error.exit(), foundation::exit::Exit::Configuration);
        }
    }

    /// As the service refuses them, wherever it is; but the manifests for development work.
    #[test]
    fn what_everybody_tries_first_is_refused_in_development_too() {
        for password in ["password", "Password1", "qwertyuiop", "zzzzzzzz"] {
            let refused = NewAdmin::from_settings(&settings(Some(password)), false, &Entropy::system());
            let said = refused.err().expect("it is refused").to_string();
            assert!(said.contains("ADMIN_PASSWORD") && said.contains("tries first"), "{said}");
        }
        let own = AdminSettings { username: "Administrators".to_owned(), ..settings(Some("administrators")) };
        assert!(NewAdmin::from_settings(&own, false, &Entropy::system()).is_err(), "the name itself");
        for password in [OF_DEVELOPMENT, "correct horse"] {
            NewAdmin::from_settings(&settings(Some(password)), false, &Entropy::system()).expect(password);
        }
    }

    #[test]
    fn the_hash_says_how_it_was_made() {
        let hash = hash(&Secret::from("correct horse".to_owned()), &Entropy::system()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
}
