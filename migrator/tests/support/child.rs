//! The migrator with a folder of migrations as a process of its own, to be killed and stopped: the program
//! knows only the migrations that it embeds, so a file of tests starts itself again and runs this one.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::Environment;
use foundation::telemetry::{Program, Telemetry};
use foundation::testing::{TestDatabase, program};
use migrator::settings::Settings;
use migrator::source::Catalog;
use migrator::stop::Stop;
use migrator::{Migrator, MigratorError};
use tokio::process::Command;

const FOLDER: &str = "TEST_CHILD_FOLDER";

/// `up` with the migrations in `folder`, not started yet.
pub(crate) fn up_command(database: &TestDatabase, folder: &Path, variables: &[(&str, &str)]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = program(this.to_str().unwrap(), database.folder.path());
    command.args(["support::child::is_the_migrator", "--exact", "--ignored", "--nocapture", "--quiet"]);
    command.env("DATABASE_URL", &database.address).env(FOLDER, folder).envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[test]
#[ignore = "it is the process that other tests start"]
#[allow(
    clippy::disallowed_methods,
    reason = "it stands for a program, and the harness would turn every failure into the code 101"
)]
fn is_the_migrator() {
    // Somebody may run all tests that are ignored.
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let exit = runtime.block_on(async {
        let mut environment = Environment::from_process();
        let settings = Settings::read(&mut environment);
        environment.finish().unwrap();
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let program = Program { name: "migrator", version: "0", clock, entropy };
        let foundation = &settings.foundation;
        let telemetry = Telemetry::start(&program, &foundation.log, &foundation.open_telemetry).unwrap();
        let result = up(&settings, &folder).await;
        if let Err(error) = &result {
            tracing::error!("{error}");
        }
        tokio::task::block_in_place(|| telemetry.shutdown());
        result.map_or_else(|error| error.exit(), |()| Exit::Success)
    });
    // As the program does.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    std::process::exit(exit.code().into());
}

async fn up(settings: &Settings, folder: &Path) -> Result<(), MigratorError> {
    let stop = Stop::on_signals().unwrap();
    let migrator = Migrator::new(settings, Clock::system(), Entropy::system(), stop);
    let dialect = migrator.catalog().dialect();
    migrator.with_catalog(Catalog::from_folder(folder, dialect).unwrap()).up(None).await.map(drop)
}
