//! The ways in which tools name migrations.

use std::fmt;

/// How the files of a folder are named and divided. A folder has one style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `V1__name.sql`, undone by `D1__name.sql` or `U1__name.sql`.
    Lettered,
    /// `1_name.up.sql`, undone by `1_name.down.sql`.
    Pair,
    /// `1_name.sql`, without an undo.
    Plain,
    /// `1_name.sql` with `-- migrate:up` and `-- migrate:down` in it.
    Dbmate,
    /// `1_name.sql` with `-- +goose Up` and `-- +goose Down` in it.
    Goose,
}

impl fmt::Display for Style {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lettered => "named as by refinery and Flyway (V1__name.sql)",
            Self::Pair => "named as by golang-migrate and sqlx (1_name.up.sql)",
            Self::Plain => "named as by sqlx (1_name.sql, without an undo)",
            Self::Dbmate => "divided as by dbmate (-- migrate:up)",
            Self::Goose => "divided as by goose (-- +goose Up)",
        })
    }
}
