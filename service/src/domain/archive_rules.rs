//! What the policies come to at one moment: which rows go, and how.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::archive_policies::{ALL_OTHERS, ArchiveAction, ArchivePolicy};

/// What is done with the rows of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Rows before this time go.
    pub cutoff: OffsetDateTime,
    /// How they go.
    pub action: ArchiveAction,
}

/// What the policies come to at one moment.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Of each type that has a policy of its own; nothing for one that is not enabled.
    own: HashMap<String, Option<Rule>>,
    others: Option<Rule>,
}

impl Rules {
    /// What these policies come to now.
    #[must_use]
    pub fn new(policies: &[ArchivePolicy], now: OffsetDateTime) -> Self {
        let mut rules = Self::default();
        for policy in policies {
            let rule = Rule { cutoff: policy.cutoff(now), action: policy.action };
            let rule = policy.is_enabled.then_some(rule);
            if policy.metric_type == ALL_OTHERS {
                rules.others = rule;
            } else {
                rules.own.insert(policy.metric_type.clone(), rule);
            }
        }
        rules
    }

    /// The rule for a type; nothing when its rows are kept for ever. A policy of its own that is not enabled
    /// keeps it out of the one for all others.
    #[must_use]
    pub fn of(&self, metric_type: &str) -> Option<Rule> {
        self.own.get(metric_type).copied().unwrap_or(self.others)
    }

    fn all(&self) -> impl Iterator<Item = Rule> {
        self.own.values().copied().chain([self.others]).flatten()
    }

    /// Whether a rule archives.
    #[must_use]
    pub fn archive(&self) -> bool {
        self.all().any(|rule| rule.action == ArchiveAction::Archive)
    }

    /// Rows from this time on are kept, whatever their type; nothing when all are.
    #[must_use]
    pub fn latest_cutoff(&self) -> Option<OffsetDateTime> {
        self.all().map(|rule| rule.cutoff).max()
    }

    /// Whether a partition that ends at `upper` and has rows of these types goes whole. One without rows goes
    /// when every rule would have it go.
    #[must_use]
    pub fn expire(&self, types: &[String], upper: OffsetDateTime) -> bool {
        let is_over = |rule: Rule| upper <= rule.cutoff;
        if types.is_empty() {
            return self.latest_cutoff().is_some() && self.all().all(is_over);
        }
        types.iter().all(|it| self.of(it).is_some_and(is_over))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::archive_policies::NewArchivePolicy;

    const NOW: OffsetDateTime = datetime!(2026-03-31 12:30 UTC);

    fn policy(metric_type: &str, days: u32, action: ArchiveAction, is_enabled: bool) -> ArchivePolicy {
        let metric_type = metric_type.to_owned();
        NewArchivePolicy { metric_type, retention_days: days, action, is_enabled }.policy(Uuid::nil(), NOW)
    }

    #[test]
    fn what_no_enabled_policy_governs_is_kept_for_ever() {
        let none = Rules::new(&[], NOW);
        let disabled = Rules::new(&[policy("*", 1, ArchiveAction::Delete, false)], NOW);
        for rules in [none, disabled] {
            assert_eq!(rules.of("cpu"), None);
            assert_eq!(rules.latest_cutoff(), None);
            let long_ago = datetime!(1970-01-02 0:00 UTC);
            assert!(!rules.expire(&[], long_ago) && !rules.expire(&["cpu".to_owned()], long_ago));
        }
    }

    #[test]
    fn a_type_with_a_policy_of_its_own_is_none_of_the_others() {
        let policies = [
            policy("*", 10, ArchiveAction::Archive, true),
            policy("cpu", 2, ArchiveAction::Delete, true),
            policy("audit", 1, ArchiveAction::Delete, false),
        ];
        let rules = Rules::new(&policies, NOW);
        let cpu = Rule { cutoff: datetime!(2026-03-29 0:00 UTC), action: ArchiveAction::Delete };
        assert_eq!(rules.of("cpu"), Some(cpu));
        assert_eq!(rules.of("audit"), None, "kept for ever");
        assert_eq!(rules.of("disk").map(|it| it.cutoff), Some(datetime!(2026-03-21 0:00 UTC)));
        assert!(rules.archive());
        assert_eq!(rules.latest_cutoff(), Some(cpu.cutoff));

        let types = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (old, recent) = (datetime!(2026-03-21 0:00 UTC), datetime!(2026-03-22 0:00 UTC));
        assert!(rules.expire(&types(&["cpu", "disk"]), old));
        assert!(!rules.expire(&types(&["cpu", "disk"]), recent), "the disks' rows are kept longer");
        assert!(rules.expire(&types(&["cpu"]), recent));
        assert!(!rules.expire(&types(&["cpu", "audit"]), old), "one of its types is kept for ever");
        assert!(rules.expire(&[], old) && !rules.expire(&[], recent), "an empty one, by every rule");
    }

    #[test]
    fn a_day_goes_whole() {
        for now in [datetime!(2026-03-31 0:00 UTC), datetime!(2026-03-31 23:59:59 UTC)] {
            assert_eq!(
                policy("cpu", 30, ArchiveAction::Delete, true).cutoff(now),
                datetime!(2026-03-01 0:00 UTC)
            );
        }
    }
}
