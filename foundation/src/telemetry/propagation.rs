//! Which trace a piece of work belongs to, and how that is written in HTTP headers (W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>). It works the same whether traces are sent anywhere or not.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::entropy::Entropy;

/// The header that names a trace and the span in it that sent the request.
pub const TRACEPARENT: &str = "traceparent";
/// The header in which tracing systems pass on what is theirs.
pub const TRACESTATE: &str = "tracestate";

/// One span of one trace, as it is passed from program to program. [`Display`](fmt::Display) writes it
/// as a `traceparent`.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// A trace that starts here. It is marked as not recorded.
    #[must_use]
    pub fn generate(entropy: &Entropy) -> Self {
        let trace_id = TraceId::from_bytes(not_zero(entropy.bytes()));
        Self::new(trace_id, span_id(entropy), TraceFlags::default(), TraceState::NONE)
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(&self, entropy: &Entropy) -> Self {
        let parent = &self.0;
        Self::new(parent.trace_id(), span_id(entropy), parent.trace_flags(), parent.trace_state().clone())
    }

    /// Reads a `traceparent`. `None` when it is not one, for then the recommendation wants a new trace.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let (version, rest) = (traceparent.get(..2)?, traceparent.get(2..)?);
        let known = rest.get(..53)?;
        let is_hex = |text: &str| text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = known.strip_prefix('-')?.split('-');
        let (trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let lengths_fit = (trace_id.len(), span_id.len(), flags.len()) == (32, 16, 2);
        if !lengths_fit || ![version, trace_id, span_id, flags].into_iter().all(is_hex) || version == "ff" {
            return None;
        }
        // A later version may add parts at the end. What this one knows stays where it is.
        let tail = &rest[53..];
        if !tail.is_empty() && (version == "00" || !tail.starts_with('-')) {
            return None;
        }
        // Only the lowest flag has a meaning here, and the others must not be passed on.
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        let context = Self::new(
            TraceId::from_hex(trace_id).ok()?,
            SpanId::from_hex(span_id).ok()?,
            TraceFlags::default().with_sampled(sampled),
            TraceState::NONE,
        );
        context.0.is_valid().then_some(context)
    }

    /// The context that a request brings: `header` looks up a header by its name, written in lower case.
    #[must_use]
    pub fn from_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let Self(context) = Self::parse(header(TRACEPARENT)?)?;
        // A state that is malformed is dropped alone, as the recommendation wants it.
        let state = header(TRACESTATE).and_then(|it| TraceState::from_str(it).ok()).unwrap_or_default();
        Some(Self::new(context.trace_id(), context.span_id(), context.trace_flags(), state))
    }

    /// The identifier of the trace: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// The identifier of the span: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.0.span_id().to_string()
    }

    /// Whether the one who sent it may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// The `tracestate` to send along; empty when there is none.
    #[must_use]
    pub fn state(&self) -> String {
        self.0.trace_state().header()
    }

    /// It as the parent of spans that are recorded here.
    #[must_use]
    pub fn as_parent(&self) -> Context {
        Context::new().with_remote_span_context(self.0.clone())
    }

    /// Where `span` stands in the trace that is recorded; `None` when it is not recorded at all. A span's
    /// place is settled by the first question for it: its parent cannot be set afterwards.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context().span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    fn new(trace_id: TraceId, span_id: SpanId, flags: TraceFlags, state: TraceState) -> Self {
        Self(SpanContext::new(trace_id, span_id, flags, true, state))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(context) = self;
        let (trace, span) = (context.trace_id(), context.span_id());
        write!(formatter, "00-{trace}-{span}-{:02x}", context.trace_flags() & TraceFlags::SAMPLED)
    }
}

/// Names a span that has begun, as it is exported: `otel.name` is looked at only at its beginning, when the
/// route of a request is not known yet.
pub fn rename(span: &Span, name: fmt::Arguments<'_>) {
    let context = span.context();
    if context.span().is_recording() {
        context.span().update_name(name.to_string());
    }
}

/// Puts a new span into the caller's trace, or into one of its own when there is no caller, records the
/// trace in the span's field `trace_id` (declare it as `tracing::field::Empty`) and tells where the
/// span stands. Without a collector nothing is recorded, and still logs and answers name the trace.
pub fn join(span: &Span, caller: Option<&TraceContext>, entropy: &Entropy) -> TraceContext {
    if let Some(caller) = caller {
        // It fails when the span is not recorded, which the next line finds out anyway, or when its place
        // was settled before, in which case that place is the truth.
        let _settled = span.set_parent(caller.as_parent());
    }
    let context = TraceContext::of(span).unwrap_or_else(|| match caller {
        Some(caller) => caller.child(entropy),
        None => TraceContext::generate(entropy),
    });
    span.record("trace_id", tracing::field::display(context.0.trace_id()));
    context
}

fn span_id(entropy: &Entropy) -> SpanId {
    SpanId::from_bytes(not_zero(entropy.bytes()))
}

/// An identifier of nothing but zeros means "none".
fn not_zero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes.iter().all(|it| *it == 0)
        && let Some(last) = bytes.last_mut()
    {
        *last = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_survives_the_round_trip() {
        for (flags, sampled) in [("00", false), ("01", true)] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let context = TraceContext::parse(&text).expect("it is well formed");
            assert_eq!(context.trace_id(), TRACE);
            assert_eq!(context.span_id(), SPAN);
            assert_eq!(context.is_sampled(), sampled);
            assert_eq!(context.to_string(), text);
        }
    }

    #[test]
    fn flags_without_a_meaning_are_not_passed_on() {
        let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-ff")).expect("it is well formed");
        assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        let context = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-02")).expect("it is well formed");
        assert!(!context.is_sampled());
    }

    #[test]
    fn later_versions_are_read_by_what_is_known_of_them() {
        for text in [format!("01-{TRACE}-{SPAN}-01"), format!("cc-{TRACE}-{SPAN}-01-what-comes-next")] {
            let context = TraceContext::parse(&text).expect(&text);
            assert_eq!(context.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let mut bad = vec![
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("0A-{TRACE}-{SPAN}-01"),
            format!("{good}-"),
            format!("{good}-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!(" {good}"),
            format!("{good} "),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{}-{SPAN}a-01", &TRACE[1..]),
            format!("00-{TRACE}-{SPAN}-+1"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
            "é".repeat(40),
            "0".repeat(4000),
        ];
        bad.extend((0..good.len()).map(|length| good[..length].to_owned()));
        for text in bad {
            assert_eq!(TraceContext::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn every_single_wrong_character_is_refused_or_changes_the_identifiers() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        for position in 0..good.len() {
            for wrong in ['g', 'G', ' ', '\0', '_', 'Z'] {
                let mut text: Vec<char> = good.chars().collect();
                text[position] = wrong;
                assert_eq!(
                    TraceContext::parse(&text.iter().collect::<String>()),
                    None,
                    "{wrong:?} at {position}"
                );
            }
        }
    }

    #[test]
    fn a_child_stays_in_the_trace_and_keeps_its_state() {
        let headers =
            [(TRACEPARENT, format!("00-{TRACE}-{SPAN}-01")), (TRACESTATE, "vendor=value".to_owned())];
        let look_up =
            |name: &str| headers.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str());
        let parent = TraceContext::from_headers(look_up).expect("both are well formed");
        let child = parent.child(&Entropy::system());
        assert_eq!(child.trace_id(), TRACE);
        assert_ne!(child.span_id(), SPAN);
        assert!(child.is_sampled());
        assert_eq!(child.state(), "vendor=value");
    }

    #[test]
    fn a_malformed_state_is_dropped_alone() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let context = TraceContext::from_headers(|name| {
            Some(if name == TRACEPARENT { parent.as_str() } else { "no pair" })
        })
        .expect("the parent is well formed");
        assert_eq!((context.trace_id().as_str(), context.state().as_str()), (TRACE, ""));
        assert_eq!(TraceContext::from_headers(|_| None), None);
    }

    #[test]
    fn generated_identifiers_are_never_zero() {
        let context = TraceContext::generate(&Entropy::fixed(0));
        assert!(TraceContext::parse(&context.to_string()).is_some());
        let entropy = Entropy::system();
        let (one, other) = (TraceContext::generate(&entropy), TraceContext::generate(&entropy));
        assert_ne!(one.trace_id(), other.trace_id());
        assert!(!one.is_sampled());
    }

    #[test]
    fn without_a_collector_a_span_still_belongs_to_the_callers_trace() {
        let span = Span::none();
        let caller = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01")).expect("it is well formed");
        let context = join(&span, Some(&caller), &Entropy::system());
        assert_eq!(context.trace_id(), TRACE);
        assert_ne!(context.span_id(), SPAN);
    }
}
