//! The tests of the migrator, in one program: linking one is much quicker than linking fifty.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends by panicking, and tells how much it proved"
)]

mod admin;
mod at_once;
mod autogenerate;
mod autogenerate_files;
mod autogenerate_property;
mod autogenerate_rows;
mod backup;
mod coming_from;
mod commands;
mod drift;
mod failures;
mod folders;
mod folders_instructions;
mod folders_refused;
mod folders_session;
mod forks;
mod help;
mod import_history;
mod in_parts;
mod jobs;
mod kill;
mod large;
mod lint;
mod locks;
mod mend;
mod mend_partitions;
mod mend_routines;
mod mend_sqlite;
mod no_transaction;
mod no_transaction_settings;
mod partitions;
mod partly_done;
mod patience;
mod plan;
mod pooler;
mod refused;
mod rehearse;
mod releases;
mod repair;
mod reset;
mod restore;
mod restore_points;
mod roles;
mod search_path;
mod server_versions;
mod source;
mod source_files;
mod sqlite_files;
mod stop;
mod structure;
mod support;
mod traces;
mod trials;
mod users;
mod wait_and_config;
