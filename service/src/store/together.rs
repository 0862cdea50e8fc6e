//! Look-ups that arrive while one is under way go together in the next. Never stale, because nothing is
//! remembered: each answer was asked for after its request came in.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foundation::database::{Database, DatabaseError, DatabaseErrorKind};
use tokio::sync::oneshot;

/// How many keys one statement looks up, at most.
pub const AT_ONCE: usize = 32;

/// How many statements are under way at the same time, at most. A second one begins when as many wait as one
/// looks up: fewer statements, each for more, are what spares the database and this program most.
const UNDER_WAY: usize = 2;

/// How many look-ups wait at most: as many as there are connections, where the settings do not say another
/// number. Those whose request was given up do not count.
const WAITING: usize = 4096;

/// What can be looked up, several at once.
pub trait LookUp: Send + Sync + 'static {
    /// What it is found by, unique.
    type Key: Copy + Eq + Hash + Send + Sync;
    /// What is found.
    type Found: Clone + Send + Sync;

    /// What is found by these keys, of which there are 1 to [`AT_ONCE`]. Those that nothing is found by are
    /// not in the answer.
    fn find(
        database: &Database,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<HashMap<Self::Key, Self::Found>, DatabaseError>> + Send;
}

/// The error of a statement, for each of those who waited for it.
type Failure = (DatabaseErrorKind, String);
type Answer<L> = Result<Option<<L as LookUp>::Found>, Failure>;
type Waiting<L> = (<L as LookUp>::Key, oneshot::Sender<Answer<L>>);

/// Looks things up, several at once where several are asked for. Cheap to clone.
pub struct Together<L: LookUp>(Arc<Shared<L>>);

impl<L: LookUp> Clone for Together<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<L: LookUp> {
    database: Database,
    state: Mutex<State<L>>,
}

struct State<L: LookUp> {
    under_way: usize,
    waiting: VecDeque<Waiting<L>>,
}

impl<L: LookUp> Default for State<L> {
    fn default() -> Self {
        Self { under_way: 0, waiting: VecDeque::new() }
    }
}

impl<L: LookUp> State<L> {
    /// Adds a look-up; says whether somebody has to begin to work. Returns `None` when too many wait already.
    fn add(&mut self, waiting: Waiting<L>) -> Option<bool> {
        if self.waiting.len() >= WAITING {
            self.waiting.retain(|(_, sender)| !sender.is_closed());
        }
        if self.waiting.len() >= WAITING {
            return None;
        }
        self.waiting.push_back(waiting);
        let begin = self.under_way == 0 || (self.waiting.len() >= AT_ONCE && self.under_way < UNDER_WAY);
        self.under_way += usize::from(begin);
        Some(begin)
    }

    /// The next that are looked up together; none when nobody waits. A program sends many requests with one
    /// token: all who wait for the same are one place.
    fn take(&mut self) -> Batch<L> {
        let mut batch = Batch { keys: Vec::new(), waiting: Vec::new() };
        while let Some((key, sender)) = self.waiting.pop_front() {
            if sender.is_closed() {
                continue;
            }
            if !batch.keys.contains(&key) {
                if batch.keys.len() == AT_ONCE {
                    self.waiting.push_front((key, sender));
                    break;
                }
                batch.keys.push(key);
            }
            batch.waiting.push((key, sender));
        }
        batch
    }
}

/// Those that are looked up together, each key once.
struct Batch<L: LookUp> {
    keys: Vec<L::Key>,
    waiting: Vec<Waiting<L>>,
}

/// Somebody who works. When they end in the middle, by a panic, another one can begin.
struct Worker<'a, L: LookUp>(&'a Shared<L>);

impl<L: LookUp> Worker<'_, L> {
    /// The next that are looked up together. None: whoever asks has no more work, and ends.
    fn take(self) -> Option<(Self, Batch<L>)> {
        let batch = {
            let mut state = self.0.state();
            let batch = state.take();
            if batch.keys.is_empty() {
                // Under the same lock, so that nobody adds one between the look and the end.
                state.under_way -= 1;
            }
            batch
        };
        if batch.keys.is_empty() {
            std::mem::forget(self);
            return None;
        }
        Some((self, batch))
    }
}

impl<L: LookUp> Drop for Worker<'_, L> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

impl<L: LookUp> Together<L> {
    /// Looks things up in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(Arc::new(Shared { database, state: Mutex::default() }))
    }

    /// What is found by the key, if anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn find(&self, key: L::Key) -> Result<Option<L::Found>, DatabaseError> {
        self.ask(key).answer().await
    }

    /// Asks at once for what is found by the key. Who does not wait for the answer any more drops it.
    #[must_use]
    pub fn ask(&self, key: L::Key) -> Pending<L> {
        let (sender, answer) = oneshot::channel();
        let begin = self.0.state().add((key, sender));
        if begin == Some(true) {
            let shared = Arc::clone(&self.0);
            // A task of its own: the others' look-ups go on when the first who asked goes away.
            tokio::spawn(async move { shared.work().await });
        }
        Pending(begin.map(|_| answer))
    }
}

/// What was asked for and may be under way; `None` when too many wait already.
pub struct Pending<L: LookUp>(Option<oneshot::Receiver<Answer<L>>>);

impl<L: LookUp> Pending<L> {
    /// What was found, if anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn answer(self) -> Result<Option<L::Found>, DatabaseError> {
        let unavailable = |message: &str| DatabaseError::new(DatabaseErrorKind::Unreachable, message);
        let answer = self.0.ok_or_else(|| unavailable("too many look-ups wait for the database"))?;
        match answer.await {
            Ok(answer) => answer.map_err(|(kind, message)| DatabaseError::new(kind, message)),
            Err(_) => Err(unavailable("the look-up ended without an answer")),
        }
    }
}

impl<L: LookUp> Shared<L> {
    fn state(&self) -> MutexGuard<'_, State<L>> {
        // Nothing that can panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self) {
        let mut worker = Worker(self);
        while let Some((goes_on, batch)) = worker.take() {
            worker = goes_on;
            let found = L::find(&self.database, &batch.keys).await;
            answer::<L>(batch.waiting, &found.map_err(|error| (error.kind(), error.to_string())));
        }
    }
}

fn answer<L: LookUp>(waiting: Vec<Waiting<L>>, found: &Result<HashMap<L::Key, L::Found>, Failure>) {
    for (key, sender) in waiting {
        let answer = match found {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(error.clone()),
        };
        // Who asked may have gone away.
        let _gone = sender.send(answer);
    }
}

/// The values of a statement with places for `places` keys. Where there are fewer keys, the last one stands
/// in the places that are left: PostgreSQL would take nulls there for a reason to plan the statement anew
/// each time.
pub fn fill<K>(keys: &[K], places: usize) -> impl Iterator<Item = &K> {
    (0..places).filter_map(move |place| keys.get(place).or(keys.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Nothing {}

    impl LookUp for Nothing {
        type Key = u8;
        type Found = u8;

        async fn find(_: &Database, _: &[u8]) -> Result<HashMap<u8, u8>, DatabaseError> {
            Ok(HashMap::new())
        }
    }

    #[test]
    fn no_more_wait_than_may_and_nobody_waits_for_who_went_away() {
        let mut state = State::<Nothing>::default();
        let mut answers = Vec::new();
        let mut add = |state: &mut State<Nothing>| {
            let (sender, answer) = oneshot::channel();
            let begin = state.add((0, sender));
            answers.push(answer);
            begin
        };
        assert_eq!(add(&mut state), Some(true));
        for waiting in 2..=WAITING {
            // The second begins when a whole statement's worth waits, and there is no third.
            assert_eq!(add(&mut state), Some(waiting == AT_ONCE), "{waiting}");
        }
        assert_eq!(add(&mut state), None);
        // All but the last who waits give up.
        answers.truncate(WAITING);
        drop(answers.drain(..WAITING - 1));
        let (sender, _answer) = oneshot::channel();
        assert_eq!(state.add((1, sender)), Some(false));
        assert_eq!(state.take().keys, [0, 1]);
        assert_eq!(state.take().keys.len(), 0);
    }

    #[test]
    fn who_wants_the_same_has_one_place() {
        let mut state = State::<Nothing>::default();
        let places = u8::try_from(AT_ONCE).unwrap();
        let keys: Vec<u8> = (0..places).flat_map(|key| [key, 0]).chain([places, 0]).collect();
        let mut answers = Vec::new();
        for key in &keys {
            let (sender, answer) = oneshot::channel();
            state.add((*key, sender));
            answers.push(answer);
        }
        let batch = state.take();
        assert_eq!(batch.keys, (0..places).collect::<Vec<_>>());
        assert_eq!(batch.waiting.len(), 2 * AT_ONCE);
        // The others keep their turn.
        assert_eq!(state.take().keys, [places, 0]);
    }
}
