//! What releases before did not look at. A schema that one of them kept says nothing of it, which is no drift.

use super::{Structure, Table};

impl Structure {
    /// Leaves out of what is found, and of what such a release kept, the things that the other cannot have.
    pub(crate) fn compare_with_older(&mut self, kept: &mut Self) {
        self.grants.retain(|it| !it.right.ends_with(')') && !it.on.starts_with("TYPE "));
        for structure in [&mut *self, &mut *kept] {
            structure.extras.clear();
            structure.unknown.clear();
        }
        for partition in self.tables.values_mut().flat_map(|it| it.partitions.values_mut()) {
            partition.own = Table::default();
        }
        let tables = self.tables.values_mut().map(|it| (&mut it.triggers, &mut it.rules));
        let views = self.views.values_mut().map(|it| (&mut it.triggers, &mut it.rules));
        for (triggers, rules) in tables.chain(views) {
            rules.clear();
            for trigger in triggers.values_mut() {
                if let Some(end) = trigger.find(";\nALTER TABLE ") {
                    trigger.truncate(end);
                }
            }
        }
        // The functions of a range were kept beside its type.
        kept.routines
            .retain(|_, it| it.definition.as_ref().is_none_or(|it| !it.contains("range_constructor")));
    }
}
