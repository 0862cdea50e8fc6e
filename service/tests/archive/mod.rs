//! Archive policies: what goes, what stays, what comes back, and what a killed run leaves behind.

mod api;
mod bucket;
mod changes;
mod clients;
mod clouds;
mod detached;
mod following;
mod kills;
mod lost;
mod programs;
mod restores;
mod rules;
mod schedule;
mod world;
