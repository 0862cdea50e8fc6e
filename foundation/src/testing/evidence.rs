//! What the tests' programs said, and the secrets that they were given, so that a last step can look for
//! the ones in the others (`deploy/development/sweep-secrets.sh`, which `make test` runs at the end).
//!
//! Files in the folder that `BEDPLATE_TEST_EVIDENCE` names: `secrets/*`, one on each line, and `said/*`, one
//! for each process and kind. Without the variable nothing is kept.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, Once};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::{TestDatabase, database_settings};
use crate::database::{Connection, DatabaseUrl, Statement};

/// What is shorter is part of some word or other.
const SHORTEST: usize = 12;

/// Everything of ours and of what knows statements and requests; the clients of the tests are not watched.
const WATCHED: &str = "debug,service=trace,migrator=trace,foundation=trace,poem=trace,tokio_postgres=trace,\
                       h2=info,hyper=info,hyper_util=info,reqwest=info,thirtyfour=off";

static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("BEDPLATE_TEST_EVIDENCE").map(PathBuf::from));

static FILES: Mutex<BTreeMap<String, File>> = Mutex::new(BTreeMap::new());

fn write(kind: &str, text: &str) {
    let Some(folder) = &*FOLDER else { return };
    let mut files = FILES.lock().unwrap();
    let file = files.entry(kind.to_owned()).or_insert_with(|| {
        let program = std::env::current_exe().unwrap();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = folder.join(if kind == "secrets" { "secrets" } else { "said" });
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{program}-{}.{kind}", std::process::id()));
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    });
    file.write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Something that nobody may say: a password or a token.
pub fn secret(text: &str) {
    if text.len() < SHORTEST || text.contains(['\n', '\r', '\0']) {
        return;
    }
    write("secrets", text);
    // As it stands in JSON, which is the form of the logs.
    let escaped = Value::from(text).to_string();
    let escaped = escaped.trim_matches('"');
    if escaped != text {
        write("secrets", escaped);
    }
}

/// The secrets among the variables that a program is given.
pub fn variables<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, value) in pairs {
        if name.ends_with("PASSWORD") || name.ends_with("SECRET") {
            secret(value);
        }
        // The user beside it, because a database's password may be a word.
        let authority = value.split_once("://").and_then(|(_, it)| it.rsplit_once('@'));
        if let Some((credentials, _)) = authority.filter(|(it, _)| it.contains(':')) {
            secret(&format!("{credentials}@"));
        }
    }
}

/// The secrets in a body of a request or an answer.
pub fn secrets_in(body: &Value) {
    match body {
        Value::Array(items) => items.iter().for_each(secrets_in),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "token" || name.ends_with("password") => secret(text),
            other => secrets_in(other),
        }),
        _ => {}
    }
}

/// Something that was said. `kind` is `program`, `error`, `spans`, `tables` or `log`.
pub fn said(kind: &str, text: &str) {
    write(kind, text);
}

/// Keeps all that this process logs, and the fields of its spans.
pub fn watch() {
    static ONCE: Once = Once::new();
    if FOLDER.is_none() {
        return;
    }
    ONCE.call_once(|| {
        let layer = Watch.with_filter(EnvFilter::new(WATCHED));
        // Where a test has a log of its own, that is watched by the test.
        if tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).is_ok() {
            let _there_is_one = tracing_log::LogTracer::init();
        }
    });
}

/// Keeps what the tables tell that others may read or get back.
pub(super) async fn tables(database: &TestDatabase) {
    const AUDIT: &str = "SELECT action || ' ' || COALESCE(target_id, '') || ' ' || COALESCE(CAST(before AS TEXT), '') \
         || ' ' || COALESCE(CAST(after AS TEXT), '') AS it FROM audit_event";
    const KEYS: &str = "SELECT CAST(headers AS TEXT) || ' ' || CAST(body AS TEXT) AS it FROM idempotency_key";
    let is_sqlite = matches!(&database.url, DatabaseUrl::Sqlite(_));
    if FOLDER.is_none() || is_sqlite && !database.file().exists() {
        return;
    }
    // Many tests have another schema, or none.
    let Ok(mut connection) = Connection::open(&database.url, &database_settings([]), "test").await else {
        return;
    };
    for sql in [AUDIT, KEYS] {
        let statement = Statement::read("test", "").with_sql(sql.to_owned());
        for row in connection.query(&statement, &[]).await.unwrap_or_default() {
            said("tables", &row.get::<String>("it").unwrap());
        }
    }
}

struct Watch;

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _infallible = write!(self.0, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = write!(self.0, " {}={value:?}", field.name());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watch {
    fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _context: Context<'_, S>) {
        let mut line = Line(attributes.metadata().name().to_owned());
        attributes.record(&mut line);
        said("log", &line.0);
    }

    fn on_record(&self, _id: &Id, values: &Record<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        values.record(&mut line);
        said("log", &line.0);
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line(event.metadata().target().to_owned());
        event.record(&mut line);
        said("log", &line.0);
    }
}
