//! `backup`: an online copy of a SQLite file.

use std::path::Path;

use foundation::database::{Connection, DatabaseUrl, Statement};

use super::Migrator;
use crate::error::MigratorError;
use crate::history;
use crate::report::BackupReport;

const COPY: Statement = Statement::write("sqlite_schema", "VACUUM INTO $1");

const CHECK: Statement =
    Statement::read("sqlite_schema", "SELECT integrity_check AS verdict FROM pragma_integrity_check LIMIT 1");

impl Migrator {
    /// Copies a SQLite file, history and all, while others read and write it: the copy is the state of one
    /// moment. It is made beside `file`, checked, and only then given its name.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] for PostgreSQL, which has `pg_dump`, and when `file` exists already.
    pub async fn backup(&self, file: &Path) -> Result<BackupReport, MigratorError> {
        if let DatabaseUrl::Postgres(_) = &self.context.url {
            return Err(MigratorError::Usage(format!(
                "backup copies a SQLite file; for PostgreSQL: pg_dump --format=custom --file={} \"$DATABASE_URL\"",
                file.display()
            )));
        }
        if file.exists() {
            return Err(MigratorError::Usage(format!(
                "{} exists; name a file that does not, so that no backup is overwritten",
                file.display()
            )));
        }
        let unfinished = file.with_added_extension("unfinished");
        if unfinished.exists() {
            std::fs::remove_file(&unfinished).map_err(|error| {
                MigratorError::File(error, format!("{} cannot be removed", unfinished.display()))
            })?;
        }
        let target = unfinished.display().to_string();
        self.existing().await?.execute(&COPY, &[target.into()]).await?;
        let version = self.check_copy(&unfinished).await?;
        std::fs::rename(&unfinished, file)
            .map_err(|error| MigratorError::File(error, format!("{} cannot be written", file.display())))?;
        let bytes = std::fs::metadata(file)
            .map_err(|error| MigratorError::File(error, format!("{} cannot be read", file.display())))?
            .len();
        Ok(BackupReport { file: file.display().to_string(), bytes, current_version: version })
    }

    /// The version of the copy, when it is sound.
    async fn check_copy(&self, copy: &Path) -> Result<Option<i64>, MigratorError> {
        let url = DatabaseUrl::sqlite(copy);
        let mut connection = Connection::open(&url, &self.context.database, "migrator").await?;
        let verdict: Option<String> =
            connection.query_optional(&CHECK, &[]).await?.map(|row| row.get("verdict")).transpose()?;
        if verdict.as_deref() != Some("ok") {
            let verdict = verdict.unwrap_or_default();
            return Err(MigratorError::Schema(vec![format!("the copy is not sound: {verdict}")]));
        }
        // One file again, without the log beside it that opening it made.
        connection.query(&Statement::read("sqlite_schema", "PRAGMA journal_mode = DELETE"), &[]).await?;
        let applied = history::read(&mut connection).await?.unwrap_or_default();
        Ok(applied.last().map(|it| it.version))
    }
}
