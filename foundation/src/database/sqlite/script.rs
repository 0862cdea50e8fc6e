//! Texts of many statements.

use super::{DatabaseError, DatabaseErrorKind};

/// Runs the statements of a text. An error says where the one that failed begins, which SQLite does not.
pub(super) fn run(connection: &rusqlite::Connection, sql: &str) -> Result<(), DatabaseError> {
    if let Some(position) = sql.find('\0') {
        let message = "there is a NUL in the SQL, which SQLite takes for its end";
        return Err(DatabaseError::new(DatabaseErrorKind::Other, message).at(place(sql, position)));
    }
    // SQLite copies what does not end with a NUL before it reads it, which is the rest of the text for each statement.
    let ended = format!("{sql}\0");
    let mut done = 0;
    let mut batch = rusqlite::Batch::new(connection, &ended);
    loop {
        match run_next(&mut batch, sql, &mut done) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let begin = sql.len() - without_comments(&sql[done..]).len();
                return Err(DatabaseError::from(error).at(place(sql, begin)));
            }
        }
    }
}

/// Which character stands at this byte, from 1.
fn place(sql: &str, byte: usize) -> usize {
    sql[..byte].chars().count() + 1
}

/// Runs one statement, unless there is none left. `done` is how far the text is run.
fn run_next(
    batch: &mut rusqlite::Batch<'_, '_>,
    sql: &str,
    done: &mut usize,
) -> Result<bool, rusqlite::Error> {
    use rusqlite::fallible_iterator::FallibleIterator as _;
    let Some(mut statement) = batch.next()? else { return Ok(false) };
    // Comments and blanks between two statements belong to neither.
    let text = statement.expanded_sql().unwrap_or_default();
    let begin = sql[*done..].find(&text).map_or(*done, |at| *done + at);
    let end = if sql[begin..].starts_with(&text) { begin + text.len() } else { begin };
    *done = begin;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    *done = end;
    Ok(true)
}

/// The text from its first statement on.
fn without_comments(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || character == ';');
        let comment = match rest {
            _ if rest.starts_with("--") => rest.split_once('\n'),
            _ if rest.starts_with("/*") => rest.split_once("*/"),
            _ => return rest,
        };
        rest = comment.map_or("", |(_, after)| after);
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use rusqlite::limits::Limit;

    use super::*;

    /// What is longer than this limit SQLite refuses to copy, and it reads one statement after the other all the same.
    #[test]
    fn the_rest_of_a_text_is_not_copied_for_each_statement() {
        let connection = Connection::open_in_memory().expect("an empty database");
        connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 1000).expect("it can be lower");
        let inserts = "INSERT INTO item (name) VALUES ('größer;'); -- why;\n".repeat(1000);
        run(&connection, &format!("CREATE TABLE item (name TEXT);\n{inserts}")).expect("it is run");
        let count = connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0));
        assert_eq!(count, Ok(1000));
    }

    #[test]
    fn errors_say_where_their_statement_begins() {
        let connection = Connection::open_in_memory().expect("an empty database");
        for (sql, position) in [
            ("SELECT 'ü'; /* ü */\nSELECT nothing; SELECT 1", Some(21)),
            ("SELECT 1;\n\n-- why\n SELEKT 2;", Some(20)),
            ("SELECT 1; SELECT", Some(11)),
            ("SELECT 'ü';\0SELECT 2;", Some(12)),
            ("SELECT 1;\n;; -- end", None),
            ("", None),
        ] {
            let error = run(&connection, sql).err();
            assert_eq!(error.as_ref().and_then(DatabaseError::position), position, "{sql}: {error:?}");
        }
    }
}
