//! Accounts with sessions and tokens, put into the database as they are.
#![allow(dead_code, unreachable_pub, clippy::expect_used, reason = "each test file uses a part of it")]

use foundation::clock::Clock;
use foundation::database::{Database, Statement, Value};
use foundation::entropy::Entropy;
use foundation::settings::{Environment, Secret};
use foundation::testing::{TestDatabase, eventually, evidence};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use service::access::token_hash;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The password of every account.
pub const PASSWORD: &str = "a passphrase for tests";

/// The password of the administrator `admin`, whom the migrations make.
pub const ADMIN_PASSWORD: &str = "the first admin's";

/// Brings a database of either kind up to date.
pub async fn migrate(database: &TestDatabase) {
    migrate_with(database, &[]).await;
}

/// The same with these variables beside.
pub async fn migrate_with(database: &TestDatabase, variables: &[(&str, &str)]) {
    let address = [("DATABASE_URL", database.address.as_str()), ("ADMIN_PASSWORD", ADMIN_PASSWORD)];
    let variables = [&address, variables].concat();
    evidence::variables(variables.iter().copied());
    let mut environment = Environment::from_pairs(variables);
    let settings = Settings::read(&mut environment);
    environment.finish().expect("the settings are good");
    let (_nobody_stops_it, stop) = Stop::new();
    let migrator = Migrator::new(&settings, Clock::system(), Entropy::system(), stop);
    migrator.up(None).await.expect("it is brought up to date");
}

/// How an account differs from a plain one.
#[derive(Clone, Copy, Default)]
pub struct Kind {
    pub is_admin: bool,
    pub is_blocked: bool,
    pub is_inactive: bool,
}

/// Puts accounts, sessions and tokens into a database.
pub struct Accounts {
    pub database: Database,
    pub entropy: Entropy,
    password_hash: String,
}

const USER: Statement = Statement::write(
    "users",
    "INSERT INTO users (id, username, password_hash, user_type, is_admin, is_blocked, is_active) VALUES ($1, $2, $3, 'local', $4, $5, $6)",
);
const SESSION: Statement = Statement::write(
    "session",
    "INSERT INTO session (id, user_id, token_hash, expires_at) VALUES ($1, $2, $3, $4)",
);
const TOKEN: Statement = Statement::write(
    "api_token",
    "INSERT INTO api_token (id, user_id, name, token_hash, scopes, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
);

const POLICY: Statement = Statement::write(
    "archive_policy",
    "INSERT INTO archive_policy (id, metric_type, retention_days, action) VALUES ($1, $2, 30, 'delete')",
);
const RUN: Statement = Statement::write(
    "archive_run",
    "INSERT INTO archive_run (id, reason, is_dry_run, state, fencing, started_at) VALUES ($1, 'request', $3, 'succeeded', 1, $2)",
);
const LEASE: Statement = Statement::current("lease", "SELECT expires_at FROM lease WHERE name = 'archive'");

impl Accounts {
    pub fn new(database: Database) -> Self {
        evidence::secret(PASSWORD);
        let entropy = Entropy::system();
        let password_hash = migrator::admin::hash(&Secret::from(PASSWORD.to_owned()), &entropy);
        Self { database, password_hash: password_hash.expect("a hash"), entropy }
    }

    pub fn id(&self) -> Uuid {
        self.entropy.uuid_v7(Clock::system().now())
    }

    async fn insert(&self, statement: &Statement, values: &[Value]) {
        self.database.execute(statement, values).await.expect("it is inserted");
    }

    /// An account; its name is `prefix` and its id.
    pub async fn user(&self, prefix: &str, kind: Kind) -> Uuid {
        let id = self.id();
        let values: [Value; 6] = [
            id.into(),
            format!("{prefix}-{id}").into(),
            self.password_hash.as_str().into(),
            kind.is_admin.into(),
            kind.is_blocked.into(),
            (!kind.is_inactive).into(),
        ];
        self.insert(&USER, &values).await;
        id
    }

    /// A session that ends at this time, and its token.
    pub async fn session_until(&self, user: Uuid, end: OffsetDateTime) -> (Uuid, String) {
        let (id, token) = (self.id(), self.id().to_string());
        evidence::secret(&token);
        let values: [Value; 4] = [id.into(), user.into(), token_hash(&token).to_vec().into(), end.into()];
        self.insert(&SESSION, &values).await;
        (id, token)
    }

    /// The token of a session that lasts.
    pub async fn session(&self, user: Uuid) -> String {
        self.session_until(user, Clock::system().now() + Duration::HOUR).await.1
    }

    /// A token for programs that ends at this time.
    pub async fn token_until(&self, user: Uuid, scopes: &str, end: OffsetDateTime) -> (Uuid, String) {
        let (id, token) = (self.id(), self.id().to_string());
        evidence::secret(&token);
        let values: [Value; 6] = [
            id.into(),
            user.into(),
            id.to_string().into(),
            token_hash(&token).to_vec().into(),
            scopes.into(),
            end.into(),
        ];
        self.insert(&TOKEN, &values).await;
        (id, token)
    }

    /// A token for programs that lasts.
    pub async fn token(&self, user: Uuid, scopes: &str) -> String {
        self.token_until(user, scopes, Clock::system().now() + Duration::HOUR).await.1
    }

    /// An archive policy, or a run of which nothing keeps the next one away.
    pub async fn archive(&self, is_run: bool) -> Uuid {
        let (id, now) = (self.id(), Clock::system().now());
        if is_run {
            let values: [Value; 3] = [id.into(), now.into(), false.into()];
            self.insert(&RUN, &values).await;
            // Whoever began a run before has to be through with it.
            eventually(std::time::Duration::from_secs(20), "no run is under way", async || {
                let rows = self.database.query(&LEASE, &[]).await.expect("it is asked");
                rows.iter().all(|row| {
                    row.get::<OffsetDateTime>("expires_at").expect("a time") <= Clock::system().now()
                })
            })
            .await;
        } else {
            self.insert(&POLICY, &[id.into(), id.to_string().into()]).await;
        }
        id
    }
}
