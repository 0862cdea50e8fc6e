//! One process at a time has a duty, and another takes it over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, Statement};
use foundation::entropy::Entropy;
use foundation::on_both_databases;
use foundation::testing::{database_settings, eventually};
use service::leases::{LeaseError, Leases};
use service::lifecycle::{Lifecycle, Stage};
use tokio::time::timeout;

use crate::support::accounts::migrate;

const DEADLINE: Duration = Duration::from_secs(20);

fn leases(database: &Database) -> Leases {
    Leases::new(database.clone(), &Clock::system(), &Entropy::system())
}

async fn expire(database: &Database) {
    let sql = "UPDATE lease SET expires_at = $1";
    let past = time::OffsetDateTime::UNIX_EPOCH;
    database.execute(&Statement::write("lease", sql), &[past.into()]).await.unwrap();
}

on_both_databases! {
    async fn one_has_it_and_gives_it_back(database: TestDatabase) {
        migrate(&database).await;
        let database = database.open();
        let (one, other) = (leases(&database), leases(&database));
        let held = one.acquire("duty").await.unwrap().expect("nobody has it");
        assert!(other.acquire("duty").await.unwrap().is_none());
        assert!(one.acquire("duty").await.unwrap().is_none(), "not twice in one process either");
        assert!(other.acquire("another").await.unwrap().is_some());
        let first = held.fencing();
        held.release().await;
        let held = other.acquire("duty").await.unwrap().expect("it was given back");
        assert!(held.fencing() > first);
        drop(held);
        eventually(DEADLINE, "what is dropped is given back", || async {
            one.acquire("duty").await.unwrap().is_some()
        }).await;
    }

    /// As after a holder that was stopped for a while: its time went by, and another took the duty.
    async fn who_lost_it_is_told_and_changes_nothing(database: TestDatabase) {
        migrate(&database).await;
        let database = database.open();
        let held = leases(&database).acquire("duty").await.unwrap().unwrap();
        let mut transaction = database.begin().await.unwrap();
        held.confirm(&mut transaction).await.expect("it is held");
        transaction.commit().await.unwrap();
        expire(&database).await;
        let other = leases(&database).acquire("duty").await.unwrap().expect("its time is over");
        let mut transaction = database.begin().await.unwrap();
        let refused = held.confirm(&mut transaction).await;
        assert!(matches!(refused, Err(LeaseError::Lost("duty"))), "{refused:?}");
        other.confirm(&mut transaction).await.expect("the other has it");
        drop(transaction);
        timeout(DEADLINE, held.lost()).await.expect("it is told");
        drop(held);
        // What it gave back was not its own any more.
        let mut transaction = database.begin().await.unwrap();
        other.confirm(&mut transaction).await.expect("the other still has it");
    }

    async fn it_is_renewed(database: TestDatabase) {
        migrate(&database).await;
        let database = database.open();
        let held = leases(&database).acquire("duty").await.unwrap().unwrap();
        expire(&database).await;
        // Nobody else took it, so that its renewal makes it good again.
        eventually(DEADLINE, "the renewal", || async {
            let mut transaction = database.begin().await.unwrap();
            held.confirm(&mut transaction).await.is_ok()
        }).await;
    }

    /// As while a day is written to the archive: its rows come on the only connection that there is.
    async fn it_is_renewed_while_the_pool_is_in_use(test: TestDatabase) {
        migrate(&test).await;
        let limits = [("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0"), ("DATABASE_WAIT_TIMEOUT", "1s")];
        let settings = database_settings(limits);
        let database = Database::open(&test.url, &settings, "test").unwrap();
        let held = leases(&database).acquire("duty").await.unwrap().unwrap();
        let rows = database.query_stream(&Statement::read("nothing", "SELECT 1 AS one"), &[]).await.unwrap();
        let other = test.open();
        expire(&other).await;
        eventually(DEADLINE, "the renewal", || async {
            let mut transaction = other.begin().await.unwrap();
            held.confirm(&mut transaction).await.is_ok()
        }).await;
        drop(rows);
    }

    async fn a_duty_is_done_by_one_and_taken_over(database: TestDatabase) {
        migrate(&database).await;
        let database = database.open();
        let (at_once, most, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut processes = Vec::new();
        for _ in 0..3 {
            let lifecycle = Lifecycle::default();
            let (leases, of_it) = (leases(&database), lifecycle.clone());
            let (at_once, most, begun) = (Arc::clone(&at_once), Arc::clone(&most), Arc::clone(&begun));
            let task = tokio::spawn(async move {
                leases.keep("duty", &of_it, || async {
                    struct Leave(Arc<AtomicUsize>);
                    impl Drop for Leave {
                        fn drop(&mut self) {
                            self.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                    let _leave = Leave(Arc::clone(&at_once));
                    most.fetch_max(now, Ordering::SeqCst);
                    begun.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }).await;
            });
            processes.push((lifecycle, task));
        }
        for (index, (lifecycle, task)) in processes.into_iter().enumerate() {
            eventually(DEADLINE, "somebody has the duty", || async { at_once.load(Ordering::SeqCst) == 1 }).await;
            lifecycle.advance(Stage::Draining);
            timeout(DEADLINE, task).await.expect("it ends").unwrap();
            assert!(begun.load(Ordering::SeqCst) > 0, "{index}");
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(at_once.load(Ordering::SeqCst), 0);
    }
}
