//! The text of a file, made ready to run in the migrator's own transaction.

use super::head::SQLX_NO_TRANSACTION;
use crate::source::Dialect;
use crate::source::rules::text::decode;
use crate::statements::{self, NO_TRANSACTION, Part};
use crate::structure::tokens::{remarks, scan};

/// The text in UTF-8 with LF line ends, so that its checksum is the same wherever the folder was checked out.
pub(super) fn read(dialect: Dialect, content: Vec<u8>) -> Result<String, String> {
    let text = decode(content)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n");
    if dialect == Dialect::Postgres {
        return Ok(text);
    }
    // To SQLite it ends no line: what follows in a comment would be part of it, and recorded as applied without being
    // run.
    let hides_what_follows = |(_, remark): &(usize, &str)| remark.trim_end().contains('\r');
    let hiding = remarks(&text, dialect).find(hides_what_follows).map(|(start, _)| start);
    match hiding {
        Some(start) => Err(format!(
            "line {} has a comment with a CR that no LF follows, which ends no comment: save it with LF line ends",
            1 + text[..start].matches('\n').count()
        )),
        None => Ok(text),
    }
}

/// Whether anything but blanks, semicolons and comments stands in `sql`.
pub(super) fn has_statement(dialect: Dialect, sql: &str) -> bool {
    scan(sql, dialect).any(|token| !token.is_symbol(";"))
}

/// What is run of a file, and how.
pub(super) struct Treated {
    pub(super) sql: String,
    /// Whether it cannot run in one transaction.
    pub(super) no_transaction: bool,
}

/// Takes out a `BEGIN` and `COMMIT` around the whole of it, because the migrator begins and ends the transaction
/// itself. What has several transactions, or a statement that its database refuses in one, runs without.
pub(super) fn treat(dialect: Dialect, sql: String) -> Treated {
    let parts = statements::split(dialect, &sql);
    let no_transaction = parts.iter().any(|part| part.is_refused_in_transaction(dialect));
    if no_transaction {
        return Treated { sql, no_transaction };
    }
    let is_border = |part: &&Part<'_>| begins(dialect, part) || ends(dialect, part);
    let borders: Vec<&Part<'_>> = parts.iter().filter(is_border).collect();
    let said: Vec<&Part<'_>> = parts.iter().filter(|it| !switches_foreign_keys(dialect, it)).collect();
    match (borders.as_slice(), said.as_slice()) {
        ([], _) => Treated { sql, no_transaction },
        ([begin, end], [first, .., last])
            if begins(dialect, begin)
                && is_plain(dialect, begin)
                && ends(dialect, end)
                && begin == first
                && end == last =>
        {
            Treated { sql: without(&without(&sql, end), begin), no_transaction }
        }
        _ => Treated { sql, no_transaction: true },
    }
}

/// The text of an undo. Where its tool is told elsewhere not to run it in a transaction, its head says so: in a
/// line that is empty, so that all others stand where they stood.
pub(super) fn treated_undo(dialect: Dialect, sql: String, no_transaction: bool) -> String {
    let no_transaction = no_transaction || sql.starts_with(SQLX_NO_TRANSACTION);
    // What is to run without a transaction keeps its own.
    let sql = if no_transaction { sql } else { treat(dialect, sql).sql };
    if !no_transaction || statements::undo_runs_in_parts(dialect, &sql) {
        return sql;
    }
    let line_end = if sql.starts_with('\n') { "" } else { "\n" };
    format!("{NO_TRANSACTION}{line_end}{sql}")
}

fn begins(dialect: Dialect, part: &Part<'_>) -> bool {
    let [first, second] = part.first_words(dialect);
    first == "BEGIN" || (first == "START" && second == "TRANSACTION")
}

/// Whether it says no more than that a transaction begins. Options of PostgreSQL's would be lost with it, so they are
/// kept, and refused where they are run. Those of SQLite say when it locks, and the migrator locks at once.
fn is_plain(dialect: Dialect, begin: &Part<'_>) -> bool {
    let [_, second, third] = begin.first_words(dialect);
    let is_bare = matches!(second.as_str(), "" | "WORK" | "TRANSACTION") && third.is_empty();
    dialect == Dialect::Sqlite || is_bare
}

fn ends(dialect: Dialect, part: &Part<'_>) -> bool {
    let [first, second] = part.first_words(dialect);
    matches!(first.as_str(), "COMMIT" | "END") && second != "PREPARED"
}

/// Foreign keys are off while migrations run, and checked at the end of each.
fn switches_foreign_keys(dialect: Dialect, part: &Part<'_>) -> bool {
    dialect == Dialect::Sqlite && part.first_words(dialect) == ["PRAGMA", "FOREIGN_KEYS"]
}

/// The text with blanks in place of the statement and its semicolon, so that all others stand where they stood.
fn without(sql: &str, part: &Part<'_>) -> String {
    let (before, rest) = sql.split_at(part.offset);
    let (statement, after) = rest.split_at(part.sql.len());
    let blank = |text: &str| text.chars().map(|it| if it == '\n' { it } else { ' ' }).collect::<String>();
    let after = match after.trim_start().strip_prefix(';') {
        Some(rest) => {
            let gap = &after[..after.len() - rest.len()];
            format!("{}{rest}", blank(gap))
        }
        None => after.to_owned(),
    };
    format!("{before}{}{after}", blank(statement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_around_everything_is_taken_out() {
        for (dialect, sql, run) in [
            (Dialect::Postgres, "-- a\nBEGIN;\nSELECT 1;\nCOMMIT;\n", "-- a\n      \nSELECT 1;\n       \n"),
            (Dialect::Postgres, "BEGIN WORK;SELECT 1; END", "           SELECT 1;    "),
            (Dialect::Postgres, "start transaction ;SELECT 1; END", "                   SELECT 1;    "),
            (
                Dialect::Sqlite,
                "PRAGMA foreign_keys = off;\nBEGIN IMMEDIATE;SELECT 1;COMMIT;PRAGMA foreign_keys=on;",
                "PRAGMA foreign_keys = off;\n                SELECT 1;       PRAGMA foreign_keys=on;",
            ),
        ] {
            let treated = treat(dialect, sql.to_owned());
            assert_eq!((treated.sql.as_str(), treated.no_transaction), (run, false));
        }
    }

    #[test]
    fn an_undo_says_that_it_runs_without_a_transaction() {
        for (sql, told, run, in_parts) in [
            ("DROP TABLE a;", false, "DROP TABLE a;", false),
            ("BEGIN; DROP TABLE a; COMMIT;", false, "       DROP TABLE a;        ", false),
            ("BEGIN; DROP TABLE a; COMMIT;", true, "BEGIN; DROP TABLE a; COMMIT;", true),
            ("BEGIN; SELECT 1; COMMIT; SELECT 2;", false, "BEGIN; SELECT 1; COMMIT; SELECT 2;", true),
            ("SELECT 1; ROLLBACK;", false, "SELECT 1; ROLLBACK;", true),
            ("SAVEPOINT a; ROLLBACK TO a;", false, "SAVEPOINT a; ROLLBACK TO a;", false),
            ("VACUUM a;", true, "VACUUM a;", true),
            ("\n\nCALL a();", true, "-- migrator: no-transaction\n\nCALL a();", true),
            ("CALL a();", true, "-- migrator: no-transaction\nCALL a();", true),
            (
                "-- no-transaction\nCALL a();",
                false,
                "-- migrator: no-transaction\n-- no-transaction\nCALL a();",
                true,
            ),
            (
                "-- why\n-- migrator: no-transaction\nCALL a();",
                false,
                "-- why\n-- migrator: no-transaction\nCALL a();",
                true,
            ),
        ] {
            let treated = treated_undo(Dialect::Postgres, sql.to_owned(), told);
            assert_eq!(treated, run);
            assert_eq!(statements::undo_runs_in_parts(Dialect::Postgres, &treated), in_parts, "{sql}");
        }
    }

    #[test]
    fn what_cannot_run_in_a_transaction_is_known() {
        for (dialect, sql, no_transaction) in [
            (Dialect::Postgres, "CREATE INDEX CONCURRENTLY a ON b (c);", true),
            (Dialect::Postgres, "DROP INDEX CONCURRENTLY IF EXISTS a;", true),
            (Dialect::Postgres, "DROP /* old */ INDEX CONCURRENTLY a;", true),
            (Dialect::Postgres, "/* DROP INDEX CONCURRENTLY */ SELECT 1 AS \"calENDar\";", false),
            (Dialect::Postgres, "VACUUM a;", true),
            (Dialect::Postgres, "REINDEX (VERBOSE) SCHEMA a;", true),
            (Dialect::Postgres, "REINDEX TABLE a;", false),
            (Dialect::Postgres, "CLUSTER;", true),
            (Dialect::Postgres, "CLUSTER a USING b;", false),
            (Dialect::Postgres, "ALTER DATABASE a SET TABLESPACE b;", true),
            (Dialect::Postgres, "ALTER DATABASE a SET work_mem = '4MB';", false),
            (Dialect::Postgres, "CREATE SUBSCRIPTION a CONNECTION 'b' PUBLICATION c;", true),
            (
                Dialect::Postgres,
                "CREATE SUBSCRIPTION a CONNECTION 'b' PUBLICATION c WITH (create_slot = false);",
                false,
            ),
            (Dialect::Postgres, "ALTER SUBSCRIPTION a REFRESH PUBLICATION;", true),
            (Dialect::Postgres, "ALTER SUBSCRIPTION a DISABLE;", false),
            (Dialect::Postgres, "DROP SUBSCRIPTION a;", true),
            (Dialect::Postgres, "CREATE INDEX a ON b (c); -- CONCURRENTLY", false),
            (
                Dialect::Postgres,
                "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END; $$;",
                false,
            ),
            (Dialect::Postgres, "ALTER TABLE a ADD COLUMN runs_concurrently bool;", false),
            (Dialect::Postgres, "CREATE INDEX a ON b (\"concurrently\", 'concurrently');", false),
            (Dialect::Postgres, "ALTER TABLE a DETACH PARTITION b /* why */ concurrently;", true),
            (Dialect::Postgres, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT;", true),
            (Dialect::Postgres, "START TRANSACTION READ ONLY; SELECT 1; COMMIT;", true),
            (Dialect::Postgres, "SELECT 1; BEGIN; SELECT 2; COMMIT;", true),
            (Dialect::Postgres, "BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; COMMIT;", true),
            (Dialect::Postgres, "BEGIN; CREATE INDEX a ON b (c); COMMIT; DROP INDEX CONCURRENTLY d;", true),
            (Dialect::Sqlite, "PRAGMA foreign_keys = ON; SELECT 1;", false),
            (Dialect::Sqlite, "PRAGMA journal_mode = WAL;", true),
            (Dialect::Sqlite, "VACUUM;", true),
            (Dialect::Sqlite, "CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1; END;", false),
        ] {
            let treated = treat(dialect, sql.to_owned());
            assert_eq!(treated.no_transaction, no_transaction, "{sql}");
            assert_eq!(treated.sql, sql);
        }
    }

    #[test]
    fn texts_are_the_same_wherever_they_were_checked_out() {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let read = |text: &[u8]| read(dialect, text.to_vec());
            assert_eq!(read(b"\xef\xbb\xbfa\r\nb\n"), Ok("a\nb\n".to_owned()));
            assert!(read(b"a\xff").unwrap_err().contains("byte 2"));
            assert!(read(b"a;\0b;").unwrap_err().contains("a NUL in it, byte 3"));
        }
    }

    #[test]
    fn a_cr_is_refused_where_it_hides_what_follows() {
        let hidden = "a;\r\n-- b\rc;\r\n";
        let refused = read(Dialect::Sqlite, hidden.into()).unwrap_err();
        assert!(refused.contains("line 2 has a comment with a CR"), "{refused}");
        assert_eq!(read(Dialect::Postgres, hidden.into()), Ok("a;\n-- b\rc;\n".to_owned()));
        for (text, read_as) in [
            ("a;\rb;\r", "a;\rb;\r"),
            ("-- a\r\r\nb;\r\r\n", "-- a\r\nb;\r\n"),
            ("SELECT '-- a\rb' /* -- c\rd */; -- e\r", "SELECT '-- a\rb' /* -- c\rd */; -- e\r"),
        ] {
            assert_eq!(read(Dialect::Sqlite, text.into()).as_deref(), Ok(read_as), "{text:?}");
        }
    }

    #[test]
    fn comments_are_no_statement() {
        for (dialect, sql, expected) in [
            (Dialect::Postgres, "-- a\n\n/* b; */ ;", false),
            (Dialect::Postgres, "-- a\nSELECT 1", true),
            (Dialect::Postgres, "-- a\rSELECT 1", true),
            // PostgreSQL's comments nest, and those of SQLite do not.
            (Dialect::Postgres, "/* a /* b */ DROP TABLE t; */", false),
            (Dialect::Sqlite, "/* a /* b */ DROP TABLE t;", true),
            (Dialect::Sqlite, "/* a /* b */ ;", false),
        ] {
            assert_eq!(has_statement(dialect, sql), expected, "{sql:?}");
        }
    }
}
