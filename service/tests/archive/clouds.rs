//! Archives in S3, as far as this program speaks with it: a server that keeps objects in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foundation::database::Backend;
use foundation::testing::TestDatabase;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use service::domain::archive_runs::RunState;
use tokio::net::TcpListener;

use super::world::{Rows, World};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Answers as S3 does to those requests that this program sends.
async fn answer(request: Request<Incoming>, objects: Objects) -> Result<Response<Full<Bytes>>, Infallible> {
    let signature =
        request.headers().get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let response =
        Response::builder().header("etag", "\"1\"").header("last-modified", "Sat, 31 Jan 2026 12:00:00 GMT");
    if !signature.starts_with("AWS4-HMAC-SHA256 Credential=the-key/") {
        return Ok(response.status(403).body(Full::default()).unwrap());
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut objects = objects.lock().unwrap();
    let (status, body) = match method {
        Method::PUT => {
            objects.insert(path, body);
            (200, Bytes::new())
        }
        Method::GET => objects.get(&path).map_or((404, Bytes::new()), |it| (200, it.clone())),
        Method::POST => {
            let asked = String::from_utf8(body.to_vec()).unwrap();
            let mut told = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
            for part in asked.split("<Key>").skip(1) {
                let key = part.split_once("</Key>").unwrap().0;
                objects.remove(&format!("/bucket/{key}"));
                write!(told, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
            }
            (200, (told + "</DeleteResult>").into())
        }
        other => panic!("{other} {path} is not expected"),
    };
    Ok(response.status(status).body(Full::new(body)).unwrap())
}

async fn serve(objects: Objects) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let objects = objects.clone();
            let service = service_fn(move |request| answer(request, objects.clone()));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_lie_in_a_bucket() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let objects = Objects::default();
    let endpoint = serve(objects.clone()).await;
    let test = TestDatabase::new(Backend::Sqlite).await;
    let secret = test.folder.path().join("secret");
    std::fs::write(&secret, "a secret\n").unwrap();
    let secret = secret.display().to_string();
    let variables = [
        ("ARCHIVE_URL", "s3://bucket/some/prefix"),
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "the-key"),
        ("AWS_SECRET_ACCESS_KEY_FILE", secret.as_str()),
    ];
    let world = World::with(test, &variables).await;
    world.fill("cpu", [20, 21], 500).await;
    let all = world.table().await;
    world.policy("cpu", 5, "archive", true).await;
    let done = world.run(false).await;
    assert_eq!((done.state, done.error), (RunState::Succeeded, None));
    assert_eq!((world.table().await, world.archived(&["archived"]).await), (Rows::new(), all));
    let names: Vec<_> = objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 4, "two files with their manifests, and no more: {names:?}");
    assert!(names.iter().all(|name| name.starts_with("/bucket/some/prefix/cpu/2026")), "{names:?}");
}
