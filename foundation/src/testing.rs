//! What the tests of all three crates share.
