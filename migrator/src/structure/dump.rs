//! A schema as plain DDL: applied to an empty database, it makes the same schema, as far as SQL is written here.

use super::mend::BODIES_UNCHECKED;
use super::{Structure, mend};

/// The statements that make the schema, in an order that works, ending in a line feed. What SQL cannot say is
/// a comment. Partitions by range are left out, because they are made as time goes on.
#[must_use]
pub fn dump(structure: &Structure) -> String {
    let made = mend(&Structure::empty(structure.dialect), structure);
    let mut text = String::new();
    for sentence in &made.unsaid {
        text.push_str(&format!("-- {sentence}\n"));
    }
    for (at, statement) in made.statements.iter().enumerate() {
        // An index stands with its table.
        let together = at > 0
            && ["CREATE INDEX", "CREATE UNIQUE INDEX", "GRANT", "REVOKE"]
                .iter()
                .any(|it| statement.starts_with(it));
        if !(text.is_empty() || together) {
            text.push('\n');
        }
        // A dump may be run without a transaction.
        let statement = statement
            .strip_prefix("SET LOCAL ")
            .filter(|_| statement == BODIES_UNCHECKED)
            .map_or_else(|| statement.clone(), |it| format!("SET {it}"));
        text.push_str(&statement);
        text.push_str(";\n");
    }
    text
}
