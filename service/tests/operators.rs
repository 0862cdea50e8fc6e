//! `service admin`: what an operator with a shell does to accounts.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use foundation::database::{Database, Row, Statement};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, evidence, pooled};
use uuid::Uuid;

use crate::support::accounts;
use crate::support::accounts::{Accounts, Kind, migrate};

/// Runs `service admin` with this on its standard input.
fn admin(database: &TestDatabase, arguments: &[&str], input: &str) -> Output {
    admin_with(database, &[], arguments, input)
}

/// The same, with these variables.
fn admin_with(
    database: &TestDatabase,
    variables: &[(&str, &str)],
    arguments: &[&str],
    input: &str,
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    command.env_clear().current_dir(database.folder.path()).env("DATABASE_URL", pooled(&database.address));
    command.envs(variables.iter().copied()).arg("admin").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it reads.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    input.lines().for_each(evidence::secret);
    evidence::said("program", &said(&output));
    output
}

/// Runs `service admin` on a terminal of its own, and types a line at each prompt.
fn admin_on_terminal(
    database: &TestDatabase,
    arguments: &str,
    lines: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = Command::new("script");
    command.env_clear().current_dir(database.folder.path()).env("DATABASE_URL", pooled(&database.address));
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.args(["--quiet", "--return", "--command"]);
    command.arg(format!("{} admin {arguments}", env!("CARGO_BIN_EXE_service"))).arg("/dev/null");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    for (prompt, line) in lines {
        // A program that ends without the prompt ends this too.
        while !String::from_utf8_lossy(&shown).contains(prompt) {
            let mut byte = [0];
            assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
            shown.extend(byte);
        }
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    output.read_to_end(&mut shown).unwrap();
    (child.wait().unwrap().code(), String::from_utf8_lossy(&shown).into_owned())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn one(database: &Database, sql: &str, name: &str) -> Row {
    let statement = Statement::read("users", "").with_sql(sql.to_owned());
    database.query_optional(&statement, &[name.into()]).await.unwrap().unwrap_or_else(|| panic!("no {name}"))
}

async fn user(database: &Database, name: &str) -> Row {
    one(database, "SELECT * FROM users WHERE username = $1", name).await
}

fn fits(user: &Row, password: &str) -> bool {
    let hash: String = user.get("password_hash").unwrap();
    Argon2::default().verify_password(password.as_bytes(), &PasswordHash::new(&hash).unwrap()).is_ok()
}

/// The events of this kind: whom each was about, and what it tells.
async fn events(database: &Database, action: &str) -> Vec<(String, String)> {
    let sql =
        "SELECT * FROM audit_event WHERE action = $1 AND actor_kind = 'command_line' AND actor_id IS NULL";
    let rows = database.query(&Statement::read("audit_event", sql), &[action.into()]).await.unwrap();
    rows.iter().map(|row| (row.get("target_id").unwrap(), row.get("after").unwrap())).collect()
}

on_both_databases! {
    async fn an_admin_is_made(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let made = admin(&database, &["create-admin", "--username", "Root", "--email", "r@example.org"], "a long secret\n");
        assert_eq!(made.status.code(), Some(0), "{}", said(&made));
        assert!(said(&made).contains("made the administrator Root") && !said(&made).contains("a long secret"));
        let user = user(&pool, "Root").await;
        assert!(fits(&user, "a long secret") && user.get::<bool>("is_admin").unwrap());
        assert_eq!(user.get::<String>("email").unwrap(), "r@example.org");
        let events = events(&pool, "user.created").await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].0, user.get::<Uuid>("id").unwrap().to_string());
        assert!(events[0].1.contains("Root") && !events[0].1.contains("secret") && !events[0].1.contains("argon2"));

        // The name is taken, in any case; nothing is written down of what was not done.
        for arguments in [
            &["create-admin", "--username", "rOOT"][..],
            &["create-admin", "--username", "other", "--email", "R@example.org"],
            &["create-admin", "--username", "\\domain\\name"],
            &["create-admin", "--username", ""],
            &["create-admin", "--username", "trailing "],
            &["create-admin", "--username", "other", "--email", "nowhere"],
        ] {
            let refused = admin(&database, arguments, "a long secret\n");
            assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", said(&refused));
        }
        assert_eq!(self::events(&pool, "user.created").await.len(), 1);
    }

    /// Otherwise their first login would have to renew it, or find that it asks for too much.
    async fn a_password_is_hashed_as_the_service_does_it(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let (create, reset) = (["create-admin", "--username", "Root"], ["reset-password", "--username", "Root"]);
        for (variables, arguments, parameters) in [
            (&[("AUTH_ARGON2_MEMORY", "8MiB"), ("AUTH_ARGON2_PASSES", "3")][..], create, "m=8192,t=3,p=1"),
            (&[("AUTH_ARGON2_MEMORY", "64KiB"), ("AUTH_ARGON2_LANES", "2")], reset, "m=64,t=2,p=2"),
        ] {
            let done = admin_with(&database, variables, &arguments, "a long secret\n");
            assert_eq!(done.status.code(), Some(0), "{}", said(&done));
            let user = user(&pool, "Root").await;
            let hash: String = user.get("password_hash").unwrap();
            assert!(hash.contains(parameters) && fits(&user, "a long secret"), "{hash}");
            assert!(user.get::<bool>("is_active").unwrap() && user.get::<bool>("is_admin").unwrap());
        }
        let refused = admin_with(&database, &[("AUTH_ARGON2_MEMORY", "1KiB")], &reset, "a long secret\n");
        assert!(refused.status.code() == Some(78) && said(&refused).contains("AUTH_ARGON2_MEMORY"), "{}", said(&refused));
    }

    /// A terminal is asked twice. Only Linux has this `script` to make one.
    async fn a_password_is_typed(database: TestDatabase) {
        if cfg!(not(target_os = "linux")) {
            return;
        }
        migrate(&database).await;
        let create = "create-admin --username Root";
        let lines = [("New password: ", "a long secret"), ("Once more: ", "a long secrte")];
        let (code, shown) = admin_on_terminal(&database, create, &lines);
        assert!(code == Some(2) && shown.contains("the two are not the same"), "{code:?} {shown}");
        let lines = [lines[0], ("Once more: ", "a long secret")];
        let (code, shown) = admin_on_terminal(&database, create, &lines);
        assert!(code == Some(0) && shown.contains("made the administrator Root"), "{code:?} {shown}");
        assert!(fits(&user(&database.open(), "Root").await, "a long secret"));
    }

    async fn a_password_keeps_the_rules(database: TestDatabase) {
        migrate(&database).await;
        for (password, word) in [
            ("short\n", "8 to 128"),
            ("changeme\n", "tries first"),
            ("the-name-of-it\n", "choose another"),
            ("\n", "no password"),
            ("", "no password"),
            (&"x".repeat(129), "8 to 128"),
        ] {
            let refused = admin(&database, &["create-admin", "--username", "The-name-of-it"], password);
            assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
            assert!(said(&refused).contains(word), "{}", said(&refused));
        }
        assert_eq!(admin(&database, &["create-admin", "--password", "x"], "").status.code(), Some(2));
    }

    async fn a_password_is_reset(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let (id, other) = (accounts.user("Somebody", Kind::default()).await, accounts.user("other", Kind::default()).await);
        accounts.session(id).await;
        accounts.session(id).await;
        accounts.session(other).await;
        let pool = &accounts.database;
        let name = format!("Somebody-{id}");
        let before = user(pool, &name).await;
        let failed = "INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) VALUES ($1, 9, $2, $2)";
        let now = foundation::clock::Clock::system().now();
        for failed_at in [id, other] {
            let values = [format!("user:{failed_at}").into(), now.into()];
            pool.execute(&Statement::write("login_failure", failed), &values).await.unwrap();
        }
        let done = admin(&database, &["reset-password", "--username", &name.to_uppercase()], "ünother Passwort\r\n");
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        let after = user(pool, &name).await;
        assert!(fits(&before, accounts::PASSWORD) && fits(&after, "ünother Passwort"));
        assert_eq!(after.get::<i64>("version").unwrap(), before.get::<i64>("version").unwrap() + 1);
        let count = Statement::read("session", "SELECT user_id FROM session");
        let left = pool.query(&count, &[]).await.unwrap();
        assert!(left.len() == 1 && left[0].get::<Uuid>("user_id").unwrap() == other, "only the other's is left");
        let failures = Statement::read("login_failure", "SELECT subject FROM login_failure");
        let left = pool.query(&failures, &[]).await.unwrap();
        assert!(left.len() == 1 && left[0].get::<String>("subject").unwrap() == format!("user:{other}"));
        let written = events(pool, "password.reset").await;
        assert_eq!(written.len(), 1);
        assert!(written[0].0 == id.to_string() && written[0].1.contains('2'), "{written:?}");

        let unknown = admin(&database, &["reset-password", "--username", "nobody"], "another secret\n");
        assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
        assert!(said(&unknown).contains("no user called \"nobody\""));
        assert_eq!(events(pool, "password.reset").await.len(), 1);
    }

    async fn sessions_are_ended(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let id = accounts.user("somebody", Kind::default()).await;
        let session = accounts.session(id).await;
        let token = accounts.token(id, "users:read").await;
        let gate = service::access::Gate::new(
            accounts.database.clone(),
            foundation::clock::Clock::system(),
            std::time::Duration::from_secs(3600),
        );
        assert!(gate.admit(&session).await.unwrap().is_some());
        let done = admin(&database, &["end-sessions", "--username", &format!("somebody-{id}")], "");
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        assert!(said(&done).contains("sessions ended: 1"));
        assert!(gate.admit(&session).await.unwrap().is_none());
        assert!(gate.admit(&token).await.unwrap().is_some(), "tokens for programs stay");
        assert_eq!(events(&accounts.database, "sessions.ended").await.len(), 1);
    }

    async fn tokens_are_revoked(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let pool = &accounts.database;
        let (id, other) = (accounts.user("somebody", Kind::default()).await, accounts.user("other", Kind::default()).await);
        let gate = service::access::Gate::new(
            pool.clone(),
            foundation::clock::Clock::system(),
            std::time::Duration::from_secs(3600),
        );
        let is_good = async |token: &str| gate.admit(token).await.unwrap().is_some();
        let name = format!("somebody-{id}");
        let (session, kept) = (accounts.session(id).await, accounts.token(other, "users:read").await);
        let in_an_hour = foundation::clock::Clock::system().now() + time::Duration::HOUR;
        // One of them is of a newer release.
        let (first, token) = accounts.token_until(id, "users:read", in_an_hour).await;
        let (second, _) = accounts.token_until(id, "users:fly", in_an_hour).await;
        assert!(is_good(&session).await && is_good(&kept).await && is_good(&token).await);
        let done = admin(&database, &["revoke-tokens", "--username", &name.to_uppercase()], "");
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        assert!(said(&done).contains("API tokens revoked: 2"), "{}", said(&done));
        assert!(is_good(&session).await && is_good(&kept).await && !is_good(&token).await);
        let written = events(pool, "api_tokens.revoked").await;
        assert!(written.len() == 1 && written[0].0 == id.to_string(), "{written:?}");
        for revoked in [first, second] {
            assert!(written[0].1.contains(&revoked.to_string()), "{written:?}");
        }

        // With a password they stay, unless it is said.
        let token = accounts.token(id, "users:read").await;
        let reset = ["reset-password", "--username", &name, "--revoke-tokens"];
        let done = admin(&database, &reset[..3], "another secret\n");
        assert!(done.status.code() == Some(0) && !said(&done).contains("tokens"), "{}", said(&done));
        assert!(!is_good(&session).await && is_good(&token).await);
        let done = admin(&database, &reset, "one more secret\n");
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        assert!(said(&done).contains("sessions ended: 0; API tokens revoked: 1"), "{}", said(&done));
        assert!(is_good(&kept).await && !is_good(&token).await);
        assert_eq!(events(pool, "api_tokens.revoked").await.len(), 2);
        let unknown = admin(&database, &["revoke-tokens", "--username", "nobody"], "");
        assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    }

    async fn a_database_without_the_tables_is_told(database: TestDatabase) {
        let refused = admin(&database, &["end-sessions", "--username", "somebody"], "");
        assert_eq!(refused.status.code(), Some(65), "{}", said(&refused));
        assert!(said(&refused).contains("migrator up"), "{}", said(&refused));
    }
}

/// A database that is away is worth another try.
#[tokio::test]
async fn a_database_that_is_away_is_69() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_service"))
        .env_clear()
        .current_dir(folder.path())
        .env("DATABASE_URL", "postgresql://me@127.0.0.1:1/x")
        .args(["admin", "end-sessions", "--username", "somebody"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
}

#[test]
fn a_missing_file_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["admin", "end-sessions", "--username", "ada"][..],
        &["partitions", "ensure", "--from", "2026-01-01", "--to", "2026-01-02"],
        &["archive", "run"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
        let output = command.env_clear().current_dir(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        assert!(
            said(&output).contains("there is no file ./bedplate.db; `migrator up` makes it"),
            "{}",
            said(&output)
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
