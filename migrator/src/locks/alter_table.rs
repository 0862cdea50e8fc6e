//! What each action of ALTER TABLE locks, rewrites and reads.

use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Constraint};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Effects;
use super::postgres::{ACCESS_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, has, names, text};

/// Functions whose value is the same for a whole statement, so that it is stored once and not in each row.
const NOT_VOLATILE: [&str; 4] = ["now", "transaction_timestamp", "statement_timestamp", "current_setting"];

pub(super) fn effects(alter: &ast::AlterTable, effects: &mut Effects) {
    let Some(table) = alter.table_relation_name().and_then(|it| it.table_name_ref()) else { return };
    let table = text(table.syntax());
    for action in alter.actions() {
        effects.lock(&table, mode(&action));
        match &action {
            AlterTableAction::AddColumn(column) => add_column(column, &table, effects),
            AlterTableAction::AddConstraint(add) => {
                if let Some(constraint) = add.constraint() {
                    add_constraint(&constraint, &table, effects);
                }
            }
            AlterTableAction::AlterColumn(column) => alter_column(column, &table, effects),
            AlterTableAction::ValidateConstraint(_) => {
                effects.scan(&table, "the constraint is checked on every row");
            }
            AlterTableAction::AttachPartition(attach) => {
                for partition in names(attach.syntax()) {
                    effects.scan(
                        &partition,
                        "every row has to be in the partition's bounds, unless a CHECK says so",
                    );
                    effects.lock(partition, ACCESS_EXCLUSIVE);
                }
            }
            AlterTableAction::DetachPartition(detach) => {
                for partition in names(detach.syntax()) {
                    effects.lock(partition, ACCESS_EXCLUSIVE);
                }
            }
            AlterTableAction::InheritTable(parent) => {
                for parent in names(parent.syntax()) {
                    effects.lock(parent, SHARE_UPDATE_EXCLUSIVE);
                }
            }
            AlterTableAction::SetLogged(_) => effects.rewrite(&table, "SET LOGGED"),
            AlterTableAction::SetUnlogged(_) => effects.rewrite(&table, "SET UNLOGGED"),
            AlterTableAction::SetTablespace(_) => effects.rewrite(&table, "SET TABLESPACE"),
            AlterTableAction::SetAccessMethod(_) => effects.rewrite(&table, "SET ACCESS METHOD"),
            _ => {}
        }
    }
    // One statement takes the strongest of its locks on a table.
    let strongest = effects.locks.iter().any(|it| it.relation == table && it.mode == ACCESS_EXCLUSIVE);
    effects.locks.retain(|it| it.relation != table || it.mode == ACCESS_EXCLUSIVE || !strongest);
}

fn mode(action: &AlterTableAction) -> &'static str {
    match action {
        AlterTableAction::ValidateConstraint(_)
        | AlterTableAction::ClusterOn(_)
        | AlterTableAction::SetWithoutCluster(_)
        | AlterTableAction::SetOptions(_)
        | AlterTableAction::ResetOptions(_)
        | AlterTableAction::AttachPartition(_) => SHARE_UPDATE_EXCLUSIVE,
        AlterTableAction::DetachPartition(detach)
            if has(detach.syntax(), SyntaxKind::CONCURRENTLY_KW)
                || has(detach.syntax(), SyntaxKind::DETACH_FINALIZE) =>
        {
            SHARE_UPDATE_EXCLUSIVE
        }
        AlterTableAction::EnableTrigger(_)
        | AlterTableAction::EnableAlwaysTrigger(_)
        | AlterTableAction::EnableReplicaTrigger(_)
        | AlterTableAction::DisableTrigger(_) => SHARE_ROW_EXCLUSIVE,
        AlterTableAction::AddConstraint(add)
            if matches!(add.constraint(), Some(Constraint::ForeignKeyConstraint(_))) =>
        {
            SHARE_ROW_EXCLUSIVE
        }
        AlterTableAction::AlterColumn(column) => match column.option() {
            Some(
                AlterColumnOption::SetStatistics(_)
                | AlterColumnOption::SetOptions(_)
                | AlterColumnOption::SetOptionsList(_)
                | AlterColumnOption::ResetOptions(_),
            ) => SHARE_UPDATE_EXCLUSIVE,
            _ => ACCESS_EXCLUSIVE,
        },
        _ => ACCESS_EXCLUSIVE,
    }
}

fn add_column(column: &ast::AddColumn, table: &str, effects: &mut Effects) {
    let node = column.syntax();
    let serial = column.ty().is_some_and(|it| text(it.syntax()).to_lowercase().contains("serial"));
    if serial || has(node, SyntaxKind::GENERATED_IDENTITY) {
        effects.rewrite(table, "each row gets a number");
    } else if has(node, SyntaxKind::STORED_KW) {
        effects.rewrite(table, "the generated column is stored in each row");
    } else if node
        .descendants()
        .filter(|it| it.kind() == SyntaxKind::DEFAULT_CONSTRAINT)
        .any(|it| is_volatile(&it))
    {
        effects.rewrite(table, "the default is computed for each row, unless its function is not volatile");
    }
    for constraint in column.constraints() {
        match &constraint {
            Constraint::CheckConstraint(_) => effects.scan(table, "the CHECK is looked at for every row"),
            Constraint::UniqueConstraint(_) | Constraint::PrimaryKeyConstraint(_) => {
                effects.scan(table, "an index is built");
            }
            Constraint::ReferencesConstraint(_) => {
                for referenced in names(constraint.syntax()) {
                    effects.lock(referenced, SHARE_ROW_EXCLUSIVE);
                }
            }
            _ => {}
        }
    }
}

fn is_volatile(default: &SyntaxNode) -> bool {
    let calls = default.descendants().filter(|it| it.kind() == SyntaxKind::CALL_EXPR);
    calls.into_iter().any(|call| {
        let name = text(&call).to_lowercase();
        !NOT_VOLATILE.contains(&name.split('(').next().unwrap_or_default().trim())
    })
}

fn add_constraint(constraint: &Constraint, table: &str, effects: &mut Effects) {
    let node = constraint.syntax();
    let unchecked = has(node, SyntaxKind::NOT_VALID) || has(node, SyntaxKind::NOT_ENFORCED);
    match constraint {
        Constraint::UniqueConstraint(_)
        | Constraint::PrimaryKeyConstraint(_)
        | Constraint::ExcludeConstraint(_)
            if has(node, SyntaxKind::USING_INDEX_NAME) => {}
        Constraint::UniqueConstraint(_)
        | Constraint::PrimaryKeyConstraint(_)
        | Constraint::ExcludeConstraint(_) => effects.scan(table, "an index is built"),
        Constraint::ForeignKeyConstraint(_) => {
            for referenced in names(node) {
                effects.lock(referenced, SHARE_ROW_EXCLUSIVE);
            }
            if !unchecked {
                effects.scan(table, "each row is looked up in the other table");
            }
        }
        _ if !unchecked => effects.scan(table, "the constraint is checked on every row"),
        _ => {}
    }
}

fn alter_column(column: &ast::AlterColumn, table: &str, effects: &mut Effects) {
    match column.option() {
        Some(AlterColumnOption::SetType(_)) => effects.rewrite(
            table,
            "the type changes, unless the old one is the same in binary (a longer varchar, text)",
        ),
        Some(AlterColumnOption::SetExpression(_)) => {
            effects.rewrite(table, "the generated column is computed anew");
        }
        Some(AlterColumnOption::SetNotNull(_)) => {
            effects.scan(table, "no row may be NULL, unless a valid CHECK says so");
        }
        _ => {}
    }
}
