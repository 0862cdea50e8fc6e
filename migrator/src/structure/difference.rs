//! What is different between two schemas, object by object, in words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::names::quote_name;
use super::tokens::{normalised, tokens};
use super::{Column, Index, Structure, Table, sqlite};
use crate::source::Dialect;

/// Which partitions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// Those by list and by hash: those by range come and go with the time.
    OfTheSchema,
    /// All.
    All,
}

/// One thing that is not as it is expected to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about, for example `column users.email`.
    pub object: String,
    /// What is wrong with it, for example `type is text, expected varchar(255)`.
    pub detail: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.object, self.detail)
    }
}

/// What there is to say of one object.
struct Fact {
    object: String,
    /// What it is a part of: of what is missing as a whole no part is told.
    of: Option<String>,
    attributes: Vec<(&'static str, String)>,
}

/// Compares what is found with what is expected. Nothing when the two are the same.
#[must_use]
pub fn difference(found: &Structure, expected: &Structure, partitions: Partitions) -> Vec<Difference> {
    let (found, expected) = (facts(&found.called_as(expected), partitions), facts(expected, partitions));
    let by_object = |facts: &[Fact]| -> BTreeMap<String, usize> {
        facts.iter().enumerate().map(|(at, fact)| (fact.object.clone(), at)).collect()
    };
    let (in_found, in_expected) = (by_object(&found), by_object(&expected));
    let mut differences = Vec::new();
    let mut whole: BTreeSet<&str> = BTreeSet::new();
    for fact in &expected {
        match in_found.get(&fact.object) {
            Some(at) => differences.extend(changed(&found[*at], fact)),
            None => one_side(fact, "is missing", &mut whole, &mut differences),
        }
    }
    for fact in found.iter().filter(|it| !in_expected.contains_key(&it.object)) {
        one_side(fact, "is not expected", &mut whole, &mut differences);
    }
    differences
}

fn one_side<'a>(
    fact: &'a Fact,
    detail: &str,
    whole: &mut BTreeSet<&'a str>,
    differences: &mut Vec<Difference>,
) {
    whole.insert(&fact.object);
    if !fact.of.as_deref().is_some_and(|of| whole.contains(of)) {
        differences.push(Difference { object: fact.object.clone(), detail: detail.to_owned() });
    }
}

fn changed(found: &Fact, expected: &Fact) -> Option<Difference> {
    let pairs = found.attributes.iter().zip(&expected.attributes).filter(|(left, right)| left != right);
    let details: Vec<String> = pairs
        .map(|((name, found), (_, expected))| format!("{name} is {found}, expected {expected}"))
        .collect();
    (!details.is_empty()).then(|| Difference { object: expected.object.clone(), detail: details.join("; ") })
}

fn facts(structure: &Structure, partitions: Partitions) -> Vec<Fact> {
    let mut facts = Vec::new();
    let names = sqlite::names(structure);
    let form = &|sql: &str| one_form(sql, structure.dialect, &names);
    let mut add = |object: String, attributes: Vec<(&'static str, String)>| {
        facts.push(Fact { object, of: None, attributes });
    };
    for name in &structure.extensions {
        add(format!("extension {name}"), Vec::new());
    }
    for (name, values) in &structure.enums {
        add(format!("enum {name}"), vec![("its list of values", format!("({})", values.join(", ")))]);
    }
    for (name, definition) in &structure.composites {
        add(format!("type {name}"), vec![("its definition", format!("({definition})"))]);
    }
    for (name, domain) in &structure.domains {
        let checks: Vec<String> = domain.checks.iter().map(|(name, it)| format!("{name} {it}")).collect();
        let attributes = vec![
            ("type", domain.base.clone()),
            ("NULL", nullable(domain.not_null)),
            ("default", or_none(domain.default.as_ref())),
            ("the list of checks", or_none((!checks.is_empty()).then(|| checks.join(", ")).as_ref())),
        ];
        add(format!("domain {name}"), attributes);
    }
    for (name, sequence) in &structure.sequences {
        let owner = sequence.owned_by.as_ref().map(|(table, column)| format!("{table}.{column}"));
        let attributes =
            vec![("its definition", sequence.definition.clone()), ("its owner", or_none(owner.as_ref()))];
        add(format!("sequence {name}"), attributes);
    }
    for (signature, routine) in &structure.routines {
        let object = format!("{} {signature}", routine.kind.to_lowercase());
        add(object, vec![("its definition", or_none(routine.definition.as_ref()))]);
    }
    for (name, table) in &structure.tables {
        table_facts(name, table, form, partitions, &mut facts);
    }
    for (name, view) in &structure.views {
        let kind = if view.materialized { "materialized view" } else { "view" };
        let object = format!("{kind} {name}");
        let definition = form(&view.definition);
        facts.push(Fact {
            object: object.clone(),
            of: None,
            attributes: vec![("its query", definition), ("its options", or_none(view.options.as_ref()))],
        });
        index_facts(name, &object, &view.indexes, &mut facts);
        text_facts(name, &object, "trigger", &view.triggers, form, &mut facts);
        text_facts(name, &object, "rule", &view.rules, form, &mut facts);
    }
    for grant in &structure.grants {
        let option = if grant.grantable { "and may pass it on" } else { "and may not pass it on" };
        let object = format!("grant of {} on {} to {}", grant.right, grant.on, grant.to);
        let of = grant.on.split_once(' ').map(|(kind, name)| match kind {
            "TYPE" if structure.enums.keys().any(|it| quote_name(it) == name) => format!("enum {name}"),
            "TYPE" if structure.domains.keys().any(|it| quote_name(it) == name) => format!("domain {name}"),
            _ => format!("{} {name}", kind.to_lowercase()),
        });
        facts.push(Fact { object, of, attributes: vec![("it", option.to_owned())] });
    }
    extra_facts(structure, &mut facts);
    facts
}

fn extra_facts(structure: &Structure, facts: &mut Vec<Fact>) {
    for (name, extra) in &structure.extras {
        let of = extra
            .goes_with
            .first()
            .and_then(|it| it.strip_prefix("DROP "))
            .and_then(|it| it.rsplit_once(' '));
        let of = of.map(|(kind, name)| format!("{} {name}", kind.to_lowercase()));
        facts.push(Fact { object: name.clone(), of, attributes: vec![("it", extra.set.clone())] });
    }
    let unknown = structure.unknown.iter();
    facts.extend(unknown.map(|name| Fact { object: name.clone(), of: None, attributes: Vec::new() }));
}

fn table_facts(name: &str, table: &Table, form: Form<'_>, partitions: Partitions, facts: &mut Vec<Fact>) {
    let object = format!("table {name}");
    let mut attributes = vec![
        ("its partition key", or_none(table.partition_key.as_ref())),
        ("its list of options", options(table)),
    ];
    if let Some(verbatim) = &table.verbatim {
        attributes.push(("its definition", form(verbatim)));
    }
    facts.push(Fact { object: object.clone(), of: None, attributes });
    let part = |text: String, attributes| Fact { object: text, of: Some(object.clone()), attributes };
    facts.extend(table.columns.iter().map(|it| part(format!("column {name}.{}", it.name), column_facts(it))));
    part_facts(name, &object, table, form, facts);
    for (partition, it) in &table.partitions {
        if partitions == Partitions::All || !table.comes_and_goes(it) {
            let called = format!("partition {partition} of {name}");
            let attributes = vec![
                ("its definition", format!("of {} {}", it.of, it.definition)),
                ("its list of options", options(&it.own)),
            ];
            facts.push(Fact { object: called.clone(), of: Some(object.clone()), attributes });
            part_facts(partition, &called, &it.own, form, facts);
        }
    }
}

/// What hangs on a table or a partition.
fn part_facts(name: &str, object: &str, table: &Table, form: Form<'_>, facts: &mut Vec<Fact>) {
    for constraint in &table.constraints {
        let called = constraint.name.as_deref().unwrap_or(&constraint.definition);
        let attributes = vec![("its definition", constraint.definition.clone())];
        let of = Some(object.to_owned());
        facts.push(Fact { object: format!("constraint {called} on {name}"), of, attributes });
    }
    index_facts(name, object, &table.indexes, facts);
    text_facts(name, object, "trigger", &table.triggers, form, facts);
    text_facts(name, object, "rule", &table.rules, form, facts);
    text_facts(name, object, "policy", &table.policies, form, facts);
}

fn options(table: &Table) -> String {
    let options: Vec<&str> = table.options.iter().map(String::as_str).collect();
    or_none((!options.is_empty()).then(|| options.join(", ")).as_ref())
}

fn column_facts(column: &Column) -> Vec<(&'static str, String)> {
    let type_name = if column.type_name.is_empty() { "none" } else { &column.type_name };
    vec![
        ("type", type_name.to_owned()),
        ("NULL", nullable(column.not_null)),
        ("default", or_none(column.default.as_ref())),
        ("what it is generated from", or_none(column.generated.as_ref())),
        ("identity", or_none(column.identity.as_ref())),
        ("collation", or_none(column.collation.as_ref())),
        ("its own clause", or_none(column.inline.as_ref())),
    ]
}

fn index_facts(on: &str, object: &str, indexes: &BTreeMap<String, Index>, facts: &mut Vec<Fact>) {
    for (name, index) in indexes {
        let valid = if index.valid { "valid" } else { "invalid" };
        let attributes = vec![("its definition", index.definition.clone()), ("it", valid.to_owned())];
        facts.push(Fact { object: format!("index {name} on {on}"), of: Some(object.to_owned()), attributes });
    }
}

fn text_facts(
    on: &str,
    object: &str,
    kind: &str,
    texts: &BTreeMap<String, String>,
    form: Form<'_>,
    facts: &mut Vec<Fact>,
) {
    for (name, sql) in texts {
        let attributes = vec![("its definition", form(sql))];
        facts.push(Fact {
            object: format!("{kind} {name} on {on}"),
            of: Some(object.to_owned()),
            attributes,
        });
    }
}

/// Brings a statement into one form.
type Form<'a> = &'a dyn Fn(&str) -> String;

/// SQLite keeps a statement as it was written; what is written otherwise and means the same is the same. It also
/// puts the names that it changes in a statement in quotes.
pub(super) fn one_form(sql: &str, dialect: Dialect, names: &[String]) -> String {
    match dialect {
        Dialect::Postgres => sql.to_owned(),
        Dialect::Sqlite => normalised(&tokens(sql, dialect), names),
    }
}

fn nullable(not_null: bool) -> String {
    if not_null { "refused" } else { "allowed" }.to_owned()
}

fn or_none(value: Option<&String>) -> String {
    value.map_or_else(|| "none".to_owned(), Clone::clone)
}
