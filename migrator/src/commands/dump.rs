//! `dump`: the current schema as plain DDL.

use super::Migrator;
use crate::error::MigratorError;
use crate::structure::{Structure, dump};

impl Migrator {
    /// What the current schema is made of, without the tables of the migrator. Needs no right to write.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn structure(&self) -> Result<Structure, MigratorError> {
        Ok(Structure::read(&mut self.existing().await?).await?)
    }

    /// The current schema as plain DDL: applied to an empty database, it makes the same schema. What
    /// cannot be written is a comment at its head.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dump(&self) -> Result<String, MigratorError> {
        Ok(dump(&self.structure().await?))
    }
}
