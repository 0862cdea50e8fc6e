//! The forms that values may have, and how the database is found among them.

use std::time::Duration;

use bytesize::ByteSize;
use foundation::settings::{Environment, FoundationSettings, Listen, Origin, Setting};

fn accepted<T: Setting + PartialEq + std::fmt::Debug>(forms: &[(&str, T)]) {
    for (text, value) in forms {
        assert_eq!(&T::parse(text).unwrap(), value, "{text}");
        assert_eq!(&T::parse(&value.show()).unwrap(), value, "what is shown can be written");
    }
}

fn refused<T: Setting>(forms: &[&str]) {
    for text in forms {
        assert!(T::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn durations_sizes_and_switches_have_several_forms() {
    accepted(&[
        ("250ms", Duration::from_millis(250)),
        ("5s", Duration::from_secs(5)),
        ("2m", Duration::from_mins(2)),
        ("1h 30m", Duration::from_mins(90)),
        ("1h30m", Duration::from_mins(90)),
        ("1d", Duration::from_hours(24)),
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
    ]);
    refused::<Duration>(&["5", "s", "-5s", "5 parsecs", "1.5.s", "soon", "99999999999999999999s"]);
    accepted(&[
        ("65536", ByteSize::kib(64)),
        ("64KiB", ByteSize::kib(64)),
        ("64 KiB", ByteSize::kib(64)),
        ("2MiB", ByteSize::mib(2)),
        ("1GiB", ByteSize::gib(1)),
    ]);
    assert_eq!(ByteSize::parse("2MB").unwrap(), ByteSize::mb(2));
    refused::<ByteSize>(&["KiB", "-1", "2 megs", "much"]);
    for (text, value) in [("true", true), ("1", true), ("yes", true), ("ON", true), ("True", true)] {
        assert_eq!(bool::parse(text), Ok(value));
    }
    accepted(&[("false", false), ("0", false), ("no", false), ("off", false), ("FALSE", false)]);
    refused::<bool>(&["2", "t", "enabled", "-"]);
    accepted(&[
        ("off", Listen::Off),
        ("OFF", Listen::Off),
        ("[::1]:80", Listen::At("[::1]:80".parse().unwrap())),
    ]);
    refused::<Listen>(&[":9464", "9464", "localhost:9464", "none"]);
}

fn database(pairs: &[(&str, &str)]) -> (String, Origin) {
    let mut environment = Environment::from_pairs(pairs.iter().copied());
    let settings = FoundationSettings::read(&mut environment);
    let (effective, _) = environment.finish().unwrap();
    let effective = effective.into_iter().find(|it| it.name == "DATABASE_URL").unwrap();
    assert!(effective.value.starts_with(settings.database_url.to_string().split('?').next().unwrap()));
    (effective.value, effective.origin)
}

#[test]
fn the_database_comes_from_its_url_then_from_parts_then_is_a_file() {
    let parts = |value: &str| (value.to_owned(), Origin::Derived("POSTGRES_*"));
    assert_eq!(database(&[]), ("sqlite:///./bedplate.db".into(), Origin::Default));
    assert_eq!(
        database(&[("POSTGRES_PASSWORD", "p")]),
        parts("postgresql://postgres:[redacted]@localhost:5432/postgres")
    );
    assert_eq!(database(&[("POSTGRES_HOST", "db")]), parts("postgresql://postgres@db:5432/postgres"));
    assert_eq!(database(&[("POSTGRES_USER", "app")]), parts("postgresql://app@localhost:5432/app"));
    assert_eq!(database(&[("POSTGRES_DB", "app")]), parts("postgresql://postgres@localhost:5432/app"));
    assert_eq!(
        database(&[("POSTGRES_PORT", "6543")]),
        parts("postgresql://postgres@localhost:6543/postgres")
    );
    assert_eq!(
        database(&[("POSTGRES_HOST", "/var/run/postgresql")]),
        parts("postgresql://postgres@%2Fvar%2Frun%2Fpostgresql/postgres")
    );
    assert_eq!(
        database(&[("POSTGRES_HOST", "db"), ("DATABASE_URL", "sqlite:///x.db")]),
        ("sqlite:///x.db".into(), Origin::Environment)
    );
}

/// A password of any characters reaches the server whole: nothing in the parts is percent-encoded.
#[test]
fn the_parts_take_special_characters() {
    let password = "p@ss:w/o?r#d%20&=+ '\"\\ü";
    let read = |pairs: &[(&str, &str)]| {
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        FoundationSettings::read(&mut environment).database_url
    };
    let url = read(&[("POSTGRES_HOST", "db"), ("POSTGRES_USER", "me"), ("POSTGRES_PASSWORD", password)]);
    let encoded = "p%40ss%3Aw%2Fo%3Fr%23d%2520%26%3D%2B%20%27%22%5C%C3%BC";
    assert_eq!(url, read(&[("DATABASE_URL", &format!("postgresql://me:{encoded}@db:5432/me"))]));
    assert_ne!(url, read(&[("DATABASE_URL", "postgresql://me:p@db:5432/me")]));
}

#[test]
fn spellings_of_sqlalchemy_are_understood() {
    for scheme in [
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgresql+psycopg2cffi",
    ] {
        let url = format!("{scheme}://me:secret@db:6543/app");
        assert_eq!(database(&[("DATABASE_URL", &url)]).0, "postgresql://me:[redacted]@db:6543/app");
    }
    for (url, shown) in [
        ("sqlite+aiosqlite:///./x.db", "sqlite:///./x.db"),
        ("sqlite+pysqlite:///x.db", "sqlite:///x.db"),
        ("sqlite:///./x.db", "sqlite:///./x.db"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("sqlite:///x.db?check_same_thread=false", "sqlite:///x.db"),
    ] {
        assert_eq!(database(&[("DATABASE_URL", url)]).0, shown);
    }
}

#[test]
fn a_file_of_authorities_that_cannot_be_read_is_told_at_once() {
    let mut environment = Environment::from_pairs([
        ("DATABASE_URL", "postgresql://db/app?sslmode=verify-full"),
        ("DATABASE_SSL_ROOT_CERT", "/nowhere/ca.pem"),
    ]);
    FoundationSettings::read(&mut environment);
    let error = environment.finish().unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.problems[0].name, "DATABASE_SSL_ROOT_CERT");
    assert!(error.problems[0].detail.contains("/nowhere/ca.pem cannot be read"), "{error}");
}

/// Each of these made the program panic, or every statement fail, before it was refused.
#[test]
fn no_time_no_end_and_no_number_of_connections_are_refused() {
    for (name, value, accepted) in [
        ("DATABASE_STATEMENT_TIMEOUT", "0", false),
        ("DATABASE_STATEMENT_TIMEOUT", "25days", false),
        ("DATABASE_STATEMENT_TIMEOUT", "18446744073709551615s", false),
        ("DATABASE_STATEMENT_TIMEOUT", "24days", true),
        ("DATABASE_CREATE_TIMEOUT", "0s", false),
        ("DATABASE_WAIT_TIMEOUT", "18446744073709551615s", false),
        ("DATABASE_RECYCLE_TIMEOUT", "1us", false),
        ("DATABASE_CONNECT_TIMEOUT", "0ms", false),
        ("DATABASE_KEEPALIVE_IDLE", "500ms", false),
        ("DATABASE_KEEPALIVE_IDLE", "1s", true),
        ("DATABASE_IDLE_TIMEOUT", "0", true),
        ("DATABASE_POOL_SIZE", "4294967295", false),
        ("DATABASE_POOL_SIZE", "9995", true),
        ("DATABASE_POOL_SIZE", "9996", false),
    ] {
        let mut environment = Environment::from_pairs([(name, value)]);
        FoundationSettings::read(&mut environment);
        match environment.finish() {
            Ok(_) => assert!(accepted, "{name}={value}"),
            Err(error) => {
                assert!(!accepted, "{name}={value}: {error}");
                assert!(error.problems.len() == 1 && error.problems[0].name == name, "{error}");
                assert!(error.to_string().contains("expected "), "{error}");
            }
        }
    }
}
