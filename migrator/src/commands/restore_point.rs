//! The way back that `up` makes before it changes anything.

use std::path::{Path, PathBuf};

use foundation::database::{Backend, Connection, DatabaseErrorKind, DatabaseUrl, Statement};
use time::OffsetDateTime;
use tokio::process::Command;

use super::Migrator;
use super::backup::copy_sqlite;
use super::copies::Copies;
use crate::error::MigratorError;
use crate::history::Applied;
use crate::programs::{self, Output, postgres};
use crate::session::Session;
use crate::source::Version;

/// How the names of copies end.
pub(super) const EXTENSION: &str = ".backup";

const RESTORE_POINT: Statement =
    Statement::write("pg_control", "SELECT CAST(pg_create_restore_point($1) AS text) AS lsn");

const ANYTHING_IN_SQLITE: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 1 AS it FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       AND tbl_name NOT IN ('refinery_schema_history', 'migrator_journal', 'migrator_structure') LIMIT 1",
);

/// The longest name of a restore point, in bytes.
const LONGEST_NAME: usize = 63;

/// What a restore point is made before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    /// The newest version that is applied.
    pub(super) from: Option<Version>,
    /// The one that will be.
    pub(super) to: Option<Version>,
    /// What is going to be done, as names have it: `V3`, `restore`.
    pub(super) what: &'a str,
    /// The copy that it is done with, which is not one of those that make room.
    pub(super) spared: Option<&'a Path>,
}

impl<'a> Before<'a> {
    pub(super) fn new(applied: &[Applied], to: Option<Version>, what: &'a str) -> Self {
        Self { from: applied.last().map(|it| it.version), to, what, spared: None }
    }

    pub(super) fn sparing(self, file: &'a Path) -> Self {
        Self { spared: Some(file), ..self }
    }
}

impl Migrator {
    /// Runs `MIGRATOR_BACKUP_CMD`, which must succeed, and makes a restore point: of a SQLite file a copy
    /// beside it, on PostgreSQL a name in the write-ahead log, where the role may do that. Says what it is
    /// called.
    pub(super) async fn restore_point(
        &self,
        session: &mut Session,
        before: Before<'_>,
    ) -> Result<Option<String>, MigratorError> {
        if let Some(line) = &self.context.settings.backup_cmd {
            self.run_backup_command(line.expose(), before).await?;
        }
        let kept = usize::try_from(self.context.settings.restore_points).unwrap_or(usize::MAX);
        if kept == 0 {
            return Ok(None);
        }
        match (session.backend(), self.context.url.clone()) {
            (Backend::Sqlite, DatabaseUrl::Sqlite(file)) => {
                if session.connection().query_optional(&ANYTHING_IN_SQLITE, &[]).await?.is_none() {
                    return Ok(None);
                }
                let now = self.context.clock.now();
                let copy = named(&file, now, before.what);
                copy_sqlite(&self.context, session.connection(), &copy).await?;
                tracing::info!(file = %copy.display(), "copied the database before it is changed");
                Copies::of(&file, before.spared).thin_out(kept);
                Ok(Some(copy.display().to_string()))
            }
            _ => {
                let mut name = format!("bedplate_before_{}_{}", before.what, stamp(self.context.clock.now()));
                name.truncate(LONGEST_NAME);
                in_the_log(session.connection(), name).await
            }
        }
    }

    /// Removes the oldest copies above the number that is kept. Only what has succeeded calls it: until then
    /// each of them may be the one that is needed.
    pub(super) fn forget_oldest_copies(&self, spared: Option<&Path>) {
        let kept = usize::try_from(self.context.settings.restore_points).unwrap_or(usize::MAX);
        if let (DatabaseUrl::Sqlite(file), true) = (&self.context.url, kept > 0) {
            Copies::of(file, spared).forget_oldest(kept);
        }
    }

    /// The same one, for a run whose way back is made already.
    pub(super) fn without_restore_points(&self) -> Self {
        let mut other = self.clone();
        other.context.settings.restore_points = 0;
        other.context.settings.backup_cmd = None;
        other
    }

    async fn run_backup_command(&self, line: &str, before: Before<'_>) -> Result<(), MigratorError> {
        tracing::info!("running the backup command");
        let mut command = Command::new("sh");
        // Every user of the machine can read arguments, and what the command needs may be secret.
        command.arg("-c").arg("eval \"$RESTORE_POINT_COMMAND\"").env("RESTORE_POINT_COMMAND", line);
        postgres::surround(&mut command, &self.context.for_writing());
        let show = |version: Option<Version>| version.unwrap_or_default().to_string();
        command.env("RESTORE_POINT_DATABASE", self.context.url.name());
        command.env("RESTORE_POINT_FROM", show(before.from)).env("RESTORE_POINT_TO", show(before.to));
        let ended = programs::run(&self.context, command, "backup command", Output::Shown).await?;
        ended.succeeded("the backup command failed, so nothing was changed").map(drop)
    }
}

/// Makes a restore point in the write-ahead log, unless the role or the server cannot.
async fn in_the_log(connection: &mut Connection, name: String) -> Result<Option<String>, MigratorError> {
    match connection.query_optional(&RESTORE_POINT, &[name.as_str().into()]).await {
        Ok(_) => {
            tracing::info!(name, "made a restore point");
            Ok(Some(name))
        }
        // 55000: the server keeps no log that one could be restored from.
        Err(error)
            if error.kind() == DatabaseErrorKind::InsufficientPrivilege
                || error.sqlstate() == Some("55000") =>
        {
            tracing::info!(reason = %error, "no restore point was made in the server's log, which needs EXECUTE on pg_create_restore_point and wal_level replica");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The copy's name: that of the database, the time, so that the order of names is that of time, and before
/// what it was made.
fn named(file: &Path, now: OffsetDateTime, what: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.before-{what}{EXTENSION}", stamp(now)));
    name.into()
}

fn stamp(now: OffsetDateTime) -> String {
    let format =
        time::macros::format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z");
    now.to_utc().format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::copies::what_of;

    #[test]
    fn copies_are_known_by_their_names() {
        let at = time::macros::datetime!(2026-11-21 18:30:00.000001 UTC);
        let path = named(Path::new("/data/bedplate.db"), at, "V3");
        assert_eq!(path, Path::new("/data/bedplate.db.20261121T183000.000001Z.before-V3.backup"));
        let name = path.file_name().and_then(|it| it.to_str()).expect("text");
        assert_eq!(what_of("bedplate.db", name), Some("V3"));
        for other in [
            "bedplate.db",
            "bedplate.db.backup",
            "bedplate.db.mine.before-V3.backup",
            "bedplate.db.20261121T183000.000001Z.before-V3.backup.unfinished",
        ] {
            assert_eq!(what_of("bedplate.db", other), None, "{other}");
        }
        assert_eq!(what_of("other.db", name), None);
    }
}
