//! Reading a schema of SQLite: it keeps the statements that made it.

use foundation::database::{Connection, DatabaseError, Row, Statement};

use super::names::quote_name;
use super::tokens::{normalised, tokens};
use super::{Index, Structure, Table, View, create_table};
use crate::source::Dialect;

/// Everything that was made by a statement, except for what tools for migrations keep and what SQLite and its
/// virtual tables keep for themselves.
const OBJECTS: Statement = Statement::read(
    "sqlite_schema",
    "SELECT s.type, s.name, s.tbl_name, s.sql,
       coalesce((SELECT l.type FROM pragma_table_list AS l WHERE l.schema = 'main' AND l.name = s.tbl_name), '') AS kind
     FROM sqlite_schema AS s
     WHERE s.sql IS NOT NULL AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       AND s.tbl_name NOT IN ('refinery_schema_history', 'alembic_version', 'flyway_schema_history', 'schema_migrations',
         '_sqlx_migrations', 'goose_db_version')
       AND s.tbl_name NOT LIKE 'migrator\\_%' ESCAPE '\\'
     ORDER BY CASE s.type WHEN 'table' THEN 1 WHEN 'view' THEN 2 WHEN 'index' THEN 3 ELSE 4 END, s.name",
);

/// Reads the schema.
pub(super) async fn read(connection: &mut Connection) -> Result<Structure, DatabaseError> {
    let mut structure = Structure::empty(Dialect::Sqlite);
    for row in connection.query(&OBJECTS, &[]).await? {
        if row.get::<String>("kind")? != "shadow" {
            add(&mut structure, &row)?;
        }
    }
    Ok(structure)
}

fn add(structure: &mut Structure, row: &Row) -> Result<(), DatabaseError> {
    let (name, on): (String, String) = (row.get("name")?, row.get("tbl_name")?);
    let sql: String = row.get("sql")?;
    match row.get::<String>("type")?.as_str() {
        "table" => {
            let parsed =
                if row.get::<String>("kind")? == "virtual" { None } else { create_table::parse(&sql) };
            let table = parsed.unwrap_or_else(|| Table { verbatim: Some(sql), ..Table::default() });
            structure.tables.insert(name, table);
        }
        "view" => {
            let view = View {
                materialized: false,
                definition: sql,
                options: None,
                reads: std::collections::BTreeSet::new(),
                indexes: std::collections::BTreeMap::new(),
                triggers: std::collections::BTreeMap::new(),
                rules: std::collections::BTreeMap::new(),
            };
            structure.views.insert(name, view);
        }
        "index" => {
            if let Some(table) = structure.tables.get_mut(&on) {
                let definition = index(&sql, &name, &on, table);
                table.indexes.insert(name, Index { definition, valid: true });
            }
        }
        _ => {
            let triggers = match structure.tables.get_mut(&on) {
                Some(table) => Some(&mut table.triggers),
                None => structure.views.get_mut(&on).map(|view| &mut view.triggers),
            };
            if let Some(triggers) = triggers {
                triggers.insert(name, sql);
            }
        }
    }
    Ok(())
}

/// The statement of an index in one form.
fn index(sql: &str, name: &str, on: &str, table: &Table) -> String {
    let words = tokens(sql, Dialect::Sqlite);
    let Some(open) = words.iter().position(|it| it.is_symbol("(")) else { return sql.to_owned() };
    let unique = if words.iter().take(2).any(|it| it.is("unique")) { "UNIQUE " } else { "" };
    let names: Vec<String> = table.columns.iter().map(|it| it.name.clone()).collect();
    let rest = normalised(&words[open..], &names);
    format!("CREATE {unique}INDEX {} ON {} {rest}", quote_name(name), quote_name(on))
}
