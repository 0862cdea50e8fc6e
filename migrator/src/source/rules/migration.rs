//! One migration with its undo.

use std::fmt;

use super::{Instructions, Version};

/// One migration of one dialect, read from its file and found right.
#[derive(Clone, Debug)]
pub struct Migration {
    refinery: refinery_core::Migration,
    sql: String,
    instructions: Instructions,
    undo: Option<Undo>,
    file: Option<String>,
}

impl Migration {
    pub(crate) fn new(
        version: Version,
        name: &str,
        sql: String,
        instructions: Instructions,
        undo: Option<Undo>,
    ) -> Result<Self, refinery_core::Error> {
        let refinery = refinery_core::Migration::unapplied(&format!("V{version}__{name}"), &sql)?;
        Ok(Self { refinery, sql, instructions, undo, file: None })
    }

    /// The same, read from this file.
    pub(crate) fn with_file(self, file: String) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The file that it was read from at run time; nothing for those that stand in the folders of the build.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Its number.
    #[must_use]
    pub fn version(&self) -> Version {
        self.refinery.version()
    }

    /// Its name, such as `create_users`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.refinery.name()
    }

    /// The whole text of the file.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// What takes it back, unless it is irreversible.
    #[must_use]
    pub fn undo(&self) -> Option<&Undo> {
        self.undo.as_ref()
    }

    /// What its head tells the migrator.
    #[must_use]
    pub fn instructions(&self) -> &Instructions {
        &self.instructions
    }

    /// refinery's checksum over name, version and text (with its feature `int8-versions`).
    #[must_use]
    pub fn checksum(&self) -> u64 {
        self.refinery.checksum()
    }

    /// The same migration as refinery knows it, unapplied.
    #[must_use]
    pub fn as_refinery(&self) -> &refinery_core::Migration {
        &self.refinery
    }

    /// How it is called everywhere: `V1__create_users`.
    #[must_use]
    pub fn display(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refinery.fmt(formatter)
    }
}

/// The file that takes a migration back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// The name of the file, such as `D1__create_users.sql`; its path, when it was read at run time.
    pub file_name: String,
    /// The whole text of the file.
    pub sql: String,
}
