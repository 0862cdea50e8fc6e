//! The memory of the bodies that are being collected, all requests together.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use poem::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::actions::ActionError;
use crate::api::problem::Failure;

/// How many of the largest bodies may be collected at the same time.
const LARGEST_BODIES: u64 = 8;

/// How much of each body costs nothing, in bytes: so much of every connection is bounded by their number, and
/// nobody keeps a login or a small change waiting by being slow with large bodies.
pub(super) const FREE_BYTES: u64 = 16 * 1024;

/// What a unit of the semaphore is, in bytes.
const UNIT: u64 = 1024;

/// How long whoever finds no memory is told to wait.
const BUSY: Duration = Duration::from_secs(1);

/// What all bodies may take together.
#[derive(Clone, Debug)]
pub(super) struct BodyMemory(Arc<Semaphore>);

/// What one request has of it, until this is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl BodyMemory {
    /// Memory for so many bodies of `largest` bytes that one of them is always possible.
    pub(super) fn for_bodies_of(largest: u64) -> Self {
        let units = largest.div_ceil(UNIT).saturating_mul(LARGEST_BODIES);
        let units = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// The body, which takes its memory when it is first read: all that was announced, otherwise as much as comes.
    /// It keeps it as long as there is the second value, because what is made of a body takes memory too.
    pub(super) fn counted(&self, body: Body, announced: Option<u64>) -> (Body, Held) {
        let held = Held::default();
        let counted = Counted {
            inner: body.into(),
            announced,
            seen: 0,
            units: 0,
            memory: self.clone(),
            held: held.clone(),
        };
        (BoxBody::new(counted).into(), held)
    }

    fn take(&self, units: u64, held: &Held) -> io::Result<()> {
        let busy = || io::Error::other(Failure::Action(ActionError::Busy { retry_after: BUSY }));
        let units = u32::try_from(units).map_err(|_| busy())?;
        let taken = self.0.clone().try_acquire_many_owned(units).map_err(|_| busy())?;
        let mut held = held.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(before) => before.merge(taken),
            None => *held = Some(taken),
        }
        Ok(())
    }
}

/// A body that takes memory.
struct Counted {
    inner: BoxBody<Bytes, io::Error>,
    announced: Option<u64>,
    seen: u64,
    units: u64,
    memory: BodyMemory,
    held: Held,
}

impl Counted {
    /// Has memory for a body of so many bytes.
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let units = if bytes > FREE_BYTES { bytes.div_ceil(UNIT) } else { 0 };
        if units > self.units {
            self.memory.take(units - self.units, &self.held)?;
            self.units = units;
        }
        Ok(())
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(announced) = self.announced {
            self.grow(announced)?;
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context)?);
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            self.seen += data.len() as u64;
            let seen = self.seen;
            self.grow(seen)?;
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// A body that comes in parts of one KiB.
    fn chunked(kib: usize) -> Body {
        let parts = (0..kib).map(|_| Ok::<_, io::Error>(Bytes::from(vec![b'x'; KIB])));
        Body::from_bytes_stream(futures_util::stream::iter(parts))
    }

    #[tokio::test]
    async fn bodies_take_memory_until_their_requests_end() {
        let memory = BodyMemory::for_bodies_of(64 * 1024);
        let all = memory.0.available_permits();
        assert_eq!(all, 8 * 64);
        let mut requests = Vec::new();
        for number in 0..8 {
            // What is announced is taken at once, what is not as it comes.
            let (body, held) = if number % 2 == 0 {
                memory.counted(Body::from(vec![b'x'; 64 * KIB]), Some(64 * 1024))
            } else {
                memory.counted(chunked(64), None)
            };
            assert_eq!(memory.0.available_permits(), all - number * 64, "nothing is taken before it is read");
            assert_eq!(body.into_bytes().await.unwrap().len(), 64 * KIB);
            requests.push(held);
        }
        assert_eq!(memory.0.available_permits(), 0);
        for announced in [Some(17 * 1024), None] {
            let (body, _held) = memory.counted(chunked(17), announced);
            assert!(body.into_bytes().await.is_err(), "{announced:?}");
        }
        // Small ones do not wait for the large.
        for announced in [Some(16 * 1024), None] {
            let (body, _held) = memory.counted(chunked(16), announced);
            assert_eq!(body.into_bytes().await.unwrap().len(), 16 * KIB);
        }
        drop(requests);
        assert_eq!(memory.0.available_permits(), all);
    }
}
