//! The statements of a file, one by one.

mod postgres;
mod sqlite;

pub(crate) use sqlite::words as sqlite_words;

use std::ops::Range;

use crate::source::Dialect;
use crate::structure::tokens::{Kind, scan};

/// One statement as it stands in its file, without the semicolon and the comments around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its text.
    pub sql: &'a str,
    /// Where it begins, in bytes from the begin of the file.
    pub offset: usize,
    /// The line on which it begins, from 1.
    pub line: usize,
}

impl Part<'_> {
    /// Its first words in upper case, names without their quotes. What stands in comments is none.
    pub(crate) fn first_words<const N: usize>(&self, dialect: Dialect) -> [String; N] {
        let mut words = scan(self.sql, dialect).filter(|token| token.kind != Kind::Symbol);
        std::array::from_fn(|_| words.next().map(|word| word.name().to_uppercase()).unwrap_or_default())
    }

    /// Whether it begins or ends a transaction; one that goes back to a savepoint stays inside of it.
    fn is_of_transaction(&self, dialect: Dialect) -> bool {
        let [first, second, third] = self.first_words(dialect);
        match first.as_str() {
            "BEGIN" | "COMMIT" | "END" => true,
            "START" => second == "TRANSACTION",
            "ROLLBACK" | "ABORT" => second != "TO" && third != "TO",
            _ => false,
        }
    }

    /// Whether it changes what all databases of the server share, or what belongs to another one.
    pub(crate) fn is_of_server(&self, dialect: Dialect) -> bool {
        if dialect == Dialect::Sqlite {
            return false;
        }
        let [first, second, third] = self.first_words(dialect);
        let is_shared = |word: &str| {
            matches!(word, "ROLE" | "USER" | "GROUP" | "DATABASE" | "TABLESPACE" | "SUBSCRIPTION" | "SYSTEM")
        };
        match first.as_str() {
            // What a role has been given on databases goes with DROP OWNED too.
            "DROP" | "REASSIGN" if second == "OWNED" => true,
            "CREATE" | "ALTER" | "DROP" => is_shared(&second) && !(second == "USER" && third == "MAPPING"),
            "COMMENT" => second == "ON" && is_shared(&third),
            "GRANT" | "REVOKE" => {
                // Rights are given on something, and a role is given as it is.
                scan(self.sql, dialect)
                    .skip_while(|token| !token.is("ON"))
                    .nth(1)
                    .is_none_or(|it| ["DATABASE", "TABLESPACE", "PARAMETER"].iter().any(|word| it.is(word)))
            }
            _ => false,
        }
    }

    /// The role that it makes.
    pub(crate) fn made_role(&self) -> Option<String> {
        let mut words = scan(self.sql, Dialect::Postgres);
        let (create, kind, name) = (words.next()?, words.next()?, words.next()?);
        let is_role = create.is("CREATE") && ["ROLE", "USER", "GROUP"].iter().any(|word| kind.is(word));
        is_role.then(|| name.name())
    }

    /// Whether it opens another file of SQLite's; one in memory is nobody's.
    pub(crate) fn opens_a_file(&self, dialect: Dialect) -> bool {
        let words = if dialect == Dialect::Sqlite { sqlite_words(self.sql) } else { Vec::new() };
        let mut words = words.iter().map(String::as_str);
        words.next() == Some("ATTACH")
            && !matches!(words.find(|word| *word != "DATABASE"), Some("''" | "':memory:'" | "" | ":MEMORY:"))
    }

    /// Whether its database is known to refuse it in a transaction. What is missing here is found out by trying.
    pub(crate) fn is_refused_in_transaction(&self, dialect: Dialect) -> bool {
        let [first, second, third] = self.first_words(dialect);
        // A word alone: a name may have it in it.
        let has =
            |words: &[&str]| scan(self.sql, dialect).any(|token| words.iter().any(|word| token.is(word)));
        match (dialect, first.as_str(), second.as_str()) {
            (_, "VACUUM", _)
            | (Dialect::Sqlite, "ATTACH" | "DETACH", _)
            | (Dialect::Sqlite, "PRAGMA", "JOURNAL_MODE" | "SYNCHRONOUS" | "LOCKING_MODE" | "TEMP_STORE")
            | (Dialect::Postgres, "CREATE" | "DROP", "DATABASE" | "TABLESPACE")
            | (Dialect::Postgres, "DROP", "SUBSCRIPTION")
            | (Dialect::Postgres, "ALTER", "SYSTEM") => true,
            // With a slot that is there, or none for now, it may.
            (Dialect::Postgres, "CREATE", "SUBSCRIPTION") => !has(&["CREATE_SLOT", "CONNECT"]),
            (Dialect::Postgres, "ALTER", "SUBSCRIPTION") => has(&["PUBLICATION"]),
            (Dialect::Postgres, "ALTER", "DATABASE") => has(&["TABLESPACE"]),
            // Of all tables; of one it may.
            (Dialect::Postgres, "CLUSTER", "" | "VERBOSE") => third.is_empty(),
            (Dialect::Postgres, "REINDEX", _) => has(&["CONCURRENTLY", "SCHEMA", "DATABASE", "SYSTEM"]),
            (Dialect::Postgres, "CREATE", "INDEX" | "UNIQUE")
            | (Dialect::Postgres, "DROP", "INDEX")
            | (Dialect::Postgres, "ALTER", "TABLE") => has(&["CONCURRENTLY"]),
            _ => false,
        }
    }
}

/// The line in the head of an undo that is not to run in a transaction. Its tool may say so elsewhere, and the
/// journal keeps nothing but the text.
pub(crate) const NO_TRANSACTION: &str = "-- migrator: no-transaction";

/// Whether the statements of an undo run one by one: one of them is refused in a transaction, its head says so, or
/// it begins and ends transactions itself, which would end the one with the history in it half-way.
#[must_use]
pub(crate) fn undo_runs_in_parts(dialect: Dialect, undo: &str) -> bool {
    let mut head = undo.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("--"));
    head.any(|line| line == NO_TRANSACTION)
        || split(dialect, undo)
            .iter()
            .any(|part| part.is_refused_in_transaction(dialect) || part.is_of_transaction(dialect))
}

/// Splits a file where its database does: semicolons in strings, in parentheses, in the bodies of functions
/// and triggers and in comments end nothing. What is no SQL is split as well, for the database to refuse.
#[must_use]
pub fn split(dialect: Dialect, file: &str) -> Vec<Part<'_>> {
    let ranges = match dialect {
        Dialect::Postgres => postgres::ranges(file),
        Dialect::Sqlite => sqlite::ranges(file),
    };
    let (mut line, mut counted) = (1, 0);
    let part = |range: Range<usize>| {
        line += file[counted..range.start].matches('\n').count();
        counted = range.start;
        Part { sql: &file[range.clone()], offset: range.start, line }
    };
    ranges.into_iter().map(part).collect()
}

/// Collects the ranges of statements from tokens: from the first that says something to the last.
#[derive(Default)]
struct Ranges {
    done: Vec<Range<usize>>,
    open: Option<Range<usize>>,
}

impl Ranges {
    /// A token that belongs to the statement.
    fn say(&mut self, token: Range<usize>) {
        match &mut self.open {
            Some(open) => open.end = token.end,
            open => *open = Some(token),
        }
    }

    /// A semicolon that ends it.
    fn end(&mut self) {
        self.done.extend(self.open.take());
    }

    fn finish(mut self) -> Vec<Range<usize>> {
        self.end();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_this_database_alone_is_known() {
        for (sql, expected) in [
            ("CREATE ROLE a", true),
            ("alter /* why */ user a SET work_mem = '4MB'", true),
            ("CREATE USER MAPPING FOR a SERVER b", false),
            ("ALTER DATABASE a SET search_path = b", true),
            ("DROP SUBSCRIPTION a", true),
            ("ALTER SYSTEM RESET ALL", true),
            ("COMMENT ON ROLE a IS 'b'", true),
            ("COMMENT ON TABLE role IS 'b'", false),
            ("GRANT a TO b WITH ADMIN OPTION", true),
            ("REVOKE CONNECT ON DATABASE a FROM PUBLIC", true),
            ("GRANT SELECT ON TABLE a TO b", false),
            ("GRANT SELECT ON database_of_cats TO b", false),
            ("DROP OWNED BY a", true),
            ("REASSIGN OWNED BY a TO b", true),
            ("CREATE TABLE role (id bigint)", false),
        ] {
            let parts = split(Dialect::Postgres, sql);
            assert_eq!(parts[0].is_of_server(Dialect::Postgres), expected, "{sql}");
        }
        for (sql, expected) in [
            ("ATTACH DATABASE '/data/other.db' AS other", true),
            ("attach other.db AS other", true),
            ("ATTACH ':memory:' AS other", false),
            ("ATTACH '' AS other", false),
            ("DETACH other", false),
        ] {
            let parts = split(Dialect::Sqlite, sql);
            assert_eq!(parts[0].opens_a_file(Dialect::Sqlite), expected, "{sql}");
        }
    }
}
