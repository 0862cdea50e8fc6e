//! Functions and procedures of PostgreSQL. Some have to be there for the tables, others name one in their head,
//! and others a view.

use std::collections::BTreeSet;

use super::postgres::Way;
use super::{BODIES_UNCHECKED, Mend, grants};
use crate::source::Dialect;
use crate::structure::names::mentions;
use crate::structure::tokens::{Token, tokens};
use crate::structure::{Routine, Structure};

/// When a routine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    BeforeTables,
    AfterTables,
    AfterViews,
}

pub(super) fn stage(routine: &Routine) -> Stage {
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

/// Those that are there afterwards too and cannot stay meanwhile: with another head, or with a type in it that is
/// made anew. Those that name a table which may go have to go before it, if they go at all.
pub(super) fn in_the_way<'a>(from: &'a Structure, to: &Structure, aside: &[&String]) -> BTreeSet<&'a str> {
    let goes = |signature: &str, before: &Routine| {
        let Some(definition) = &before.definition else { return false };
        let is_made_anew = aside.iter().any(|it| mentions(&head(definition), it, Dialect::Postgres));
        match to.routines.get(signature) {
            Some(after) => {
                let same_head = after.definition.as_ref().is_some_and(|it| head(it) == head(definition));
                is_made_anew || !same_head || before.kind != after.kind
            }
            None => is_made_anew || before.after_tables,
        }
    };
    let found = from.routines.iter().filter(|(signature, it)| goes(signature, it));
    found.map(|(signature, _)| signature.as_str()).collect()
}

/// Each after those that PostgreSQL looks for when it is made: in the defaults of its arguments, and in a body that is
/// no text.
fn in_order<'a>(mut left: Vec<(&'a String, &'a Routine)>) -> Vec<(&'a String, &'a Routine)> {
    let looked_at = |it: &'a Routine| {
        let definition = it.definition.as_deref().unwrap_or_default();
        definition.split("\nAS $").next().unwrap_or_default()
    };
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |(signature, it): &(&'a String, &'a Routine)| {
            let (own, text) = (name(signature), looked_at(it));
            let mut others = left.iter().map(|(other, _)| name(other)).filter(|it| *it != own);
            others.any(|it| mentions(text, &it, Dialect::Postgres))
        };
        let next = left.iter().position(|it| !waits(it)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// The name, the arguments and the result.
fn head(definition: &str) -> String {
    definition.lines().take(2).collect::<Vec<_>>().join("\n")
}

impl Way<'_> {
    /// Whether a definition may call a routine that is in the way.
    pub(super) fn calls(&self, definition: &str) -> bool {
        calls(&self.routines, definition)
    }
}

/// Whether a definition may call one of these.
pub(super) fn calls(signatures: &BTreeSet<&str>, definition: &str) -> bool {
    signatures.iter().any(|it| mentions(definition, &name(it), Dialect::Postgres))
}

/// Whether a definition may call one of those that are made when the tables are there.
pub(super) fn calls_after_tables(to: &Structure, definition: &str) -> bool {
    let late = to.routines.iter().filter(|(_, it)| stage(it) == Stage::AfterTables);
    calls(&late.map(|(signature, _)| signature.as_str()).collect(), definition)
}

/// How a routine is called, without quotes.
pub(super) fn name(signature: &str) -> String {
    let tokens = tokens(signature, Dialect::Postgres);
    tokens.first().map(Token::name).unwrap_or_default()
}

/// Drops those, when nothing holds on to them any more.
pub(super) fn drop_what_is_in_the_way<'a>(
    way: &Way<'a>,
    dropped: &mut BTreeSet<&'a str>,
    made_anew: &mut BTreeSet<String>,
    out: &mut Mend,
) {
    let from = &way.from.routines;
    let in_the_way = from.iter().filter(|(signature, _)| way.routines.contains(signature.as_str()));
    for (signature, routine) in in_order(in_the_way.collect()).into_iter().rev() {
        if dropped.insert(signature) {
            out.breaking = true;
            out.run(format!("DROP {} {signature}", routine.kind));
            made_anew.insert(grants::routine_on(&routine.kind, signature));
        }
    }
}

/// Makes what is new, changed or dropped on the way, as far as it is its time.
pub(super) fn make(way: &Way<'_>, now: Stage, dropped: &BTreeSet<&str>, out: &mut Mend) {
    let stays = |(signature, it): &(&String, &Routine)| {
        let before = way.from.routines.get(*signature).filter(|_| !dropped.contains(signature.as_str()));
        before.is_some_and(|before| before.definition == it.definition && before.kind == it.kind)
    };
    let routines = way.to.routines.iter().filter(|(_, it)| stage(it) == now).filter(|it| !stays(it));
    for (signature, routine) in in_order(routines.collect()) {
        let Some(definition) = &routine.definition else {
            out.unsaid.push(format!("the aggregate {signature} is to be made by hand"));
            continue;
        };
        if !out.statements.iter().any(|it| it == BODIES_UNCHECKED) {
            out.statements.insert(0, BODIES_UNCHECKED.to_owned());
        }
        out.run(definition.clone());
    }
}

/// Drops what is gone, unless it went before.
pub(super) fn drop_the_rest(way: &Way<'_>, dropped: &BTreeSet<&str>, out: &mut Mend) {
    let goes = |signature: &str| !way.to.routines.contains_key(signature) && !dropped.contains(signature);
    let going = way.from.routines.iter().filter(|(signature, _)| goes(signature));
    for (signature, routine) in in_order(going.collect()).into_iter().rev() {
        out.breaking = true;
        out.run(format!("DROP {} {signature}", routine.kind));
    }
}
