//! Statements of PostgreSQL's that allow less than before: rows that an older release writes are refused.

use squawk_syntax::ast::{self, AlterColumnOption, AlterTableAction, AstNode, Constraint, Stmt};
use squawk_syntax::{SyntaxKind, SyntaxNode};

use crate::source::Dialect;
use crate::structure::tokens::{Kind, tokens};

/// What the statement tightens. Tables that the same file makes have no rows and no users yet.
pub(super) fn tightens(statement: &Stmt, created: &[Name]) -> Option<String> {
    match statement {
        Stmt::AlterTable(alter) => {
            let table = alter.table_relation_name()?.table_name_ref()?;
            if is_one_of(created, &name(table.syntax())) {
                return None;
            }
            alter.actions().find_map(|action| of_action(&action))
        }
        Stmt::CreateIndex(index) if index.unique_token().is_some() => {
            let table = index.table_relation_name()?.table_name_ref()?;
            let exists = !is_one_of(created, &name(table.syntax()));
            exists.then(|| "a unique index on an existing table refuses what was written before".to_owned())
        }
        Stmt::AlterDomain(alter) => match alter.action()? {
            ast::AlterDomainAction::AddConstraint(_) | ast::AlterDomainAction::SetNotNull(_) => {
                Some("a constraint on an existing domain refuses what was written before".to_owned())
            }
            _ => None,
        },
        _ => None,
    }
}

/// The table that the statement makes.
pub(super) fn creates(statement: &Stmt) -> Option<Name> {
    let name_of = |table: Option<ast::TableName>| table.map(|table| name(table.syntax()));
    match statement {
        Stmt::CreateTable(create) => name_of(create.table_name()),
        Stmt::CreateTableAs(create) => name_of(create.table_name()),
        _ => None,
    }
}

/// A name as the server compares it, behind its schema where that is said.
pub(super) type Name = Vec<String>;

fn name(node: &SyntaxNode) -> Name {
    let text = node.text().to_string();
    let words = tokens(&text, Dialect::Postgres);
    let parts = words.iter().filter(|it| it.kind != Kind::Symbol);
    parts.map(|it| if it.kind == Kind::Word { it.text.to_lowercase() } else { it.name() }).collect()
}

/// Whether it is the same table as one of these: a name without a schema may be of any.
fn is_one_of(created: &[Name], name: &Name) -> bool {
    created.iter().any(|it| it.ends_with(name) || name.ends_with(it))
}

fn of_action(action: &AlterTableAction) -> Option<String> {
    match action {
        AlterTableAction::AddColumn(column) if is_required(column) => {
            Some("a new column that is NOT NULL and has no default refuses rows without it".to_owned())
        }
        AlterTableAction::AddConstraint(add) => {
            let kind = match add.constraint()? {
                Constraint::CheckConstraint(_) => "a CHECK",
                Constraint::UniqueConstraint(_) => "a UNIQUE constraint",
                Constraint::PrimaryKeyConstraint(_) => "a primary key",
                Constraint::ForeignKeyConstraint(_) => "a foreign key",
                Constraint::ExcludeConstraint(_) => "an EXCLUDE constraint",
                Constraint::NotNullConstraint(_) => "a NOT NULL constraint",
                _ => return None,
            };
            Some(format!("{kind} on an existing table refuses what was written before"))
        }
        AlterTableAction::AlterColumn(alter) => match alter.option()? {
            AlterColumnOption::SetNotNull(_) => {
                Some("SET NOT NULL refuses what was written before".to_owned())
            }
            AlterColumnOption::SetType(_) => Some("the type of a column changes".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether rows need a value for the column.
pub(crate) fn is_required(column: &ast::AddColumn) -> bool {
    let has = |kinds: &[SyntaxKind]| column.syntax().descendants().any(|node| kinds.contains(&node.kind()));
    let serial =
        column.ty().is_some_and(|ty| ty.syntax().text().to_string().to_lowercase().contains("serial"));
    has(&[SyntaxKind::NOT_NULL_CONSTRAINT, SyntaxKind::PRIMARY_KEY_CONSTRAINT])
        && !has(&[SyntaxKind::DEFAULT_CONSTRAINT, SyntaxKind::GENERATED_CONSTRAINT])
        && !serial
}
