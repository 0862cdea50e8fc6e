//! Hashing and verifying passwords, on threads of their own: it takes tens of milliseconds of one core and
//! megabytes of memory each time, so that both are bounded here and no other request waits behind it.

mod budget;
mod scheme;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use foundation::entropy::Entropy;
use foundation::settings::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use self::budget::Budget;
pub(crate) use self::scheme::{MAX_LANES, MAX_MEMORY, MAX_PASSES, MIN_MEMORY_OF_LANE};
pub use self::scheme::{Scheme, SchemeError};
use crate::actions::ActionError;
use crate::settings::AuthSettings;

/// When to come again while the queue is full. One place in it is free much sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many attempts there may be at the same time beside those whose hashes wait: the database is asked before and
/// after.
const ATTEMPTS: usize = 64;

/// How long an attempt waits for its place. Those that are refused before anything is hashed hold theirs for a
/// moment only, so that many of them keep nobody out.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(1);

/// The longest password that is looked at, in bytes. No new one is longer than 128 characters; one that was
/// brought along from elsewhere may be.
const MAX_PASSWORD_BYTES: usize = 1024;

/// What comparing a password with a hash came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is the password.
    pub matches: bool,
    /// Whether the hash was not made as new ones are.
    pub needs_rehash: bool,
}

/// Why passwords cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// The settings are none that argon2id takes.
    #[error(
        "AUTH_ARGON2_MEMORY, AUTH_ARGON2_PASSES and AUTH_ARGON2_LANES are not right together: {0} (the memory has to be at least 8 KiB for each lane)"
    )]
    Scheme(#[from] SchemeError),
    /// The operating system refuses.
    #[error("no threads to hash passwords on: {0}")]
    Threads(#[from] std::io::Error),
}

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and verifies passwords. Cheap to clone; its threads end with the last clone.
#[derive(Clone)]
pub struct Passwords(Arc<Shared>);

/// The place of somebody who proves a password, from the first question to the database to the last.
#[derive(Debug)]
pub struct Attempt {
    _permit: OwnedSemaphorePermit,
}

struct Shared {
    jobs: SyncSender<Job>,
    attempts: Arc<Semaphore>,
    work: Arc<Work>,
}

/// What a job needs.
struct Work {
    scheme: Scheme,
    budget: Budget,
    entropy: Entropy,
}

impl Passwords {
    /// As many threads as `AUTH_HASHING_MEMORY_LIMIT` has room for hashes and the machine has cores, at
    /// least one, and a queue of `AUTH_HASHING_QUEUE` before them.
    ///
    /// # Errors
    /// The settings are none that argon2id takes, or there are no threads to be had.
    pub fn new(settings: &AuthSettings, entropy: Entropy) -> Result<Self, PasswordsError> {
        let memory = settings.argon2_memory.as_u64();
        let limit = settings.hashing_memory_limit.as_u64();
        let scheme = Scheme::new(settings)?;
        let room = usize::try_from(limit / memory.max(1)).unwrap_or(usize::MAX);
        let cores = available_parallelism().map_or(1, usize::from);
        let queue = usize::try_from(settings.hashing_queue.get()).unwrap_or(usize::MAX);
        let (jobs, waiting) = sync_channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..room.clamp(1, cores) {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new().name(format!("passwords-{number}"));
            thread.spawn(move || work(&waiting))?;
        }
        let work = Work { scheme, budget: Budget::new(limit), entropy };
        let attempts = Arc::new(Semaphore::new(queue.saturating_add(ATTEMPTS).min(Semaphore::MAX_PERMITS)));
        Ok(Self(Arc::new(Shared { jobs, attempts, work: Arc::new(work) })))
    }

    /// A place for an attempt to prove a password: as many as `AUTH_HASHING_QUEUE` and some more, in the order in
    /// which they come. Who stops waiting has none.
    ///
    /// # Errors
    /// [`ActionError::Busy`]: there was none for a second, mostly because the database has no answer for those before.
    pub async fn attempt(&self) -> Result<Attempt, ActionError> {
        match timeout(ATTEMPT_PATIENCE, self.0.attempts.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Attempt { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(ActionError::Busy { retry_after: RETRY_AFTER }),
        }
    }

    /// The argon2id hash of a password.
    ///
    /// # Errors
    /// [`ActionError::Busy`]: the queue is full.
    pub async fn hash(&self, password: Secret) -> Result<String, ActionError> {
        self.run(move |work| {
            let _room = work.budget.take(work.scheme.memory());
            work.scheme.hash(password.expose().as_bytes(), work.entropy.bytes())
        })
        .await
    }

    /// Whether it is the password that the hash was made of: one of argon2 with any parameters, or of bcrypt
    /// (`$2a$`, `$2b$`, `$2y$`). Nothing matches no hash, nor one of another kind, and that takes as long as
    /// with an argon2id hash of today's parameters. An older hash takes its own time, until its user signs
    /// in and it is renewed.
    ///
    /// # Errors
    /// [`ActionError::Busy`]: the queue is full.
    pub async fn verify(&self, password: Secret, hash: Option<String>) -> Result<Verdict, ActionError> {
        self.run(move |work| {
            let bytes = password.expose().as_bytes();
            let too_long = bytes.len() > MAX_PASSWORD_BYTES;
            let bytes = if too_long { &bytes[..MAX_PASSWORD_BYTES] } else { bytes };
            let stored = work.scheme.read(hash.as_deref());
            let _room = work.budget.take(work.scheme.memory_for(&stored));
            let verdict = work.scheme.verify(bytes, &stored)?;
            Ok(Verdict { matches: verdict.matches && !too_long, ..verdict })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Work) -> Result<T, SchemeError> + Send + 'static,
    ) -> Result<T, ActionError> {
        let (answer, answered) = oneshot::channel();
        let work = Arc::clone(&self.0.work);
        let job: Job = Box::new(move || {
            // Nobody waits for what was given up meanwhile.
            if !answer.is_closed() {
                let _gone = answer.send(job(&work));
            }
        });
        let busy = ActionError::Busy { retry_after: RETRY_AFTER };
        match self.0.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(busy),
        }
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "a password could not be hashed");
                Err(busy)
            }
            Err(_) => Err(busy),
        }
    }
}

/// How much a thread that hashes stands back behind those that answer requests: 10 of 20 steps, a tenth of
/// the weight. With a hash on every core, the others would otherwise wait for a core after each pause.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Elsewhere it is the whole process that has a priority.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "hashing passwords has the priority of everything else");
    }
}

/// Does what waits until nothing can come any more.
fn work(waiting: &Mutex<Receiver<Job>>) {
    stand_back();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The panic was logged where it happened; its caller learns from the answer that does not come.
        let _panicked = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests;
