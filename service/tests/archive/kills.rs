//! The program killed at random moments of a run: after the next one each row is in one place.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use foundation::entropy::Entropy;
use foundation::on_both_databases;
use foundation::testing::{pooled, program};
use service::domain::archive_files::manifest_location;
use time::OffsetDateTime;
use tokio::process::Command;

use super::world::{Rows, World};

/// Within this time another process has the duty of one that was killed.
const TAKEN_OVER: Duration = Duration::from_secs(10);

fn rounds() -> usize {
    if std::env::var_os("BEDPLATE_TEST_LONG").is_some() { 20 } else { 5 }
}

pub fn command(world: &World) -> Command {
    command_with(world, &["run"])
}

/// `service archive` with these arguments.
pub fn command_with(world: &World, arguments: &[&str]) -> Command {
    let place = format!("file://{}", world.test.folder.path().join("archive").display());
    let mut command = program(env!("CARGO_BIN_EXE_service"), world.test.folder.path());
    command
        .arg("archive")
        .args(arguments)
        .env("DATABASE_URL", pooled(&world.test.address))
        .env("ARCHIVE_URL", place);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Days of which partitions go whole, and days of which some types stay.
async fn fill(world: &World) {
    world.fill("cpu", 20..24, 1200).await;
    world.fill("disk", 20..24, 1100).await;
    world.fill("net", 22..25, 1300).await;
    world.fill("kept", [22, 23], 3).await;
}

/// Runs until it is this process's turn, and to the end.
async fn run_to_the_end(world: &World, since: Instant) {
    loop {
        let output = command(world).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => return,
            Some(75) => assert!(since.elapsed() < TAKEN_OVER, "nobody takes over: {said}"),
            other => panic!("{other:?}: {said}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts a run and kills it so long after it began to work; says whether it was still working.
async fn kill_after(world: &World, delay: Duration) -> bool {
    let runs = "SELECT id FROM archive_run WHERE state = 'running'";
    let mut child = command(world).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.query(runs, &[]).await.is_empty() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not begin");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(delay).await;
    child.kill().await.unwrap();
    !world.query(runs, &[]).await.is_empty()
}

/// Each row is in the table or in one verified archive, and nothing else lies in the archive.
async fn check(world: &World, all: &Rows) {
    let (table, archived) = (world.table().await, world.archived(&["verified", "archived"]).await);
    assert!(table.values().all(|row| row.2 == "kept"), "{:?}", table.values().find(|row| row.2 != "kept"));
    assert!(table.keys().all(|id| !archived.contains_key(id)), "a row is in two places");
    let found: Rows = table.into_iter().chain(archived).collect();
    assert_eq!((found.len(), found == *all), (all.len(), true), "every row is somewhere, as it was");
    assert_eq!(world.states().await.into_iter().collect::<Vec<_>>(), ["archived"]);
    let locations = world.query("SELECT location FROM archive_file", &[]).await;
    let locations = locations.iter().map(|row| row.get::<String>("location").unwrap());
    let known: BTreeSet<_> = locations.flat_map(|it| [manifest_location(&it), it]).collect();
    let mut lying = BTreeSet::new();
    collect(&world.test.folder.path().join("archive"), "", &mut lying);
    assert_eq!(lying, known, "nothing lies in the archive that nobody knows of");
    if world.is_postgres() {
        assert!(world.query("SELECT name FROM metrics_snapshot_detached", &[]).await.is_empty());
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

on_both_databases! {
    async fn wherever_a_run_is_killed_no_row_is_lost_or_doubled(test: TestDatabase) {
        let world = World::start(test).await;
        for name in ["cpu", "disk", "net"] {
            world.policy(name, 5, "archive", true).await;
        }
        fill(&world).await;
        let mut all = world.table().await;
        run_to_the_end(&world, Instant::now()).await;
        check(&world, &all).await;
        let row = world.query("SELECT started_at, finished_at FROM archive_run", &[]).await.remove(0);
        let [begin, end] = ["started_at", "finished_at"].map(|it| row.get::<OffsetDateTime>(it).unwrap());
        let length = Duration::try_from(end - begin).unwrap();
        let (entropy, mut in_the_middle) = (Entropy::system(), 0);
        for round in 0..rounds() {
            fill(&world).await;
            all.extend(world.table().await);
            let delay = length.mul_f64(entropy.fraction());
            let was_working = kill_after(&world, delay).await;
            in_the_middle += usize::from(was_working);
            eprintln!("round {round}: killed after {delay:?} of {length:?}, working: {was_working}");
            run_to_the_end(&world, Instant::now()).await;
            check(&world, &all).await;
            let abandoned = world.query("SELECT id FROM archive_run WHERE state = 'abandoned'", &[]).await;
            assert_eq!(abandoned.len(), in_the_middle);
        }
        assert!(in_the_middle > 0, "no run was killed in the middle");
    }
}
