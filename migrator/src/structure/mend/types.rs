//! Extensions, composite types and domains of PostgreSQL.

use super::{Mend, enums, gone, routines};
use crate::source::Dialect;
use crate::structure::names::{mentions, quote_name};
use crate::structure::{Domain, Structure};

/// Extensions come first of all: types, functions and indexes may be of one.
pub(super) fn extensions(from: &Structure, to: &Structure, out: &mut Mend) {
    for name in to.extensions.difference(&from.extensions) {
        out.run(format!("CREATE EXTENSION IF NOT EXISTS {}", quote_name(name)));
    }
}

/// Composite types and domains, when the enums that they are made of are there.
pub(super) fn mend(from: &Structure, to: &Structure, out: &mut Mend) {
    for (name, definition) in &to.composites {
        if from.composites.get(name).is_some_and(|before| before != definition) {
            out.unsaid.push(format!("the type {name} has other attributes; ALTER TYPE it by hand"));
        }
    }
    for name in new_in_order(from, to) {
        let quoted = quote_name(name);
        match (to.composites.get(name), to.domains.get(name)) {
            (Some(definition), _) => out.run(format!("CREATE TYPE {quoted} AS ({definition})")),
            (None, Some(domain)) => create_domain(&quoted, domain, to, out),
            (None, None) => {}
        }
    }
    for (name, domain) in &to.domains {
        if let Some(before) = from.domains.get(name) {
            alter_domain(name, before, domain, to, out);
        }
    }
}

/// The checks of domains that call a function of the schema, when the functions are there.
pub(super) fn late_checks(from: &Structure, to: &Structure, out: &mut Mend) {
    for (name, domain) in &to.domains {
        let before = from.domains.get(name);
        for (check, definition) in domain.checks.iter().filter(|(_, it)| calls(it, to)) {
            if before.is_none_or(|it| it.checks.get(check) != Some(definition)) {
                add_check(&quote_name(name), check, definition, out);
            }
        }
    }
}

fn calls(definition: &str, to: &Structure) -> bool {
    to.routines.keys().any(|it| mentions(definition, &routines::name(it), Dialect::Postgres))
}

fn add_check(quoted: &str, check: &str, definition: &str, out: &mut Mend) {
    out.run(format!("ALTER DOMAIN {quoted} ADD CONSTRAINT {} {definition}", quote_name(check)));
}

/// Drops those that are gone, each before those that it names.
pub(super) fn drop_the_rest(from: &Structure, to: &Structure, out: &mut Mend) {
    for name in new_in_order(to, from).into_iter().rev() {
        out.breaking = true;
        out.run(format!("DROP {} {}", kind(name, from), called_last(name, from, to)));
    }
}

fn kind(name: &str, structure: &Structure) -> &'static str {
    if structure.domains.contains_key(name) { "DOMAIN" } else { "TYPE" }
}

/// The types that go, and whose name another type, a table or a view has afterwards.
pub(super) fn leave_their_names<'a>(from: &'a Structure, to: &Structure) -> Vec<&'a String> {
    let goes = [
        from.enums.keys().filter(|it| !to.enums.contains_key(*it)).collect::<Vec<_>>(),
        from.composites.keys().filter(|it| !to.composites.contains_key(*it)).collect(),
        from.domains.keys().filter(|it| !to.domains.contains_key(*it)).collect(),
    ];
    let is_wanted = |it: &String| {
        let types =
            to.enums.contains_key(it) || to.composites.contains_key(it) || to.domains.contains_key(it);
        types || to.tables.contains_key(it) || to.views.contains_key(it)
    };
    goes.concat().into_iter().filter(|it| is_wanted(it)).collect()
}

/// Gives those another name until nothing is of them any more.
pub(super) fn move_aside(from: &Structure, to: &Structure, out: &mut Mend) {
    for name in leave_their_names(from, to) {
        let (kind, aside) = (kind(name, from), enums::aside(name));
        out.run(format!("ALTER {kind} {} RENAME TO {}", quote_name(name), quote_name(&aside)));
    }
}

/// How a type that goes is called when it is dropped.
pub(super) fn called_last(name: &str, from: &Structure, to: &Structure) -> String {
    let is_aside = leave_their_names(from, to).into_iter().any(|it| it == name);
    if is_aside { quote_name(&enums::aside(name)) } else { quote_name(name) }
}

/// The composite type or the domain that stays and is made of a type.
pub(super) fn made_of<'a>(name: &str, from: &Structure, to: &'a Structure) -> Option<&'a String> {
    let is_named = |it: &str| mentions(it, name, Dialect::Postgres);
    // Each attribute begins with its own name.
    let of_one = |it: &str| it.split(", ").filter_map(|it| it.split_once(' ')).any(|(_, it)| is_named(it));
    let composites = to.composites.keys().filter(|it| from.composites.get(*it).is_some_and(|it| of_one(it)));
    let domains = to.domains.keys().filter(|it| from.domains.get(*it).is_some_and(|it| is_named(&it.base)));
    composites.chain(domains).next()
}

/// The new types, each after those that it names.
fn new_in_order<'a>(from: &Structure, to: &'a Structure) -> Vec<&'a String> {
    let composites = to.composites.iter().filter(|(name, _)| !from.composites.contains_key(*name));
    let domains = to.domains.iter().filter(|(name, _)| !from.domains.contains_key(*name));
    let mut left: Vec<(&String, &String)> =
        composites.chain(domains.map(|(name, it)| (name, &it.base))).collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |(name, definition): &(&String, &String)| {
            left.iter().any(|(other, _)| other != name && mentions(definition, other, Dialect::Postgres))
        };
        let next = left.iter().position(|it| !waits(it)).unwrap_or(0);
        ordered.push(left.remove(next).0);
    }
    ordered
}

fn create_domain(quoted: &str, domain: &Domain, to: &Structure, out: &mut Mend) {
    let not_null = if domain.not_null { " NOT NULL" } else { "" };
    let default = domain.default.as_ref().map(|it| format!(" DEFAULT {it}")).unwrap_or_default();
    let checks: String = domain
        .checks
        .iter()
        .filter(|(_, it)| !calls(it, to))
        .map(|(name, it)| format!(" CONSTRAINT {} {it}", quote_name(name)))
        .collect();
    out.run(format!("CREATE DOMAIN {quoted} AS {}{default}{not_null}{checks}", domain.base));
}

fn alter_domain(name: &str, before: &Domain, domain: &Domain, to: &Structure, out: &mut Mend) {
    let quoted = quote_name(name);
    if before.base != domain.base {
        out.unsaid.push(format!("the domain {name} is of another type; make it anew by hand"));
    }
    for (check, _) in gone(&before.checks, &domain.checks, String::eq) {
        out.run(format!("ALTER DOMAIN {quoted} DROP CONSTRAINT {}", quote_name(check)));
    }
    for (check, definition) in gone(&domain.checks, &before.checks, String::eq) {
        out.tightens(&format!("{check} on the domain {name}"), "a value does not meet it");
        if !calls(definition, to) {
            add_check(&quoted, check, definition, out);
        }
    }
    if before.default != domain.default {
        let action =
            domain.default.as_ref().map_or("DROP DEFAULT".to_owned(), |it| format!("SET DEFAULT {it}"));
        out.run(format!("ALTER DOMAIN {quoted} {action}"));
    }
    if before.not_null != domain.not_null {
        if domain.not_null {
            out.tightens(&format!("NOT NULL on the domain {name}"), "there is a NULL");
        }
        let action = if domain.not_null { "SET" } else { "DROP" };
        out.run(format!("ALTER DOMAIN {quoted} {action} NOT NULL"));
    }
}
