//! A bucket of S3, as far as this program speaks with it: a server that keeps objects in memory, and does what a
//! test tells it to before it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foundation::testing::TestDatabase;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::world::World;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub range: Option<String>,
    pub if_match: Option<String>,
}

impl Asked {
    /// Whether it is about a file with rows.
    pub fn is_of_file(&self) -> bool {
        self.path.ends_with(".ndjson.zst")
    }

    pub fn is_of_manifest(&self) -> bool {
        self.path.ends_with(".manifest.json")
    }
}

/// Says with which status to refuse, if at all.
type Hook = Arc<dyn Fn(Asked) -> BoxFuture<'static, Option<u16>> + Send + Sync>;

/// An object, and the number of its version.
type Object = (u64, Bytes);

#[derive(Clone, Default)]
pub struct Bucket(Arc<Shared>);

#[derive(Default)]
struct Shared {
    objects: Mutex<BTreeMap<String, Object>>,
    uploads: Mutex<BTreeMap<String, BTreeMap<u32, Bytes>>>,
    asked: Mutex<Vec<Asked>>,
    hook: Mutex<Option<Hook>>,
    count: AtomicU64,
}

impl Bucket {
    pub async fn start() -> (Self, String) {
        let bucket = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = bucket.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let bucket = served.clone();
                let service = service_fn(move |request| {
                    let bucket = bucket.clone();
                    async move { Ok::<_, Infallible>(bucket.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (bucket, format!("http://{address}"))
    }

    /// A world whose archive lies in a bucket.
    pub async fn world(test: TestDatabase) -> (World, Self) {
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let (bucket, endpoint) = Self::start().await;
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
        (World::with(test, &variables).await, bucket)
    }

    /// Has this done before each answer.
    pub fn before_each_answer(
        &self,
        hook: impl Fn(Asked) -> BoxFuture<'static, Option<u16>> + Send + Sync + 'static,
    ) {
        *self.0.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub fn answer_again(&self) {
        *self.0.hook.lock().unwrap() = None;
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.asked.lock().unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        self.0.objects.lock().unwrap().keys().cloned().collect()
    }

    /// How many uploads were begun, and neither completed nor taken back.
    pub fn uploads(&self) -> usize {
        self.0.uploads.lock().unwrap().len()
    }

    pub fn object(&self, path: &str) -> Object {
        self.0.objects.lock().unwrap()[path].clone()
    }

    pub fn put(&self, path: &str, object: Object) {
        self.0.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    pub fn remove(&self, path: &str) {
        self.0.objects.lock().unwrap().remove(path);
    }

    fn next(&self) -> u64 {
        self.0.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Answers as S3 does to those requests that this program sends.
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let header =
            |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let signature = header("authorization").unwrap_or_default();
        let asked = Asked {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            range: header("range"),
            if_match: header("if-match"),
        };
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.0.asked.lock().unwrap().push(asked.clone());
        let hook = self.0.hook.lock().unwrap().clone();
        let refused = match hook {
            Some(hook) => hook(asked.clone()).await,
            None => None,
        };
        let known = signature.starts_with("AWS4-HMAC-SHA256 Credential=the-key/");
        if let Some(status) = refused.or((!known).then_some(403)) {
            return Response::builder().status(status).body(Full::default()).unwrap();
        }
        match asked.method {
            Method::GET | Method::HEAD => self.read(&asked),
            _ => self.write(&asked, body),
        }
    }

    fn read(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let found = self.0.objects.lock().unwrap().get(&asked.path).cloned();
        let refused = |status: u16| Response::builder().status(status).body(Full::default()).unwrap();
        let Some((version, bytes)) = found else { return refused(404) };
        let etag = format!("\"{version}\"");
        if asked.if_match.as_ref().is_some_and(|it| *it != etag) {
            return refused(412);
        }
        let response =
            Response::builder().header("etag", etag).header("last-modified", "Sat, 31 Jan 2026 12:00:00 GMT");
        let size = bytes.len();
        if asked.method == Method::HEAD {
            return response.header("content-length", size).body(Full::default()).unwrap();
        }
        let Some(range) = asked.range.as_deref().and_then(|it| it.strip_prefix("bytes=")) else {
            return response.body(Full::new(bytes)).unwrap();
        };
        let (from, to) = range.split_once('-').unwrap();
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        let response = response.status(206).header("content-range", format!("bytes {from}-{to}/{size}"));
        response.body(Full::new(bytes.slice(from..=to))).unwrap()
    }

    fn write(&self, asked: &Asked, body: Bytes) -> Response<Full<Bytes>> {
        let mut objects = self.0.objects.lock().unwrap();
        let mut uploads = self.0.uploads.lock().unwrap();
        let parameter = |name: &str| {
            let found = asked.query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned)
        };
        let upload = parameter("uploadId");
        let mut answer = String::new();
        match (&asked.method, upload) {
            (&Method::PUT, Some(upload)) => {
                let number = parameter("partNumber").unwrap().parse().unwrap();
                // One that was taken back meanwhile takes no more parts.
                let Some(parts) = uploads.get_mut(&upload) else {
                    return Response::builder().status(404).body(Full::default()).unwrap();
                };
                parts.insert(number, body);
            }
            (&Method::PUT, None) => {
                objects.insert(asked.path.clone(), (self.next(), body));
            }
            (&Method::POST, Some(upload)) => {
                let parts = uploads.remove(&upload).expect("an upload that was begun");
                let whole = parts.into_values().collect::<Vec<_>>().concat();
                objects.insert(asked.path.clone(), (self.next(), whole.into()));
                answer = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>"
                    .to_owned();
            }
            (&Method::DELETE, Some(upload)) => {
                uploads.remove(&upload);
            }
            (&Method::POST, None) if asked.query.starts_with("uploads") => {
                let id = format!("upload-{}", self.next());
                answer = format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                uploads.insert(id, BTreeMap::new());
            }
            (&Method::POST, None) => {
                let text = String::from_utf8(body.to_vec()).unwrap();
                answer = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
                for part in text.split("<Key>").skip(1) {
                    let key = part.split_once("</Key>").unwrap().0;
                    objects.remove(&format!("/bucket/{key}"));
                    write!(answer, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
                }
                answer += "</DeleteResult>";
            }
            other => panic!("{other:?} {} is not expected", asked.path),
        }
        Response::builder().header("etag", "\"1\"").body(Full::new(answer.into())).unwrap()
    }
}
