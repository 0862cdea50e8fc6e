//! PostgreSQL: what is in the way is dropped, the tables are changed, and what belongs to them is made again.

use std::collections::{BTreeMap, BTreeSet};

use super::postgres_columns::{self, Touched};
use super::routines::{self, Stage};
use super::{
    Mend, enums, extras, gone, grants, postgres_partitions, postgres_parts, renamed, replaced, sequences,
    types,
};
use crate::source::Dialect;
use crate::structure::clauses::{self, in_order_of_foreign_keys, in_order_of_reading};
use crate::structure::names::{mentions, quote_name};
use crate::structure::{Constraint, ConstraintKind, Index, Structure, View};

/// Both schemas, and what has to give way.
pub(super) struct Way<'a> {
    pub(super) from: &'a Structure,
    pub(super) to: &'a Structure,
    /// Enums that are made anew, and types whose name something else has afterwards.
    pub(super) aside: Vec<&'a String>,
    /// Routines that are dropped before the tables change, though they are there afterwards too.
    pub(super) routines: BTreeSet<&'a str>,
    /// The names of functions that have another body afterwards.
    pub(super) replaced: BTreeSet<String>,
    /// The columns of each table that change so much that nothing can hold on to them.
    pub(super) touched: BTreeMap<&'a str, Touched<'a>>,
    /// The views that are dropped before the tables change.
    pub(super) views: BTreeSet<&'a str>,
}

pub(super) fn mend(from: &Structure, to: &Structure) -> Mend {
    let mut out = Mend::default();
    let from = &renamed::rename(from, to, &mut out);
    let aside = [enums::rebuilt(from, to), types::leave_their_names(from, to)].concat();
    let routines = routines::in_the_way(from, to, &aside);
    let touched = postgres_columns::touched(from, to, &aside, &routines);
    let replaced = replaced::replaced(from, to, &routines);
    let mut way = Way { from, to, aside, routines, replaced, touched, views: BTreeSet::new() };
    way.views = way.views_in_the_way();
    way.warn_of_replaced(&mut out);
    let mut made_anew: BTreeSet<String> =
        way.aside.iter().map(|name| format!("TYPE {}", quote_name(name))).collect();
    let gone_tables = from.tables.keys().filter(|it| !to.tables.contains_key(*it));
    let tables = gone_tables.chain(postgres_partitions::made_anew(&way));
    let sequences = to.sequences.keys().filter(|it| !from.sequences.contains_key(*it));
    made_anew.extend(sequences.map(|name| format!("SEQUENCE {}", quote_name(name))));
    made_anew.extend(tables.map(|name| format!("TABLE {}", quote_name(name))));

    let views = &way.views;
    postgres_parts::drop_texts(&way, &mut out);
    let mut dropped = routines::drop_what_holds_views(&way, views, &mut made_anew, &mut out);
    for name in in_order_of_reading(from, |it| views.contains(it)).into_iter().rev() {
        let kind = kind_of_view(&from.views[name]);
        out.breaking |= !to.views.contains_key(name);
        out.run(format!("DROP {kind} {}", quote_name(name)));
        made_anew.insert(format!("TABLE {}", quote_name(name)));
    }
    postgres_parts::drop_what_is_in_the_way(&way, &mut out);
    routines::drop_what_is_in_the_way(&way, &mut dropped, &mut made_anew, &mut out);
    drop_tables(&way, &mut out);

    types::extensions(from, to, &mut out);
    types::move_aside(from, to, &mut out);
    enums::before_tables(from, to, &mut out);
    types::mend(from, to, &mut out);
    sequences::mend(from, to, &mut out);
    routines::make(&way, Stage::BeforeTables, &dropped, &mut out);
    types::late_checks(from, to, &mut out);
    let late = create_tables(&way, &mut out);
    for (name, table) in &to.tables {
        if let Some(before) = from.tables.get(name) {
            postgres_columns::alter(&way, name, before, table, &mut out);
        }
    }
    // A check and an index may call one over the row of their table.
    routines::make(&way, Stage::AfterTables, &dropped, &mut out);
    postgres_parts::make_constraints_and_indexes(&way, &late, &mut out);
    sequences::give_owners(from, to, &mut out);
    for name in in_order_of_reading(to, |it| views.contains(it) || !from.views.contains_key(it)) {
        let view = &to.views[name];
        let query = view.definition.trim().trim_end_matches(';');
        let options = view.options.as_ref().map(|it| format!(" WITH ({it})")).unwrap_or_default();
        out.run(format!("CREATE {} {}{options} AS\n{query}", kind_of_view(view), quote_name(name)));
        view.indexes.values().for_each(|index| out.run(&index.definition));
    }
    routines::make(&way, Stage::AfterViews, &dropped, &mut out);
    postgres_parts::make_texts(&way, &mut out);
    drop_the_rest(&way, &dropped, &mut out);
    extras::mend(from, to, &mut out);
    grants::mend(from, to, &made_anew, &mut out);
    out
}

fn kind_of_view(view: &View) -> &'static str {
    if view.materialized { "MATERIALIZED VIEW" } else { "VIEW" }
}

impl<'a> Way<'a> {
    /// The views that are gone or changed, that read what changes under them, and that read one of those.
    fn views_in_the_way(&self) -> BTreeSet<&'a str> {
        let same = |left: &View, right: &View| {
            left.definition == right.definition
                && left.options == right.options
                && left.materialized == right.materialized
                && left.indexes == right.indexes
        };
        let changed = gone(&self.from.views, &self.to.views, same);
        let mut found: BTreeSet<&str> = changed.into_iter().map(|(name, _)| name.as_str()).collect();
        loop {
            let moves = |it: &String| {
                found.contains(it.as_str())
                    || self.touched.get(it.as_str()).is_some_and(|it| !it.columns.is_empty())
                    || (self.from.tables.contains_key(it) && !self.to.tables.contains_key(it))
            };
            // GROUP BY of a primary key lets every column be selected.
            let grouped = |view: &View| {
                mentions(&view.definition, "group", Dialect::Postgres)
                    && view.reads.iter().any(|it| self.primary_key_goes(it))
            };
            let views = self.from.views.iter();
            let more: Vec<&str> = views
                .filter(|(name, _)| !found.contains(name.as_str()))
                .filter(|(_, view)| {
                    view.reads.iter().any(moves) || grouped(view) || self.calls(&view.definition)
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }
}

fn drop_tables(way: &Way<'_>, out: &mut Mend) {
    let mut order = in_order_of_foreign_keys(way.from, |it| !way.to.tables.contains_key(it));
    order.reverse();
    for name in order {
        out.breaking = true;
        out.warnings.push(format!("the table {name} is dropped with what is in it"));
        out.run(format!("DROP TABLE {}", quote_name(name)));
    }
}

/// Makes the new tables, each with its indexes, and says what of them has to wait for the others.
fn create_tables(way: &Way<'_>, out: &mut Mend) -> Vec<String> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut late = Vec::new();
    for name in in_order_of_foreign_keys(way.to, |it| !way.from.tables.contains_key(it)) {
        let table = &way.to.tables[name];
        made.insert(name);
        let can_be_pointed_at = |it: &str| made.contains(it) || way.keys_stay(it);
        let now = |it: &Constraint| match it.kind {
            // CREATE TABLE takes every constraint for valid.
            _ if it.definition.ends_with(" NOT VALID") => false,
            ConstraintKind::ForeignKey => it.references.as_deref().is_none_or(can_be_pointed_at),
            ConstraintKind::Check => !routines::calls_after_tables(way.to, &it.definition),
            _ => true,
        };
        out.run(clauses::create_table(name, table, way.to.dialect, now));
        postgres_columns::row_security(&quote_name(name), &BTreeSet::new(), &table.options, out);
        postgres_partitions::partitions(name, None, table, out);
        let (waiting, indexes): (Vec<&Index>, Vec<&Index>) =
            table.indexes.values().partition(|it| routines::calls_after_tables(way.to, &it.definition));
        indexes.into_iter().for_each(|it| out.run(&it.definition));
        late.extend(waiting.into_iter().map(|it| it.definition.clone()));
        let constraints = table.constraints.iter().filter(|it| !now(it));
        late.extend(constraints.map(|it| postgres_parts::constraint_on(name, it)));
    }
    late
}

/// What nothing needs any more.
fn drop_the_rest(way: &Way<'_>, dropped: &BTreeSet<&str>, out: &mut Mend) {
    let (from, to) = (way.from, way.to);
    routines::drop_the_rest(way, dropped, out);
    sequences::drop_the_rest(from, to, out);
    types::drop_the_rest(from, to, out);
    enums::after_tables(from, to, out);
    for name in from.extensions.difference(&to.extensions) {
        out.run(format!("DROP EXTENSION {}", quote_name(name)));
    }
}
