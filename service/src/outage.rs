//! What is tried again and again: that it fails is logged once, and so is that it works again.

/// Whether something fails at the moment.
#[derive(Debug, Default)]
pub(crate) struct Outage(bool);

impl Outage {
    /// Notes that it failed, and says whether it worked before.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    /// Notes that it worked, and says whether it failed before.
    pub(crate) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let mut outage = Outage::default();
        assert!(!outage.ends(), "it worked from the beginning");
        for _ in 0..2 {
            assert!(outage.begins());
            assert!(!outage.begins());
            assert!(outage.ends());
            assert!(!outage.ends());
        }
    }
}
