//! Where SQLite's `sqlite3_complete` says that a statement ends: at a semicolon, which in a trigger has to
//! follow `END`. The states and what leads from one to the next are those of its source, `complete.c`.

use std::ops::Range;

use super::Ranges;
use crate::source::Dialect;
use crate::structure::tokens::{Kind, Token, scan};

#[derive(Clone, Copy)]
enum State {
    Start,
    Normal,
    Explain,
    Create,
    Trigger,
    /// After a semicolon in a trigger.
    Semicolon,
    /// After `; END` in a trigger.
    End,
}

pub(super) fn ranges(file: &str) -> Vec<Range<usize>> {
    let (mut ranges, mut state) = (Ranges::default(), State::Start);
    for token in scan(file, Dialect::Sqlite) {
        state = next(state, token.text);
        if matches!(state, State::Start) {
            ranges.end();
        } else {
            ranges.say(token.start..token.end());
        }
    }
    ranges.finish()
}

/// The tokens of a statement without comments, words in upper case, quoted names without their quotes.
pub(crate) fn words(sql: &str) -> Vec<String> {
    let word = |token: Token<'_>| match token.kind {
        Kind::Literal => token.text.to_owned(),
        _ => token.name().to_uppercase(),
    };
    scan(sql, Dialect::Sqlite).map(word).collect()
}

fn next(state: State, token: &str) -> State {
    let is = |word: &str| token.eq_ignore_ascii_case(word);
    match (state, token) {
        (State::Trigger | State::Semicolon, ";") => State::Semicolon,
        (_, ";") => State::Start,
        (State::Start, _) if is("EXPLAIN") => State::Explain,
        (State::Start | State::Explain, _) if is("CREATE") => State::Create,
        // `QUERY PLAN` may follow.
        (State::Explain, _) if !is("EXPLAIN") => State::Explain,
        (State::Create, _) if is("TEMP") || is("TEMPORARY") => State::Create,
        (State::Create, _) if is("TRIGGER") => State::Trigger,
        (State::Semicolon, _) if is("END") => State::End,
        (State::Trigger | State::Semicolon | State::End, _) => State::Trigger,
        _ => State::Normal,
    }
}

#[cfg(test)]
mod tests {
    use crate::source::Dialect;
    use crate::statements::split;

    const STATEMENTS: [&str; 9] = [
        "CREATE TABLE t (a TEXT DEFAULT 'a;''b', [b;c] TEXT, `d;` TEXT, \"e;\"\"f\" TEXT) -- ;\n /* ; */ STRICT",
        "CREATE TEMP TRIGGER one AFTER INSERT ON t BEGIN\n UPDATE t SET a = CASE WHEN 1 THEN 'END;' END; -- END;\n SELECT 1; END",
        "CREATE TRIGGER two AFTER INSERT ON t BEGIN SELECT 1 ; SELECT 2;;\n end",
        "EXPLAIN SELECT 1",
        "EXPLAIN CREATE TRIGGER three AFTER INSERT ON t BEGIN SELECT 1; END",
        "CREATE TABLE trigger_log (a)",
        "BEGIN",
        "INSERT INTO t (a) VALUES ('größer;')",
        "END",
    ];

    #[test]
    fn statements_are_split_as_sqlite_does() {
        let file = format!("-- head;\n{};\n/* ; */", STATEMENTS.join(";\n-- between;\n"));
        let parts = split(Dialect::Sqlite, &file);
        // SQLite refuses the empty statement in the body of the trigger, which is no matter of splitting.
        assert_eq!(parts.iter().map(|part| part.sql).collect::<Vec<_>>(), STATEMENTS);
        assert_eq!(parts[1].line, 5);
    }

    /// SQLite itself prepares one statement after the other.
    #[test]
    fn sqlite_agrees() {
        let file = format!("-- head;\n{};\n/* ; */", STATEMENTS.join(";\n-- between;\n"))
            .replace(";;\n end", ";\n end");
        use rusqlite::fallible_iterator::FallibleIterator as _;
        let connection = rusqlite::Connection::open_in_memory().expect("an empty database");
        let mut batch = rusqlite::Batch::new(&connection, &file);
        let mut count = 0;
        while let Some(mut statement) = batch.next().expect("it is understood") {
            statement.query([]).and_then(|mut rows| rows.next().map(|_| ())).expect("it runs");
            count += 1;
        }
        assert_eq!(count, split(Dialect::Sqlite, &file).len());
    }
}
