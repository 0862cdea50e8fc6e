//! The schema of the database: its version, and the migrations that brought it there.

use foundation::database::Database;
use migrator::history::Applied;
use migrator::schema::{SchemaReport, SchemaState};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;

use super::authorize::{Authorized, Known};
use super::conventions::times::rfc3339_or_null;
use super::conventions::{Nullable, Refused, Statuses, statuses};
use super::payload::JsonBytes;
use super::problem::Failure;
use super::tags::Tag;
use crate::store::schema;

/// A migration that is applied.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "AppliedMigration")]
pub struct MigrationBody {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// When it was applied; null where the history does not say so.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub applied_on: Nullable<OffsetDateTime>,
}

/// The schema of the database.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Schema", example)]
pub struct SchemaBody {
    /// The newest version that is applied; null for none.
    pub version: Nullable<i64>,
    /// The newest version that this release knows.
    pub newest_known: i64,
    /// How the schema and this release go together: `current`, `unmigrated`, `behind`, `divergent`,
    /// `too_new` or `unfinished`.
    pub state: String,
    /// Why this release cannot run on the schema; null when it can.
    pub reason: Nullable<String>,
    /// What is applied, in the order of versions.
    pub history: Vec<MigrationBody>,
}

/// Answers of `get_schema`.
#[derive(ApiResponse)]
pub enum SchemaResponse {
    /// The schema.
    #[oai(status = 200)]
    Schema(JsonBytes<SchemaBody>),
}

statuses! {
    /// Of what everybody who is known may ask.
    OfSchema = 400, 401, 500, 503;
}

/// The route of the schema.
pub struct SchemaApi {
    /// The pool.
    pub database: Database,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Health")]
impl SchemaApi {
    /// What is the schema?
    ///
    /// Its version, whether this release can run on it, and every migration that is applied.
    #[oai(path = "/schema", method = "get", operation_id = "get_schema")]
    async fn get(&self, _caller: Authorized<Known>) -> Result<SchemaResponse, Refused<OfSchema>> {
        let (report, applied) = schema::inspect(&self.database).await.map_err(Failure::Database)?;
        Ok(SchemaResponse::Schema(JsonBytes::of(&SchemaBody::new(&report, applied))?))
    }
}

impl SchemaBody {
    fn new(report: &SchemaReport, applied: Vec<Applied>) -> Self {
        let state = match report.state {
            SchemaState::Current => "current",
            SchemaState::Unmigrated => "unmigrated",
            SchemaState::Behind { .. } => "behind",
            SchemaState::Divergent(_) => "divergent",
            SchemaState::TooNew(_) => "too_new",
            SchemaState::Unfinished(_) => "unfinished",
        };
        Self {
            version: Nullable(report.version),
            newest_known: report.newest_embedded,
            state: state.to_owned(),
            reason: Nullable(report.refusal()),
            history: applied.into_iter().map(MigrationBody::from).collect(),
        }
    }
}

impl From<Applied> for MigrationBody {
    fn from(applied: Applied) -> Self {
        Self { version: applied.version, name: applied.name, applied_on: Nullable(applied.applied_on) }
    }
}

impl Example for SchemaBody {
    fn example() -> Self {
        let applied_on = Nullable(Some(datetime!(2026-01-31 12:00:00 UTC)));
        let history = vec![MigrationBody { version: 1, name: "create_users".to_owned(), applied_on }];
        Self {
            version: Nullable(Some(1)),
            newest_known: 1,
            state: "current".to_owned(),
            reason: Nullable(None),
            history,
        }
    }
}
