//! What the log does not tell.

use foundation::database::Backend;
use foundation::testing::{TestDatabase, evidence};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::auth::house::PASSWORD;
use crate::support::{Program, client};

async fn nothing_secret_is_logged(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    if backend == Backend::Postgres {
        crate::auth::house::migrate(&test).await;
    }
    let variables = [("DATABASE_URL", &*test.address), ("ADMIN_PASSWORD", PASSWORD), ("LOG_LEVEL", "trace")];
    let mut program = Program::serve(&variables);
    let url = format!("http://{}/api/v1/auth", program.address());
    let (client, wrong) = (client(), "a wrong password");
    let post = async |path: &str, token: &str, body: Value| {
        let request = client.post(format!("{url}{path}")).bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap_or_default())
    };
    let (refused, _) = post("/login", "-", json!({ "username": "admin", "password": wrong })).await;
    assert_eq!(refused, StatusCode::UNAUTHORIZED);
    let (_, told) = post("/login", "-", json!({ "username": "admin", "password": PASSWORD })).await;
    let session = told["token"].as_str().unwrap().to_owned();
    let wanted = json!({ "name": "report", "scopes": ["users:read"], "lifetime_seconds": 60 });
    let (_, told) = post("/tokens", &session, wanted).await;
    let token = told["token"].as_str().unwrap().to_owned();
    let new = "a better password than this";
    let wanted = json!({ "current_password": PASSWORD, "new_password": new });
    assert_eq!(post("/password", &session, wanted).await.0, StatusCode::NO_CONTENT);
    assert_eq!(post("/logout", &session, json!({})).await.0, StatusCode::NO_CONTENT);
    program.signal("TERM");
    let lines = program.everything();
    assert!(lines.contains("POST /api/v1/auth/login 200"), "{lines}");
    for secret in [PASSWORD, wrong, new, &session, &token] {
        evidence::secret(secret);
        let line = lines.lines().find(|it| it.contains(secret));
        assert_eq!(line, None, "it tells {secret:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_with_sqlite() {
    nothing_secret_is_logged(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_with_postgres() {
    nothing_secret_is_logged(Backend::Postgres).await;
}
