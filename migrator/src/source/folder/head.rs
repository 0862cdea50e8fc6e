//! What the head of a migration says: lines of ours, above its sections too, and the one of sqlx.

use super::parts::Part;
use crate::source::{Instructions, Problem};

/// The line with which a file of sqlx begins that is not to run in a transaction.
pub(super) const SQLX_NO_TRANSACTION: &str = "-- no-transaction";

pub(super) fn instructions(part: &Part, problems: &mut Vec<Problem>) -> Instructions {
    // The text begins with an empty line for each of those.
    let below = part.text.get(part.head.matches('\n').count()..).unwrap_or_default();
    let (mut instructions, wrong) = Instructions::of_file(&part.file, &format!("{}{below}", part.head));
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

/// What is wrong in the head of an undo: it says how it runs, and what may be in it.
pub(super) fn of_undo(part: &Part, problems: &mut Vec<Problem>) {
    let (instructions, wrong) = Instructions::of_file(&part.file, &part.text);
    problems.extend(wrong);
    if instructions.irreversible.is_some() || instructions.compatible_from.is_some() {
        let reason = "says irreversible or compatible-from in what takes it back: that stands at the head of the migration";
        problems.push(Problem::new(&part.file, reason));
    }
}
