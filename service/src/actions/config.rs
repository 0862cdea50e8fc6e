//! Settings: shown, put, reset.
