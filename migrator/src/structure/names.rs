//! Names as they stand in SQL.

use super::tokens::{Kind, tokens};
use crate::source::Dialect;

/// Words that neither database takes as a name without quotes, or that mean something else then.
const RESERVED: &str = "\
    ABORT ADD ALL ALTER ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC ATTACH AUTHORIZATION \
    AUTOINCREMENT BEFORE BEGIN BETWEEN BINARY BOTH BY CASE CAST CHECK COLLATE COLLATION COLUMN COMMIT \
    CONCURRENTLY CONSTRAINT CREATE CROSS CURRENT_CATALOG CURRENT_DATE CURRENT_ROLE CURRENT_SCHEMA \
    CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DATABASE DEFAULT DEFERRABLE DEFERRED DELETE DESC DETACH \
    DISTINCT DO DROP EACH ELSE END ESCAPE EXCEPT EXCLUSIVE EXISTS EXPLAIN FAIL FALSE FETCH FILTER FOR \
    FOREIGN FREEZE FROM FULL GLOB GRANT GROUP HAVING IF IGNORE ILIKE IMMEDIATE IN INDEX INDEXED \
    INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN LATERAL LEADING LEFT LIKE LIMIT \
    LOCALTIME LOCALTIMESTAMP MATCH NATURAL NOT NOTHING NOTNULL NULL OF OFFSET ON ONLY OR ORDER OUTER \
    OVER OVERLAPS PLACING PLAN PRAGMA PRIMARY QUERY RAISE RECURSIVE REFERENCES REGEXP REINDEX RELEASE \
    REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW SAVEPOINT SELECT SESSION_USER SET SIMILAR SOME \
    SYMMETRIC SYSTEM_USER TABLE TABLESAMPLE TEMP TEMPORARY THEN TO TRAILING TRANSACTION TRIGGER TRUE \
    UNION UNIQUE UPDATE USER USING VACUUM VALUES VARIADIC VERBOSE VIEW VIRTUAL WHEN WHERE WINDOW WITH \
    WITHOUT";

/// The name as it stands in SQL, in quotes when it needs them.
pub(crate) fn quote_name(name: &str) -> String {
    let plain = name.starts_with(|it: char| it.is_ascii_lowercase() || it == '_')
        && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        && !RESERVED.split(' ').any(|it| it.eq_ignore_ascii_case(name));
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The words that PostgreSQL takes as the name of a column without quotes, and not as that of a function.
const NOT_CALLED: &str = "\
    BIGINT BIT BOOLEAN CHAR CHARACTER COALESCE DEC DECIMAL EXTRACT FLOAT GREATEST GROUPING INOUT INT INTEGER \
    INTERVAL JSON JSON_ARRAY JSON_ARRAYAGG JSON_EXISTS JSON_OBJECT JSON_OBJECTAGG JSON_QUERY JSON_SCALAR \
    JSON_SERIALIZE JSON_TABLE JSON_VALUE LEAST MERGE_ACTION NATIONAL NCHAR NONE NORMALIZE NULLIF NUMERIC OUT \
    OVERLAY POSITION PRECISION REAL SETOF SMALLINT SUBSTRING TIME TIMESTAMP TREAT TRIM VARCHAR XMLATTRIBUTES \
    XMLCONCAT XMLELEMENT XMLEXISTS XMLFOREST XMLNAMESPACES XMLPARSE XMLPI XMLROOT XMLSERIALIZE XMLTABLE";

/// The name of a function as it stands in SQL.
pub(crate) fn quote_called(name: &str) -> String {
    let is_taken = NOT_CALLED.split(' ').any(|it| it.to_ascii_lowercase() == name);
    if is_taken { format!("\"{name}\"") } else { quote_name(name) }
}

/// Whether a database that puts a name in quotes as seldom as it can writes this one so.
pub(crate) fn is_written(text: &str, name: &str) -> bool {
    text == name
        || text.strip_prefix('"').is_some_and(|it| it.strip_suffix('"') == Some(&name.replace('"', "\"\"")))
}

/// A text as it stands in SQL.
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether a text of SQL has this name in it.
pub(crate) fn mentions(sql: &str, name: &str, dialect: Dialect) -> bool {
    tokens(sql, dialect).iter().any(|token| match token.kind {
        Kind::Word => token.text.eq_ignore_ascii_case(name),
        Kind::Name => {
            token.name() == name || (dialect == Dialect::Sqlite && token.name().eq_ignore_ascii_case(name))
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_quotes_where_they_need_them() {
        for (name, quoted) in
            [("a_1", "a_1"), ("order", "\"order\""), ("A", "\"A\""), ("a\"b", "\"a\"\"b\""), ("1", "\"1\"")]
        {
            assert_eq!(quote_name(name), quoted);
        }
        assert!(mentions("lower(\"Key\") = key_2", "Key", Dialect::Postgres));
        assert!(!mentions("'key'", "key", Dialect::Postgres));
    }
}
