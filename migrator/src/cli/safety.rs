//! The options of the commands that change a schema: what is made before, and what may come late.

use std::time::Duration;

use clap::Args;
use foundation::settings::{Environment, Secret};

use super::{duration, something};
use crate::settings::MigratorSettings;
use crate::source::Version;

#[derive(Debug, Default, Args)]
pub(super) struct UpArguments {
    /// Stop after this version.
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<Version>,
    /// Apply also what came late: its version is lower than the newest that is applied
    /// [MIGRATOR_OUT_OF_ORDER].
    #[arg(long)]
    pub(super) out_of_order: bool,
    #[command(flatten)]
    pub(super) safety: Safety,
}

#[derive(Debug, Default, Args)]
pub(super) struct Safety {
    /// A command that has to succeed before anything is changed, run by sh [MIGRATOR_BACKUP_CMD].
    #[arg(long, value_name = "COMMAND", value_parser = something)]
    backup_cmd: Option<String>,
    /// How many copies of a SQLite file are kept beside it, one made before each change; 0 for none, also of
    /// PostgreSQL's restore points [MIGRATOR_RESTORE_POINTS].
    #[arg(long, value_name = "COUNT")]
    restore_points: Option<u32>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Default, Args)]
pub(super) struct Limit {
    /// How long the backup, the restore or the command may take [MIGRATOR_BACKUP_TIMEOUT].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    backup_timeout: Option<Duration>,
}

impl Limit {
    pub(super) fn apply(&self, environment: &mut Environment, settings: &mut MigratorSettings) {
        if let Some(value) = self.backup_timeout {
            environment.overridden("MIGRATOR_BACKUP_TIMEOUT", &value);
            settings.backup_timeout = value;
        }
    }
}

impl Safety {
    pub(super) fn apply(&self, environment: &mut Environment, settings: &mut MigratorSettings) {
        self.limit.apply(environment, settings);
        if let Some(line) = &self.backup_cmd {
            let line = Secret::from(line.clone());
            environment.overridden("MIGRATOR_BACKUP_CMD", &line);
            settings.backup_cmd = Some(line);
        }
        if let Some(count) = self.restore_points {
            environment.overridden("MIGRATOR_RESTORE_POINTS", &count);
            settings.restore_points = count;
        }
    }
}

/// `--out-of-order`, which is not said when it is not meant.
pub(super) fn out_of_order(wanted: bool, environment: &mut Environment, settings: &mut MigratorSettings) {
    if wanted {
        environment.overridden("MIGRATOR_OUT_OF_ORDER", &true);
        settings.out_of_order = true;
    }
}
