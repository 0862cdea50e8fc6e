//! Audit events, as administrators read them.

use foundation::database::Database;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use serde_json::{Value, json};
use service::domain::audit::{Actor, ActorKind, AuditEvent, Change, Target};
use service::store::audit_events;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind, migrate};

const START: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);

/// What every fifth event was done with.
const CREDENTIAL: Uuid = Uuid::from_u128(0x019c_1436_f200_7000_8000_0000_0000_0001);

struct Fixture {
    service: TestService,
    accounts: Accounts,
    admin: Uuid,
    token: String,
    other: Uuid,
}

/// Twenty events, one each minute: of two actors, of two kinds, with and without a change.
async fn fixture(test: &TestDatabase) -> Fixture {
    migrate(test).await;
    let service = TestService::with(&[("DATABASE_URL", &test.address)], |it| it).await;
    let accounts = Accounts::new(test.open());
    let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
    let other = accounts.user("other", Kind::default()).await;
    let token = accounts.session(admin).await;
    for minute in 0..20 {
        let time = START + Duration::minutes(minute);
        let actor = if minute % 2 == 0 { admin } else { other };
        let before = (minute % 4 == 0).then(|| json!({ "is_blocked": false, "note": "a \"quote\" and ü" }));
        let event = AuditEvent {
            id: accounts.entropy.uuid_v7(time),
            occurred_at: time,
            action: if minute < 10 { "user.updated" } else { "login.failed" }.to_owned(),
            actor: Actor {
                id: Some(actor),
                kind: ActorKind::Session,
                credential: (minute % 5 == 0).then_some(CREDENTIAL),
            },
            target: Target::user(other),
            address: Some("192.0.2.7".to_owned()),
            request_id: None,
            change: Change { before: before.clone(), after: before },
        };
        insert(&accounts.database, &event).await;
    }
    Fixture { service, accounts, admin, token, other }
}

async fn insert(database: &Database, event: &AuditEvent) {
    let mut transaction = database.begin().await.unwrap();
    audit_events::insert(&mut transaction, event).await.unwrap();
    transaction.commit().await.unwrap();
}

impl Fixture {
    async fn ask(&self, query: &str) -> (u16, Value) {
        let url = self.service.url(&format!("/api/v1/audit-events?{query}"));
        let answer = self.service.client.get(url).bearer_auth(&self.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The minutes of all events that a query finds, page by page.
    async fn minutes(&self, query: &str, limit: usize) -> Vec<i64> {
        let (mut minutes, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.ask(&format!("{query}&limit={limit}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            minutes.extend(items.iter().map(minute));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return minutes,
            }
        }
    }
}

fn minute(event: &Value) -> i64 {
    let format = &time::format_description::well_known::Rfc3339;
    let time = OffsetDateTime::parse(event["occurred_at"].as_str().unwrap(), format).unwrap();
    (time - START).whole_minutes()
}

on_both_databases! {
    async fn pages_go_from_new_to_old(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let all: Vec<i64> = (0..20).rev().collect();
        for limit in [1, 7, 20, 200] {
            assert_eq!(fixture.minutes("", limit).await, all);
        }
        let (_, page) = fixture.ask("limit=200").await;
        let first = &page["items"][19];
        assert_eq!(first["before"], json!({ "is_blocked": false, "note": "a \"quote\" and ü" }));
        assert_eq!((&first["actor_id"], &first["request_id"]), (&json!(fixture.admin), &Value::Null));
        assert_eq!((&first["credential_id"], &page["items"][18]["credential_id"]), (&json!(CREDENTIAL), &Value::Null));
        assert_eq!((&page["items"][0]["after"], &first["actor_kind"]), (&Value::Null, &json!("session")));
    }

    async fn filters_hold_all_at_once(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let (admin, other) = (fixture.admin, fixture.other);
        let every = |step: i64, from: i64, to: i64| (from..to).filter(|it| it % step == 0).rev().collect::<Vec<_>>();
        assert_eq!(fixture.minutes(&format!("actor_id={admin}"), 3).await, every(2, 0, 20));
        assert_eq!(fixture.minutes(&format!("credential_id={CREDENTIAL}"), 3).await, every(5, 0, 20));
        let both = format!("credential_id={CREDENTIAL}&actor_id={admin}");
        assert_eq!(fixture.minutes(&both, 3).await, every(10, 0, 20));
        assert_eq!(fixture.minutes("action=login.failed", 3).await, every(1, 10, 20));
        assert_eq!(fixture.minutes(&format!("action=login.failed&actor_id={admin}"), 3).await, every(2, 10, 20));
        assert_eq!(fixture.minutes(&format!("target_type=user&target_id={other}"), 9).await, every(1, 0, 20));
        assert_eq!(fixture.minutes(&format!("target_id={admin}"), 9).await, [0_i64; 0]);
        // From is of the range, to is not; another offset is the same moment.
        assert_eq!(fixture.minutes("from=2026-01-31T12:05:00Z&to=2026-01-31T12:08:00Z", 2).await, [7, 6, 5]);
        assert_eq!(fixture.minutes("from=2026-01-31T14:05:00%2B02:00&to=2026-01-31T12:05:00.000001Z", 2).await, [5]);
    }

    async fn cursors_belong_to_their_query(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let (_, page) = fixture.ask("limit=3").await;
        let cursor = page["next_cursor"].as_str().unwrap();
        assert_eq!(fixture.ask(&format!("limit=5&cursor={cursor}")).await.0, 200);
        let id = page["items"][2]["id"].as_str().unwrap();
        let forged = cursor.replacen(&cursor[..2], if cursor.starts_with("00") { "11" } else { "00" }, 1);
        for query in [
            format!("cursor={cursor}&action=login.failed"),
            format!("cursor={forged}"),
            format!("cursor={id}"),
            "cursor=%C3%BC".to_owned(),
        ] {
            let (status, problem) = fixture.ask(&query).await;
            assert!((400..500).contains(&status), "{query}: {problem}");
            assert_eq!(problem["errors"][0]["pointer"], "/query/cursor", "{problem}");
        }
        for query in ["limit=0", "limit=201", "actor_id=me", "credential_id=mine", "from=today", "target_type=%00", "action=A"] {
            let (status, problem) = fixture.ask(query).await;
            assert_eq!(status, 400, "{query}: {problem}");
        }
    }

    /// A token needs the scope, and its owner has to be an administrator.
    async fn only_administrators_read_them(database: TestDatabase) {
        let mut fixture = fixture(&database).await;
        let (admin, other) = (fixture.admin, fixture.other);
        let tokens = [
            (fixture.accounts.token(admin, "audit:read").await, 200, ""),
            (fixture.accounts.token(admin, "users:read").await, 403, "missing_scope"),
            (fixture.accounts.token(other, "audit:read").await, 403, "admin_only"),
            (fixture.accounts.session(other).await, 403, "admin_only"),
            ("nobody's".to_owned(), 401, "unauthorized"),
        ];
        for (token, status, code) in tokens {
            fixture.token = token;
            let answer = fixture.ask("limit=1").await;
            assert_eq!((answer.0, answer.1["code"].as_str().unwrap_or_default()), (status, code));
        }
    }
}
