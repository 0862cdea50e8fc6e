//! The lock modes of PostgreSQL's documentation ("Explicit Locking", and the pages of the statements).

use squawk_syntax::ast::{self, AstNode, Stmt};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

use super::{Effects, Lock, alter_table};

pub(super) const ACCESS_EXCLUSIVE: &str = "ACCESS EXCLUSIVE";
const EXCLUSIVE: &str = "EXCLUSIVE";
pub(super) const SHARE_ROW_EXCLUSIVE: &str = "SHARE ROW EXCLUSIVE";
const SHARE: &str = "SHARE";
pub(super) const SHARE_UPDATE_EXCLUSIVE: &str = "SHARE UPDATE EXCLUSIVE";
const ROW_EXCLUSIVE: &str = "ROW EXCLUSIVE";
const ROW_SHARE: &str = "ROW SHARE";
const ACCESS_SHARE: &str = "ACCESS SHARE";

/// The modes that who writes rows waits for.
const HEAVY: [&str; 4] = [ACCESS_EXCLUSIVE, EXCLUSIVE, SHARE_ROW_EXCLUSIVE, SHARE];

/// What a statement without a name is about.
const EVERY_TABLE: &str = "every table";

/// The nodes that name something that exists and can be locked.
const NAMES: [SyntaxKind; 5] = [
    SyntaxKind::TABLE_NAME_REF,
    SyntaxKind::RELATION_NAME_REF,
    SyntaxKind::VIEW_REF,
    SyntaxKind::INDEX_REF,
    SyntaxKind::SEQUENCE_REF,
];

/// The effects of one statement. Tables that it makes are added to `made`.
pub(super) fn effects(sql: &str, made: &mut Vec<String>) -> Effects {
    let file = SourceFile::parse(sql).tree();
    let mut effects = Effects::default();
    for statement in file.stmts() {
        match &statement {
            Stmt::CreateTable(create) => {
                let name = create.table_name().map(|name| text(name.syntax())).unwrap_or_default();
                of_create_table(create, &name, &mut effects);
                made.push(name);
            }
            Stmt::CreateTableAs(create) => {
                made.extend(create.table_name().map(|name| text(name.syntax())));
                all(create.syntax(), ACCESS_SHARE, &mut effects);
            }
            Stmt::AlterTable(alter) => alter_table::effects(alter, &mut effects),
            other => of_others(other, &mut effects),
        }
    }
    effects
}

/// Whether a statement takes a lock that keeps others from writing or reading, also those that come while it still
/// waits for it. What works CONCURRENTLY takes such a one at its end at most, when nobody is in the way any more.
pub(crate) fn locks_others_out(sql: &str) -> bool {
    let is_heavy = effects(sql, &mut Vec::new()).locks.iter().any(|lock| HEAVY.contains(&lock.mode));
    is_heavy && !has(SourceFile::parse(sql).tree().syntax(), SyntaxKind::CONCURRENTLY_KW)
}

pub(super) fn text(node: &SyntaxNode) -> String {
    node.text().to_string().trim().to_owned()
}

/// Whether a node or a token of this kind is in it.
pub(super) fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.descendants_with_tokens().any(|it| it.kind() == kind)
}

/// What it names, in order.
pub(super) fn names(node: &SyntaxNode) -> Vec<String> {
    node.descendants().filter(|it| NAMES.contains(&it.kind())).map(|it| text(&it)).collect()
}

fn all(node: &SyntaxNode, mode: &'static str, effects: &mut Effects) {
    for name in names(node) {
        effects.lock(name, mode);
    }
}

/// What writes rows, in a WITH too, locks what it writes to; the rest is only read. A name that WITH gives is no
/// table's.
fn written_and_read(node: &SyntaxNode, effects: &mut Effects) {
    use SyntaxKind::{CTE_NAME, DELETE, INSERT, MERGE, UPDATE, WITH_CLAUSE};
    let of_kind =
        |kinds: &'static [SyntaxKind]| node.descendants().filter(move |it| kinds.contains(&it.kind()));
    for write in of_kind(&[INSERT, UPDATE, DELETE, MERGE]) {
        let is_in_with =
            |it: &SyntaxNode| it.ancestors().take_while(|it| *it != write).any(|it| it.kind() == WITH_CLAUSE);
        let mut named = write.descendants().filter(|it| NAMES.contains(&it.kind()) && !is_in_with(it));
        effects.locks.extend(named.next().map(|it| Lock { relation: text(&it), mode: ROW_EXCLUSIVE }));
    }
    let written: Vec<String> = effects.locks.iter().map(|it| it.relation.clone()).collect();
    let given: Vec<String> = of_kind(&[CTE_NAME]).map(|it| text(&it)).collect();
    let mode = if has(node, SyntaxKind::LOCKING_CLAUSE) { ROW_SHARE } else { ACCESS_SHARE };
    for name in names(node).into_iter().filter(|it| !written.contains(it) && !given.contains(it)) {
        effects.lock(name, mode);
    }
}

/// The first name with one mode, those after it (which are only read) with another.
fn first_and_rest(node: &SyntaxNode, first: &'static str, rest: &'static str, effects: &mut Effects) {
    for (position, name) in names(node).into_iter().enumerate() {
        effects.lock(name, if position == 0 { first } else { rest });
    }
}

fn of_create_table(create: &ast::CreateTable, name: &str, effects: &mut Effects) {
    let parent = create.partition_of().and_then(|it| it.table_name_ref());
    if let Some(parent) = parent {
        effects.lock(text(parent.syntax()), ACCESS_EXCLUSIVE);
    }
    for parent in create.inherits().iter().flat_map(|it| it.table_name_refs()) {
        effects.lock(text(parent.syntax()), SHARE_UPDATE_EXCLUSIVE);
    }
    for node in create.syntax().descendants() {
        if matches!(node.kind(), SyntaxKind::REFERENCES_CONSTRAINT | SyntaxKind::FOREIGN_KEY_CONSTRAINT) {
            for referenced in names(&node).into_iter().filter(|it| it != name) {
                effects.lock(referenced, SHARE_ROW_EXCLUSIVE);
            }
        }
        if node.kind() == SyntaxKind::LIKE_CLAUSE {
            all(&node, ACCESS_SHARE, effects);
        }
    }
}

fn of_others(statement: &Stmt, effects: &mut Effects) {
    let node = statement.syntax();
    let concurrently = has(node, SyntaxKind::CONCURRENTLY_KW);
    match statement {
        Stmt::CreateIndex(index) => {
            let table = index.table_relation_name().map(|it| names(it.syntax())).unwrap_or_default();
            for table in table {
                effects.lock(&table, if concurrently { SHARE_UPDATE_EXCLUSIVE } else { SHARE });
                effects.scan(
                    &table,
                    if concurrently { "the index is built, in two passes" } else { "the index is built" },
                );
            }
        }
        Stmt::Reindex(_) => reindex(node, concurrently, effects),
        Stmt::DropIndex(_) if concurrently => all(node, SHARE_UPDATE_EXCLUSIVE, effects),
        Stmt::DropIndex(_) => {
            for index in names(node) {
                effects.lock(format!("the table of {index}"), ACCESS_EXCLUSIVE);
                effects.lock(index, ACCESS_EXCLUSIVE);
            }
        }
        Stmt::Refresh(_) => {
            all(node, if concurrently { EXCLUSIVE } else { ACCESS_EXCLUSIVE }, effects);
            for view in names(node) {
                effects.rewrite(&view, "its query is run again");
            }
        }
        Stmt::Vacuum(_) if has(node, SyntaxKind::FULL_KW) => rewritten(node, "VACUUM FULL", effects),
        Stmt::Cluster(_) => rewritten(node, "CLUSTER", effects),
        Stmt::CommentOn(comment) => comment_on(comment, effects),
        Stmt::Vacuum(_)
        | Stmt::Analyze(_)
        | Stmt::CreateStatistics(_)
        | Stmt::CreatePublication(_)
        | Stmt::AlterPublication(_) => all(node, SHARE_UPDATE_EXCLUSIVE, effects),
        Stmt::AlterIndex(_) if has(node, SyntaxKind::SET_TABLESPACE) => {
            rewritten(node, "SET TABLESPACE", effects);
        }
        Stmt::AlterIndex(_) => all(node, SHARE_UPDATE_EXCLUSIVE, effects),
        Stmt::CreateTrigger(_) => first_and_rest(node, SHARE_ROW_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, effects),
        Stmt::AlterSequence(_) => all(node, SHARE_ROW_EXCLUSIVE, effects),
        Stmt::DropTable(_)
        | Stmt::DropForeignTable(_)
        | Stmt::DropView(_)
        | Stmt::DropMaterializedView(_)
        | Stmt::DropSequence(_)
        | Stmt::DropTrigger(_)
        | Stmt::DropPolicy(_)
        | Stmt::DropRule(_)
        | Stmt::AlterTrigger(_)
        | Stmt::AlterPolicy(_)
        | Stmt::AlterRule(_)
        | Stmt::AlterView(_)
        | Stmt::AlterMaterializedView(_)
        | Stmt::AlterForeignTable(_)
        | Stmt::Truncate(_) => all(node, ACCESS_EXCLUSIVE, effects),
        // Their conditions may read other tables.
        Stmt::CreatePolicy(_) | Stmt::CreateRule(_) => {
            first_and_rest(node, ACCESS_EXCLUSIVE, ACCESS_SHARE, effects);
        }
        Stmt::CreateView(view) => {
            if let (true, Some(name)) = (view.or_replace().is_some(), view.view()) {
                effects.lock(text(name.syntax()), ACCESS_EXCLUSIVE);
            }
            all(node, ACCESS_SHARE, effects);
        }
        other => of_rows(other, effects),
    }
}

/// Of a column, the table is locked as for the table itself; of what belongs to a table, it is only looked at.
fn comment_on(comment: &ast::CommentOn, effects: &mut Effects) {
    use ast::CommentObject;
    match comment.comment_object() {
        Some(CommentObject::ObjectColumn(column)) => {
            // What stands before the last dot.
            let mut paths = column.syntax().descendants().filter(|it| it.kind() == SyntaxKind::PATH_REF);
            if let Some(table) = paths.nth(1) {
                effects.lock(text(&table), SHARE_UPDATE_EXCLUSIVE);
            }
        }
        Some(
            CommentObject::ObjectConstraint(_)
            | CommentObject::ObjectTrigger(_)
            | CommentObject::ObjectPolicy(_)
            | CommentObject::ObjectRule(_),
        ) => all(comment.syntax(), ACCESS_SHARE, effects),
        _ => all(comment.syntax(), SHARE_UPDATE_EXCLUSIVE, effects),
    }
}

/// Statements that read and write rows.
fn of_rows(statement: &Stmt, effects: &mut Effects) {
    let node = statement.syntax();
    match statement {
        Stmt::Lock(lock) => all(node, lock_mode(lock), effects),
        Stmt::Copy(copy) => {
            let writes = matches!(copy.copy_direction(), Some(ast::CopyDirection::CopyFrom(_)));
            all(node, if writes { ROW_EXCLUSIVE } else { ACCESS_SHARE }, effects);
        }
        Stmt::Insert(_)
        | Stmt::Update(_)
        | Stmt::Delete(_)
        | Stmt::Merge(_)
        | Stmt::Select(_)
        | Stmt::CompoundSelect(_)
        | Stmt::ParenSelect(_)
        | Stmt::Table(_)
        | Stmt::CreateMaterializedView(_) => written_and_read(node, effects),
        _ => {}
    }
}

fn rewritten(node: &SyntaxNode, why: &str, effects: &mut Effects) {
    let mut relations = names(node);
    if relations.is_empty() {
        relations.push(EVERY_TABLE.to_owned());
    }
    for relation in relations {
        effects.rewrite(&relation, why);
        effects.lock(relation, ACCESS_EXCLUSIVE);
    }
}

fn reindex(node: &SyntaxNode, concurrently: bool, effects: &mut Effects) {
    let is_index = has(node, SyntaxKind::REINDEX_TARGET_INDEX);
    let mut relations = names(node);
    if relations.is_empty() {
        // Of a schema, or of the database.
        relations.push(EVERY_TABLE.to_owned());
    }
    for relation in relations {
        let table = if is_index { format!("the table of {relation}") } else { relation.clone() };
        effects.scan(&table, "the index is built anew");
        effects.lock(table, if concurrently { SHARE_UPDATE_EXCLUSIVE } else { SHARE });
        if !concurrently {
            let index = if is_index { relation } else { format!("the indexes of {relation}") };
            effects.lock(index, ACCESS_EXCLUSIVE);
        }
    }
}

fn lock_mode(lock: &ast::Lock) -> &'static str {
    use ast::LockMode;
    match lock.lock_mode_clause().and_then(|it| it.lock_mode()) {
        None | Some(LockMode::AccessExclusive(_)) => ACCESS_EXCLUSIVE,
        Some(LockMode::AccessShare(_)) => ACCESS_SHARE,
        Some(LockMode::Exclusive(_)) => EXCLUSIVE,
        Some(LockMode::RowExclusive(_)) => ROW_EXCLUSIVE,
        Some(LockMode::RowShare(_)) => ROW_SHARE,
        Some(LockMode::Share(_)) => SHARE,
        Some(LockMode::ShareRowExclusive(_)) => SHARE_ROW_EXCLUSIVE,
        Some(LockMode::ShareUpdateExclusive(_)) => SHARE_UPDATE_EXCLUSIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wait_for_is_known() {
        for (sql, expected) in [
            ("VACUUM (FULL, ANALYZE) t", true),
            ("VACUUM FULL", true),
            ("CLUSTER", true),
            ("REINDEX TABLE t", true),
            ("REINDEX DATABASE d", true),
            ("VACUUM (ANALYZE) t", false),
            ("REINDEX SCHEMA CONCURRENTLY s", false),
            ("CREATE INDEX CONCURRENTLY i ON t (a)", false),
            ("DROP INDEX CONCURRENTLY i", false),
            ("ALTER TABLE p DETACH PARTITION c CONCURRENTLY", false),
            ("CREATE DATABASE d", false),
            ("CALL p()", false),
        ] {
            assert_eq!(locks_others_out(sql), expected, "{sql}");
        }
    }
}
