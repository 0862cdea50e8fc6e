//! The connections that there are, and which of them makes room for a newcomer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long one that was told to make room is waited for before another one is told.
const LEAVING: Duration = Duration::from_secs(1);

/// What stands for a time in [`Seat::idle_since`] while there is a request.
const BUSY: u64 = u64::MAX;

/// As many connections as there may be.
#[derive(Debug)]
pub(super) struct Seats {
    slots: Arc<Semaphore>,
    taken: Mutex<BTreeMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    begin: Instant,
    became_idle: Notify,
}

/// The place of one connection, as the connection and its answers know it.
#[derive(Debug)]
pub(super) struct Seat {
    /// In microseconds since the server began: since when there is no request.
    idle_since: AtomicU64,
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

impl Seats {
    pub(super) fn new(count: u32) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(count as usize)),
            taken: Mutex::default(),
            next: AtomicU64::new(0),
            begin: Instant::now(),
            became_idle: Notify::new(),
        })
    }

    /// A seat for a newcomer: a free one, else that of the connection that has been without a request for the
    /// longest time, which is closed. Whoever says nothing keeps nobody out: no probe, and nobody else.
    pub(super) async fn take(self: &Arc<Self>) -> Taken {
        // Outside of the loop, so that those who become idle do not put it off.
        let mut late = tokio::time::interval_at(Instant::now() + LEAVING, LEAVING);
        loop {
            if let Ok(slot) = self.slots.clone().try_acquire_owned() {
                return self.seat(slot);
            }
            self.give_up_longest_idle(true);
            tokio::select! {
                slot = self.slots.clone().acquire_owned() => if let Ok(slot) = slot {
                    return self.seat(slot);
                },
                () = self.became_idle.notified() => {}
                // Its last answer may be on its way still, to somebody who reads slowly or not at all.
                _ = late.tick() => self.give_up_longest_idle(false),
            }
        }
    }

    /// Waits until every connection of so many has ended.
    pub(super) async fn all_free(&self, count: u32) {
        // It is never closed.
        let _every_slot = self.slots.acquire_many(count).await;
    }

    pub(super) fn free(&self) -> usize {
        self.slots.available_permits()
    }

    fn seat(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Taken {
        let seat = Arc::new(Seat {
            idle_since: AtomicU64::new(self.now()),
            was_asked: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            give_up: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, seat.clone());
        Taken { seats: self.clone(), number, seat, _slot: slot }
    }

    /// Tells the one that it has to make room; where one was told before, only when that is not waited for.
    fn give_up_longest_idle(&self, waits_for_told: bool) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = taken.values().filter(|it| it.is_idle() && (waits_for_told || !it.is_given_up()));
        let longest = idle.min_by_key(|it| (!it.is_given_up(), it.idle_since.load(Ordering::Relaxed)));
        // One that was told already is about to make room.
        if let Some(seat) = longest.filter(|it| !it.is_given_up()) {
            seat.is_given_up.store(true, Ordering::Release);
            seat.give_up.notify_one();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(BUSY - 1)
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

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) != BUSY
    }
}

impl Taken {
    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Notes that there is a request. A connection has one at a time.
    pub(super) fn busy(&self) -> Busy {
        self.seat.was_asked.store(true, Ordering::Relaxed);
        self.seat.idle_since.store(BUSY, Ordering::Relaxed);
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
        self.seat.idle_since.store(self.seats.now(), Ordering::Relaxed);
        self.seats.became_idle.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// What one was answered may be on its way for as long as its client likes.
    #[tokio::test]
    async fn who_does_not_leave_keeps_no_newcomer_waiting() {
        let seats = Seats::new(2);
        let stays = seats.take().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let leaves = seats.take().await;
        let leaving = async move {
            leaves.seat().given_up().await;
            drop(leaves);
        };
        let both = async { tokio::join!(seats.take(), leaving) };
        tokio::time::timeout(LEAVING * 20, both).await.expect("the other one makes room");
        assert!(stays.seat().is_given_up());
    }

    #[tokio::test]
    async fn who_was_idle_the_longest_makes_room_and_nobody_with_a_request() {
        let seats = Seats::new(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(seats.take().await);
            // Their times differ.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let request = taken[0].busy();
        let mut newcomer = Box::pin(seats.take());
        assert!((&mut newcomer).now_or_never().is_none(), "there is no room yet");
        let told = |it: &Taken| it.seat().given_up().now_or_never().is_some();
        assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), [false, true, false]);
        // Another one that becomes idle is not told while the first is about to go.
        drop(request);
        assert!((&mut newcomer).now_or_never().is_none());
        assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), [false, true, false]);
        taken.remove(1);
        let seated = newcomer.await;

        // Where everybody has a request, the first that has none any more makes room.
        let requests: Vec<_> = taken.iter().map(Taken::busy).collect();
        let busy = seated.busy();
        let mut newcomer = Box::pin(seats.take());
        assert!((&mut newcomer).now_or_never().is_none());
        assert!(!taken.iter().any(told));
        drop(requests);
        assert!((&mut newcomer).now_or_never().is_none());
        assert_eq!(taken.iter().filter(|it| told(it)).count(), 1);
        drop((taken, busy));
        newcomer.await;
    }
}
