//! `backup`: a copy of the database while it is in use, looked at before it gets its name.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use foundation::database::{Connection, DatabaseError, DatabaseUrl, Statement};

use super::Migrator;
use crate::error::MigratorError;
use crate::history;
use crate::programs::postgres as tools;
use crate::report::BackupReport;
use crate::session::Context;
use crate::source::Version;

const COPY: Statement = Statement::write("sqlite_schema", "VACUUM INTO $1");

const CHECK: Statement =
    Statement::read("sqlite_schema", "SELECT integrity_check AS verdict FROM pragma_integrity_check LIMIT 1");

/// SQLite's own tables stay when those are dropped for which it made them, and no copy has them then.
const ANYTHING: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 1 AS it FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 1",
);

impl Migrator {
    /// Copies the database, history and all, while others read and write it: the copy is the state of one
    /// moment. A SQLite file becomes another one; of PostgreSQL `pg_dump` makes a file in its custom format.
    /// It is made beside `file`, read back, and only then given its name. Nobody else may read it.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] when `file` exists already, [`MigratorError::Backup`] when `pg_dump` or
    /// `pg_restore` is missing or older than the server, [`MigratorError::BackupFailed`] when it fails.
    pub async fn backup(&self, file: &Path) -> Result<BackupReport, MigratorError> {
        if file.exists() {
            return Err(exists(file));
        }
        let mut connection = self.existing().await?;
        let current_version = match &self.context.url {
            DatabaseUrl::Sqlite(_) => copy_sqlite(&self.context, &mut connection, file).await?,
            DatabaseUrl::Postgres(_) => {
                for name in ["pg_dump", "pg_restore"] {
                    tools::not_older(&self.context, &mut connection, name).await?;
                }
                drop(connection);
                let unfinished = Unfinished::beside(&self.context, file)?;
                tools::dump(&self.context, unfinished.path()).await?;
                let version = tools::read_back(&self.context, unfinished.path()).await?;
                unfinished.finish(file)?;
                version
            }
        };
        let bytes = std::fs::metadata(file)
            .map_err(|error| MigratorError::File(error, format!("{} cannot be read", file.display())))?
            .len();
        Ok(BackupReport { file: file.display().to_string(), bytes, current_version })
    }
}

fn exists(file: &Path) -> MigratorError {
    MigratorError::Usage(format!(
        "{} exists; name a file that does not, so that no backup is overwritten",
        file.display()
    ))
}

/// Makes a copy of the SQLite file that the connection has open, and says at which version it is.
pub(super) async fn copy_sqlite(
    context: &Context,
    connection: &mut Connection,
    file: &Path,
) -> Result<Option<Version>, MigratorError> {
    // SQLite takes a name that begins with `file:` for an address.
    let unfinished = Unfinished::beside(context, &Path::new(".").join(file))?;
    let target = unfinished.path().to_str().map(str::to_owned).ok_or_else(|| {
        MigratorError::Usage(format!("{} is not written in UTF-8, as SQLite needs a name", file.display()))
    })?;
    let is_empty = is_empty(connection).await?;
    let canceller = connection.canceller();
    let (statement, values) = (COPY, [target.into()]);
    tokio::select! {
        biased;
        copied = connection.execute(&statement, &values) => drop(copied.map_err(|error| error.while_trying("the copy could not be made"))?),
        () = context.stop.requested() => {
            canceller.cancel().await?;
            return Err(MigratorError::Stopped);
        }
    }
    let version = check_copy(context, unfinished.path(), is_empty).await?;
    unfinished.finish(file)?;
    Ok(version)
}

async fn is_empty(connection: &mut Connection) -> Result<bool, DatabaseError> {
    Ok(connection.query_optional(&ANYTHING, &[]).await?.is_none())
}

/// The version of the copy, when it is sound, and has something in it unless what was copied has nothing.
async fn check_copy(
    context: &Context,
    copy: &Path,
    may_be_empty: bool,
) -> Result<Option<Version>, MigratorError> {
    let url = DatabaseUrl::sqlite(copy);
    let mut connection = Connection::look_at(&url, &context.database, "migrator").await?;
    let verdict: Option<String> =
        connection.query_optional(&CHECK, &[]).await?.map(|row| row.get("verdict")).transpose()?;
    if verdict.as_deref() != Some("ok") {
        let verdict = verdict.unwrap_or_default();
        return Err(MigratorError::Schema(vec![format!("the copy is not sound: {verdict}")]));
    }
    if is_empty(&mut connection).await? && !may_be_empty {
        return Err(MigratorError::Schema(vec!["the copy has nothing in it".to_owned()]));
    }
    let applied = history::read(&mut connection).await?.unwrap_or_default();
    Ok(applied.last().map(|it| it.version))
}

/// A file that does not have its name yet, and is removed unless it gets it.
struct Unfinished(std::path::PathBuf);

impl Unfinished {
    /// Makes it, empty, for its owner alone: a backup has the hashes of passwords in it. Its name is its own,
    /// because another backup may be on its way to the same one.
    fn beside(context: &Context, file: &Path) -> Result<Self, MigratorError> {
        let own = u64::from_le_bytes(context.entropy.bytes());
        let path = file.with_added_extension(format!("{own:016x}.unfinished"));
        let cannot = |what| move |error| MigratorError::File(error, what);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(cannot(format!("{} cannot be written", path.display())))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Has the disk keep it, and gives it its name, which nobody else has got meanwhile.
    fn finish(self, file: &Path) -> Result<(), MigratorError> {
        let named = File::open(&self.0)
            .and_then(|written| written.sync_all())
            .and_then(|()| self.name(file))
            .and_then(|()| sync_folder_of(file));
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(file),
            _ => MigratorError::File(error, format!("{} cannot be written", file.display())),
        })
    }

    /// A link never takes the place of a file, as renaming does.
    fn name(&self, file: &Path) -> Result<(), std::io::Error> {
        match std::fs::hard_link(&self.0, file) {
            // Not every filesystem has links; there the name is taken first.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
                std::fs::rename(&self.0, file)
            }
            linked => linked,
        }
    }
}

/// Has the disk keep the name too.
fn sync_folder_of(file: &Path) -> Result<(), std::io::Error> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

impl Drop for Unfinished {
    /// Also what SQLite may have made beside it.
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut name = self.0.clone().into_os_string();
            name.push(end);
            match std::fs::remove_file(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(error = %error, file = %self.0.display(), "an unfinished file is left");
                }
            }
        }
    }
}
