//! The SQL of settings that are changed while the service runs.

use std::sync::LazyLock;

use foundation::database::{Backend, Database, DatabaseError, Row, Statement, Transaction, Value};
use foundation::settings::Secret;
use time::OffsetDateTime;

use crate::domain::config::{Key, Stored};

/// The rows of this release, found by the primary key. They are few and short, whatever else there is.
static ALL: LazyLock<Statement> =
    LazyLock::new(|| Statement::lookup("config", "").with_sql(format!("{} ORDER BY key", select())));

/// Each row is locked in the order of the keys, so that two transactions never wait for each other.
static ALL_FOR_UPDATE: LazyLock<Statement> = LazyLock::new(|| {
    Statement::write("config", "").with_sql(format!("{} ORDER BY key FOR UPDATE", select()))
});

fn select() -> String {
    let names = Key::ALL.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
    format!("SELECT key, value, version, updated_at FROM config WHERE key IN ({names})")
}

/// Every setting, in the order of [`Key::ALL`].
///
/// # Errors
/// What the database says.
pub async fn all(database: &Database) -> Result<Vec<Stored>, DatabaseError> {
    complete(&database.query(&ALL, &[]).await?)
}

/// When a setting was changed last, or came into the database; nothing where it is not there.
///
/// # Errors
/// What the database says.
pub async fn changed_at(database: &Database, key: Key) -> Result<Option<OffsetDateTime>, DatabaseError> {
    Ok(all(database).await?.into_iter().find(|it| it.key == key).and_then(|it| it.updated_at))
}

/// Every setting, none of which anybody else changes before the transaction ends. On SQLite every
/// transaction is alone.
///
/// # Errors
/// What the database says.
pub async fn lock(transaction: &mut Transaction, backend: Backend) -> Result<Vec<Stored>, DatabaseError> {
    let statement = match backend {
        Backend::Postgres => &ALL_FOR_UPDATE,
        Backend::Sqlite => &ALL,
    };
    complete(&transaction.query(statement, &[]).await?)
}

fn complete(rows: &[Row]) -> Result<Vec<Stored>, DatabaseError> {
    let mut settings: Vec<_> = Key::ALL.iter().copied().map(Stored::missing).collect();
    for row in rows {
        let name: String = row.get("key")?;
        if let Some(setting) = settings.iter_mut().find(|it| it.key.name() == name) {
            setting.value = row.get::<Option<String>>("value")?.map(Secret::from);
            setting.version = row.get("version")?;
            setting.updated_at = row.get("updated_at")?;
        }
    }
    Ok(settings)
}

const WRITE: Statement = Statement::write(
    "config",
    "INSERT INTO config (key, value, description, version, updated_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (key) DO UPDATE SET value = $2, version = $4, updated_at = $5",
);

/// Writes a setting at `now`.
///
/// # Errors
/// What the database says.
pub async fn write(
    transaction: &mut Transaction,
    setting: &Stored,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let json = setting.value.as_ref().map_or(Value::Null, |it| Value::Json(it.expose().to_owned()));
    let values: [Value; 5] = [
        setting.key.name().into(),
        json,
        setting.key.description().into(),
        setting.version.into(),
        now.into(),
    ];
    transaction.execute(&WRITE, &values).await.map(drop)
}
