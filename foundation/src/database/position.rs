//! Places in what the primary has written, by which a standby is known to have something or not.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a server had got in the log that it writes ahead, or that it follows. In PostgreSQL's own
/// spelling: `16/B374D848`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// The text is none of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is two hexadecimal numbers with a slash between them, such as 16/B374D848")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (upper, lower) = text.split_once('/').ok_or(NoPosition)?;
        let half = |digits: &str| {
            let is_number =
                (1..=8).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| is_number).ok_or(NoPosition)
        };
        Ok(Self(half(upper)? << 32 | half(lower)?))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

/// What is known of the work that is followed.
struct Followed {
    after: Option<Position>,
    /// Where the last of its transactions ended; zero while there is none.
    written: AtomicU64,
}

tokio::task_local! {
    static FOLLOWED: Arc<Followed>;
}

/// Does something of which the reads find whatever was written up to `after`, and says where the last of its
/// own transactions ended: nothing where it wrote nothing, or where no standby is read. What it spawns is part
/// of it where that is [`carried`], as far as it is waited for.
pub async fn following<T>(after: Option<Position>, work: impl Future<Output = T>) -> (T, Option<Position>) {
    let followed = Arc::new(Followed { after, written: AtomicU64::new(0) });
    let both = async {
        let done = work.await;
        (done, FOLLOWED.with(|it| it.written()))
    };
    FOLLOWED.scope(followed, both).await
}

/// What is spawned as a part of the work that is followed here, if any is.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let followed = FOLLOWED.try_with(Arc::clone).ok();
    async move {
        match followed {
            Some(followed) => FOLLOWED.scope(followed, work).await,
            None => work.await,
        }
    }
}

impl Followed {
    fn written(&self) -> Option<Position> {
        Some(self.written.load(Ordering::Relaxed)).filter(|it| *it > 0).map(Position)
    }
}

/// Whether anybody wants to know where this work's transactions end.
pub(super) fn is_followed() -> bool {
    FOLLOWED.try_with(|_| ()).is_ok()
}

/// Where a transaction of this work ended.
pub(super) fn note(position: Position) {
    // Nobody asks where there is none.
    let _noted = FOLLOWED.try_with(|it| it.written.fetch_max(position.0, Ordering::Relaxed));
}

/// What a standby has to have for this work to be read from it.
pub(super) fn demanded() -> Option<Position> {
    FOLLOWED.try_with(|it| it.after.max(it.written())).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_written() {
        for (text, written) in
            [("0/0", "0/0"), ("16/B374D848", "16/B374D848"), ("ffffffff/0000000a", "FFFFFFFF/A")]
        {
            assert_eq!(text.parse::<Position>().expect(text).to_string(), written);
        }
        for text in ["", "/", "1", "1/", "/1", "+1/1", "1/+1", "1/123456789", "g/1", "1/1/1", " 1/1", "1/1 "]
        {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text:?}");
        }
    }

    #[test]
    fn they_are_ordered_as_they_were_written() {
        let position = |text: &str| text.parse::<Position>().expect(text);
        assert!(position("0/FFFFFFFF") < position("1/0"));
        assert!(position("A/1") < position("10/0"));
    }

    #[tokio::test]
    async fn the_furthest_is_told_and_demanded() {
        let position = |text: &str| text.parse::<Position>().expect(text);
        assert!(!is_followed());
        assert_eq!(demanded(), None);
        let (said, written) = following(Some(position("0/5")), async {
            assert!(is_followed());
            assert_eq!(demanded(), Some(position("0/5")));
            note(position("1/0"));
            note(position("0/9"));
            demanded()
        })
        .await;
        assert_eq!((said, written), (Some(position("1/0")), Some(position("1/0"))));
        assert_eq!(following(None, async { demanded() }).await, (None, None));
        let spawned = async {
            let written = position("2/0");
            let work = carried(async move {
                note(written);
                demanded()
            });
            tokio::spawn(work).await.expect("it does not panic")
        };
        let told = following(Some(position("0/5")), spawned).await;
        assert_eq!(told, (Some(position("2/0")), Some(position("2/0"))));
    }
}
