//! What is asked of a database, and how it is watched.

use std::borrow::Cow;
use std::future::Future;

use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::{Backend, DatabaseError};

/// What a statement needs of the connection that it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads single rows by a unique or covering index: so fast that it may share a connection.
    Lookup,
    /// Reads what may be a moment behind.
    Read,
    /// Reads what must not be behind.
    Current,
    /// Writes, or reads what it is about to write.
    Write,
    /// Writes single rows by their key, on a connection that nothing else takes.
    Reserved,
}

/// One statement of SQL with its parameters left open as `$1`, `$2` and so on.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(super) sql: Cow<'static, str>,
    pub(super) access: Access,
    collection: &'static str,
}

impl Statement {
    /// Reads single rows of `collection` (the table that matters most) by a unique or covering index.
    pub const fn lookup(collection: &'static str, sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), access: Access::Lookup, collection }
    }

    /// Reads `collection`, on a standby where there is one that is fresh enough.
    pub const fn read(collection: &'static str, sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), access: Access::Read, collection }
    }

    /// Reads `collection` as it is at this moment, never on a standby: sessions, tokens, what locks accounts.
    pub const fn current(collection: &'static str, sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), access: Access::Current, collection }
    }

    /// Writes `collection`.
    pub const fn write(collection: &'static str, sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), access: Access::Write, collection }
    }

    /// Writes single rows of `collection` by their key, and waits for no connection behind requests: for what is to go
    /// on while they, or work that it belongs to, have all of them.
    pub const fn reserved(collection: &'static str, sql: &'static str) -> Self {
        Self { sql: Cow::Borrowed(sql), access: Access::Reserved, collection }
    }

    /// The same statement with a text that was put together at run time, never from what a caller sent.
    #[must_use]
    pub fn with_sql(mut self, sql: String) -> Self {
        self.sql = Cow::Owned(sql);
        self
    }

    /// The text.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The first word of the text, in capitals when it was written so.
    fn operation(&self) -> &str {
        self.sql.split_whitespace().next().unwrap_or_default()
    }
}

/// What is logged and traced of each statement of a connection.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) backend: Backend,
    pub(super) namespace: String,
    pub(super) echo: bool,
}

impl Watch {
    /// Runs a statement under a span with the names of OpenTelemetry's semantic conventions, and logs it
    /// when the settings say so. `rows` counts what the statement found or changed.
    pub(super) async fn statement<T>(
        &self,
        statement: &Statement,
        rows: impl FnOnce(&T) -> u64,
        work: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let mut watched = self.begin(statement);
        let result = work.instrument(watched.span.clone()).await;
        watched.finish(result.as_ref().ok().map(rows), result.as_ref().err());
        result
    }

    /// Watches something that is not done in one go.
    pub(super) fn begin(&self, statement: &Statement) -> Watched {
        let echo = self.echo.then(|| (Instant::now(), statement.sql.clone()));
        Watched { span: self.span(statement), echo }
    }

    fn span(&self, statement: &Statement) -> Span {
        tracing::info_span!(
            target: "bedplate::span::db",
            "statement",
            otel.name = %format_args!("{} {}", statement.operation(), statement.collection),
            otel.kind = "client",
            otel.status_code = field::Empty,
            error.type = field::Empty,
            db.system.name = self.backend.name(),
            db.namespace = self.namespace,
            db.operation.name = statement.operation(),
            db.collection.name = statement.collection,
            db.query.text = statement.sql(),
        )
    }
}

/// A statement that is being run.
pub(super) struct Watched {
    span: Span,
    echo: Option<(Instant, Cow<'static, str>)>,
}

impl Watched {
    /// Tells how it ended. Only the first end counts.
    pub(super) fn finish(&mut self, rows: Option<u64>, error: Option<&DatabaseError>) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if let Some(error) = error {
            span.record("otel.status_code", "ERROR");
            span.record(
                "error.type",
                error.sqlstate().map_or_else(|| format!("{:?}", error.kind()), str::to_owned),
            );
        }
        if let Some((started, sql)) = self.echo.take() {
            let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
            let error = error.map(field::display);
            tracing::info!(target: "foundation::database", milliseconds, rows, error, sql = &*sql, "statement");
        }
    }
}
