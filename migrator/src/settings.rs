//! The settings of the migrator.

use std::path::PathBuf;
use std::time::Duration;

use foundation::database::DatabaseUrl;
use foundation::passwords;
use foundation::settings::{Environment, FoundationSettings, Mode, Secret, Section, Variable};

/// Where Kubernetes reads why a container ended: the default of the setting, for while there are none.
pub(crate) const TERMINATION_LOG: &str = "/dev/termination-log";

foundation::settings! {
    /// How the migrator works. Each has an option of the same name on the command line.
    pub struct MigratorSettings("MIGRATOR_") {
        /// How long a statement of a migration waits for a table's lock before it is rolled back and tried
        /// again, so that no reader queues behind it for longer. PostgreSQL only.
        lock_timeout: Duration = "1s",
        /// How long a run keeps trying to get its locks: its own, and those of the tables.
        deadline: Duration = "5m",
        /// How long one statement of a migration may run; `0` for as long as it takes. PostgreSQL only.
        statement_timeout: Duration = "0",
        /// How long a run waits for a database that is still starting.
        wait_timeout: Duration = "60s",
        /// A folder of migrations that is used instead of those that this program carries: files for one
        /// database, named as by refinery, sqlx, golang-migrate, dbmate, goose or Flyway.
        migrations: Option<String> = "",
        /// The role that the service uses: `up` gives it what it needs on every table, those of later
        /// migrations too. PostgreSQL only.
        grant_to: Option<String> = "",
        /// The role that everything is done as, and that owns what is made, where the one that signs in is
        /// only a member of it. PostgreSQL only.
        role: Option<String> = "",
        /// The file that the last words of a run go into when it is there: Kubernetes shows them with the pod.
        termination_log: PathBuf = "/dev/termination-log",
        /// Whether migrations are applied that came late: their version is lower than the newest that is
        /// applied. Without it they are an error.
        out_of_order: bool = "false",
        /// How many copies of a SQLite file `up` keeps beside it: it makes one before it changes the schema,
        /// and on PostgreSQL a restore point in the server's log where the role may do that; `0` for none.
        restore_points: u32 = "3",
        /// A command that has to succeed before `up` changes the schema, run by `sh`, which the image has not:
        /// a backup of your own.
        /// It finds the database in `PGHOST` and its kin, or in `RESTORE_POINT_DATABASE` the SQLite file,
        /// and in `RESTORE_POINT_FROM` and `RESTORE_POINT_TO` the versions. A secret, because what it signs in
        /// with may stand in it.
        backup_cmd: Option<Secret> = "",
        /// How long that command, `backup` and `restore` may take; `0` for as long as they need.
        backup_timeout: Duration = "1h",
    }
}

foundation::settings! {
    /// The administrator that is made when there is none, asked for only then.
    pub struct AdminSettings("ADMIN_") {
        /// The name to sign in with.
        username: String = "admin",
        /// The password, 8 to 128 characters, none that everybody tries first. In development one is made and printed once when it is not
        /// set; in production it is needed.
        password: Option<Secret> = "",
        /// The mail address.
        email: Option<String> = "",
    }
}

impl MigratorSettings {
    /// Adds a problem for each time that cannot work. PostgreSQL takes a lock timeout of 0 for none at all.
    pub fn check_bounds(&self, environment: &mut Environment) {
        let millisecond = Duration::from_millis(1);
        environment.bound("MIGRATOR_LOCK_TIMEOUT", self.lock_timeout, millisecond);
        environment.bound("MIGRATOR_DEADLINE", self.deadline, Duration::ZERO);
        environment.bound("MIGRATOR_STATEMENT_TIMEOUT", self.statement_timeout, Duration::ZERO);
        environment.bound("MIGRATOR_WAIT_TIMEOUT", self.wait_timeout, Duration::ZERO);
        environment.bound("MIGRATOR_BACKUP_TIMEOUT", self.backup_timeout, Duration::ZERO);
    }
}

impl AdminSettings {
    /// Adds a problem for a password that no account can have, also while nobody needs it.
    pub fn check(&self, environment: &mut Environment) {
        let length = self.password.as_ref().map(|it| it.expose().chars().count());
        if length.is_some_and(|length| !passwords::LENGTH.contains(&length)) {
            environment.problem("ADMIN_PASSWORD", "it must have 8 to 128 characters");
        }
    }
}

/// All settings of the migrator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those that the service has too.
    pub foundation: FoundationSettings,
    /// How the migrator works.
    pub migrator: MigratorSettings,
    /// The administrator that is made when there is none.
    pub admin: AdminSettings,
}

impl Settings {
    /// Reads them; what is wrong is told by [`Environment::finish`].
    pub fn read(environment: &mut Environment) -> Self {
        let foundation = FoundationSettings::read(environment);
        let migrator = MigratorSettings::read(environment);
        migrator.check_bounds(environment);
        let admin = AdminSettings::read(environment);
        admin.check(environment);
        Self { foundation, migrator, admin }
    }

    /// Every variable that [`read`](Self::read) knows.
    #[must_use]
    pub fn variables() -> Vec<Variable> {
        [FoundationSettings::variables(), MigratorSettings::variables(), AdminSettings::variables()].concat()
    }

    /// Which database.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.foundation.database_url
    }

    /// Whether this is production.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.foundation.application.env == Mode::Production
    }
}
