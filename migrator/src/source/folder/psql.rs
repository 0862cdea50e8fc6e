//! What only a shell of a database understands, and no server: commands of psql, rows after COPY.

use crate::source::{Dialect, Problem};
use crate::statements;
use crate::structure::tokens::scan;

/// The first command of that kind in the text.
pub(super) fn offence(dialect: Dialect, file: &str, text: &str) -> Option<Problem> {
    let (offset, reason) = match dialect {
        Dialect::Postgres => rows_of_copy(text).or_else(|| of_psql(text)),
        Dialect::Sqlite => of_sqlite3(text),
    }?;
    let line = 1 + text[..offset].matches('\n').count();
    Some(Problem::at(file, line, reason))
}

fn rows_of_copy(text: &str) -> Option<(usize, String)> {
    if !text.to_ascii_uppercase().contains("STDIN") {
        return None;
    }
    let parts = statements::split(Dialect::Postgres, text);
    let copy = parts.iter().find(|it| {
        let mut words = scan(it.sql, Dialect::Postgres);
        words.next().is_some_and(|word| word.is("COPY")) && words.any(|word| word.is("STDIN"))
    })?;
    Some((
        copy.offset,
        "has COPY FROM stdin, whose rows are for psql and no SQL: write them as INSERT".to_owned(),
    ))
}

fn of_psql(text: &str) -> Option<(usize, String)> {
    if !text.contains('\\') {
        return None;
    }
    // No operator of PostgreSQL's has a backslash, so outside of texts it begins a command.
    let at = scan(text, Dialect::Postgres).find(|it| it.is_symbol("\\"))?.start;
    let rest = &text[at + 1..];
    let word = rest.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
    let way_out = match word {
        "c" | "connect" => "the database is the one that DATABASE_URL names, so take it out",
        "i" | "ir" | "include" | "include_relative" => {
            "put what that file says here, or into a migration of its own"
        }
        "copy" => "write its rows as INSERT",
        "restrict" | "unrestrict" => "pg_dump writes it for psql, so take it out",
        _ => "take it out, or write it as SQL",
    };
    Some((at, format!("has \\{word}, a command of psql and no SQL: {way_out}")))
}

fn of_sqlite3(text: &str) -> Option<(usize, String)> {
    if !text.lines().any(|line| line.starts_with('.')) {
        return None;
    }
    let parts = statements::split(Dialect::Sqlite, text);
    let command = parts.iter().find(|it| it.sql.starts_with('.'))?;
    let word = command.sql.split_whitespace().next().unwrap_or_default();
    Some((
        command.offset,
        format!("has {word}, a command of the sqlite3 shell and no SQL: take it out, or write it as SQL"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_shells_are_found() {
        for (dialect, text, said) in [
            (Dialect::Postgres, "SELECT 1;\n\\connect other\nSELECT 2;", "a.sql:2: has \\connect"),
            (Dialect::Postgres, "\\i other.sql", "a.sql:1: has \\i,"),
            (Dialect::Postgres, "SELECT 'DROP TABLE a' \\gexec", "a.sql:1: has \\gexec"),
            (
                Dialect::Postgres,
                "-- a\nCOPY a (b, c) FROM stdin;\n1\t'x\n\\.\n",
                "a.sql:2: has COPY FROM stdin",
            ),
            (Dialect::Postgres, "copy a from STDIN WITH CSV;\n1\n\\.\n", "a.sql:1: has COPY FROM stdin"),
            (Dialect::Sqlite, "SELECT 1;\n.read other.sql\n", "a.sql:2: has .read"),
        ] {
            let problem = offence(dialect, "a.sql", text).expect(text).to_string();
            assert!(problem.starts_with(said), "{problem}");
        }
    }

    #[test]
    fn backslashes_in_texts_are_none() {
        let text = "-- \\i a\nSELECT '\\connect', E'\\\\', $$\\copy$$, \"\\x\"; /* \\q */ SELECT 'COPY a FROM stdin';";
        assert_eq!(offence(Dialect::Postgres, "a.sql", text), None);
        assert_eq!(offence(Dialect::Sqlite, "a.sql", "SELECT '\\connect',\n.5;"), None);
    }
}
