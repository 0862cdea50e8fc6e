//! Health: what is known about the database, and what follows from it.

use std::time::Duration;

use time::OffsetDateTime;

/// What one look at the database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// When the look ended.
    pub checked_at: OffsetDateTime,
    /// The state of the database.
    pub state: DatabaseState,
}

/// The state of the database, as far as the service cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseState {
    /// It answers.
    Connected {
        /// Whether it takes changes: a standby does not.
        writable: bool,
        /// The newest migration that is applied.
        schema_version: Option<i64>,
        /// Why this release cannot run on the schema. Nothing: it can.
        schema_refusal: Option<String>,
    },
    /// It does not answer; the reason in one sentence, without any secret.
    Disconnected(String),
}

impl DatabaseHealth {
    /// Why the service cannot do its work on this database. Empty: it can.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        match &self.state {
            DatabaseState::Disconnected(error) => vec![format!("the database cannot be used: {error}")],
            DatabaseState::Connected { writable, schema_refusal, .. } => {
                let read_only = "the database takes no changes (it is read-only, or a standby)";
                let read_only = (!writable).then(|| read_only.to_owned());
                read_only.into_iter().chain(schema_refusal.clone()).collect()
            }
        }
    }

    /// The newest migration that is applied, as far as it is known.
    #[must_use]
    pub fn schema_version(&self) -> Option<i64> {
        match &self.state {
            DatabaseState::Connected { schema_version, .. } => *schema_version,
            DatabaseState::Disconnected(_) => None,
        }
    }
}

/// What a query through the pool came to: how long it took, or why it failed in one sentence.
pub type QueryResult = Result<Duration, String>;

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: DatabaseState) -> DatabaseHealth {
        DatabaseHealth { checked_at: OffsetDateTime::UNIX_EPOCH, state }
    }

    fn connected(writable: bool, schema_refusal: Option<&str>) -> DatabaseHealth {
        let schema_refusal = schema_refusal.map(str::to_owned);
        health(DatabaseState::Connected { writable, schema_version: Some(1), schema_refusal })
    }

    #[test]
    fn a_writable_database_with_the_right_schema_is_no_reason() {
        assert!(connected(true, None).reasons().is_empty());
    }

    #[test]
    fn every_reason_is_told() {
        let reasons = connected(false, Some("migration 2 is not applied")).reasons();
        assert_eq!(reasons.len(), 2);
        assert!(reasons[0].contains("no changes"));
        assert_eq!(reasons[1], "migration 2 is not applied");
    }

    #[test]
    fn a_database_that_is_away_is_the_one_reason() {
        let away = health(DatabaseState::Disconnected("nobody listens".to_owned()));
        assert_eq!(away.reasons(), ["the database cannot be used: nobody listens"]);
        assert_eq!(away.schema_version(), None);
    }
}
