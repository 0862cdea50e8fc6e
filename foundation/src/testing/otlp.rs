//! A collector for tests: it takes OTLP traces over HTTP and keeps them. It runs on threads of its own,
//! so it works beside any runtime, and beside programs that are run as processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;

/// One span as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// Its name, which `otel.name` may have set.
    pub name: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// Empty for a span that has no parent.
    pub parent_span_id: String,
    /// `SPAN_KIND_SERVER` is 2, `SPAN_KIND_CLIENT` is 3.
    pub kind: i32,
    /// Its attributes as text.
    pub attributes: Vec<(String, String)>,
    /// The attributes of the process that sent it.
    pub resource: Vec<(String, String)>,
}

impl ReceivedSpan {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// The attribute of this name of the process.
    pub fn resource(&self, name: &str) -> Option<&str> {
        find(&self.resource, name)
    }
}

/// One request as it arrived: its first line and its headers.
pub type ReceivedHead = Vec<String>;

#[derive(Default)]
struct Received {
    spans: Vec<ReceivedSpan>,
    heads: Vec<ReceivedHead>,
}

/// The collector. It listens until the process ends.
pub struct OtlpReceiver {
    address: SocketAddr,
    received: Arc<(Mutex<Received>, Condvar)>,
}

impl OtlpReceiver {
    /// Listens at a free port of the loopback interface.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let received = Arc::<(Mutex<Received>, Condvar)>::default();
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, received }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until `enough` is content with what arrived, ten seconds at most, and returns it.
    pub fn wait(&self, enough: impl Fn(&[ReceivedSpan]) -> bool) -> Vec<ReceivedSpan> {
        let (received, arrived) = &*self.received;
        let guard = received.lock().expect("nobody panicked");
        let (guard, _) = arrived
            .wait_timeout_while(guard, Duration::from_secs(10), |it| !enough(&it.spans))
            .expect("nobody panicked");
        guard.spans.clone()
    }

    /// The requests so far.
    pub fn heads(&self) -> Vec<ReceivedHead> {
        self.received.0.lock().expect("nobody panicked").heads.clone()
    }
}

fn serve(stream: &TcpStream, shared: &(Mutex<Received>, Condvar)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim_end().is_empty() => break,
                Ok(_) => head.push(line.trim_end().to_owned()),
            }
        }
        let length = head
            .iter()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("it is OTLP");
        super::evidence::said("spans", &format!("{request:?}"));
        {
            let mut received = shared.0.lock().expect("nobody panicked");
            received.heads.push(head);
            received.spans.extend(spans(request));
        }
        shared.1.notify_all();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        let mut stream = stream;
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// The spans of a request, also of one that came by another way.
pub fn spans(request: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = pairs(&of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(ReceivedSpan {
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                kind: span.kind,
                attributes: pairs(&span.attributes),
                resource: resource.clone(),
                name: span.name,
            });
        }
    }
    spans
}

fn pairs(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |it: &KeyValue| match it.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|it| (it.key.clone(), text(it))).collect()
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
