//! The chapters of the API's documentation.

use poem_openapi::Tags;

/// What an operation is about.
#[derive(Tags)]
pub enum Tag {
    /// What the service says about itself.
    Health,
    /// Who did what, when and from where.
    Audit,
    /// Signing in, and the tokens of programs.
    Auth,
    /// Accounts: who may sign in.
    Users,
    /// Snapshots of what is measured, over time.
    Metrics,
    /// How long snapshots are kept, and where they are archived.
    Archive,
    /// Settings that are changed while the service runs.
    Config,
}
