//! What was computed by a function that is another one now: indexes are made anew, and of the rest it is said.

use std::collections::BTreeSet;

use super::Mend;
use super::postgres::Way;
use super::routines::{self, Stage, stage};
use crate::source::Dialect;
use crate::structure::tokens::{Kind, tokens};
use crate::structure::{ConstraintKind, Structure};

/// The names of the functions that stay under their head with another body, and are that before the tables change.
pub(super) fn replaced(from: &Structure, to: &Structure, gone: &BTreeSet<&str>) -> BTreeSet<String> {
    let changed = to.routines.iter().filter(|(signature, it)| {
        let before = from.routines.get(*signature).filter(|_| !gone.contains(signature.as_str()));
        before.is_some_and(|before| before.definition != it.definition) && stage(it) == Stage::BeforeTables
    });
    changed.map(|(signature, _)| routines::name(signature)).collect()
}

impl Way<'_> {
    /// Whether a definition calls one of them. A column may be called like a function.
    pub(super) fn calls_replaced(&self, definition: &str) -> bool {
        if self.replaced.is_empty() {
            return false;
        }
        let words = tokens(definition, Dialect::Postgres);
        words.windows(2).any(|pair| {
            pair[0].kind != Kind::Symbol && pair[1].is_symbol("(") && self.replaced.contains(&pair[0].name())
        })
    }

    /// Says what keeps what the function before made of it.
    pub(super) fn warn_of_replaced(&self, out: &mut Mend) {
        for (name, before, after) in self.in_both() {
            for column in &after.columns {
                let stays = before.column(&column.name).is_some_and(|it| it.generated == column.generated);
                let stored = column.generated.as_ref().filter(|it| it.ends_with(" STORED"));
                if stays && stored.is_some_and(|it| self.calls_replaced(it)) {
                    out.warnings.push(format!(
                        "{name}.{} is computed by a function that is another now: rows keep what it was until they are written",
                        column.name
                    ));
                }
            }
            for constraint in after.constraints.iter().filter(|it| before.constraints.contains(it)) {
                if !self.calls_replaced(&constraint.definition) {
                    continue;
                }
                let called = constraint.name.as_deref().unwrap_or_default();
                let what = if constraint.kind == ConstraintKind::Check {
                    "the rows that are there are not looked at again"
                } else {
                    "REINDEX it"
                };
                out.warnings.push(format!("{called} on {name} calls a function that is another now: {what}"));
            }
            let both = after.indexes.iter().filter(|(index, it)| before.indexes.get(*index) == Some(*it));
            for (index, _) in both.filter(|(_, it)| self.calls_replaced(&it.definition)) {
                out.warnings.push(format!(
                    "{index} on {name} is made anew, because a function in it is another now: the table is read as a whole, and nobody writes meanwhile"
                ));
            }
        }
    }
}
