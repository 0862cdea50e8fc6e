//! The administrator that `up` makes when there is none.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use foundation::database::Connection;
use foundation::on_both_databases;

use crate::support::{count, has_table, migrator, migrator_with, texts};

async fn password_fits(connection: &mut Connection, password: &str) -> bool {
    let hashes =
        texts(connection, "SELECT password_hash AS it FROM users WHERE is_admin AND user_type = 'local'")
            .await
            .unwrap();
    let hash = PasswordHash::new(&hashes[0]).unwrap();
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

on_both_databases! {
    /// In development one password is made and shown once, and never in a log.
    async fn development_makes_a_password(database: TestDatabase) {
        let run = migrator_with(&database, &[("LOG_LEVEL", "trace"), ("DATABASE_ECHO", "true")], &["up"])
            .await
            .ends(0);
        let shown: Vec<&str> = run.stderr.lines().filter(|line| line.contains("has the password")).collect();
        assert_eq!(shown.len(), 1, "{run}");
        assert!(!shown[0].contains("\"level\""), "it is no log line: {run}");
        let password = shown[0].rsplit(' ').next().unwrap();
        assert_eq!((password.len(), run.stderr.matches(password).count()), (20, 1), "{run}");
        assert!(!run.stdout.contains(password), "{run}");
        let mut connection = database.connect().await;
        assert!(password_fits(&mut connection, password).await);
        assert!(!password_fits(&mut connection, "another").await);
        let second = migrator(&database, &["up"]).await.ends(0).hides(&["has the password", password]);
        assert!(second.stdout.starts_with("nothing to do"), "{second}");
    }

    /// In production nothing is changed until it is known how the administrator signs in.
    async fn production_wants_a_password(database: TestDatabase) {
        let production = ("BEDPLATE_ENV", "production");
        migrator_with(&database, &[production], &["up"]).await.ends(78).says(&["ADMIN_PASSWORD"]);
        let guess = ("ADMIN_PASSWORD", "bedplate-development");
        migrator_with(&database, &[production, guess], &["up"]).await.ends(78).hides(&[guess.1]);
        let mut connection = database.connect().await;
        assert!(
            !has_table(&mut connection, "users").await
                && !has_table(&mut connection, "refinery_schema_history").await
        );
        let file = database.folder.path().join("password");
        std::fs::write(&file, "correct horse battery\n").unwrap();
        let variables = [
            production,
            ("ADMIN_PASSWORD_FILE", file.to_str().unwrap()),
            ("ADMIN_USERNAME", "root"),
            ("ADMIN_EMAIL", "root@example.org"),
        ];
        let run = migrator_with(&database, &variables, &["up"])
            .await
            .ends(0)
            .hides(&["correct horse", "has the password"]);
        assert!(run.stdout.contains("made the administrator root"), "{run}");
        assert!(password_fits(&mut connection, "correct horse battery").await);
        let admins = texts(&mut connection, "SELECT username || ' ' || email || ' ' || user_type AS it FROM users WHERE is_admin AND is_active AND NOT is_blocked").await.unwrap();
        assert_eq!(admins, ["root root@example.org local"]);
        // Now there is one, nobody is asked for settings any more.
        migrator_with(&database, &[production], &["up"]).await.ends(0);
    }

    /// An account that is there is never turned into an administrator.
    async fn a_name_that_is_taken_is_refused_in_words(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch("UPDATE users SET is_admin = false").await.unwrap();
        migrator(&database, &["up"]).await.ends(78).says(&["\\\"admin\\\"", "ADMIN_USERNAME"]);
        assert_eq!(count(&mut connection, "users WHERE is_admin").await, 0);
        migrator_with(&database, &[("ADMIN_USERNAME", "root")], &["up"]).await.ends(0);
        // One who is blocked or inactive cannot sign in, so another one is made.
        connection.batch("UPDATE users SET is_blocked = true").await.unwrap();
        let run = migrator_with(&database, &[("ADMIN_USERNAME", "second")], &["up"]).await.ends(0);
        assert!(run.stdout.contains("made the administrator second"), "{run}");
        // Nor can one who has a character and no password.
        let pilot = "UPDATE users SET user_type = 'eve_sso', password_hash = NULL, eve_character_id = 7 WHERE username = 'second'";
        connection.batch(pilot).await.unwrap();
        let run = migrator_with(&database, &[("ADMIN_USERNAME", "third")], &["up"]).await.ends(0);
        assert!(run.stdout.contains("made the administrator third"), "{run}");
    }

    /// A user name that the table refuses is one of the settings, not of a migration.
    async fn a_name_that_no_account_can_have_is_refused(database: TestDatabase) {
        for name in ["a\\b", &"x".repeat(256)] {
            migrator_with(&database, &[("ADMIN_USERNAME", name)], &["up"])
                .await
                .ends(78)
                .says(&["ADMIN_USERNAME"]);
        }
        let guess = [("ADMIN_PASSWORD", "password")];
        migrator_with(&database, &guess, &["up"]).await.ends(78).says(&["ADMIN_PASSWORD", "tries first"]);
        assert!(!has_table(&mut database.connect().await, "users").await, "nothing was changed");
        let short = [("ADMIN_PASSWORD", "7 chars")];
        migrator_with(&database, &short, &["up"]).await.ends(78).says(&["8 to 128"]).hides(&["7 chars"]);
    }
}
