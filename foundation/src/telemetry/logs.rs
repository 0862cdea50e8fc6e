//! The lines of the log: JSON for machines, text for people, with the fields of the span that they
//! were written in.

use std::fmt::{self, Write as _};
use std::ops::Range;

use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, ParseError, filter_fn};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::{DATABASE_SPANS, SPANS};
use crate::clock::Clock;

/// Takes one line of the log, its line feed included.
pub type LogWriter = Box<dyn Fn(&[u8]) + Send + Sync>;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people, in colour or not.
    Text {
        /// Whether levels are coloured.
        colour: bool,
    },
}

const TIMESTAMP: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// Writes each event as one line. Events carry the fields of the spans of [`SPANS`] around them.
pub(super) struct LogLayer {
    pub(super) format: LineFormat,
    pub(super) clock: Clock,
    pub(super) write: LogWriter,
}

/// What reaches the log: the events that `directives` let through, and, whatever they say, the spans
/// whose fields belong on every line. Other spans, those of statements among them, are never asked for, so
/// that they cost nothing when nobody else wants them. What the OpenTelemetry SDK says of itself is told by the exporter.
pub(super) fn filter<S>(directives: &str) -> Result<(impl Filter<S> + use<S>, LevelFilter), ParseError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // What refinery says of each migration, the migrator says better.
    let directives = EnvFilter::try_new(format!("refinery_core=off,{directives}"))?;
    let most_verbose = directives.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let context = filter_fn(is_context).with_max_level_hint(LevelFilter::INFO);
    let wanted =
        filter_fn(|it| if it.is_span() { is_context(it) } else { !it.target().starts_with("opentelemetry") });
    Ok((directives.or(context).and(wanted), most_verbose))
}

fn is_context(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && target.starts_with(SPANS)
        && !target.starts_with(DATABASE_SPANS)
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_context(attributes.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The event's own fields come first, then those of the nearest span: the first of a name wins.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add(outer);
            }
        }
        let timestamp = self.clock.now().format(TIMESTAMP).unwrap_or_default();
        let line = match self.format {
            LineFormat::Json => json_line(&timestamp, metadata, &fields),
            LineFormat::Text { colour } => text_line(&timestamp, metadata, &fields, colour),
        };
        (self.write)(line.as_bytes());
    }
}

fn json_line(timestamp: &str, metadata: &Metadata<'_>, fields: &Fields) -> String {
    let mut line = String::with_capacity(LINE_CAPACITY);
    let _infallible = write!(line, r#"{{"timestamp":"{timestamp}","level":"{}","target":"#, metadata.level());
    push_json(&mut line, metadata.target());
    if let Some(message) = &fields.message {
        line.push_str(",\"message\":");
        push_json(&mut line, message);
    }
    for (name, value) in fields.iter() {
        line.push(',');
        // A name that the line itself uses would stand in it twice.
        if matches!(name, "timestamp" | "level" | "target" | "message") {
            push_json(&mut line, &format!("field.{name}"));
        } else {
            push_json(&mut line, name);
        }
        line.push(':');
        line.push_str(value);
    }
    line.push_str("}\n");
    line
}

fn text_line(timestamp: &str, metadata: &Metadata<'_>, fields: &Fields, colour: bool) -> String {
    let level = *metadata.level();
    let (on, off) = if colour { (colour_of(level), "\x1b[0m") } else { ("", "") };
    let mut line = format!("{timestamp} {on}{:>5}{off} {}:", level.as_str(), metadata.target());
    if let Some(message) = &fields.message {
        line.push(' ');
        push_visible(&mut line, message);
    }
    for (name, value) in fields.iter() {
        let bare = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).filter(|it| {
            !it.is_empty()
                && it.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='))
        });
        let _infallible = write!(line, " {name}=");
        push_visible(&mut line, bare.unwrap_or(value));
    }
    line.push('\n');
    line
}

/// Adds a text for people. A line feed or an escape sequence in it must not pass for a line of ours, nor reach a
/// terminal: JSON leaves those of more than seven bits as they are.
fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

const fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// How long most lines are at most, in bytes.
const LINE_CAPACITY: usize = 640;

/// The fields of an event or a span, in their order, each value as JSON. The values share one text, because
/// every request has a dozen of them.
struct Fields {
    message: Option<String>,
    values: Vec<(&'static str, Range<usize>)>,
    text: String,
}

impl Default for Fields {
    /// None yet, and room for those of a request.
    fn default() -> Self {
        Self { message: None, values: Vec::with_capacity(16), text: String::with_capacity(512) }
    }
}

impl Fields {
    fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, range)| (*name, &self.text[range.clone()]))
    }

    /// Adds those of `outer` whose names are not taken.
    fn add(&mut self, outer: &Self) {
        for (name, value) in outer.iter() {
            if !self.values.iter().any(|(taken, _)| *taken == name) {
                let begin = self.text.len();
                self.text.push_str(value);
                self.values.push((name, begin..self.text.len()));
            }
        }
    }

    fn set(&mut self, field: &Field, write: impl FnOnce(&mut String)) {
        let name = field.name();
        // `otel.` names speak to the trace alone; `log.` ones are where a record of the `log` crate
        // came from, which the line's target says already.
        if name.starts_with("otel.") || name.starts_with("log.") {
            return;
        }
        let begin = self.text.len();
        write(&mut self.text);
        let range = begin..self.text.len();
        match self.values.iter_mut().find(|(taken, _)| *taken == name) {
            Some((_, old)) => *old = range,
            None => self.values.push((name, range)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        if value.is_finite() {
            self.set(field, |text| text.push_str(&serde_json::Value::from(value).to_string()));
        } else {
            self.set(field, |text| push_json(text, &value.to_string()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, |text| push(text, format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, |text| push(text, format_args!("{value}")));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(field, |text| push(text, format_args!("{value}")));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(field, |text| push(text, format_args!("{value}")));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, |text| push(text, format_args!("{value}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = Some(value.to_owned());
        } else {
            self.set(field, |text| push_json(text, value));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            push(&mut text, format_args!(": {cause}"));
            source = cause.source();
        }
        self.set(field, |it| push_json(it, &text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(format!("{value:?}"));
        } else {
            self.set(field, |text| push_debug(text, value));
        }
    }
}

fn push(text: &mut String, what: fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(what);
}

/// Adds the text of a value in JSON.
fn push_debug(line: &mut String, value: &dyn fmt::Debug) {
    let begin = line.len();
    push(line, format_args!("\"{value:?}"));
    if line[begin + 1..].bytes().any(is_escaped) {
        let text = line.split_off(begin);
        push_json(line, &text[1..]);
    } else {
        line.push('"');
    }
}

/// Whether JSON writes the byte in another way.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// Adds a text in JSON. Most have nothing in them that JSON writes in another way.
fn push_json(line: &mut String, text: &str) {
    if text.bytes().any(is_escaped) {
        line.push_str(&serde_json::Value::from(text).to_string());
    } else {
        line.push('"');
        line.push_str(text);
        line.push('"');
    }
}
