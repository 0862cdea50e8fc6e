//! Reading a schema of SQLite: it keeps the statements that made it.

use foundation::database::{Connection, DatabaseError, DatabaseErrorKind, Row, Statement};

use super::names::quote_name;
use super::tokens::{Token, is_keyword, normalised, tokens};
use super::{Index, Structure, Table, View, create_table};
use crate::source::Dialect;

/// Everything that was made by a statement, except for what tools for migrations keep and what SQLite and its
/// virtual tables keep for themselves. A trigger keeps the name of its table as somebody wrote it, in whatever
/// case.
const OBJECTS: Statement = Statement::read(
    "sqlite_schema",
    "SELECT s.type, s.name, s.tbl_name, s.sql, coalesce(l.type, '') AS kind,
       (SELECT json_group_array(x.name) FROM pragma_table_xinfo(CASE WHEN s.type = 'table' AND l.type = 'table' THEN s.name END) AS x) AS columns
     FROM (SELECT o.type, o.name, o.sql, coalesce((SELECT t.name FROM sqlite_schema AS t
             WHERE t.type IN ('table', 'view') AND t.name = o.tbl_name COLLATE NOCASE), o.tbl_name) AS tbl_name
           FROM sqlite_schema AS o) AS s
     LEFT JOIN pragma_table_list AS l ON l.schema = 'main' AND l.name = s.tbl_name
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
    let sql = without_comment_behind(row.get("sql")?);
    match row.get::<String>("type")?.as_str() {
        "table" => {
            let columns: String = row.get("columns")?;
            let parsed = create_table::parse(&sql).filter(|it| has_columns(it, &columns));
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
            let Some(triggers) = triggers else {
                let what = format!("the trigger {name} is on {on}, which is no table and no view");
                return Err(DatabaseError::new(DatabaseErrorKind::Other, what));
            };
            triggers.insert(name, sql);
        }
    }
    Ok(())
}

/// SQLite keeps a comment that stands behind the last word, and the end of a statement would be a part of it.
fn without_comment_behind(mut sql: String) -> String {
    let end = tokens(&sql, Dialect::Sqlite).last().map(Token::end);
    sql.truncate(end.unwrap_or(sql.len()));
    sql
}

/// Whether the columns are those that SQLite sees, which are an array of JSON: a name that is understood in
/// another way than SQLite does would be a wrong one in what copies the rows. Virtual tables have none here.
fn has_columns(table: &Table, seen: &str) -> bool {
    let names: Vec<&str> = table.columns.iter().map(|it| it.name.as_str()).collect();
    serde_json::from_str::<Vec<String>>(seen).is_ok_and(|it| it == names)
}

/// The names that mean the same with quotes and without, in the texts of views and triggers.
pub(super) fn names(structure: &Structure) -> Vec<String> {
    let columns = structure.tables.values().flat_map(|it| it.columns.iter().map(|it| &it.name));
    let names = structure.tables.keys().chain(structure.views.keys()).chain(columns);
    names.filter(|it| !is_keyword(it)).cloned().collect()
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
