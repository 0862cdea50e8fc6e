//! `lint`: what is wrong or dangerous in the migrations.

use super::Migrator;
use crate::lint::{Finding, Rules, lint_catalog};
use crate::source::{Dialect, embedded};

impl Migrator {
    /// Looks at every migration and undo file; of the embedded ones at those for both databases.
    #[must_use]
    pub fn lint(&self, rules: &Rules) -> Vec<Finding> {
        if self.admin.is_none() {
            return lint_catalog(&self.catalog, rules);
        }
        Dialect::ALL.into_iter().flat_map(|dialect| lint_catalog(embedded(dialect), rules)).collect()
    }
}
