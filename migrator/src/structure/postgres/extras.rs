//! What stands beside tables, types and routines and is set by a statement of its own.

use foundation::database::{Connection, DatabaseError, Row, Statement};

use super::signature;
use crate::source::Dialect;
use crate::structure::names::{quote_name, quote_text};
use crate::structure::tokens::{Kind, tokens};
use crate::structure::{Extra, Structure};

/// What a relation `c` is called in a statement about it.
macro_rules! kind {
    () => {
        "CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
           WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' ELSE 'TABLE' END"
    };
}

/// The comments on parts of a relation that have a catalog of their own.
macro_rules! comments_on_parts {
    ($kind:literal, $catalog:literal, $name:literal, $of:literal) => {
        concat!(
            " UNION ALL SELECT '",
            $kind,
            "', p.",
            $name,
            "::text, NULL, ",
            kind!(),
            ", c.relname::text, d.description FROM pg_description d
               JOIN ",
            $catalog,
            " p ON d.classoid = '",
            $catalog,
            "'::regclass AND p.oid = d.objoid JOIN pg_class c ON c.oid = p.",
            $of,
            " WHERE ",
            is_ours!()
        )
    };
}

const COMMENTS: Statement = Statement::read(
    "pg_description",
    concat!(
        "SELECT ",
        kind!(),
        " AS kind, c.relname::text AS name, NULL::text AS arguments, CASE r.relkind WHEN 'm' THEN 'MATERIALIZED VIEW'
             WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' END AS relation_kind, r.relname::text AS relation, d.description AS value
           FROM pg_description d JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid AND d.objsubid = 0
           LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class r ON r.oid = i.indrelid
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I') AND coalesce(r.relname, '') !~ '^migrator_'
             AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
               AND c.relkind = 'S' AND e.deptype = 'i') AND ",
        is_ours!(),
        " UNION ALL SELECT 'COLUMN', a.attname::text, NULL, ",
        kind!(),
        ", c.relname::text, d.description
           FROM pg_description d JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid
           WHERE d.objsubid > 0 AND c.relkind IN ('r', 'p', 'v', 'm') AND ",
        is_ours!(),
        comments_on_parts!("CONSTRAINT", "pg_constraint", "conname", "conrelid"),
        comments_on_parts!("TRIGGER", "pg_trigger", "tgname", "tgrelid"),
        comments_on_parts!("RULE", "pg_rewrite", "rulename", "ev_class"),
        comments_on_parts!("POLICY", "pg_policy", "polname", "polrelid"),
        " UNION ALL SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
             p.proname::text, ",
        arguments!(),
        ", NULL, NULL, d.description
           FROM pg_description d JOIN pg_proc p ON d.classoid = 'pg_proc'::regclass AND p.oid = d.objoid WHERE ",
        is_our_routine!(),
        " UNION ALL SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.typname::text, NULL, NULL, NULL, d.description
           FROM pg_description d JOIN pg_type t ON d.classoid = 'pg_type'::regclass AND t.oid = d.objoid
           LEFT JOIN pg_class r ON r.oid = t.typrelid
           WHERE (t.typtype IN ('e', 'd') OR r.relkind = 'c') AND t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid")
    ),
);

/// How a value is stored, as SET STORAGE says it.
macro_rules! storage {
    ($column:literal) => {
        concat!(
            "CASE ",
            $column,
            " WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END"
        )
    };
}

/// What else is set by a statement of its own, and its usual value where that is not one for all.
const EXTRAS: Statement = Statement::read(
    "pg_class",
    concat!(
        "SELECT 'default' AS what, 'VIEW' AS relation_kind, c.relname::text AS relation, a.attname::text AS name,
             pg_get_expr(v.adbin, v.adrelid, true) AS value, NULL::text AS usual
           FROM pg_class c JOIN pg_attrdef v ON v.adrelid = c.oid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = v.adnum
           WHERE c.relkind = 'v' AND ",
        is_ours!(),
        " UNION ALL SELECT 'storage', 'TABLE', c.relname::text, a.attname::text, ",
        storage!("a.attstorage"),
        ", ",
        storage!("t.typstorage"),
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
           WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND a.attstorage <> t.typstorage AND ",
        is_ours!(),
        " UNION ALL SELECT 'statistics target', 'TABLE', c.relname::text, a.attname::text, a.attstattarget::text, NULL
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0 AND ",
        is_ours!(),
        " UNION ALL SELECT 'replica identity', 'TABLE', c.relname::text, coalesce(n.relname::text, ''),
             CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'i' THEN 'USING INDEX' ELSE 'NOTHING' END, NULL
           FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisreplident LEFT JOIN pg_class n ON n.oid = i.indexrelid
           WHERE c.relkind IN ('r', 'p') AND (c.relreplident IN ('f', 'n') OR c.relreplident = 'i' AND i.indexrelid IS NOT NULL) AND ",
        is_ours!(),
        " UNION ALL SELECT 'statistics', 'TABLE', c.relname::text, s.stxname::text, replace(pg_get_statisticsobjdef(s.oid),
             'CREATE STATISTICS ' || quote_ident(current_schema()) || '.', 'CREATE STATISTICS '), NULL
           FROM pg_class c JOIN pg_statistic_ext s ON s.stxrelid = c.oid WHERE s.stxnamespace = c.relnamespace AND ",
        is_ours!()
    ),
);

/// What there is that is not looked at, by its name.
const UNKNOWN: Statement = Statement::read(
    "pg_type",
    concat!(
        "SELECT 'range type ' || t.typname AS name FROM pg_type t WHERE t.typtype = 'r' AND t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid"),
        " UNION ALL SELECT 'foreign table ' || c.relname FROM pg_class c WHERE c.relkind = 'f' AND ",
        is_ours!(),
        " UNION ALL SELECT 'collation ' || l.collname FROM pg_collation l WHERE l.collnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_collation", "l.oid")
    ),
);

/// Reads it.
pub(super) async fn read(
    connection: &mut Connection,
    structure: &mut Structure,
) -> Result<(), DatabaseError> {
    for row in connection.query(&COMMENTS, &[]).await? {
        let kind: String = row.get("kind")?;
        let name = match kind.as_str() {
            "FUNCTION" | "PROCEDURE" | "AGGREGATE" => signature(&row)?,
            _ => quote_name(&row.get::<String>("name")?),
        };
        let of = relation(&row)?;
        let object = match (kind.as_str(), &of) {
            ("COLUMN", Some((_, of))) => format!("COLUMN {of}.{name}"),
            ("CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY", Some((_, of))) => format!("{kind} {name} ON {of}"),
            _ => format!("{kind} {name}"),
        };
        let text = quote_text(&row.get::<String>("value")?);
        let extra = Extra {
            set: format!("COMMENT ON {object} IS {text}"),
            unset: format!("COMMENT ON {object} IS NULL"),
            goes_with: goes_with(&kind, &name, of),
            lost_with: Vec::new(),
        };
        structure.extras.insert(format!("comment on {object}"), extra);
    }
    for row in connection.query(&EXTRAS, &[]).await? {
        let Some((kind, of)) = relation(&row)? else { continue };
        let (what, value): (String, String) = (row.get("what")?, row.get("value")?);
        let name = quote_name(&row.get::<String>("name")?);
        let column = format!("ALTER {kind} {of} ALTER COLUMN {name}");
        let table = format!("ALTER {kind} {of}");
        let (mut lost_with, mut goes) = (Vec::new(), goes_with("COLUMN", &name, Some((kind, of.clone()))));
        let (called, set, unset) = match what.as_str() {
            "default" => (
                format!("{of}.{name}"),
                format!("{column} SET DEFAULT {value}"),
                format!("{column} DROP DEFAULT"),
            ),
            "storage" => {
                let usual: String = row.get("usual")?;
                // Another type brings its own way.
                lost_with = vec![format!("{column} TYPE")];
                (
                    format!("{of}.{name}"),
                    format!("{column} SET STORAGE {value}"),
                    format!("{column} SET STORAGE {usual}"),
                )
            }
            "statistics target" => (
                format!("{of}.{name}"),
                format!("{column} SET STATISTICS {value}"),
                format!("{column} SET STATISTICS -1"),
            ),
            "replica identity" => {
                goes = vec![format!("DROP TABLE {of}")];
                lost_with = goes_with("INDEX", &name, Some(("TABLE".to_owned(), of.clone())));
                let value = if value == "USING INDEX" { format!("{value} {name}") } else { value };
                (of, format!("{table} REPLICA IDENTITY {value}"), format!("{table} REPLICA IDENTITY DEFAULT"))
            }
            _ => {
                goes = vec![format!("DROP TABLE {of}")];
                // It goes with each of its columns.
                lost_with = columns_of(&of, &value);
                (name.clone(), value, format!("DROP STATISTICS IF EXISTS {name}"))
            }
        };
        structure
            .extras
            .insert(format!("{what} of {called}"), Extra { set, unset, goes_with: goes, lost_with });
    }
    for row in connection.query(&UNKNOWN, &[]).await? {
        structure.unknown.insert(row.get("name")?);
    }
    Ok(())
}

/// How the statements begin that drop a column which CREATE STATISTICS names.
fn columns_of(table: &str, text: &str) -> Vec<String> {
    let words = tokens(text, Dialect::Postgres);
    // Its own name and its kinds stand before.
    let columns = words.iter().skip_while(|it| it.text != "ON").skip(1);
    let names = columns.filter(|it| it.kind == Kind::Word || it.kind == Kind::Name);
    names.map(|it| format!("ALTER TABLE {table} DROP COLUMN {}", quote_name(&it.name()))).collect()
}

/// The table or the view that it belongs to, as DROP names it.
fn relation(row: &Row) -> Result<Option<(String, String)>, DatabaseError> {
    let kind: Option<String> = row.get("relation_kind")?;
    let name: Option<String> = row.get("relation")?;
    Ok(kind.zip(name.map(|it| quote_name(&it))))
}

/// How the statements begin after which it is not there any more, at least not under its name.
fn goes_with(kind: &str, name: &str, of: Option<(String, String)>) -> Vec<String> {
    let mut statements: Vec<String> = of.iter().map(|(kind, of)| format!("DROP {kind} {of}")).collect();
    let of = of.map(|(_, of)| of).unwrap_or_default();
    statements.extend(match kind {
        "COLUMN" => vec![format!("ALTER TABLE {of} DROP COLUMN {name}")],
        "CONSTRAINT" => {
            vec![
                format!("ALTER TABLE {of} DROP CONSTRAINT {name}"),
                format!("ALTER TABLE {of} RENAME CONSTRAINT {name}"),
            ]
        }
        "TRIGGER" | "RULE" | "POLICY" => vec![format!("DROP {kind} {name} ON {of}")],
        "INDEX" => vec![
            format!("DROP INDEX {name}"),
            format!("ALTER INDEX {name} RENAME"),
            format!("ALTER TABLE {of} DROP CONSTRAINT {name}"),
            format!("ALTER TABLE {of} RENAME CONSTRAINT {name}"),
        ],
        "SEQUENCE" => {
            vec![format!("DROP SEQUENCE IF EXISTS {name}"), format!("ALTER SEQUENCE {name} RENAME")]
        }
        "TYPE" | "DOMAIN" => vec![format!("DROP {kind} {name}"), format!("ALTER {kind} {name} RENAME TO")],
        _ => vec![format!("DROP {kind} {name}")],
    });
    statements
}
