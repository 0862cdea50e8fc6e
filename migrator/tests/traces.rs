//! A run of the migrator is a trace: a span for each migration, with the spans of its statements.

use foundation::on_both_databases;
use foundation::testing::otlp::{OtlpReceiver, ReceivedSpan};
use foundation::testing::program;

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Option<&'a ReceivedSpan> {
    spans.iter().find(|span| span.name == name)
}

on_both_databases! {
    async fn a_run_of_up_is_a_trace(test: TestDatabase) {
        let receiver = OtlpReceiver::start();
        let output = program(env!("CARGO_BIN_EXE_migrator"), test.folder.path())
            .env("DATABASE_URL", &test.address)
            .env("ADMIN_PASSWORD", "a password of the test")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let spans = receiver.wait(|spans| named(spans, "migrator up").is_some());
        let run = named(&spans, "migrator up").unwrap();
        assert_eq!(run.resource("service.name"), Some("migrator"));
        let migration = named(&spans, "migrate V1__create_users").unwrap();
        assert_eq!((&migration.trace_id, &migration.parent_span_id), (&run.trace_id, &run.span_id));
        // It makes a table and writes no row; nobody was in its way.
        assert_eq!(migration.attribute("migration.rows"), Some("0"), "{migration:#?}");
        assert_eq!(migration.attribute("migration.lock_waits"), Some("0"));
        let journal = named(&spans, "INSERT migrator_journal").unwrap();
        assert_eq!((&journal.trace_id, &journal.parent_span_id), (&migration.trace_id, &migration.span_id));
        let wrote = |it: &&ReceivedSpan| it.attribute("migration.rows").is_some_and(|rows| rows != "0");
        assert!(spans.iter().any(|it| wrote(&it)), "settings come with rows of their own: {spans:#?}");
        assert!(spans.iter().all(|span| span.trace_id == run.trace_id), "{spans:#?}");
        assert!(!format!("{spans:?}").contains("a password of the test"));
    }
}
