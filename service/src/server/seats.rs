//! The connections that there are, and which of them makes room for a newcomer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a client may keep a seat that somebody else waits for: with a request of which it sends or takes next
/// to nothing, or with an answer that it was told is its last.
/// The system lets a client that takes all it can wait for a second or two until it asks for more, so it is more
/// than that.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a newcomer waits for the one that was told to make room, until another one is told too.
const TURN: Duration = Duration::from_millis(500);

/// How much of a body, in bytes, a client has to send or take to be given that time again: one that is slower than
/// 50 kB/s keeps no seat that somebody else waits for.
pub(super) const PROGRESS: usize = 256 * 1024;

/// What stands for a time in [`Seat::silent_since`] while it is not the client that is waited for.
const BUSY: u64 = u64::MAX;

/// As many connections as there may be.
#[derive(Debug)]
pub(super) struct Seats {
    slots: Arc<Semaphore>,
    taken: Mutex<BTreeMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    cut: AtomicUsize,
    begin: Instant,
    became_idle: Notify,
}

/// The place of one connection, as the connection, its requests and its answers know it.
#[derive(Debug)]
pub(super) struct Seat {
    begin: Instant,
    /// In microseconds since the server began: since when the client is waited for, to ask, to send on what it asks,
    /// or to take its answer.
    silent_since: AtomicU64,
    /// hyper may drop the answer of a request when it has begun the next, so they are counted.
    requests: AtomicUsize,
    was_asked: AtomicBool,
    is_given_up: AtomicBool,
    give_up: Notify,
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    seats: Arc<Seats>,
    number: u64,
    seat: Arc<Seat>,
    _slot: OwnedSemaphorePermit,
}

/// A request, until its answer has been handed over.
#[derive(Debug)]
pub(super) struct Busy {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

impl Busy {
    /// How fast the client sends its request, or takes the answer, from now on.
    pub(super) fn pace(&self) -> Pace {
        Pace { seat: self.seat.clone(), waited: 0, moved: 0 }
    }
}

/// How fast a client sends a body, or takes one.
#[derive(Debug)]
pub(super) struct Pace {
    seat: Arc<Seat>,
    /// For how long it was waited for since the last [`PROGRESS`], in microseconds.
    waited: u64,
    /// How many bytes there were since then.
    moved: usize,
}

impl Seats {
    pub(super) fn new(count: u32) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(count as usize)),
            taken: Mutex::default(),
            next: AtomicU64::new(0),
            cut: AtomicUsize::new(0),
            begin: Instant::now(),
            became_idle: Notify::new(),
        })
    }

    /// A seat for a newcomer: a free one, else that of the connection that has been without a request for the
    /// longest time, else that of the client that has let its request wait for the longest time. It is closed.
    /// Whoever says nothing keeps nobody out: no probe, and nobody else.
    pub(super) async fn take(self: &Arc<Self>) -> Taken {
        // Outside of the loop, so that those who become idle do not put it off.
        let mut late = tokio::time::interval_at(Instant::now() + TURN, TURN);
        loop {
            if let Ok(slot) = self.slots.clone().try_acquire_owned() {
                return self.seat(slot);
            }
            self.give_up_longest_silent(true);
            tokio::select! {
                slot = self.slots.clone().acquire_owned() => if let Ok(slot) = slot {
                    return self.seat(slot);
                },
                () = self.became_idle.notified() => {}
                // Its last answer may be on its way still, and others have lost their time meanwhile.
                _ = late.tick() => self.give_up_longest_silent(false),
            }
        }
    }

    /// Waits until every connection of so many has ended.
    pub(super) async fn all_free(&self, count: u32) {
        // It is never closed.
        let _every_slot = self.slots.acquire_many(count).await;
    }

    /// How many connections were cut.
    pub(super) fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    fn seat(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Taken {
        let seat = Arc::new(Seat {
            begin: self.begin,
            silent_since: AtomicU64::new(micros(self.begin.elapsed())),
            requests: AtomicUsize::new(0),
            was_asked: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            give_up: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, seat.clone());
        Taken { seats: self.clone(), number, seat, _slot: slot }
    }

    /// Tells the one that it has to make room; where one was told before, only when that is not waited for.
    fn give_up_longest_silent(&self, waits_for_told: bool) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = taken.values().filter(|it| it.may_go() && (waits_for_told || !it.is_given_up()));
        let longest = silent.min_by_key(|it| (!it.is_given_up(), it.has_request(), it.silent_since()));
        // One that was told already is about to make room.
        if let Some(seat) = longest.filter(|it| !it.is_given_up()) {
            seat.is_given_up.store(true, Ordering::Release);
            seat.give_up.notify_one();
        }
    }
}

impl Seat {
    /// Whether there was ever a request.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    /// Waits until the seat is wanted for a newcomer.
    pub(super) async fn given_up(&self) {
        while !self.is_given_up() {
            self.give_up.notified().await;
        }
    }

    /// Waits until the seat is wanted, and the client has had its time to leave.
    pub(super) async fn outstayed(&self) {
        self.given_up().await;
        while let Some(left) = PATIENCE.checked_sub(self.silence()).filter(|it| !it.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    fn has_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    fn silent_since(&self) -> u64 {
        self.silent_since.load(Ordering::Relaxed)
    }

    /// For how long the client has been waited for.
    fn silence(&self) -> Duration {
        match self.silent_since() {
            BUSY => Duration::ZERO,
            since => Duration::from_micros(self.now().saturating_sub(since)),
        }
    }

    /// Whether it may be told to make room. A request gives its client time, which is what a network needs.
    fn may_go(&self) -> bool {
        if self.has_request() { self.silence() >= PATIENCE } else { self.silent_since() != BUSY }
    }

    fn now(&self) -> u64 {
        micros(self.begin.elapsed())
    }
}

impl Pace {
    /// Notes that the client is waited for.
    pub(super) fn wait(&self) {
        if self.seat.has_request() && self.seat.silent_since() == BUSY {
            let since = self.seat.now().saturating_sub(self.waited);
            self.seat.silent_since.store(since, Ordering::Relaxed);
        }
    }

    /// Notes that the client has sent or taken so much, and is not waited for.
    pub(super) fn go_on(&mut self, bytes: usize) {
        if !self.seat.has_request() {
            return;
        }
        self.moved += bytes;
        if self.moved >= PROGRESS {
            (self.moved, self.waited) = (0, 0);
        } else if self.seat.silent_since() != BUSY {
            self.waited = micros(self.seat.silence());
        }
        self.seat.silent_since.store(BUSY, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(BUSY - 1)
}

impl Taken {
    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Notes that the connection is cut, and did not end by itself at that moment.
    pub(super) fn count_as_cut(&self) {
        self.seats.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that there is a request. A connection has one at a time.
    pub(super) fn busy(&self) -> Busy {
        self.seat.was_asked.store(true, Ordering::Relaxed);
        self.seat.silent_since.store(BUSY, Ordering::Relaxed);
        self.seat.requests.fetch_add(1, Ordering::Relaxed);
        Busy { seats: self.seats.clone(), seat: self.seat.clone() }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.seat.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.seat.silent_since.store(self.seat.now(), Ordering::Relaxed);
            self.seats.became_idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
