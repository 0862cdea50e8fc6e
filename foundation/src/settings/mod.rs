//! Settings from the environment: one small struct per concern, every problem reported at once.
//!
//! ```
//! use foundation::settings::{DatabaseSettings, Environment, Section};
//!
//! let mut environment = Environment::from_pairs([("DATABASE_POOL_SIZE", "12")]);
//! let database = DatabaseSettings::read(&mut environment);
//! environment.finish().expect("nothing is wrong with these");
//! assert_eq!(database.pool_size.get(), 12);
//! ```
//!
//! A struct is declared with [`settings!`](crate::settings!): name, type, default and meaning of a
//! variable stand in one place, and `check-config`, `.env.example` and the errors are read off it.
//! Every secret may come from a file instead: `NAME_FILE` holds its path.

mod application;
mod database;
mod effective;
mod environment;
mod log;
mod open_telemetry;
mod pairs;
mod section;
mod telemetry;
mod values;

pub use application::{ApplicationSettings, Mode};
pub use database::{DatabaseSettings, PostgresParts};
pub use effective::{Effective, Origin, Problem, SettingsError, Warning, document, format_effective};
pub use environment::{Environment, LONGEST};
pub use log::{LogFormat, LogLevel, LogSettings};
pub use open_telemetry::{
    OpenTelemetrySettings, OtlpEndpoint, OtlpProtocol, OtlpTimeout, RootSampler, Share, TracesSampler,
};
pub(crate) use pairs::percent_decode;
pub use pairs::{OtlpHeaders, ResourceAttributes};
pub use section::{Section, Setting, Variable};
pub use telemetry::TelemetrySettings;
pub use values::{Listen, Secret};

use crate::database::DatabaseUrl;

/// The settings that both programs read.
#[derive(Clone, Debug)]
pub struct FoundationSettings {
    /// What kind of place this is.
    pub application: ApplicationSettings,
    /// How the database is reached.
    pub database: DatabaseSettings,
    /// Which database.
    pub database_url: DatabaseUrl,
    /// Logs.
    pub log: LogSettings,
    /// Figures.
    pub telemetry: TelemetrySettings,
    /// Traces.
    pub open_telemetry: OpenTelemetrySettings,
}

impl FoundationSettings {
    /// Reads them; what is wrong is told by [`Environment::finish`].
    pub fn read(environment: &mut Environment) -> Self {
        let application = ApplicationSettings::read(environment);
        let mut database = DatabaseSettings::read(environment);
        let parts = PostgresParts::read(environment);
        let database_url = database.resolve(environment, &application, &parts);
        Self {
            application,
            database,
            database_url,
            log: LogSettings::read(environment),
            telemetry: TelemetrySettings::read(environment),
            open_telemetry: OpenTelemetrySettings::read(environment),
        }
    }

    /// Takes another schema than the environment says.
    pub fn use_schema(&mut self, schema: &str, environment: &mut Environment) {
        self.database.schema = Some(schema.to_owned());
        self.database.check_schema(&self.database_url, environment);
        let direct = self.database.direct_url.as_mut();
        for url in std::iter::once(&mut self.database_url).chain(direct) {
            url.use_schema(schema);
        }
    }

    /// Every variable that [`read`](Self::read) knows.
    #[must_use]
    pub fn variables() -> Vec<Variable> {
        [
            ApplicationSettings::variables(),
            DatabaseSettings::variables(),
            PostgresParts::variables(),
            LogSettings::variables(),
            TelemetrySettings::variables(),
            OpenTelemetrySettings::variables(),
        ]
        .concat()
    }
}
