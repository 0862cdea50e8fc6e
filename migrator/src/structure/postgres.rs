//! Reading a schema of PostgreSQL from its catalogs, 14 and newer.
//!
//! PostgreSQL itself writes every definition, with names that its search_path finds left without their
//! schema, so that a schema of another name reads the same.

#[macro_use]
mod looked_at;

mod extras;
mod queries;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use foundation::database::{Connection, DatabaseError, DatabaseErrorKind, Row};

use super::names::{quote_called, quote_name};
use super::{
    Column, Constraint, ConstraintKind, Domain, Grant, Index, Partition, Routine, Sequence, Structure, Table,
    View,
};
use crate::source::Dialect;
use written::one_form;

/// Reads the current schema.
pub(super) async fn read(connection: &mut Connection) -> Result<Structure, DatabaseError> {
    let mut structure = Structure::empty(Dialect::Postgres);
    for row in connection.query(&queries::EXTENSIONS, &[]).await? {
        structure.extensions.insert(row.get("name")?);
    }
    types(connection, &mut structure).await?;
    for row in connection.query(&queries::SEQUENCES, &[]).await? {
        let owner: Option<String> = row.get("owner_table")?;
        let owned_by = match owner {
            Some(table) => Some((table, row.get("owner_column")?)),
            None => None,
        };
        structure
            .sequences
            .insert(row.get("name")?, Sequence { definition: row.get("definition")?, owned_by });
    }
    for row in connection.query(&queries::IDENTITY_SEQUENCES, &[]).await? {
        let column = (row.get("owner_table")?, row.get("owner_column")?);
        structure.identity_sequences.insert(row.get("name")?, column);
    }
    for row in connection.query(&queries::ROUTINES, &[]).await? {
        let (kind, prefix): (String, String) = (row.get("kind")?, row.get("prefix")?);
        let definition: Option<String> = row.get("definition")?;
        let definition = definition
            .map(|it| it.replacen(&format!("{kind} {prefix}"), &format!("{kind} "), 1).trim_end().to_owned());
        let views = list(&row.get::<String>("views")?)?.into_iter().collect();
        let routine = Routine { kind, definition, after_tables: row.get("after_tables")?, views };
        structure.routines.insert(signature(&row)?, routine);
    }
    relations(connection, &mut structure).await?;
    columns(connection, &mut structure).await?;
    constraints(connection, &mut structure).await?;
    parts(connection, &mut structure).await?;
    for row in connection.query(&queries::GRANTS, &[]).await? {
        structure.grants.insert(grant(&row)?);
    }
    extras::read(connection, &mut structure).await?;
    Ok(structure)
}

/// An array of JSON.
fn list(json: &str) -> Result<Vec<String>, DatabaseError> {
    serde_json::from_str(json).map_err(|error| {
        DatabaseError::new(DatabaseErrorKind::Conversion, "the names are no list").caused_by(error)
    })
}

/// A routine as DROP and GRANT name it.
fn signature(row: &Row) -> Result<String, DatabaseError> {
    let (name, arguments): (String, String) = (row.get("name")?, row.get("arguments")?);
    Ok(format!("{}({arguments})", quote_called(&name)))
}

fn grant(row: &Row) -> Result<Grant, DatabaseError> {
    let (kind, right): (String, String) = (row.get("kind")?, row.get("privilege")?);
    let name = match kind.as_str() {
        "FUNCTION" | "PROCEDURE" => signature(row)?,
        _ => quote_name(&row.get::<String>("name")?),
    };
    let column: Option<String> = row.get("attribute")?;
    let column = column.map(|it| format!(" ({})", quote_name(&it))).unwrap_or_default();
    let to: Option<String> = row.get("grantee")?;
    Ok(Grant {
        on: format!("{kind} {name}"),
        right: format!("{right}{column}"),
        to: to.map_or_else(|| "PUBLIC".to_owned(), |it| quote_name(&it)),
        grantable: row.get("grantable")?,
    })
}

async fn types(connection: &mut Connection, structure: &mut Structure) -> Result<(), DatabaseError> {
    for row in connection.query(&queries::ENUMS, &[]).await? {
        let values = structure.enums.entry(row.get("name")?).or_default();
        values.push(row.get("value")?);
    }
    for row in connection.query(&queries::COMPOSITES, &[]).await? {
        structure.composites.insert(row.get("name")?, row.get("definition")?);
    }
    for row in connection.query(&queries::DOMAINS, &[]).await? {
        let domain = structure.domains.entry(row.get("name")?).or_insert(Domain {
            base: row.get("base")?,
            not_null: row.get("not_null")?,
            default: row.get("default")?,
            checks: BTreeMap::new(),
        });
        if let Some(check) = row.get::<Option<String>>("check_name")? {
            domain.checks.insert(check, one_form(row.get("check_definition")?));
        }
    }
    Ok(())
}

async fn relations(connection: &mut Connection, structure: &mut Structure) -> Result<(), DatabaseError> {
    for row in connection.query(&queries::RELATIONS, &[]).await? {
        let name: String = row.get("name")?;
        let kind: String = row.get("kind")?;
        if matches!(kind.as_str(), "v" | "m") {
            let view = View {
                materialized: kind == "m",
                definition: one_form(row.get("view")?),
                options: row.get("storage")?,
                reads: BTreeSet::new(),
                indexes: BTreeMap::new(),
                triggers: BTreeMap::new(),
                rules: BTreeMap::new(),
            };
            structure.views.insert(name, view);
            continue;
        }
        let partition_key = row.get("partition_key")?;
        let mut table = Table { partition_key, options: flags(&row)?, ..Table::default() };
        if let Some(parents) = row.get::<Option<String>>("inherits")? {
            let parents: Vec<String> = list(&parents)?.iter().map(|it| quote_name(it)).collect();
            table.options.insert(format!("INHERITS ({})", parents.join(", ")));
        }
        if let Some(options) = row.get::<Option<String>>("storage")? {
            table.options.insert(format!("WITH ({options})"));
        }
        structure.tables.insert(name, table);
    }
    for row in connection.query(&queries::VIEW_READS, &[]).await? {
        if let Some(view) = structure.views.get_mut(&row.get::<String>("name")?) {
            view.reads.insert(row.get("reads")?);
        }
    }
    for row in connection.query(&queries::PARTITIONS, &[]).await? {
        if let Some(table) = structure.tables.get_mut(&row.get::<String>("root")?) {
            let own = Table { options: flags(&row)?, ..Table::default() };
            let partition = Partition { of: row.get("parent")?, definition: row.get("definition")?, own };
            table.partitions.insert(row.get("name")?, partition);
        }
    }
    for table in structure.tables.values_mut() {
        let whole = table.clone();
        let come_and_go = table.partitions.values_mut().filter(|it| whole.comes_and_goes(it));
        come_and_go.for_each(|it| it.own.options.clear());
    }
    Ok(())
}

/// What is switched on for a table.
fn flags(row: &Row) -> Result<BTreeSet<String>, DatabaseError> {
    let flags = [
        ("unlogged", "UNLOGGED"),
        ("row_security", "ROW LEVEL SECURITY"),
        ("forced", "FORCE ROW LEVEL SECURITY"),
    ];
    let mut options = BTreeSet::new();
    for (column, option) in flags {
        if row.get(column)? {
            options.insert(option.to_owned());
        }
    }
    Ok(options)
}

/// The table or the partition of this name.
fn relation<'a>(structure: &'a mut Structure, name: &str) -> Option<&'a mut Table> {
    if structure.tables.contains_key(name) {
        return structure.tables.get_mut(name);
    }
    let mut partitions = structure.tables.values_mut().map(|it| &mut it.partitions);
    partitions.find_map(|it| it.get_mut(name)).map(|it| &mut it.own)
}

async fn columns(connection: &mut Connection, structure: &mut Structure) -> Result<(), DatabaseError> {
    for row in connection.query(&queries::COLUMNS, &[]).await? {
        let Some(table) = structure.tables.get_mut(&row.get::<String>("relation")?) else { continue };
        table.columns.push(column(&row)?);
    }
    Ok(())
}

fn column(row: &Row) -> Result<Column, DatabaseError> {
    let expression = row.get::<Option<String>>("expression")?.map(one_form);
    let kept = match row.get::<String>("generated")?.as_str() {
        "s" => Some("STORED"),
        "v" => Some("VIRTUAL"),
        _ => None,
    };
    let (default, generated) = match (kept, expression) {
        (Some(kept), Some(expression)) => (None, Some(format!("({expression}) {kept}"))),
        (_, expression) => (expression, None),
    };
    let counts: Option<String> = row.get("identity_options")?;
    let counts = counts.filter(|it| !it.is_empty()).map(|it| format!(" ({it})")).unwrap_or_default();
    let identity = match row.get::<String>("identity")?.as_str() {
        "a" => Some(format!("ALWAYS AS IDENTITY{counts}")),
        "d" => Some(format!("BY DEFAULT AS IDENTITY{counts}")),
        _ => None,
    };
    Ok(Column {
        name: row.get("name")?,
        type_name: row.get("type")?,
        not_null: row.get("not_null")?,
        default,
        generated,
        identity,
        collation: row.get("collation")?,
        inline: None,
    })
}

async fn constraints(connection: &mut Connection, structure: &mut Structure) -> Result<(), DatabaseError> {
    for row in connection.query(&queries::CONSTRAINTS, &[]).await? {
        let Some(table) = relation(structure, &row.get::<String>("relation")?) else { continue };
        let kind = match row.get::<String>("kind")?.as_str() {
            "p" => ConstraintKind::PrimaryKey,
            "u" => ConstraintKind::Unique,
            "c" => ConstraintKind::Check,
            "x" => ConstraintKind::Exclusion,
            _ => ConstraintKind::ForeignKey,
        };
        table.constraints.push(Constraint {
            name: Some(row.get("name")?),
            kind,
            definition: one_form(row.get("definition")?),
            references: row.get("references")?,
        });
    }
    let tables = structure.tables.values_mut();
    for table in tables.flat_map(|it| it.partitions.values_mut().map(|it| &mut it.own)) {
        sort(table);
    }
    structure.tables.values_mut().for_each(sort);
    Ok(())
}

fn sort(table: &mut Table) {
    table.constraints.sort_by(|left, right| (left.kind, &left.name).cmp(&(right.kind, &right.name)));
}

/// Indexes, triggers, rules and policies.
async fn parts(connection: &mut Connection, structure: &mut Structure) -> Result<(), DatabaseError> {
    for row in connection.query(&queries::INDEXES, &[]).await? {
        let on: String = row.get("relation")?;
        // PostgreSQL says ONLY of the index of a partitioned table, which would leave its partitions out.
        let definition = row.get::<String>("definition")?.replacen(" ON ONLY ", " ON ", 1);
        let index = Index { definition: one_form(definition), valid: row.get("valid")? };
        if let Some(table) = relation(structure, &on) {
            table.indexes.insert(row.get("name")?, index);
        } else if let Some(view) = structure.views.get_mut(&on) {
            view.indexes.insert(row.get("name")?, index);
        }
    }
    for row in connection.query(&queries::TRIGGERS, &[]).await? {
        let (on, trigger): (String, String) = (row.get("relation")?, one_form(row.get("definition")?));
        if let Some(table) = relation(structure, &on) {
            table.triggers.insert(row.get("name")?, trigger);
        } else if let Some(view) = structure.views.get_mut(&on) {
            view.triggers.insert(row.get("name")?, trigger);
        }
    }
    for row in connection.query(&queries::RULES, &[]).await? {
        let (on, rule): (String, String) = (row.get("relation")?, one_form(row.get("definition")?));
        if let Some(table) = relation(structure, &on) {
            table.rules.insert(row.get("name")?, rule);
        } else if let Some(view) = structure.views.get_mut(&on) {
            view.rules.insert(row.get("name")?, rule);
        }
    }
    for row in connection.query(&queries::POLICIES, &[]).await? {
        if let Some(table) = relation(structure, &row.get::<String>("relation")?) {
            table.policies.insert(row.get("name")?, one_form(row.get("definition")?));
        }
    }
    Ok(())
}
