//! The tables in which other tools for migrations remember what they did. They are only ever read.

mod checksum;
mod compare;
mod read;

use std::fmt;

use clap::ValueEnum;
use foundation::database::{Backend, Connection, DatabaseError, Statement};
use serde::Serialize;

pub(crate) use checksum::Checksum;
pub(crate) use compare::Compared;
pub(crate) use read::{Said, Theirs, read};

const COLUMNS_POSTGRES: Statement = Statement::read(
    "pg_attribute",
    "SELECT a.attname::text AS name FROM pg_class c
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relname::text = $1 AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)",
);
const COLUMNS_SQLITE: Statement =
    Statement::read("pragma_table_info", "SELECT name FROM pragma_table_info($1)");

/// A tool whose history can be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// Alembic: the table alembic_version.
    Alembic,
    /// Flyway: flyway_schema_history.
    Flyway,
    /// golang-migrate: schema_migrations, with a column dirty.
    GolangMigrate,
    /// sqlx: _sqlx_migrations.
    Sqlx,
    /// dbmate: schema_migrations.
    Dbmate,
    /// goose: goose_db_version.
    Goose,
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Alembic => "Alembic",
            Self::Flyway => "Flyway",
            Self::GolangMigrate => "golang-migrate",
            Self::Sqlx => "sqlx",
            Self::Dbmate => "dbmate",
            Self::Goose => "goose",
        })
    }
}

impl Tool {
    const ALL: [Self; 6] =
        [Self::Alembic, Self::Flyway, Self::GolangMigrate, Self::Sqlx, Self::Dbmate, Self::Goose];

    /// As it is written after `--from`.
    pub(crate) fn option(self) -> String {
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }

    /// The name of its table, unless its settings say otherwise.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Alembic => "alembic_version",
            Self::Flyway => "flyway_schema_history",
            Self::GolangMigrate | Self::Dbmate => "schema_migrations",
            Self::Sqlx => "_sqlx_migrations",
            Self::Goose => "goose_db_version",
        }
    }

    /// Which one makes a table with these columns.
    fn of(columns: &[String]) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|it| it == name));
        let is = |names: &[&str]| names.len() == columns.len() && has(names);
        let makes = |tool: &Self| match tool {
            Self::Alembic => is(&["version_num"]),
            Self::Flyway => has(&["installed_rank", "version", "type", "script", "checksum", "success"]),
            Self::GolangMigrate => is(&["version", "dirty"]),
            Self::Sqlx => has(&["version", "description", "success", "checksum", "execution_time"]),
            Self::Dbmate => is(&["version"]),
            Self::Goose => has(&["id", "version_id", "is_applied"]),
        };
        Self::ALL.into_iter().find(makes)
    }
}

/// A table that may be a tool's.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) table: String,
    /// The tool that makes tables with these columns.
    pub(crate) tool: Option<Tool>,
    pub(crate) columns: Vec<String>,
}

/// The tables that are there of those that the tools make by themselves, or the one with this name.
pub(crate) async fn find(
    connection: &mut Connection,
    named: Option<&str>,
) -> Result<Vec<Found>, DatabaseError> {
    let mut names: Vec<&str> = named.map_or_else(|| Tool::ALL.map(Tool::table).to_vec(), |name| vec![name]);
    names.sort_unstable();
    names.dedup();
    let statement = match connection.backend() {
        Backend::Postgres => &COLUMNS_POSTGRES,
        Backend::Sqlite => &COLUMNS_SQLITE,
    };
    let mut found = Vec::new();
    for name in names {
        let rows = connection.query(statement, &[name.into()]).await?;
        let columns: Vec<String> = rows.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
        if !columns.is_empty() {
            found.push(Found { table: name.to_owned(), tool: Tool::of(&columns), columns });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_known_by_their_columns() {
        let of = |columns: &str| Tool::of(&columns.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for (columns, tool) in [
            ("version_num", Some(Tool::Alembic)),
            (
                "installed_rank version description type script checksum installed_by installed_on execution_time success",
                Some(Tool::Flyway),
            ),
            ("version dirty", Some(Tool::GolangMigrate)),
            ("version description installed_on success checksum execution_time", Some(Tool::Sqlx)),
            ("version", Some(Tool::Dbmate)),
            ("id version_id is_applied tstamp", Some(Tool::Goose)),
            ("version inserted_at", None),
            ("id name applied", None),
        ] {
            assert_eq!(of(columns), tool, "{columns}");
        }
    }
}
