//! Settings that are changed while the service runs: shown, put, reset.

use foundation::settings::Secret;
use serde_json::{Value, json};

use super::{ActionError, Actions, Asker};
use crate::domain::audit::{Change, Target};
use crate::domain::config::{Key, Setting, Stored};
use crate::domain::live::Live;
use crate::domain::versions::Expected;
use crate::live_settings::CHANNEL;
use crate::store::config;

const NOT_FOUND: ActionError = ActionError::NotFound("setting");

/// All settings, in the order of their keys.
///
/// # Errors
/// What the database says.
pub async fn list(actions: &Actions) -> Result<Vec<Setting>, ActionError> {
    let rows = config::all(&actions.database).await?;
    Ok(Setting::all(&rows, actions.live.defaults()))
}

/// One setting.
///
/// # Errors
/// [`ActionError::NotFound`]: there is none of this name.
pub async fn get(actions: &Actions, key: &str) -> Result<Setting, ActionError> {
    let key = parse(key)?;
    let rows = config::all(&actions.database).await?;
    find(actions, &rows, key)
}

/// Puts a value.
///
/// # Errors
/// [`ActionError::NotFound`], [`ActionError::Stale`] or [`ActionError::Invalid`].
pub async fn put(
    actions: &Actions,
    asker: Asker<'_>,
    key: &str,
    expected: &Expected,
    value: &Value,
) -> Result<Setting, ActionError> {
    change(actions, asker, parse(key)?, expected, Some(value)).await
}

/// Lets the default hold again.
///
/// # Errors
/// As [`put`].
pub async fn reset(
    actions: &Actions,
    asker: Asker<'_>,
    key: &str,
    expected: &Expected,
) -> Result<Setting, ActionError> {
    change(actions, asker, parse(key)?, expected, None).await
}

fn parse(key: &str) -> Result<Key, ActionError> {
    key.parse().map_err(|_| NOT_FOUND)
}

fn find(actions: &Actions, rows: &[Stored], key: Key) -> Result<Setting, ActionError> {
    let settings = Setting::all(rows, actions.live.defaults());
    settings.into_iter().find(|it| it.key == key).ok_or(NOT_FOUND)
}

async fn change(
    actions: &Actions,
    asker: Asker<'_>,
    key: Key,
    expected: &Expected,
    value: Option<&Value>,
) -> Result<Setting, ActionError> {
    let mut transaction = actions.database.begin().await?;
    // All of them, because a rule may involve others.
    let mut rows = config::lock(&mut transaction, actions.database.backend()).await?;
    let before = find(actions, &rows, key)?;
    let row = rows.iter_mut().find(|it| it.key == key).ok_or(NOT_FOUND)?;
    if !expected.contains(row.version) {
        return Err(ActionError::Stale);
    }
    // Whether a secret that is put is the one that is there already is told to nobody.
    if row.json().as_ref() == value && !(key.is_secret() && value.is_some()) {
        return Ok(before);
    }
    let now = actions.clock.now();
    row.value = value.map(|it| Secret::from(it.to_string()));
    row.version += 1;
    row.updated_at = Some(now);
    let row = row.clone();
    check(actions, &rows, key, value)?;
    config::write(&mut transaction, &row, now).await?;
    let after = find(actions, &rows, key)?;
    let action = if value.is_some() { "config.updated" } else { "config.reset" };
    let change = Change { before: Some(facts(&before)), after: Some(facts(&after)) };
    actions.record(&mut transaction, action, asker, Target::config(key), change).await?;
    transaction.notify(CHANNEL, key.name()).await?;
    transaction.commit().await?;
    actions.live.refresh();
    Ok(after)
}

/// Checks the rule of the setting, and those that it has together with others. What somebody wrote by hand
/// into another row and no rule allows is in nobody's way.
fn check(actions: &Actions, rows: &[Stored], key: Key, value: Option<&Value>) -> Result<(), ActionError> {
    let pointer = if value.is_some() { "/body/value" } else { "/path/key" };
    let defaults = actions.live.defaults();
    let (_, problems) = Live::assemble(rows, defaults, defaults);
    match problems.into_iter().find(|(it, _)| *it == key) {
        Some((_, words)) => Err(ActionError::Invalid(vec![(pointer.to_owned(), words)])),
        None => Ok(()),
    }
}

/// What an event says of a setting: of a secret, whether there is one.
fn facts(setting: &Setting) -> Value {
    if setting.key.is_secret() {
        json!({ "is_set": setting.is_set })
    } else {
        json!({ "is_set": setting.is_set, "value": setting.value })
    }
}
