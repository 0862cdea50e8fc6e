//! The daily run of several replicas.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::on_both_databases;
use foundation::testing::eventually;
use service::archive::schedule::run_daily;
use service::lifecycle::{Lifecycle, Stage};
use time::macros::datetime;

use super::world::{World, archiving};

on_both_databases! {
    async fn replicas_run_once_in_the_hour_of_a_day(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "delete", true).await;
        let lifecycle = Lifecycle::default();
        let now = std::sync::Arc::new(std::sync::Mutex::new(datetime!(2026-03-31 2:59 UTC)));
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let now = now.clone();
            let clock = Clock::told_by(move || *now.lock().unwrap());
            let archiving = archiving(&world.test, &world.test.open(), clock, &[]);
            replicas.push(tokio::spawn(run_daily(archiving, Duration::from_millis(10), lifecycle.clone())));
        }
        let runs = async || world.query("SELECT id FROM archive_run WHERE state = 'succeeded'", &[]).await.len();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(runs().await, 0, "the hour has not come");
        *now.lock().unwrap() = datetime!(2026-03-31 3:00 UTC);
        eventually(Duration::from_secs(20), "the run of the day", async || runs().await == 1).await;
        assert_eq!(world.table().await.len(), 0);
        *now.lock().unwrap() = datetime!(2026-03-31 3:59 UTC);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.query("SELECT id FROM archive_run", &[]).await.len(), 1, "one is enough");
        *now.lock().unwrap() = datetime!(2026-04-01 3:10 UTC);
        eventually(Duration::from_secs(20), "the run of the next day", async || runs().await == 2).await;
        lifecycle.advance(Stage::Draining);
        for replica in replicas {
            replica.await.unwrap();
        }
    }
}
