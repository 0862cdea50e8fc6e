//! The exit codes of both programs, named once. A Kubernetes `podFailurePolicy` reads them.

/// Why a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Success = 0,
    /// Bad usage, or a confirmation that was refused.
    Usage = 2,
    /// The history diverges, or the schema is not one that this release may touch.
    Schema = 65,
    /// The database cannot be reached, or a port is in use: try again.
    Unavailable = 69,
    /// The SQL of a migration failed.
    Migration = 70,
    /// `check` found drift or something pending.
    Drift = 73,
    /// The lock was not won, `wait` timed out, or SIGTERM stopped the run: try again.
    Interrupted = 75,
    /// Bad settings, and what only a person can mend.
    Configuration = 78,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
