//! Whether an attempt is let through, and what its failure costs the next ones.

use std::time::Duration;

use foundation::database::Transaction;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ActionError, Actions, Origin};
use crate::domain::login_limits::{Account, Subject, delay, network, with_one_more};
use crate::store::login_failures::{self, Failures};
use crate::store::sessions;

/// What the failures of an attempt are counted by.
pub(super) struct Limits {
    account: Option<Subject>,
    address: Option<Subject>,
    pair: Option<Subject>,
    user: Option<Uuid>,
    /// When the attempt took the one that its site has while the account is locked.
    taken_at: Option<OffsetDateTime>,
}

impl Limits {
    /// Those of an attempt at that account; nothing where none can have the name.
    pub(super) fn new(account: Option<Account>, origin: &Origin) -> Self {
        let user = match account {
            Some(Account::Known(id)) => Some(id),
            _ => None,
        };
        let pair = origin.address.zip(account.clone());
        Self {
            account: account.map(Subject::Account),
            address: origin.address.map(Subject::address),
            pair: pair.map(|(address, account)| Subject::pair(address, account)),
            user,
            taken_at: None,
        }
    }

    /// Refuses the attempt while it is locked by its address, or by its account with no exception for where
    /// it comes from. All of this is the same whether there is such an account or not.
    pub(super) async fn admit(&mut self, actions: &Actions, origin: &Origin) -> Result<(), ActionError> {
        let now = actions.clock.now();
        let subjects = [&self.account, &self.address, &self.pair].map(Option::as_ref);
        let [account, address, pair] = login_failures::find(&actions.database, subjects).await?;
        let lock = |it: Option<Failures>| it.map(|it| it.locked_until).filter(|until| *until > now);
        let (account, address) = (lock(account), lock(address));
        let mut until = address;
        if account.is_some()
            && self.taken_at.is_none()
            && !self.is_signed_in_there(actions, origin, now).await?
            && !self.take_try(actions, now, pair, address.is_some()).await?
        {
            until = until.max(account);
        }
        let Some(until) = until else { return Ok(()) };
        Err(ActionError::TooManyAttempts { retry_after: (until - now).unsigned_abs() })
    }

    async fn is_signed_in_there(
        &self,
        actions: &Actions,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<bool, ActionError> {
        let Some(address) = origin.address else { return Ok(false) };
        // Asked for nobody's sessions too, so that an answer takes as long whether there is an account.
        let user = self.user.unwrap_or_default();
        let idle_since = now - actions.settings.session_idle_lifetime;
        let sessions = sessions::list(&actions.database, user, now, idle_since).await?;
        let addresses = sessions.iter().filter_map(|it| it.address.as_deref()?.parse().ok());
        Ok(addresses.map(network).any(|it| it == network(address)))
    }

    /// Takes the one attempt at a locked account that a site has where nobody failed lately. It is written
    /// down as a failure before anything is compared, so that of many at the same time one is let through.
    /// An attempt that is refused for its address does not use it up.
    async fn take_try(
        &mut self,
        actions: &Actions,
        now: OffsetDateTime,
        recorded: Option<Failures>,
        is_refused_anyway: bool,
    ) -> Result<bool, ActionError> {
        let Some(pair) = &self.pair else { return Ok(false) };
        let forgotten = now - actions.settings.failure_retention;
        if recorded.is_some_and(|it| it.last_failed_at >= forgotten) {
            return Ok(false);
        }
        if is_refused_anyway {
            return Ok(true);
        }
        let is_taken = login_failures::take(&actions.database, pair, now, forgotten).await?;
        self.taken_at = is_taken.then_some(now);
        Ok(is_taken)
    }

    /// Leaves the one attempt of the site to the next, where this one took it and came to no verdict.
    pub(super) async fn give_back(&mut self, actions: &Actions) -> Result<(), ActionError> {
        if let (Some(pair), Some(taken_at)) = (&self.pair, self.taken_at.take()) {
            login_failures::give_back(&actions.database, pair, taken_at).await?;
        }
        Ok(())
    }

    /// Counts a failure by account, by address and by both, in this order everywhere, so that two
    /// transactions never wait for each other.
    pub(super) async fn count(
        &self,
        actions: &Actions,
        transaction: &mut Transaction,
    ) -> Result<(), ActionError> {
        count_by(actions, transaction, [&self.account, &self.address, &self.pair]).await
    }

    /// Counts an attempt by its address alone: one that guessed nothing, but must not be free either, because it
    /// costs a hash and an event.
    pub(super) async fn count_address(
        &self,
        actions: &Actions,
        transaction: &mut Transaction,
    ) -> Result<(), ActionError> {
        count_by(actions, transaction, [&None, &self.address, &None]).await
    }

    /// Forgets the failures of the account, and that there were some at this site.
    pub(super) async fn clear(&self, transaction: &mut Transaction) -> Result<(), ActionError> {
        for subject in [&self.account, &self.pair].into_iter().flatten() {
            login_failures::clear(transaction, subject).await?;
        }
        Ok(())
    }
}

/// Counts a failure by each of these, in the order of [`Limits::count`].
async fn count_by(
    actions: &Actions,
    transaction: &mut Transaction,
    subjects: [&Option<Subject>; 3],
) -> Result<(), ActionError> {
    let now = actions.clock.now();
    let (limits, retention) = (actions.live.current(), actions.settings.failure_retention);
    for subject in subjects.into_iter().flatten() {
        let failures = match login_failures::lock(transaction, subject).await? {
            None => 1,
            Some(before) => {
                // The clock of another replica may be ahead.
                let elapsed = Duration::try_from(now - before.last_failed_at).unwrap_or_default();
                with_one_more(&limits, retention, before.failures, elapsed)
            }
        };
        let locked_until = now + delay(&limits, subject, failures);
        let after = Failures { failures, last_failed_at: now, locked_until };
        login_failures::update(transaction, subject, &after).await?;
    }
    Ok(())
}
