//! The other addresses of a database.

use foundation::database::DatabaseUrl;
use foundation::settings::{Environment, FoundationSettings};

const PRIMARY: (&str, &str) = ("DATABASE_URL", "postgresql://me@primary/app");
const OTHERS: [&str; 2] = ["DATABASE_DIRECT_URL", "DATABASE_READ_URL"];

fn address<'a>(name: &str, settings: &'a FoundationSettings) -> Option<&'a DatabaseUrl> {
    match name {
        "DATABASE_DIRECT_URL" => settings.database.direct_url.as_ref(),
        _ => settings.database.read_url.as_ref(),
    }
}

/// The settings, what is said about them, and how they are shown.
fn read(pairs: &[(&str, &str)]) -> (FoundationSettings, Vec<(String, String)>, String) {
    let mut environment = Environment::from_pairs(pairs.iter().copied());
    let settings = FoundationSettings::read(&mut environment);
    let (problems, shown) = match environment.finish() {
        Ok((effective, _)) => (Vec::new(), format!("{effective:?}")),
        Err(error) => (error.problems.into_iter().map(|it| (it.name, it.detail)).collect(), String::new()),
    };
    (settings, problems, shown)
}

#[test]
fn they_are_optional_and_completed_as_the_first_one_is() {
    for name in OTHERS {
        assert_eq!(address(name, &read(&[PRIMARY]).0), None);
        let other = (name, "postgresql+asyncpg://me:hunter2@other:6543/app");
        let (settings, problems, shown) = read(&[PRIMARY, other, ("DATABASE_SSL_MODE", "require")]);
        assert_eq!(problems, []);
        let url = address(name, &settings).unwrap().to_string();
        assert_eq!(url, "postgresql://me:[redacted]@other:6543/app?sslmode=require");
        assert!(shown.contains("me:[redacted]@other:6543/app") && !shown.contains("hunter2"), "{shown}");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}

#[test]
fn only_postgresql_has_them() {
    for name in OTHERS {
        for pairs in [
            vec![("DATABASE_URL", "sqlite:///x.db"), (name, "postgresql://me@other/app")],
            vec![(name, "postgresql://me@other/app")],
            vec![PRIMARY, (name, "sqlite:///x.db")],
        ] {
            let (_, problems, _) = read(&pairs);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].0, name);
            assert!(problems[0].1.contains("postgresql://"), "{problems:?}");
        }
        // What is wrong with the first one is said once, and nothing is concluded from it.
        let (_, problems, _) = read(&[("DATABASE_URL", "nothing"), (name, "postgresql://me@other/app")]);
        assert_eq!(problems.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["DATABASE_URL"]);
    }
}

#[test]
fn what_is_refused_in_the_first_one_is_refused_in_them() {
    for name in OTHERS {
        for (value, extra) in [
            ("postgresql://me:x@hunter2@other/app", ("LOG_LEVEL", "info")),
            ("postgresql://me:CHANGE-ME@other/app", ("BEDPLATE_ENV", "production")),
        ] {
            let (_, problems, _) = read(&[PRIMARY, (name, value), extra]);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].0, name);
            assert!(!problems[0].1.contains("hunter2"), "{problems:?}");
        }
        let missing = (name, "postgresql://me@other/app?sslrootcert=/nowhere");
        assert_eq!(read(&[PRIMARY, missing]).1.len(), 1);
    }
}
