//! What is known about the database's health, without a request waiting for it.
//!
//! [`Probe`] looks once a second, on a connection of its own; `/readyz` and `/health` read what it found
//! last. [`SharedQuery`] asks through the pool, for `/health/db`.

mod background;
mod shared_query;

pub use background::{Probe, ProbeView};
pub use shared_query::SharedQuery;

use std::time::Duration;

/// How long a look at the database may take, connecting included.
pub const BUDGET: Duration = Duration::from_millis(500);

/// How long one query through the pool may go on, though nobody waits for it longer than [`BUDGET`].
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How often the probe looks.
pub const PERIOD: Duration = Duration::from_secs(1);

/// After how long without a report the probe itself is called broken.
pub const STALE_AFTER: Duration = Duration::from_secs(3);
