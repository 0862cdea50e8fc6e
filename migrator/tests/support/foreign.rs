//! The tables of other tools for migrations, as those tools make them.

use foundation::database::Backend;
use sha2::{Digest, Sha384};

use super::folders::Contents;

/// A tool and its table.
#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    /// As it is written after `--from`.
    pub(crate) option: &'static str,
    pub(crate) table: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

impl Fixture {
    /// The statement that makes its table.
    pub(crate) fn create(&self, backend: Backend) -> &'static str {
        match backend {
            Backend::Postgres => self.postgres,
            Backend::Sqlite => self.sqlite,
        }
    }
}

const OF_ALEMBIC: &str = "CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)";

pub(crate) const ALEMBIC: Fixture =
    Fixture { option: "alembic", table: "alembic_version", postgres: OF_ALEMBIC, sqlite: OF_ALEMBIC };

pub(crate) const FLYWAY: Fixture = Fixture {
    option: "flyway",
    table: "flyway_schema_history",
    postgres: "CREATE TABLE flyway_schema_history (
    installed_rank INT NOT NULL,
    version VARCHAR(50),
    description VARCHAR(200) NOT NULL,
    type VARCHAR(20) NOT NULL,
    script VARCHAR(1000) NOT NULL,
    checksum INTEGER,
    installed_by VARCHAR(100) NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT now(),
    execution_time INTEGER NOT NULL,
    success BOOLEAN NOT NULL,
    CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank)
);
CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success);",
    sqlite: "CREATE TABLE flyway_schema_history (
    installed_rank INT NOT NULL PRIMARY KEY,
    version VARCHAR(50),
    description VARCHAR(200) NOT NULL,
    type VARCHAR(20) NOT NULL,
    script VARCHAR(1000) NOT NULL,
    checksum INT,
    installed_by VARCHAR(100) NOT NULL,
    installed_on TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f','now')),
    execution_time INT NOT NULL,
    success BOOLEAN NOT NULL
);
CREATE INDEX flyway_schema_history_s_idx ON flyway_schema_history (success);",
};

pub(crate) const GOLANG_MIGRATE: Fixture = Fixture {
    option: "golang-migrate",
    table: "schema_migrations",
    postgres: "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint not null primary key, dirty boolean not null)",
    sqlite: "CREATE TABLE IF NOT EXISTS schema_migrations (version uint64,dirty bool);
CREATE UNIQUE INDEX IF NOT EXISTS version_unique ON schema_migrations (version);",
};

pub(crate) const SQLX: Fixture = Fixture {
    option: "sqlx",
    table: "_sqlx_migrations",
    postgres: "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
)",
    sqlite: "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)",
};

pub(crate) const DBMATE: Fixture = Fixture {
    option: "dbmate",
    table: "schema_migrations",
    postgres: "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar NOT NULL PRIMARY KEY)",
    sqlite: "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY)",
};

pub(crate) const GOOSE: Fixture = Fixture {
    option: "goose",
    table: "goose_db_version",
    postgres: "CREATE TABLE goose_db_version (
    id serial NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp NULL DEFAULT now(),
    PRIMARY KEY (id)
)",
    sqlite: "CREATE TABLE goose_db_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL,
    tstamp TIMESTAMP DEFAULT (datetime('now'))
)",
};

/// The rows that sqlx writes when it has run these files, which begin with their versions.
pub(crate) fn sqlx_rows(backend: Backend, contents: Contents<'_>) -> String {
    let rows: Vec<String> = contents
        .iter()
        .map(|(name, text)| {
            let (version, description) = name.trim_end_matches(".sql").split_once('_').unwrap();
            let hex: String = Sha384::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            let checksum = match backend {
                Backend::Postgres => format!("'\\x{hex}'"),
                Backend::Sqlite => format!("x'{hex}'"),
            };
            format!("({version}, '{description}', true, {checksum}, 1000)")
        })
        .collect();
    format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES {}",
        rows.join(", ")
    )
}

/// Flyway's checksum of a text, line by line.
pub(crate) fn crc32(text: &str) -> i32 {
    let mut hasher = crc32fast::Hasher::new();
    text.lines().for_each(|line| hasher.update(line.as_bytes()));
    hasher.finalize().cast_signed()
}
