//! `repair`: records what is applied as the files say it now, after it was shown.

use foundation::database::{Connection, DatabaseUrl};
use serde::Serialize;
use similar::TextDiff;

use super::Migrator;
use crate::conflict::Conflict;
use crate::correction;
use crate::error::MigratorError;
use crate::history::{Action, Applied, Entry};
use crate::past::Past;
use crate::plan::Plan;
use crate::session::{CHANGED_MEANWHILE, Change, Guard, READING, Session, Work};
use crate::snapshot;
use crate::source::{Catalog, Migration, Version};

/// What is to be repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// These versions, and those whose place in the history they take; without any, whatever has another checksum,
    /// name or version by now.
    pub versions: Vec<Version>,
    /// These versions have no file, and are taken out of the history.
    pub forget: Vec<Version>,
}

/// One row of the history that is put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Its version in the history.
    pub version: Version,
    /// `changed`, `renamed`, `replaced`, `renumbered` or `forgotten`.
    pub kind: &'static str,
    /// How the history calls it, `V2__two`.
    pub recorded: String,
    /// How it is called when it is repaired; nothing when it is forgotten.
    pub file: Option<String>,
    /// From what was applied to the file as it is, as a unified diff; empty when the two are the same text.
    /// Nothing when the journal does not have what was applied.
    pub difference: Option<String>,
}

/// What `repair` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// The database, its password redacted.
    pub database: String,
    /// What is put right.
    pub repairs: Vec<Repair>,
    /// What is left that does not go together, in words with the way out.
    pub left: Vec<String>,
}

impl RepairReport {
    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for it in &self.repairs {
            text.push_str(&it.text());
        }
        for reason in &self.left {
            text.push_str(&format!("left: {reason}\n"));
        }
        text
    }
}

impl Repair {
    fn text(&self) -> String {
        let what = match &self.file {
            Some(file) if *file == self.recorded => format!("{file} is recorded as its file is now"),
            Some(file) => format!("{} is recorded as {file}", self.recorded),
            None => format!("{} is taken out of the history", self.recorded),
        };
        let difference = match self.difference.as_deref() {
            None => {
                "  the journal does not have the SQL that was applied, so there is nothing to compare with\n"
            }
            Some("") => "  its SQL is what was applied\n",
            Some(difference) => difference,
        };
        format!("{what}\n{difference}")
    }
}

/// A row of the history and what it becomes.
struct Chosen<'catalog, 'history> {
    kind: &'static str,
    applied: &'history Applied,
    file: Option<&'catalog Migration>,
}

impl Migrator {
    /// What a repair would do. Changes nothing.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] for a version that there is nothing to repair about.
    pub async fn repairs(&self, wanted: &Repairs) -> Result<RepairReport, MigratorError> {
        let mut connection = self.existing().await?;
        let past = Past::read(&mut connection, &self.catalog).await?;
        let plan = self.plan_of(&past);
        let chosen = choose(&self.catalog, &past.applied, &plan, wanted)?;
        report(&self.context.url, &mut connection, &plan, &chosen).await
    }

    /// Does what [`repairs`](Self::repairs) showed, under the lock and in one transaction. No SQL of a
    /// migration is run. Refuses when it would be something else by now.
    ///
    /// # Errors
    /// As [`repairs`](Self::repairs), and what the database says.
    pub async fn repair(&self, wanted: &Repairs, shown: &RepairReport) -> Result<(), MigratorError> {
        let mut session = Session::open(&self.context, false).await?;
        session.lock().await?;
        let reading = async |connection: &mut Connection| Ok(Past::read(connection, &self.catalog).await?);
        let past = session.ask(READING, reading).await?;
        let plan = self.plan_of(&past);
        let chosen = choose(&self.catalog, &past.applied, &plan, wanted)?;
        if report(&self.context.url, session.connection(), &plan, &chosen).await? != *shown {
            return Err(MigratorError::Usage(CHANGED_MEANWHILE.to_owned()));
        }
        let mut work = work(&chosen);
        if !work.is_empty() {
            work.push(structure(&past.applied, &chosen));
            session.perform(&Change { title: "the repair".to_owned(), guard: Guard::None, work }).await?;
        }
        Ok(())
    }
}

/// Which rows become what.
fn choose<'catalog, 'history>(
    catalog: &'catalog Catalog,
    applied: &'history [Applied],
    plan: &Plan<'catalog, 'history>,
    wanted: &Repairs,
) -> Result<Vec<Chosen<'catalog, 'history>>, MigratorError> {
    let everything = wanted.versions.is_empty() && wanted.forget.is_empty();
    let mut chosen = Vec::new();
    for conflict in &plan.conflicts {
        let (Some(row), Some(file)) = (conflict.applied(), conflict.migration()) else { continue };
        let named = [row.version, file.version()].iter().any(|it| wanted.versions.contains(it));
        // Two migrations that had one version are not taken for each other without being asked about.
        if named || (everything && !matches!(conflict, Conflict::Replaced(..))) {
            chosen.push(Chosen { kind: conflict.word(), applied: row, file: Some(file) });
        }
    }
    choose_those_in_the_way(plan, &mut chosen);
    for version in &wanted.versions {
        let is_chosen = chosen.iter().any(|it| {
            it.applied.version == *version || it.file.is_some_and(|file| file.version() == *version)
        });
        if !is_chosen {
            return Err(MigratorError::Usage(nothing_about(*version, applied, plan)));
        }
    }
    for version in &wanted.forget {
        let refuse = |sentence: String| Err(MigratorError::Usage(sentence));
        let Some(row) = applied.iter().find(|it| it.version == *version) else {
            return refuse(format!("the version {version} is not applied, so there is nothing to forget"));
        };
        if let Some(file) = catalog.get(*version) {
            return refuse(format!(
                "{file} has its file, so it is not forgotten: `migrator down` takes it back, and `migrator stamp` says that it is not applied"
            ));
        }
        if chosen.iter().all(|it| it.applied.version != *version) {
            chosen.push(Chosen { kind: "forgotten", applied: row, file: None });
        }
    }
    Ok(chosen)
}

/// A row that gets another version may find the next one there, which has another one by now too: the two are recorded
/// together, and so on. Nothing but a row that has another version can be there, because the file of that version is
/// the first one's.
fn choose_those_in_the_way<'catalog, 'history>(
    plan: &Plan<'catalog, 'history>,
    chosen: &mut Vec<Chosen<'catalog, 'history>>,
) {
    let mut next = 0;
    while let Some(it) = chosen.get(next) {
        next += 1;
        let Some(target) = it.file.map(Migration::version) else { continue };
        let in_the_way = plan.conflicts.iter().find_map(|conflict| match conflict {
            Conflict::Renumbered(row, file) if row.version == target => Some((conflict.word(), *row, *file)),
            _ => None,
        });
        if let Some((kind, applied, file)) = in_the_way
            && chosen.iter().all(|it| it.applied.version != applied.version)
        {
            chosen.push(Chosen { kind, applied, file: Some(file) });
        }
    }
}

/// Why a version that was named is not repaired.
fn nothing_about(version: Version, applied: &[Applied], plan: &Plan<'_, '_>) -> String {
    let about = plan.conflicts.iter().find(|it| {
        it.applied().is_some_and(|row| row.version == version)
            || it.migration().is_some_and(|file| file.version() == version)
    });
    match about {
        Some(conflict) => format!("this is not for repair: {conflict}"),
        None if applied.iter().any(|it| it.version == version) => {
            format!("the version {version} is applied as its file is, so there is nothing to repair about it")
        }
        None => format!("the version {version} is not applied, so there is nothing to repair about it"),
    }
}

async fn report(
    url: &DatabaseUrl,
    connection: &mut Connection,
    plan: &Plan<'_, '_>,
    chosen: &[Chosen<'_, '_>],
) -> Result<RepairReport, MigratorError> {
    let mut repairs = Vec::new();
    for it in chosen {
        let recorded = it.applied.display();
        let same = it.file.is_some_and(|file| it.applied.has_text(file));
        let difference = if same {
            Some(String::new())
        } else {
            let before = correction::applied_sql(connection, it.applied).await?;
            before.map(|before| difference(&recorded, &before, it.file))
        };
        repairs.push(Repair {
            version: it.applied.version,
            kind: it.kind,
            recorded,
            file: it.file.map(Migration::display),
            difference,
        });
    }
    let is_left = |conflict: &&Conflict<'_, '_>| {
        conflict.applied().is_none_or(|row| chosen.iter().all(|it| it.applied.version != row.version))
    };
    let left = plan.conflicts.iter().filter(is_left).map(ToString::to_string).collect();
    Ok(RepairReport { database: url.to_string(), repairs, left })
}

/// From what was applied to the file, or to nothing.
fn difference(recorded: &str, before: &str, file: Option<&Migration>) -> String {
    let (after, name) = match file {
        Some(file) => (file.sql(), format!("{file}.sql")),
        None => ("", "/dev/null".to_owned()),
    };
    let difference = TextDiff::from_lines(before, after);
    difference.unified_diff().header(&format!("{recorded} as it was applied"), &name).to_string()
}

/// What becomes of the structure that `check` compares with. What is forgotten may stand in it, so then it goes,
/// and `check` looks at what the migrations make instead.
fn structure(applied: &[Applied], chosen: &[Chosen<'_, '_>]) -> Work {
    if chosen.iter().any(|it| it.file.is_none()) {
        let (statement, values) = snapshot::forget();
        return Work::Execute(statement, values);
    }
    let versions = applied.iter().map(|row| {
        let file = chosen.iter().find(|it| it.applied.version == row.version).and_then(|it| it.file);
        file.map_or(row.version, Migration::version)
    });
    let (statement, values) = snapshot::follow(applied, versions);
    Work::Execute(statement, values)
}

/// Rows that get another version are set aside first, because one may take the place of another.
fn work(chosen: &[Chosen<'_, '_>]) -> Vec<Work> {
    let mut work = Vec::new();
    let execute = |(statement, values)| Work::ExecuteOnOne(statement, values);
    let moved = |it: &&Chosen<'_, '_>| it.file.is_some_and(|file| file.version() != it.applied.version);
    for it in chosen.iter().filter(moved) {
        work.push(execute(correction::set_aside(it.applied)));
    }
    for it in chosen {
        let Some(file) = it.file else {
            work.push(execute(correction::forget(it.applied)));
            work.push(Work::Journal(Entry::gone(it.applied, Action::Forget)));
            continue;
        };
        let mut from = it.applied.version;
        if moved(&it) {
            from = -from;
            work.push(Work::Journal(Entry::gone(it.applied, Action::Forget)));
        }
        work.push(execute(correction::correction(it.applied, file, from)));
        work.push(Work::Journal(Entry::of(file, Action::Repair)));
    }
    work
}
