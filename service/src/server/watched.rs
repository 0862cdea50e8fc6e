//! The bodies of a request and of its answer, watched: whether the first was read to its end, when the second has
//! been handed over, and whether it is the client that both wait for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};

use super::seats::{Busy, Pace};

/// What is known of the body of a request. Where there is one, it is in the request's data.
#[derive(Debug)]
pub struct Reading {
    is_read: AtomicBool,
    is_awaited: AtomicBool,
}

impl Reading {
    /// Of a body that was read to its end, or of none.
    pub(super) fn finished() -> Arc<Self> {
        Arc::new(Self { is_read: AtomicBool::new(true), is_awaited: AtomicBool::new(false) })
    }

    /// Notes that there is a request, and whether it has a body.
    pub(super) fn begin(&self, is_empty: bool) {
        self.is_read.store(is_empty, Ordering::Relaxed);
        self.is_awaited.store(false, Ordering::Relaxed);
    }

    /// Whether it was read to its end.
    pub(super) fn is_finished(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    /// Whether more of it was asked for and has not come.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }
}

/// The body of a request, which notes how it is read.
pub(super) struct RequestBody {
    pub(super) inner: BoxBody<Bytes, io::Error>,
    pub(super) reading: Arc<Reading>,
    pub(super) pace: Pace,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        self.reading.is_awaited.store(polled.is_pending(), Ordering::Relaxed);
        let Poll::Ready(frame) = polled else {
            self.pace.wait();
            return Poll::Pending;
        };
        self.pace.go_on(length(frame.as_ref()));
        if frame.is_none() || self.inner.is_end_stream() {
            self.reading.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How much of an answer, in bytes, is handed over at once.
const PIECE: usize = 16 * 1024;

/// The body of an answer. Its request lasts until the client has taken most of the last of it: hyper asks for more
/// then, and keeps the body until it does. Most answers are one large frame, which is handed over in pieces, so that
/// it is seen how the client takes them.
pub(super) struct Answer {
    inner: BoxBody<Bytes, io::Error>,
    pace: Pace,
    /// What is left of a frame.
    rest: Bytes,
    /// How many bytes were handed over last.
    last: usize,
    _busy: Busy,
}

impl Answer {
    pub(super) fn new(inner: BoxBody<Bytes, io::Error>, busy: Busy) -> Self {
        let pace = busy.pace();
        // The answers before it may not be taken yet.
        pace.wait();
        Self { inner, pace, rest: Bytes::new(), last: 0, _busy: busy }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let taken = std::mem::take(&mut self.last);
        self.pace.go_on(taken);
        let mut frame = None;
        if self.rest.is_empty() {
            frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
            if let Some(data) = frame.as_mut().and_then(|it| it.as_mut().ok()).and_then(Frame::data_mut) {
                self.rest = std::mem::take(data);
            }
        }
        if !self.rest.is_empty() {
            let size = self.rest.len().min(PIECE);
            frame = Some(Ok(Frame::data(self.rest.split_to(size))));
        }
        self.last = length(frame.as_ref());
        self.pace.wait();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // Who is told of the end drops the body, before the client has taken anything of the last piece.
        self.last == 0 && self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.inner.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// How many bytes came.
fn length(frame: Option<&io::Result<Frame<Bytes>>>) -> usize {
    let data = frame.and_then(|it| it.as_ref().ok()).and_then(Frame::data_ref);
    data.map_or(0, Bytes::len)
}
