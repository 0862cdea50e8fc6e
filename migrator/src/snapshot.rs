//! What the schema looked like after the last run, kept in the database, so that drift is seen without
//! building the schema anew elsewhere.

use std::time::Duration;

use foundation::database::{Backend, Connection, DatabaseError, DatabaseErrorKind, Statement, Value};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::history::{self, Applied};
use crate::own::{Asked, Question, question};
use crate::session::Session;
use crate::source::Version;
use crate::structure::Structure;

const READ: Question = question!("migrator_structure":
    "SELECT version, migrations, structure, recorded_at FROM migrator_structure AS s WHERE" own "s" of "migrator_structure"
);
const FORGET: Statement = Statement::write("migrator_structure", "DELETE FROM migrator_structure");
const FOLLOW: Statement = Statement::write(
    "migrator_structure",
    "UPDATE migrator_structure SET version = $1, migrations = $2 WHERE version = $3 AND migrations = $4",
);
const WRITE: Statement = Statement::write(
    "migrator_structure",
    "INSERT INTO migrator_structure (version, migrations, structure, recorded_at) VALUES ($1, $2, $3, $4)",
);

const SERVER: Statement =
    Statement::read("pg_settings", "SELECT current_setting('server_version_num')::bigint / 10000 AS version");

/// How this release words a schema. One that looks at more, or words the same otherwise, counts on: what another
/// one kept would be compared with what it cannot know.
const FORMAT: u32 = 1;

/// What is kept of a schema.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// How the release that kept it words a schema.
    #[serde(default)]
    format: u32,
    /// The major version of the PostgreSQL that wrote the definitions: another one words the same ones otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<i64>,
    #[serde(flatten)]
    structure: Structure,
}

/// The schema as a run left it.
pub(crate) struct Snapshot {
    pub(crate) structure: Structure,
    pub(crate) recorded_at: OffsetDateTime,
}

/// Which history a schema goes with: its newest version, and how many migrations there are.
fn mark(applied: &[Applied]) -> (i64, i64) {
    mark_of(applied.iter().map(|it| it.version))
}

fn mark_of(versions: impl Iterator<Item = Version>) -> (i64, i64) {
    versions.fold((0, 0), |(newest, count), version| (version.max(newest), count + 1))
}

/// The change that lets what is kept go with a history whose rows get these versions. The schema is what it was,
/// so what is kept of it is too: whoever changed it by hand is found out as before.
pub(crate) fn follow(
    applied: &[Applied],
    versions: impl Iterator<Item = Version>,
) -> (Statement, Vec<Value>) {
    let (before, after) = (mark(applied), mark_of(versions));
    (FOLLOW, vec![after.0.into(), after.1.into(), before.0.into(), before.1.into()])
}

/// The change after which nothing is kept, because it has what no migration makes any more.
pub(crate) fn forget() -> (Statement, Vec<Value>) {
    (FORGET, Vec::new())
}

/// Keeps what the schema looks like now. What the run did is done: that this fails is told and no failure of
/// it, because `check` builds the schema anew where nothing fits.
pub(crate) async fn record(session: &mut Session) {
    let now = session.context().clock.now();
    let lock_timeout = session.context().settings.lock_timeout;
    let connection = session.connection();
    if let Err(error) = replace(connection, now, lock_timeout).await {
        tracing::warn!(error = %error, "the structure of the schema could not be recorded for `migrator check`");
        if let Err(error) = connection.rollback().await {
            tracing::debug!(error = %error, "nothing was rolled back");
        }
    }
}

/// The major version of the server; nothing for SQLite, which keeps what it is told word by word.
async fn server(connection: &mut Connection) -> Result<Option<i64>, DatabaseError> {
    if connection.backend() == Backend::Sqlite {
        return Ok(None);
    }
    let row = connection.query_optional(&SERVER, &[]).await?;
    row.map(|row| row.get("version")).transpose()
}

/// In one transaction, so that on SQLite nobody changes the schema between reading and writing. PostgreSQL locks a
/// table to word its defaults and views: whoever holds it keeps no run from its end.
async fn replace(
    connection: &mut Connection,
    now: OffsetDateTime,
    lock_timeout: Duration,
) -> Result<(), DatabaseError> {
    connection.begin().await?;
    if connection.backend() == Backend::Postgres {
        connection.batch(&format!("SET LOCAL lock_timeout = {}", lock_timeout.as_millis())).await?;
    }
    let applied = history::read(connection).await?.unwrap_or_default();
    let structure = Structure::read(connection).await?;
    let kept = Kept { format: FORMAT, server: server(connection).await?, structure };
    let document = serde_json::to_string(&kept).map_err(|error| {
        DatabaseError::new(DatabaseErrorKind::Conversion, "the structure cannot be written as JSON")
            .caused_by(error)
    })?;
    let (version, migrations) = mark(&applied);
    connection.execute(&FORGET, &[]).await?;
    let values = [version.into(), migrations.into(), Value::Json(document), now.into()];
    connection.execute(&WRITE, &values).await?;
    connection.commit().await
}

/// The snapshot that goes with this history. Nothing when there is none, or one of another history, because
/// a run was killed before it kept one, or one that another release words otherwise, or another major version of
/// PostgreSQL.
pub(crate) async fn read(
    connection: &mut Connection,
    applied: &[Applied],
) -> Result<Option<Snapshot>, DatabaseError> {
    let rows = Asked::Connection(connection).own_rows(&READ, &[]).await?.unwrap_or_default();
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    if (row.get("version")?, row.get("migrations")?) != mark(applied) {
        return Ok(None);
    }
    let document: String = row.get("structure")?;
    match serde_json::from_str::<Kept>(&document) {
        Ok(kept) if kept.format != FORMAT => {
            tracing::info!(
                recorded = kept.format,
                "the recorded structure is of another release of the migrator"
            );
            Ok(None)
        }
        Ok(kept) => {
            let server = server(connection).await?;
            if kept.server.is_some() && kept.server != server {
                tracing::info!(
                    recorded = kept.server,
                    server,
                    "the recorded structure is of another PostgreSQL"
                );
                return Ok(None);
            }
            let recorded_at = row.get("recorded_at")?;
            Ok(Some(Snapshot { structure: kept.structure, recorded_at }))
        }
        Err(error) => {
            tracing::info!(error = %error, "the recorded structure is of another release of the migrator");
            Ok(None)
        }
    }
}
