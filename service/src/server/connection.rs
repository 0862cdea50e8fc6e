//! One connection: HTTP/1.1, bounded in every direction.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::header::{CONNECTION, HeaderValue};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request, Response};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::lifecycle::{Lifecycle, Stage};
use crate::settings::HttpSettings;

/// How long a connection that is silent is kept open on the way out: a client that was about to use it
/// gets its answer, and is told in it that the connection closes.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// How large the head of a request may be, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How much of what a client sends is read at once, in bytes. A connection keeps that much memory after a large
/// body.
const MAX_READ_BYTES: usize = 64 * 1024;

/// How many headers a request may have.
const MAX_HEADERS: usize = 100;

/// What a server takes from its clients.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections served at the same time.
    pub max_connections: u32,
    /// How long a connection may take to send the head of its next request, waiting for one included.
    pub idle_timeout: Duration,
}

impl From<&HttpSettings> for ConnectionLimits {
    fn from(settings: &HttpSettings) -> Self {
        Self { max_connections: settings.max_connections.get(), idle_timeout: settings.idle_timeout }
    }
}

/// Serves the requests of one connection until it ends.
pub(super) async fn serve<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    endpoint: Arc<E>,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
) {
    // A peer that has gone away already is nobody to answer.
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let (local, remote) = (Addr::SocketAddr(local), Addr::SocketAddr(remote));
    let accepted_at = Instant::now();
    let was_asked = AtomicBool::new(false);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        was_asked.store(true, Ordering::Relaxed);
        let addresses = (LocalAddr(local.clone()), RemoteAddr(remote.clone()));
        answer(endpoint.clone(), (request, addresses.0, addresses.1, Scheme::HTTP).into(), &lifecycle)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_READ_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);

    tokio::select! {
        biased;
        ended = &mut connection => return log_end(ended),
        () = time_to_end(&lifecycle, accepted_at) => connection.as_mut().graceful_shutdown(),
    }
    // A connection on which nothing was ever asked is not one that hyper calls idle: it waits for the
    // first request. Nobody else does.
    if was_asked.load(Ordering::Relaxed) {
        tokio::select! {
            biased;
            ended = connection => log_end(ended),
            () = lifecycle.reached(Stage::Aborting) => {}
        }
    }
}

async fn answer<E: Endpoint<Output = Response>>(
    endpoint: Arc<E>,
    request: Request,
    lifecycle: &Lifecycle,
) -> Result<hyper::Response<http_body_util::combinators::BoxBody<bytes::Bytes, std::io::Error>>, Infallible> {
    let mut response = endpoint.get_response(request).await;
    if lifecycle.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.into())
}

/// Waits until the server closes, and until the connection had the time for one last request.
async fn time_to_end(lifecycle: &Lifecycle, accepted_at: Instant) {
    lifecycle.reached(Stage::Closing).await;
    let draining_since = lifecycle.draining_since().unwrap_or(accepted_at);
    tokio::time::sleep_until(accepted_at.max(draining_since) + LAST_REQUEST).await;
}

/// What ends a connection is mostly the peer's affair: it went away, or what it sent is not HTTP.
fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::debug!(%error, cause, "a connection ended early");
    }
}
