//! What a statement of a migration makes that emptying the current schema does not take away.

use squawk_syntax::ast::{AstNode, CreateSchemaTarget, Stmt};
use squawk_syntax::{SourceFile, SyntaxNode};

use crate::source::Dialect;
use crate::structure::tokens::{Token, tokens};

/// What a statement makes beyond the current schema. Names are as the file writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Something that lies in no schema, anew, or it would have failed.
    Anew(Thing),
    /// A schema of this name, where it was missing.
    SchemaWhereMissing(String),
    /// Something in this schema, which may be there without any migration.
    InSchema(String),
    /// Something that other databases of the server have too.
    OfServer,
}

/// Something that lies in no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    /// What it is, as DROP calls it.
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// What this one makes beyond the current schema, if anything.
pub(super) fn made(sql: &str) -> Option<Made> {
    let text = |node: &SyntaxNode| node.text().to_string().trim().to_owned();
    let anew =
        |kind, name: Option<SyntaxNode>| name.map(|name| Made::Anew(Thing { kind, name: text(&name) }));
    let statement = SourceFile::parse(sql).tree().stmts().next()?;
    match &statement {
        Stmt::CreateSchema(schema) => {
            let name = match schema.create_schema_target()? {
                CreateSchemaTarget::NamedSchema(named) => named.schema()?.syntax().clone(),
                CreateSchemaTarget::AuthorizationSchema(of_role) => of_role.role()?.syntax().clone(),
            };
            match schema.if_not_exists() {
                Some(_) => Some(Made::SchemaWhereMissing(text(&name))),
                None => anew("SCHEMA", Some(name)),
            }
        }
        Stmt::CreateExtension(it) if it.if_not_exists().is_none() => {
            anew("EXTENSION", it.extension().map(|it| it.syntax().clone()))
        }
        Stmt::CreateServer(it) if it.if_not_exists().is_none() => {
            anew("SERVER", it.server().map(|it| it.syntax().clone()))
        }
        Stmt::CreateForeignDataWrapper(it) => {
            anew("FOREIGN DATA WRAPPER", it.foreign_data_wrapper().map(|it| it.syntax().clone()))
        }
        Stmt::CreatePublication(it) => anew("PUBLICATION", it.publication().map(|it| it.syntax().clone())),
        Stmt::CreateEventTrigger(it) => {
            anew("EVENT TRIGGER", it.event_trigger().map(|it| it.syntax().clone()))
        }
        Stmt::CreateRole(_)
        | Stmt::CreateUser(_)
        | Stmt::CreateGroup(_)
        | Stmt::CreateDatabase(_)
        | Stmt::CreateTablespace(_)
        | Stmt::CreateSubscription(_) => Some(Made::OfServer),
        _ => schema_of_target(sql).map(Made::InSchema),
    }
}

/// The words between CREATE or ALTER and the name of what is made or changed.
const BEFORE_NAMES: [&str; 33] = [
    "OR",
    "REPLACE",
    "GLOBAL",
    "LOCAL",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "FOREIGN",
    "MATERIALIZED",
    "RECURSIVE",
    "DEFAULT",
    "TEXT",
    "SEARCH",
    "IF",
    "NOT",
    "EXISTS",
    "ONLY",
    "TABLE",
    "VIEW",
    "SEQUENCE",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "AGGREGATE",
    "COLLATION",
    "CONVERSION",
    "STATISTICS",
    "CONFIGURATION",
    "DICTIONARY",
    "INDEX",
    "ALL",
];

/// The schema of what a statement makes or changes, where it names one.
fn schema_of_target(sql: &str) -> Option<String> {
    let tokens = tokens(sql, Dialect::Postgres);
    let (first, rest) = tokens.split_first()?;
    if !(first.is("CREATE") || first.is("ALTER")) {
        return None;
    }
    let is_any_of = |token: &&Token<'_>, words: &[&str]| words.iter().any(|word| token.is(word));
    let kind = rest.iter().find(|it| !is_any_of(it, &["OR", "REPLACE", "UNIQUE", "CONSTRAINT"]))?;
    // What hangs on a table lies where that does.
    let before = match first.is("CREATE") {
        true if kind.is("RULE") => Some("TO"),
        true if kind.is("INDEX") => Some("ON"),
        _ if is_any_of(&kind, &["TRIGGER", "POLICY", "RULE"]) => Some("ON"),
        _ => None,
    };
    let rest = match before {
        Some(word) => &rest[rest.iter().position(|it| it.is(word))? + 1..],
        None => rest,
    };
    let at = rest.iter().position(|it| !is_any_of(&it, &BEFORE_NAMES))?;
    let (schema, point) = (rest.get(at)?, rest.get(at + 1)?);
    point.is_symbol(".").then(|| schema.text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_schema_is_found() {
        let anew = |kind, name: &str| Some(Made::Anew(Thing { kind, name: name.to_owned() }));
        let in_schema = |name: &str| Some(Made::InSchema(name.to_owned()));
        for (sql, expected) in [
            ("CREATE SCHEMA \"My s\"", anew("SCHEMA", "\"My s\"")),
            ("create schema authorization joe", anew("SCHEMA", "joe")),
            ("CREATE SCHEMA IF NOT EXISTS s", Some(Made::SchemaWhereMissing("s".to_owned()))),
            ("CREATE EXTENSION pgcrypto WITH SCHEMA s", anew("EXTENSION", "pgcrypto")),
            ("CREATE EXTENSION IF NOT EXISTS pgcrypto", None),
            ("CREATE PUBLICATION p FOR ALL TABLES", anew("PUBLICATION", "p")),
            ("CREATE ROLE reader NOLOGIN", Some(Made::OfServer)),
            ("CREATE TABLE s.t (id bigint)", in_schema("s")),
            ("CREATE UNLOGGED TABLE IF NOT EXISTS \"My s\" . t (id bigint)", in_schema("\"My s\"")),
            ("CREATE OR REPLACE FUNCTION s.f() RETURNS int LANGUAGE sql RETURN 1", in_schema("s")),
            ("CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.t (id)", in_schema("s")),
            ("CREATE CONSTRAINT TRIGGER c AFTER INSERT ON s.t EXECUTE FUNCTION f()", in_schema("s")),
            ("CREATE RULE r AS ON INSERT TO s.t DO INSTEAD NOTHING", in_schema("s")),
            ("ALTER TABLE IF EXISTS s.t ADD COLUMN name text", in_schema("s")),
            ("CREATE TABLE t (id s.kind)", None),
            ("CREATE VIEW v AS SELECT * FROM s.t", None),
            ("CREATE INDEX i ON t (s.f(id))", None),
            ("INSERT INTO s.t VALUES (1)", None),
        ] {
            assert_eq!(made(sql), expected, "{sql}");
        }
    }
}
