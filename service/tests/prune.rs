//! What is over is deleted, in batches, and what is not stays.

use std::sync::Arc;

use foundation::clock::Clock;
use foundation::database::{Database, Statement, Value};
use foundation::on_both_databases;
use foundation::settings::{Environment, Section as _};
use service::lifecycle::{Lifecycle, Stage};
use service::live_settings::{Live, LiveSettings};
use service::prometheus::RetentionMetrics;
use service::prune::Prune;
use service::settings::AuthSettings;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::accounts::{Accounts, Kind, migrate};

const NOW: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);

fn prune(database: &Database, now: OffsetDateTime) -> Prune {
    let variables = [
        ("AUTH_FAILURE_RETENTION", "2d"),
        ("AUTH_IDEMPOTENCY_RETENTION", "3d"),
        ("AUTH_AUDIT_RETENTION", "4d"),
    ];
    let settings = AuthSettings::read(&mut Environment::from_pairs(variables));
    let (clock, entropy) = (Clock::fixed(now), foundation::entropy::Entropy::system());
    let live = LiveSettings::fixed(Live::defaults(&settings, None));
    Prune {
        database: database.clone(),
        clock,
        entropy,
        settings: Arc::new(settings),
        live,
        metrics: RetentionMetrics::default(),
    }
}

async fn execute(database: &Database, sql: &str, values: &[Value]) {
    database.execute(&Statement::write("x", "").with_sql(sql.to_owned()), values).await.unwrap();
}

/// Something of each kind that is kept by its age, at this time.
async fn leave(accounts: &Accounts, caller: Uuid, time: OffsetDateTime) {
    let database = &accounts.database;
    let id = accounts.id();
    let name: Value = id.to_string().into();
    let failure =
        "INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) VALUES ($1, 1, $2, $2)";
    execute(database, failure, &[format!("pair:192.0.2.7 {id}").into(), time.into()]).await;
    let key = "INSERT INTO idempotency_key (caller, method, path, key, body_hmac, status, headers, body, created_at) \
               VALUES ($1, 'POST', '/x', $2, $3, 201, '{}', '', $4)";
    execute(database, key, &[caller.into(), name, vec![0_u8; 32].into(), time.into()]).await;
    let event = "INSERT INTO audit_event (id, occurred_at, action, actor_kind, target_type) VALUES ($1, $2, 'x', 'anonymous', 'x')";
    execute(database, event, &[id.into(), time.into()]).await;
}

async fn counts(database: &Database) -> [i64; 5] {
    let mut counts = [0; 5];
    for (count, table) in
        counts.iter_mut().zip(["session", "api_token", "login_failure", "idempotency_key", "audit_event"])
    {
        let sql = format!("SELECT count(*) AS it FROM {table}");
        let rows = database.query(&Statement::read("x", "").with_sql(sql), &[]).await.unwrap();
        *count = rows[0].get("it").unwrap();
    }
    counts
}

on_both_databases! {
    async fn each_is_kept_for_its_time(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let pool = &accounts.database;
        let user = accounts.user("user", Kind::default()).await;
        for days in 0..6 {
            let time = NOW - Duration::days(days);
            accounts.session_until(user, time).await;
            accounts.token_until(user, "users:read", time + Duration::HOUR).await;
            leave(&accounts, user, time).await;
        }
        assert_eq!(counts(pool).await, [6; 5]);
        // Sessions and tokens are over at their end; the others are kept for two, three and four days.
        assert_eq!(prune(pool, NOW).round().await.unwrap(), 6 + 5 + 4 + 3 + 2);
        assert_eq!(counts(pool).await, [0, 1, 2, 3, 4]);
        assert_eq!(prune(pool, NOW).round().await.unwrap(), 0);
        prune(pool, NOW + Duration::days(2)).round().await.unwrap();
        assert_eq!(counts(pool).await, [0, 0, 0, 1, 2]);
        prune(pool, NOW + Duration::days(365)).round().await.unwrap();
        assert_eq!(counts(pool).await, [0; 5]);
    }

    /// A session that nobody uses is over before its end, and its row is of no use any more.
    async fn what_is_not_used_is_over_too(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let pool = &accounts.database;
        let user = accounts.user("user", Kind::default()).await;
        let token = accounts.session_until(user, NOW + Duration::days(30)).await.1;
        let used = NOW - Duration::days(7);
        execute(pool, "UPDATE session SET last_used_at = $1", &[used.into()]).await;
        assert_eq!(prune(pool, NOW).round().await.unwrap(), 0);
        let idle = std::time::Duration::from_secs(7 * 86_400);
        let later = NOW + Duration::MICROSECOND;
        let gate = service::access::Gate::new(pool.clone(), Clock::fixed(later), idle);
        assert!(gate.admit(&token).await.unwrap().is_none());
        assert_eq!(prune(pool, later).round().await.unwrap(), 1);
        assert_eq!(counts(pool).await[0], 0);
    }

    /// Many rows go in several transactions of one round.
    async fn many_go_in_batches(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let series = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2500) \
             INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) \
             SELECT 'address:' || CAST(n AS TEXT), 1, $1, $1 FROM series";
        execute(&pool, series, &[(NOW - Duration::days(3)).into()]).await;
        assert_eq!(prune(&pool, NOW).round().await.unwrap(), 2500);
        assert_eq!(counts(&pool).await[2], 0);
    }

    /// What is deleted early is gone for all replicas: the clock of one of them is not enough.
    async fn a_clock_that_is_ahead_deletes_nothing_early(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let pool = &accounts.database;
        let user = accounts.user("user", Kind::default()).await;
        let now = Clock::system().now();
        accounts.session_until(user, now + Duration::HOUR).await;
        execute(pool, "UPDATE session SET last_used_at = $1", &[now.into()]).await;
        accounts.token_until(user, "users:read", now + Duration::HOUR).await;
        leave(&accounts, user, now).await;
        assert_eq!(prune(pool, now + Duration::days(30)).round().await.unwrap(), 0);
        assert_eq!(counts(pool).await, [1; 5]);
        // One that is behind keeps more than it has to.
        assert_eq!(prune(pool, now - Duration::days(30)).round().await.unwrap(), 0);
    }

    /// Two replicas at the same time are in nobody's way.
    async fn replicas_prune_together(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let pool = &accounts.database;
        let user = accounts.user("user", Kind::default()).await;
        for _ in 0..50 {
            leave(&accounts, user, NOW - Duration::days(30)).await;
        }
        let (first, second) = (prune(pool, NOW), prune(&database.open(), NOW));
        let (first, second) = tokio::join!(first.round(), second.round());
        assert_eq!(first.unwrap() + second.unwrap(), 150);
        assert_eq!(counts(pool).await, [0; 5]);
    }

    async fn it_ends_when_the_service_drains(database: TestDatabase) {
        let lifecycle = Lifecycle::default();
        let running = tokio::spawn(prune(&database.open(), NOW).run(lifecycle.clone()));
        lifecycle.advance(Stage::Draining);
        tokio::time::timeout(std::time::Duration::from_secs(5), running).await.expect("it ends").unwrap();
    }
}
