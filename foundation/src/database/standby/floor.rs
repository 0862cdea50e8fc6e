//! What a standby has to have so that it is not too far behind: what the primary had written that long ago.
//!
//! The primary is asked now and then how far it has got. A server that has replayed what was told at a moment
//! has everything that was committed before that moment. So no two clocks are compared, a primary that is idle
//! does not look like a standby that is late, and a standby that lost its primary does not look fresh.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::Position;
use super::super::postgres::{FLUSHED, PostgresPool, position};

/// How often the primary is asked within the lag that is allowed.
const LOOKS: u32 = 4;

/// The bounds of the time between two looks.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(25)..=Duration::from_secs(1);

/// What the primary said, and when it was asked.
pub(super) struct Looks {
    max_lag: Duration,
    told: Mutex<VecDeque<(Instant, Position)>>,
}

impl Looks {
    pub(super) fn new(max_lag: Duration) -> Arc<Self> {
        Arc::new(Self { max_lag, told: Mutex::default() })
    }

    /// What has to be there; nothing when the primary said nothing for so long that nobody knows.
    pub(super) fn position(&self) -> Option<Position> {
        self.within(Instant::now())
    }

    fn within(&self, now: Instant) -> Option<Position> {
        let mut told = self.told();
        while told.front().is_some_and(|(asked, _)| now.saturating_duration_since(*asked) > self.max_lag) {
            told.pop_front();
        }
        told.front().map(|(_, position)| *position)
    }

    /// Asks the primary once, and says when to ask again. Nothing: nobody wants to know any more.
    pub(super) async fn look(
        primary: &PostgresPool,
        floor: impl Fn() -> Option<Arc<Self>>,
    ) -> Option<Duration> {
        let interval = floor()?.interval();
        let (asked, generation) = (Instant::now(), primary.generation());
        let told = primary.lanes().query(FLUSHED, &[]).await.and_then(|rows| position(&rows));
        match told {
            Ok(Some(position)) => {
                let floor = floor()?;
                floor.add(asked, position);
                if generation != primary.generation() {
                    floor.forget();
                }
            }
            Ok(None) => {}
            // The probe tells of it.
            Err(error) => tracing::debug!(%error, "the primary does not say how far it has got"),
        }
        Some(interval)
    }

    fn interval(&self) -> Duration {
        (self.max_lag / LOOKS).clamp(*INTERVAL.start(), *INTERVAL.end())
    }

    fn add(&self, asked: Instant, position: Position) {
        // Those that nobody asked for are dropped here.
        self.within(asked);
        self.told().push_back((asked, position));
    }

    /// Forgets what was said: another server is the primary now, whose positions count otherwise.
    pub(super) fn forget(&self) {
        self.told().clear();
    }

    fn told(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Position)>> {
        // Nothing that can panic happens under this lock.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_the_primary_was_that_long_ago() {
        let position = |number: u32| format!("0/{number}").parse::<Position>().expect("a position");
        let (floor, start) = (Looks::new(Duration::from_secs(4)), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(floor.within(start), None);
        for second in 0..=3 {
            floor.add(at(second), position(1 + second as u32));
        }
        assert_eq!(floor.within(at(4)), Some(position(1)));
        assert_eq!(floor.within(at(5)), Some(position(2)));
        assert_eq!(floor.within(at(7)), Some(position(4)));
        assert_eq!(floor.within(at(8)), None, "nothing is known of a primary that says nothing");
        assert_eq!(floor.interval(), Duration::from_secs(1));
        assert_eq!(Looks::new(Duration::from_millis(400)).interval(), Duration::from_millis(100));
        assert_eq!(Looks::new(Duration::from_secs(60)).interval(), Duration::from_secs(1));
    }
}
