//! What the service asks before it calls itself ready. Needs SELECT only.

use foundation::database::{Connection, Database, DatabaseError};

use crate::history::Applied;
use crate::own::Asked;
use crate::past::Past;
use crate::plan::Plan;
use crate::progress::Begun;
use crate::source::{Catalog, Version};

/// The schema in front of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaReport {
    /// The newest applied version.
    pub version: Option<Version>,
    /// The newest version that this release embeds.
    pub newest_embedded: Version,
    /// How the two go together.
    pub state: SchemaState,
}

/// How what is applied goes together with what this release embeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// Everything is applied, and nothing newer that this release cannot run on.
    Current,
    /// No migration was ever applied.
    Unmigrated,
    /// Some are not applied yet.
    Behind {
        /// How many.
        pending: usize,
    },
    /// Applied migrations are not those that this release embeds; the reasons in words.
    Divergent(Vec<String>),
    /// A newer release changed the schema so that this one cannot run on it; the reason in words.
    TooNew(String),
    /// A migration that this release relies on is taken back in part; the reasons in words.
    Unfinished(Vec<String>),
}

impl SchemaReport {
    /// Why this release cannot run on the schema, in words; nothing when it can.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match &self.state {
            SchemaState::Current => None,
            SchemaState::Unmigrated => Some("no migration is applied yet; run the migrator".to_owned()),
            SchemaState::Behind { pending } => Some(format!(
                "the schema is behind: {pending} of the migrations up to version {} {} not applied; run the migrator of this release",
                self.newest_embedded,
                if *pending == 1 { "is" } else { "are" }
            )),
            SchemaState::Divergent(reasons) => Some(format!("the schema diverges: {}", reasons.join("; "))),
            SchemaState::TooNew(reason) => Some(reason.clone()),
            SchemaState::Unfinished(reasons) => Some(reasons.join("; ")),
        }
    }
}

/// Looks at the schema with the migrations that this release embeds.
///
/// # Errors
/// What the database says; a role that may not read the history is told so.
pub async fn inspect(connection: &mut Connection) -> Result<SchemaReport, DatabaseError> {
    inspect_with(connection, crate::source::embedded(connection.backend().into())).await
}

/// Looks at the schema with these migrations.
///
/// # Errors
/// As [`inspect`].
pub async fn inspect_with(
    connection: &mut Connection,
    catalog: &Catalog,
) -> Result<SchemaReport, DatabaseError> {
    inspect_as(connection, catalog, false).await
}

/// The same; what came late is pending where that is going to be applied.
pub(crate) async fn inspect_as(
    connection: &mut Connection,
    catalog: &Catalog,
    out_of_order: bool,
) -> Result<SchemaReport, DatabaseError> {
    look(Asked::Connection(connection), catalog, out_of_order).await.map(|(report, _)| report)
}

/// Looks at the schema through a pool, and says what is applied too, in the order of versions.
///
/// # Errors
/// As [`inspect`].
pub async fn inspect_through(database: &Database) -> Result<(SchemaReport, Vec<Applied>), DatabaseError> {
    let catalog = crate::source::embedded(database.backend().into());
    look(Asked::Pool(database), catalog, false).await
}

async fn look(
    mut asked: Asked<'_>,
    catalog: &Catalog,
    out_of_order: bool,
) -> Result<(SchemaReport, Vec<Applied>), DatabaseError> {
    let past = Past::ask(&mut asked, catalog).await?;
    let mut plan = Plan::new(catalog, &past);
    if out_of_order {
        plan = plan.out_of_order();
    }
    let report = report(catalog, &past, &plan);
    Ok((report, past.applied))
}

fn report(catalog: &Catalog, past: &Past, plan: &Plan) -> SchemaReport {
    // What a newer release is taking back lies between two schemas that this one can run on.
    let undone = past.begun.iter().filter(|it| it.is_undo && catalog.get(it.version).is_some());
    let undone: Vec<String> = undone.map(Begun::reason).collect();
    let state = if !plan.conflicts.is_empty() {
        SchemaState::Divergent(plan.reasons())
    } else if let Some(reason) = plan.incompatibility(catalog, past) {
        SchemaState::TooNew(reason)
    } else if !undone.is_empty() {
        SchemaState::Unfinished(undone)
    } else if plan.pending.is_empty() {
        SchemaState::Current
    } else if past.applied.is_empty() {
        SchemaState::Unmigrated
    } else {
        SchemaState::Behind { pending: plan.pending.len() }
    };
    SchemaReport { version: past.newest(), newest_embedded: catalog.newest(), state }
}
