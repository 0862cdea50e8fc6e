//! Logs and traces of a whole process. The subscriber can be set once only, and a second dispatcher
//! anywhere in the process changes which spans are asked for, so this test is alone in its program.

use std::sync::{Arc, Mutex};

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::settings::{Environment, LogSettings, OpenTelemetrySettings, Section as _};
use foundation::telemetry::{LineFormat, Program, Telemetry, TelemetryError};
use tracing::dispatcher::with_default;

#[test]
fn a_process_starts_once_and_takes_the_records_of_the_log_crate() {
    let mut environment = Environment::from_pairs([("LOG_LEVEL", "info,noisy=error")]);
    let log = LogSettings::read(&mut environment);
    let open_telemetry = OpenTelemetrySettings::read(&mut environment);
    environment.finish().expect("the settings are good");
    let clock = Clock::fixed(time::macros::datetime!(2026-01-02 03:04:05.678 UTC));
    let program = Program { name: "tester", version: "1.2.3", clock, entropy: Entropy::system() };

    let telemetry = Telemetry::start(&program, &log, &open_telemetry).expect("it is the first");
    let statement = tracing::info_span!(target: "bedplate::span::db", "SELECT users");
    assert!(statement.is_disabled(), "without a collector nobody wants a statement's span");
    let library = tracing::info_span!(target: "hyper", "connection");
    assert!(library.is_disabled(), "nobody wants a library's span");
    let request = tracing::info_span!(target: "bedplate::span::http", "request");
    assert!(!request.is_disabled(), "the log wants the fields of a request");

    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let write = move |line: &[u8]| sink.lock().expect("nobody panicked").extend_from_slice(line);
    let (dispatch, _quiet) =
        Telemetry::build(&program, &log, &open_telemetry, LineFormat::Json, Box::new(write))
            .expect("the settings are good");
    with_default(&dispatch, || {
        tracing_log::log::warn!(target: "driver", "The connection is slow");
        tracing_log::log::warn!(target: "noisy", "left out");
        tracing_log::log::debug!(target: "driver", "left out");
    });
    let line = serde_json::from_slice::<serde_json::Value>(&lines.lock().expect("nobody panicked"))
        .expect("there is one line");
    let expected = serde_json::json!({
        "timestamp": "2026-01-02T03:04:05.678000Z", "level": "WARN", "target": "driver",
        "message": "The connection is slow",
    });
    assert_eq!(line, expected);

    let again = Telemetry::start(&program, &log, &open_telemetry).expect_err("it is the second");
    assert!(matches!(again, TelemetryError::AlreadyStarted(_)), "{again:?}");
    telemetry.shutdown();
}
