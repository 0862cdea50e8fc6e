//! The tables that foreign keys point at. What drops such a key takes its triggers from the other table too, and
//! locks that one, which only a file that has the key in it tells.

use squawk_syntax::SourceFile;
use squawk_syntax::SyntaxKind;
use squawk_syntax::ast::{AlterTableAction, AstNode, Stmt};

use super::Effects;
use super::postgres::{ACCESS_EXCLUSIVE, names, text};

struct ForeignKey {
    table: String,
    /// Where it is given one.
    name: Option<String>,
    referenced: String,
}

/// The foreign keys that a file makes.
#[derive(Default)]
pub(super) struct ForeignKeys(Vec<ForeignKey>);

impl ForeignKeys {
    pub(super) fn of(file: &str) -> Self {
        let mut keys = Self::default();
        let upper = file.to_ascii_uppercase();
        if !(upper.contains("REFERENCES") && upper.contains("DROP")) {
            return keys;
        }
        for statement in SourceFile::parse(file).tree().stmts() {
            let table = match &statement {
                Stmt::CreateTable(create) => create.table_name().map(|it| text(it.syntax())),
                Stmt::AlterTable(alter) => {
                    let name = alter.table_relation_name().and_then(|it| it.table_name_ref());
                    name.map(|it| text(it.syntax()))
                }
                _ => None,
            };
            let Some(table) = table else { continue };
            let is_key =
                |kind| matches!(kind, SyntaxKind::REFERENCES_CONSTRAINT | SyntaxKind::FOREIGN_KEY_CONSTRAINT);
            for node in statement.syntax().descendants().filter(|it| is_key(it.kind())) {
                let name = node.descendants().find(|it| it.kind() == SyntaxKind::CONSTRAINT_NAME);
                let name = name.map(|it| text(&it));
                keys.0.extend(names(&node).into_iter().map(|referenced| ForeignKey {
                    table: table.clone(),
                    name: name.clone(),
                    referenced,
                }));
            }
        }
        keys
    }

    /// Adds what a statement locks that drops some of them. One that is dropped and made anew under its name is taken
    /// to point where it did.
    pub(super) fn dropped(&self, sql: &str, effects: &mut Effects) {
        if self.0.is_empty() {
            return;
        }
        for statement in SourceFile::parse(sql).tree().stmts() {
            match &statement {
                Stmt::DropTable(drop) => {
                    for table in names(drop.syntax()) {
                        self.lock(effects, |key| is_same(&key.table, &table));
                    }
                }
                Stmt::AlterTable(alter) => {
                    let table = alter.table_relation_name().and_then(|it| it.table_name_ref());
                    let Some(table) = table.map(|it| text(it.syntax())) else { continue };
                    for action in alter.actions() {
                        let AlterTableAction::DropConstraint(drop) = action else { continue };
                        let Some(name) = drop.constraint_name_ref().map(|it| text(it.syntax())) else {
                            continue;
                        };
                        let is_meant = |key: &ForeignKey| {
                            is_same(&key.table, &table)
                                && key.name.as_ref().is_some_and(|it| is_same(it, &name))
                        };
                        self.lock(effects, is_meant);
                    }
                }
                _ => {}
            }
        }
    }

    fn lock(&self, effects: &mut Effects, is_meant: impl Fn(&ForeignKey) -> bool) {
        for ForeignKey { referenced, .. } in self.0.iter().filter(|key| is_meant(key)) {
            // One statement takes the strongest of its locks on a table.
            effects.locks.retain(|it| !is_same(&it.relation, referenced));
            effects.lock(referenced, ACCESS_EXCLUSIVE);
        }
    }
}

fn is_same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}
