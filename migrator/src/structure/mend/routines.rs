//! Functions and procedures of PostgreSQL. Some have to be there for the tables, others name one in their head,
//! and others a view.

use std::collections::BTreeSet;

use super::postgres::Way;
use super::{BODIES_UNCHECKED, Mend, grants};
use crate::structure::Routine;

/// When a routine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    BeforeTables,
    AfterTables,
    AfterViews,
}

fn stage(routine: &Routine) -> Stage {
    match (routine.views.is_empty(), routine.after_tables) {
        (false, _) => Stage::AfterViews,
        (true, true) => Stage::AfterTables,
        (true, false) => Stage::BeforeTables,
    }
}

/// Drops those that hold on to a view that is in the way, and says which these are.
pub(super) fn drop_what_holds_views<'a>(
    way: &Way<'a>,
    views: &BTreeSet<&str>,
    made_anew: &mut BTreeSet<String>,
    out: &mut Mend,
) -> BTreeSet<&'a str> {
    let mut dropped = BTreeSet::new();
    for (signature, routine) in &way.from.routines {
        if !routine.views.iter().any(|it| views.contains(it.as_str())) {
            continue;
        }
        out.breaking |= !way.to.routines.contains_key(signature);
        out.run(format!("DROP {} {signature}", routine.kind));
        made_anew.insert(grants::routine_on(&routine.kind, signature));
        dropped.insert(signature.as_str());
    }
    dropped
}

/// Makes what is new, changed or dropped on the way, as far as it is its time.
pub(super) fn make(
    way: &Way<'_>,
    now: Stage,
    dropped: &BTreeSet<&str>,
    made_anew: &mut BTreeSet<String>,
    out: &mut Mend,
) {
    let head = |definition: &str| definition.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    for (signature, routine) in way.to.routines.iter().filter(|(_, it)| stage(it) == now) {
        let before = way.from.routines.get(signature).filter(|_| !dropped.contains(signature.as_str()));
        if before.is_some_and(|it| it.definition == routine.definition && it.kind == routine.kind) {
            continue;
        }
        let Some(definition) = &routine.definition else {
            out.unsaid.push(format!("the aggregate {signature} is to be made by hand"));
            continue;
        };
        if let Some(before) = before
            && before.definition.as_ref().is_none_or(|it| head(it) != head(definition))
        {
            out.breaking = true;
            out.run(format!("DROP {} {signature}", before.kind));
            made_anew.insert(grants::routine_on(&routine.kind, signature));
        }
        if !out.statements.iter().any(|it| it == BODIES_UNCHECKED) {
            out.statements.insert(0, BODIES_UNCHECKED.to_owned());
        }
        out.run(definition.clone());
    }
}

/// Drops what is gone, unless it went before.
pub(super) fn drop_the_rest(way: &Way<'_>, dropped: &BTreeSet<&str>, out: &mut Mend) {
    for (signature, routine) in &way.from.routines {
        if !way.to.routines.contains_key(signature) && !dropped.contains(signature.as_str()) {
            out.breaking = true;
            out.run(format!("DROP {} {signature}", routine.kind));
        }
    }
}
