//! What the head of a migration says: lines of ours, and the one of sqlx.

use super::parts::Part;
use crate::source::{Instructions, Problem};

/// The line with which a file of sqlx begins that is not to run in a transaction.
pub(super) const SQLX_NO_TRANSACTION: &str = "-- no-transaction";

pub(super) fn instructions(part: &Part, problems: &mut Vec<Problem>) -> Instructions {
    let (mut instructions, wrong) = Instructions::of_file(&part.file, &part.text);
    problems.extend(wrong);
    if let Some(version) = instructions.compatible_from.filter(|version| *version > part.version) {
        let reason = format!(
            "compatible-from {version} is above its own version {}: this release itself could not run on it",
            part.version
        );
        problems.push(Problem::new(&part.file, reason));
    }
    instructions.no_transaction |= part.text.starts_with(SQLX_NO_TRANSACTION);
    instructions
}
