//! The way back from a copy: page by page into the file that is there, which others may have open.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{OpenFlags, ffi};

use super::SqliteConnection;
use crate::database::{DatabaseError, DatabaseErrorKind};

impl SqliteConnection {
    /// Replaces everything in the file by what `copy` has.
    pub(in crate::database) async fn replace_by(&mut self, copy: &Path) -> Result<(), DatabaseError> {
        let (path, shown) = (copy.to_owned(), copy.display().to_string());
        let checked = self.run(move |target| {
            let source = rusqlite::Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let verdict: String = source.query_row(
                "SELECT integrity_check FROM pragma_integrity_check LIMIT 1",
                [],
                |row| row.get(0),
            )?;
            if verdict != "ok" {
                return Ok(Err(format!("is not sound: {verdict}")));
            }
            let tables: i64 = source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                return Ok(Err("has nothing in it".to_owned()));
            }
            // A file in WAL mode keeps the size of its pages. Whoever opens it next puts it back into that mode.
            if page_size(&source)? != page_size(target)? {
                target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
            }
            // All of it in one step, which is one transaction. While others write, it waits as long as any
            // statement of this connection does.
            match Backup::new(&source, target)?.step(-1)? {
                StepResult::Done => Ok(Ok(())),
                _ => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
            }
        });
        match checked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                Err(DatabaseError::new(DatabaseErrorKind::Storage, format!("the copy {shown} {reason}")))
            }
            Err(error) if error.kind() == DatabaseErrorKind::LockNotAvailable => {
                Err(error.while_trying("the file is in use; stop what writes to it"))
            }
            Err(error) => Err(error.while_trying(format!("{shown} cannot be restored"))),
        }
    }
}

fn page_size(connection: &rusqlite::Connection) -> Result<u32, rusqlite::Error> {
    connection.query_row("PRAGMA page_size", [], |row| row.get(0))
}
