//! `up`: applies what is pending.

use std::time::Duration;

use foundation::database::{Backend, Connection};
use tokio::time::Instant;
use tracing::Instrument;

use super::Migrator;
use super::restore_point::Before;
use crate::admin::{self, NewAdmin};
use crate::error::MigratorError;
use crate::grants;
use crate::history::{Action, Entry};
use crate::past::Past;
use crate::report::{AppliedNow, Progress, UpReport};
use crate::session::{Performed, Session};
use crate::snapshot;
use crate::source::{Migration, Version};
use crate::step;

/// How long a run waits before it looks for the server again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

impl Migrator {
    /// Applies the migrations that are pending, up to and with the version `to`. With the embedded
    /// migrations it ends by making an administrator where there is none, and by granting what
    /// `MIGRATOR_GRANT_TO` lacks. When nothing is to be done, it reads and takes no lock. A server that goes away
    /// before the first migration is begun is looked for again, for as long as one that is starting.
    ///
    /// # Errors
    /// Every [`MigratorError`]. What was under way is rolled back, what was finished before stays.
    pub async fn up(&self, to: Option<Version>) -> Result<UpReport, MigratorError> {
        let mut report = UpReport::new(&self.context.url);
        Box::pin(self.up_telling(to, &mut report)).await.map(|()| report)
    }

    /// Does it, and tells in the report what was done, also when that is not all.
    pub(crate) async fn up_telling(
        &self,
        to: Option<Version>,
        report: &mut UpReport,
    ) -> Result<(), MigratorError> {
        self.require_known(to)?;
        let mut give_up = None;
        loop {
            let mut has_begun = false;
            *report = UpReport::new(&self.context.url);
            let mut session = Session::open(&self.context, true).await?;
            // On the heap, as in `step`: without optimisation these frames are large.
            match Box::pin(self.up_on(&mut session, to, &mut has_begun, report)).await {
                // With several hosts in its address, another one is the primary by now or soon.
                Err(error)
                    if error.is_lost_connection()
                        && !has_begun
                        && Instant::now()
                            < *give_up.get_or_insert(Instant::now() + self.context.settings.wait_timeout) =>
                {
                    tracing::warn!(reason = %error, "the server went away before the first migration; connecting again");
                    self.context.pause(RECONNECT_PAUSE).await?;
                }
                done => return done,
            }
        }
    }

    /// Does it on one connection. `has_begun` is set before anything is run that is not safe to run again.
    async fn up_on(
        &self,
        session: &mut Session,
        to: Option<Version>,
        has_begun: &mut bool,
        report: &mut UpReport,
    ) -> Result<(), MigratorError> {
        let mut past = self.past(session).await?;
        if self.whole(&past.begun, true).is_err() {
            // Whoever takes it back may be about to finish.
            session.lock().await?;
            past = self.past(session).await?;
            self.whole(&past.begun, true)?;
        }
        let pending = self.pending(&past, to);
        let nothing_pending = pending.is_empty();
        self.written(&pending)?;
        let admin = self.missing_admin(session, to).await?;
        let grants = grants::missing(session).await?;
        report.current_version = past.newest();
        if !(nothing_pending && admin.is_none() && grants.is_none()) {
            session.lock().await?;
            let before = past.applied;
            let past = self.past(session).await?;
            let pending = self.pending(&past, to);
            self.whole(&past.begun, pending.is_empty())?;
            // On SQLite, which has no lock for a whole run, whoever began meanwhile has made one.
            let is_first = session.backend() == Backend::Postgres || past.applied == before;
            if let (Some(first), true) = (pending.first(), is_first) {
                let what = format!("V{}", first.version());
                let target = pending.last().map(|it| it.version()).max(past.newest());
                let point = Before::new(&past.applied, target, &what);
                report.restore_point = self.restore_point(session, point).await?;
            }
            *has_begun = !pending.is_empty();
            if let Err(error) = Box::pin(self.apply(session, &pending, report)).await {
                Box::pin(self.keep_what_is_done(session, !report.applied.is_empty(), &error)).await;
                return Err(error);
            }
            if let Some(change) = grants::missing(session).await? {
                session.perform(&change).await.map_err(grants::explain)?;
                report.granted_to.clone_from(&self.context.settings.grant_to);
            }
            report.current_version = self.verify(session, to).await?.newest();
            snapshot::record(session).await;
            if report.restore_point.is_some() {
                self.forget_oldest_copies(None);
            }
        }
        // Last, so that nothing can fail between making a password and telling it.
        if let Some(admin) = admin {
            // Whether one whose answer is lost was made is not known, and its password would be another one.
            *has_begun = true;
            self.make_admin(session, &admin, report).await?;
        }
        Ok(())
    }

    /// Where a migration or an undo failed or was given up, those before it are there to stay, and so are the
    /// statements that are done of one that runs outside of a transaction. `check` is to know the schema as they left
    /// it, and the service is to have its rights on it. What failed is told in any case.
    pub(super) async fn keep_what_is_done(
        &self,
        session: &mut Session,
        has_changed: bool,
        error: &MigratorError,
    ) {
        // The connection of a run that is stopped may not answer any more.
        if matches!(error, MigratorError::Stopped)
            || error.is_lost_connection()
            || !(has_changed || error.leaves_a_part())
        {
            return;
        }
        let granted = match grants::missing(session).await {
            Ok(Some(change)) => session.perform(&change).await.map(drop),
            nothing => nothing.map(drop),
        };
        if let Err(error) = granted {
            tracing::warn!(error = %error, "the role of MIGRATOR_GRANT_TO may lack rights until the next run");
        }
        snapshot::record(session).await;
    }

    fn pending<'a>(&'a self, past: &Past, to: Option<Version>) -> Vec<&'a Migration> {
        let plan = self.plan_of(past);
        plan.pending.into_iter().filter(|it| to.is_none_or(|to| it.version() <= to)).collect()
    }

    async fn apply(
        &self,
        session: &mut Session,
        pending: &[&Migration],
        report: &mut UpReport,
    ) -> Result<(), MigratorError> {
        let progress = Progress::new(pending.len());
        for migration in pending {
            let title = migration.display();
            progress.begin(&title);
            let started = Instant::now();
            let span = tracing::info_span!(
                target: "bedplate::span::migration", "migration",
                otel.name = %format_args!("migrate {title}"), migration = title,
                migration.rows = tracing::field::Empty, migration.lock_waits = tracing::field::Empty,
                migration.lock_wait_ms = tracing::field::Empty,
            );
            session.take_tally();
            let applied = step::apply(session, migration).instrument(span.clone()).await;
            let tally = session.take_tally();
            tally.record(&span);
            let performed = match applied {
                Ok(performed) => performed,
                Err(error) => {
                    if matches!(error, MigratorError::Failed { .. }) || error.leaves_a_part() {
                        session.record_failure(Entry::of(migration, Action::Up), &error).await;
                    }
                    return Err(error);
                }
            };
            let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
            progress.end(&title, milliseconds, performed == Performed::Done);
            if performed == Performed::Done {
                let name = migration.name().to_owned();
                report.applied.push(AppliedNow { version: migration.version(), name, milliseconds });
                report.current_version = report.current_version.max(Some(migration.version()));
                if tally.granted {
                    report.granted_to.clone_from(&self.context.settings.grant_to);
                }
            }
        }
        Ok(())
    }

    /// Looks at everything that the end of `up` needs from the settings.
    ///
    /// # Errors
    /// What is missing there.
    pub(super) async fn check_settings(&self, session: &mut Session) -> Result<(), MigratorError> {
        grants::missing(session).await?;
        match &self.admin {
            Some(settings) => {
                NewAdmin::from_settings(settings, self.production, &self.context.entropy).map(drop)
            }
            None => Ok(()),
        }
    }

    /// The administrator to be made, with what the settings say of it: asked before the first migration,
    /// so that a setting that is missing stops the run while nothing was changed yet.
    async fn missing_admin(
        &self,
        session: &mut Session,
        to: Option<Version>,
    ) -> Result<Option<NewAdmin>, MigratorError> {
        let Some(settings) = &self.admin else { return Ok(None) };
        let reaches_newest = to.is_none_or(|to| to == self.catalog.newest());
        let looking = async |connection: &mut Connection| Ok(admin::exists(connection).await?);
        if !reaches_newest || session.ask("looking for an administrator", looking).await? {
            return Ok(None);
        }
        NewAdmin::from_settings(settings, self.production, &self.context.entropy).map(Some)
    }

    async fn make_admin(
        &self,
        session: &mut Session,
        admin: &NewAdmin,
        report: &mut UpReport,
    ) -> Result<(), MigratorError> {
        let change = admin.change(&self.context.clock, &self.context.entropy)?;
        let performed = session.perform(&change).await.map_err(|error| admin.explain(error))?;
        if performed == Performed::Done {
            tracing::info!(username = admin.username, "made the default administrator");
            report.admin = Some(admin.username.clone());
            report.generated_password = admin.generated.then(|| admin.password().clone());
        }
        Ok(())
    }

    /// Reads the history back and compares it with the migrations, so that success means that it is so.
    async fn verify(&self, session: &mut Session, to: Option<Version>) -> Result<Past, MigratorError> {
        let past = self.past(session).await?;
        let missing: Vec<String> = self
            .pending(&past, to)
            .iter()
            .map(|it| format!("{} was applied but is not in the history", it.display()))
            .collect();
        if missing.is_empty() { Ok(past) } else { Err(MigratorError::Schema(missing)) }
    }
}
