//! One connection: HTTP/1.1, bounded in every direction.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::header::{CONNECTION, HeaderValue};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request, Response};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::lingering;
use super::seats::{Busy, Seat, Taken};
use super::watched::{Answer, Reading, RequestBody};
use crate::lifecycle::{Lifecycle, Stage};
use crate::settings::HttpSettings;

/// How long a connection that is silent is kept open on the way out: a client that was about to use it
/// gets its answer, and is told in it that the connection closes.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// How long a connection may take to send its first head. A client connects because it has something to ask, and
/// `HTTP_IDLE_TIMEOUT` is for those that have asked.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// How large the head of a request may be, in bytes; a larger one is answered with 431. As much is read at once of
/// what a client sends, and a connection keeps that memory: however many there may be take it all at worst.
const MAX_HEAD_BYTES: usize = 16 * 1024;

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

/// Whether it is the server that drops the request of a connection, and not its client. In the request's data.
#[derive(Debug, Default)]
pub struct Cut(AtomicBool);

impl Cut {
    /// Whether it is.
    pub fn is_by_server(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn by_server(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Serves the requests of one connection until it ends, or until its seat is wanted.
pub(super) async fn serve<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    endpoint: Arc<E>,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
    taken: Taken,
) {
    // A peer that has gone away already is nobody to answer.
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let (local, remote) = (Addr::SocketAddr(local), Addr::SocketAddr(remote));
    let (seat, accepted_at) = (taken.seat(), Instant::now());
    let (reading, cut) = (Reading::finished(), Arc::<Cut>::default());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (reading, cut) = (reading.clone(), cut.clone());
        let exchange = Exchange { busy: taken.busy(), reading, cut, lifecycle: &lifecycle };
        exchange.reading.begin(request.body().is_end_stream());
        let addresses = (LocalAddr(local.clone()), RemoteAddr(remote.clone()));
        // In a box, so that a connection without a request has no room for one.
        Box::pin(exchange.answer(endpoint.clone(), (request, addresses.0, addresses.1, Scheme::HTTP).into()))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);

    let ended = tokio::select! {
        biased;
        ended = &mut connection => Some(ended),
        () = first_head_is_late(seat, accepted_at) => return,
        () = seat.given_up() => None,
        () = time_to_end(&lifecycle, accepted_at) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        // A connection on which nothing was ever asked is not one that hyper calls idle: it waits for the
        // first request. Nobody else does.
        None if !seat.was_asked() => return,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = lifecycle.reached(Stage::Aborting) => {
                    cut.by_server();
                    return taken.count_as_cut();
                }
                () = seat.outstayed() => {
                    cut.by_server();
                    tracing::debug!("a connection whose client kept it waiting made room");
                    return;
                }
            }
        }
    };
    log_end(&ended);
    if !reading.is_finished() || ended.is_err_and(|error| error.is_parse()) {
        let stream = connection.into_parts().io.into_inner();
        tokio::select! {
            biased;
            () = lifecycle.reached(Stage::Aborting) => {}
            () = seat.given_up() => {}
            () = lingering::close(stream) => {}
        }
    }
}

/// One request and its answer.
struct Exchange<'a> {
    busy: Busy,
    reading: Arc<Reading>,
    cut: Arc<Cut>,
    lifecycle: &'a Lifecycle,
}

impl Exchange<'_> {
    async fn answer<E: Endpoint<Output = Response>>(
        self,
        endpoint: Arc<E>,
        mut request: Request,
    ) -> Result<hyper::Response<Answer>, Infallible> {
        request.set_data(self.cut);
        let mut announced = Some(0);
        if !self.reading.is_finished() {
            let inner: BoxBody<Bytes, io::Error> = request.take_body().into();
            announced = inner.size_hint().exact();
            let pace = self.busy.pace();
            request.set_data(self.reading.clone());
            request.set_body(BoxBody::new(RequestBody { inner, reading: self.reading.clone(), pace }));
        }
        let mut response = endpoint.get_response(request).await;
        // hyper reads what little may be there of a body that nobody read, and closes when there is more.
        let is_left = !self.reading.is_finished() && announced.is_none_or(|it| it > MAX_HEAD_BYTES as u64);
        if is_left || self.lifecycle.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let response: hyper::Response<BoxBody<Bytes, io::Error>> = response.into();
        Ok(response.map(|inner| Answer::new(inner, self.busy)))
    }
}

/// Waits until a connection on which nothing was ever asked has had its time.
async fn first_head_is_late(seat: &Seat, accepted_at: Instant) {
    tokio::time::sleep_until(accepted_at + FIRST_HEAD).await;
    if seat.was_asked() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the server closes, and until the connection had the time for one last request, if there is any.
async fn time_to_end(lifecycle: &Lifecycle, accepted_at: Instant) {
    lifecycle.reached(Stage::Closing).await;
    let draining_since = lifecycle.draining_since().unwrap_or(accepted_at);
    tokio::select! {
        () = tokio::time::sleep_until(accepted_at.max(draining_since) + LAST_REQUEST) => {}
        () = lifecycle.reached(Stage::Aborting) => {}
    }
}

/// What ends a connection is mostly the peer's affair: it went away, or what it sent is not HTTP.
fn log_end(ended: &Result<(), hyper::Error>) {
    if let Err(error) = ended {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::debug!(%error, cause, "a connection ended early");
    }
}
