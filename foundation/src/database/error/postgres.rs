//! What PostgreSQL and its driver say.

use std::error::Error;

use super::{DatabaseError, DatabaseErrorKind, Details};

/// SQLSTATE to kind: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn kind_of_sqlstate(code: &str) -> DatabaseErrorKind {
    use DatabaseErrorKind as Kind;
    match code {
        "28000" | "28P01" => Kind::Authentication,
        "3D000" => Kind::MissingDatabase,
        "42501" => Kind::InsufficientPrivilege,
        "23505" | "23P01" => Kind::UniqueViolation,
        "23503" => Kind::ForeignKeyViolation,
        "23514" => Kind::CheckViolation,
        "23502" => Kind::NotNullViolation,
        "40001" | "40P01" => Kind::SerializationFailure,
        // A database that is copied or dropped has a session on it: as good as a lock.
        "55P03" | "55006" => Kind::LockNotAvailable,
        "57014" => Kind::QueryCanceled,
        "53100" | "58030" | "XX001" | "XX002" => Kind::Storage,
        "25006" => Kind::ReadOnly,
        "42P01" => Kind::UndefinedTable,
        "42703" | "42883" => Kind::UndefinedName,
        // Too many connections; the server is stopping, crashed or starting.
        "53300" | "57P01" | "57P02" | "57P03" => Kind::Unreachable,
        _ if code.starts_with("08") => Kind::Unreachable,
        _ => Kind::Other,
    }
}

/// The messages about data that cannot be (class 22) end with the value: `invalid input syntax for type
/// integer: "secret"`.
fn without_value<'a>(code: &str, message: &'a str) -> &'a str {
    let end = if code.starts_with("22") { message.find('"') } else { None };
    end.map_or(message, |end| message[..end].trim_end_matches([' ', ':']))
}

/// The row, from 0, that PostgreSQL's context names: `COPY metrics_snapshot, line 3, column source`.
fn copied_row(context: &str) -> Option<u64> {
    let of_copy = context.lines().find(|line| line.starts_with("COPY "))?;
    let (_, number) = of_copy.split_once(", line ")?;
    let digits = number.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse::<u64>().ok()?.checked_sub(1)
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        use DatabaseErrorKind as Kind;
        if let Some(said) = error.as_db_error() {
            let code = said.code().code().to_owned();
            let details = Details {
                constraint: said.constraint().map(str::to_owned),
                position: said.position().and_then(|position| match position {
                    tokio_postgres::error::ErrorPosition::Original(at) => usize::try_from(*at).ok(),
                    tokio_postgres::error::ErrorPosition::Internal { .. } => None,
                }),
                hint: said.hint().map(str::to_owned),
                sqlstate: Some(code.clone()),
                row: said.where_().and_then(copied_row),
                statement: None,
            };
            let message = format!("{} (SQLSTATE {code})", without_value(&code, said.message()));
            // A pooler in between has one code for everything.
            let kind = match said.message() {
                words if code == "08P01" && words.ends_with("authentication failed") => Kind::Authentication,
                _ => kind_of_sqlstate(&code),
            };
            // The error itself is not kept: its text has the DETAIL, and that has values of rows.
            return Self { kind, message, details: Box::new(details), source: None };
        }
        // tokio-postgres does not make its kinds public; its sentences are all there is to tell them by.
        let said = error.to_string();
        let cause = root_cause(&error);
        let kind = match () {
            () if error.is_closed() => Kind::Unreachable,
            () if said.starts_with("error performing TLS handshake") => Kind::Tls,
            () if cause == "password missing" || said.starts_with("authentication error") => {
                Kind::Authentication
            }
            () if said.starts_with("error serializing") || said.starts_with("error deserializing") => {
                Kind::Conversion
            }
            () if said.starts_with("error connecting")
                || said.starts_with("error communicating")
                || said.starts_with("timeout") =>
            {
                Kind::Unreachable
            }
            () => Kind::Other,
        };
        Self::new(kind, if cause == said { said } else { cause }).caused_by(error)
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_kinds() {
        for (code, kind) in [
            ("23505", DatabaseErrorKind::UniqueViolation),
            ("08006", DatabaseErrorKind::Unreachable),
            ("57P03", DatabaseErrorKind::Unreachable),
            ("42501", DatabaseErrorKind::InsufficientPrivilege),
            ("42703", DatabaseErrorKind::UndefinedName),
            ("42883", DatabaseErrorKind::UndefinedName),
            ("XX000", DatabaseErrorKind::Other),
        ] {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
        }
    }

    #[test]
    fn a_context_names_a_row() {
        assert_eq!(copied_row("COPY item, line 3, column name: \"x, line 7\""), Some(2));
        assert_eq!(copied_row("JSON data, line 9: {x\nCOPY item, line 1, column document"), Some(0));
        assert_eq!(copied_row("SQL statement \"SELECT 1\""), None);
    }
}
