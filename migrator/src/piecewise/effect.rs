//! What a statement leaves in PostgreSQL's catalog, by which a later run sees what became of one that was
//! begun and not recorded as finished.

use foundation::database::{Connection, DatabaseError, Row, Statement, Value};
use squawk_syntax::ast::{self, AstNode, DetachPartitionOption, ReindexTarget, Stmt};
use squawk_syntax::{SourceFile, SyntaxNode};

const INDEX: Statement = Statement::write(
    "pg_index",
    "SELECT i.indisvalid AND i.indisready AS valid, format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname) AS \"drop\"
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE i.indrelid = to_regclass($1) AND c.relname = (parse_ident($2))[1]",
);
const LEFT_BY_REINDEX: Statement = Statement::write(
    "pg_index",
    "SELECT format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname) AS \"drop\"
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
       AND (CAST($1 AS text) IS NULL OR i.indrelid = to_regclass(CAST($1 AS text))
         OR i.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(CAST($1 AS text))))",
);
const RELATION: Statement = Statement::write("pg_class", "SELECT 1 AS one WHERE to_regclass($1) IS NOT NULL");
const PARTITION: Statement = Statement::write(
    "pg_inherits",
    "SELECT inhdetachpending AS pending FROM pg_inherits WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2)",
);
const DATABASE: Statement =
    Statement::write("pg_database", "SELECT 1 AS one FROM pg_database WHERE datname = (parse_ident($1))[1]");
const TABLESPACE: Statement = Statement::write(
    "pg_tablespace",
    "SELECT 1 AS one FROM pg_tablespace WHERE spcname = (parse_ident($1))[1]",
);
const SUBSCRIPTION: Statement = Statement::write(
    "pg_subscription",
    "SELECT 1 AS one FROM pg_subscription WHERE subname = (parse_ident($1))[1]
       AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
);

/// What a statement leaves. Names are as the file writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// `CREATE INDEX`: an index, valid or not.
    Index { name: Option<String>, table: String },
    /// `DROP INDEX`: no index of this name.
    NoIndex(String),
    /// `REINDEX`: indexes beside the old ones, invalid when it did not end.
    Reindexed(Option<String>),
    /// `DETACH PARTITION CONCURRENTLY`: a table for itself, by way of one that waits to be detached.
    Detached { table: String, partition: String },
    /// Something in a catalog of the server's.
    Made(Catalog, String),
    /// Nothing of that name there.
    Dropped(Catalog, String),
    /// To do it twice is to do it once.
    Repeatable,
    /// Only who wrote it knows.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Catalog {
    Database,
    Tablespace,
    Subscription,
}

/// What became of a statement that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    Finished,
    /// It is run again, after these were run.
    Again(Vec<String>),
    /// It is finished when this was run.
    Finish(String),
    Unknown,
}

fn text(node: &SyntaxNode) -> String {
    node.text().to_string().trim().to_owned()
}

fn target<N: AstNode>(node: Option<N>, effect: impl FnOnce(String) -> Effect) -> Effect {
    node.map_or(Effect::Unknown, |node| effect(text(node.syntax())))
}

impl Effect {
    /// Of one statement of PostgreSQL's.
    pub(super) fn of(sql: &str) -> Self {
        let file = SourceFile::parse(sql).tree();
        let mut statements = file.stmts();
        let (Some(statement), None) = (statements.next(), statements.next()) else { return Self::Unknown };
        match statement {
            Stmt::CreateIndex(index) => {
                let name = index.index().map(|name| text(name.syntax()));
                let table = index.table_relation_name().and_then(|relation| relation.table_name_ref());
                target(table, |table| Self::Index { name, table })
            }
            Stmt::DropIndex(drop) => target(drop.index_refs().next(), Self::NoIndex),
            Stmt::Reindex(reindex) => match reindex.reindex_target() {
                Some(ReindexTarget::ReindexTargetIndex(index)) => last_name(index.syntax()),
                Some(ReindexTarget::ReindexTargetTable(table)) => last_name(table.syntax()),
                _ => Self::Reindexed(None),
            },
            Stmt::AlterTable(alter) => Self::of_alter_table(&alter),
            Stmt::CreateDatabase(it) => target(it.database(), |name| Self::Made(Catalog::Database, name)),
            Stmt::DropDatabase(it) => {
                target(it.database_ref(), |name| Self::Dropped(Catalog::Database, name))
            }
            Stmt::CreateTablespace(it) => {
                target(it.tablespace(), |name| Self::Made(Catalog::Tablespace, name))
            }
            Stmt::DropTablespace(it) => {
                target(it.tablespace_ref(), |name| Self::Dropped(Catalog::Tablespace, name))
            }
            Stmt::CreateSubscription(it) => {
                target(it.subscription(), |name| Self::Made(Catalog::Subscription, name))
            }
            Stmt::DropSubscription(it) => {
                target(it.subscription_ref(), |name| Self::Dropped(Catalog::Subscription, name))
            }
            Stmt::Vacuum(_)
            | Stmt::AlterSystem(_)
            | Stmt::AlterDatabase(_)
            | Stmt::AlterSubscription(_)
            | Stmt::Cluster(_)
            | Stmt::Analyze(_) => Self::Repeatable,
            _ => Self::Unknown,
        }
    }

    fn of_alter_table(alter: &ast::AlterTable) -> Self {
        let table = alter.table_relation_name().and_then(|relation| relation.table_name_ref());
        let mut actions = alter.actions();
        match (table, actions.next(), actions.next()) {
            (Some(table), Some(ast::AlterTableAction::DetachPartition(detach)), None)
                if matches!(
                    detach.detach_partition_option(),
                    Some(DetachPartitionOption::DetachConcurrently(_))
                ) =>
            {
                let table = text(table.syntax());
                target(detach.table_name_ref(), |partition| Self::Detached { table, partition })
            }
            _ => Self::Unknown,
        }
    }

    /// Whether it leaves an index of a name that the file gives.
    pub(super) fn is_index(&self) -> bool {
        matches!(self, Self::Index { .. })
    }

    /// Whether the catalog tells what became of it.
    pub(super) fn is_traceable(&self) -> bool {
        !matches!(self, Self::Index { name: None, .. } | Self::Unknown)
    }

    /// What became of it, for one that was begun.
    pub(super) async fn trace(&self, connection: &mut Connection) -> Result<Trace, DatabaseError> {
        match self {
            Self::Index { name: Some(name), table } => match index(connection, table, name).await? {
                Some(Index { valid: true, .. }) => Ok(Trace::Finished),
                Some(Index { drop, .. }) => Ok(Trace::Again(vec![drop])),
                None => Ok(Trace::Again(Vec::new())),
            },
            Self::NoIndex(name) => {
                Ok(finished(connection.query(&RELATION, &[name.as_str().into()]).await?.is_empty()))
            }
            Self::Reindexed(relation) => {
                let relation = relation.clone().map_or(Value::Null, Into::into);
                let rows = connection.query(&LEFT_BY_REINDEX, &[relation]).await?;
                Ok(Trace::Again(rows.iter().map(|row| row.get("drop")).collect::<Result<_, _>>()?))
            }
            Self::Detached { table, partition } => {
                let names = [table.as_str().into(), partition.as_str().into()];
                match connection.query_optional(&PARTITION, &names).await? {
                    None => Ok(Trace::Finished),
                    Some(row) if row.get("pending")? => Ok(Trace::Finish(format!(
                        "ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE"
                    ))),
                    Some(_) => Ok(Trace::Again(Vec::new())),
                }
            }
            Self::Made(catalog, name) => Ok(finished(!rows(connection, *catalog, name).await?.is_empty())),
            Self::Dropped(catalog, name) => Ok(finished(rows(connection, *catalog, name).await?.is_empty())),
            Self::Repeatable => Ok(Trace::Again(Vec::new())),
            Self::Index { name: None, .. } | Self::Unknown => Ok(Trace::Unknown),
        }
    }

    /// Whether it left an index that is not valid: `IF NOT EXISTS` is content with one.
    pub(super) async fn is_invalid(&self, connection: &mut Connection) -> Result<bool, DatabaseError> {
        match self {
            Self::Index { name: Some(name), table } => {
                Ok(index(connection, table, name).await?.is_some_and(|it| !it.valid))
            }
            _ => Ok(false),
        }
    }
}

fn last_name(target: &SyntaxNode) -> Effect {
    Effect::Reindexed(target.children().last().map(|name| text(&name)))
}

fn finished(finished: bool) -> Trace {
    if finished { Trace::Finished } else { Trace::Again(Vec::new()) }
}

struct Index {
    valid: bool,
    drop: String,
}

async fn index(connection: &mut Connection, table: &str, name: &str) -> Result<Option<Index>, DatabaseError> {
    let row = connection.query_optional(&INDEX, &[table.into(), name.into()]).await?;
    row.map(|row| Ok(Index { valid: row.get("valid")?, drop: row.get("drop")? })).transpose()
}

async fn rows(connection: &mut Connection, catalog: Catalog, name: &str) -> Result<Vec<Row>, DatabaseError> {
    let statement = match catalog {
        Catalog::Database => &DATABASE,
        Catalog::Tablespace => &TABLESPACE,
        Catalog::Subscription => &SUBSCRIPTION,
    };
    connection.query(statement, &[name.into()]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_read_from_the_statement() {
        let text = str::to_owned;
        for (sql, effect) in [
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"My i\" ON ONLY public.t (a)",
                Effect::Index { name: Some(text("\"My i\"")), table: text("public.t") },
            ),
            ("CREATE INDEX CONCURRENTLY ON t (a)", Effect::Index { name: None, table: text("t") }),
            ("DROP INDEX CONCURRENTLY IF EXISTS s.i", Effect::NoIndex(text("s.i"))),
            ("REINDEX (VERBOSE) INDEX CONCURRENTLY s.i", Effect::Reindexed(Some(text("s.i")))),
            ("REINDEX TABLE CONCURRENTLY t", Effect::Reindexed(Some(text("t")))),
            ("REINDEX SCHEMA CONCURRENTLY s", Effect::Reindexed(None)),
            (
                "ALTER TABLE p DETACH PARTITION s.c CONCURRENTLY",
                Effect::Detached { table: text("p"), partition: text("s.c") },
            ),
            ("CREATE DATABASE \"D\"", Effect::Made(Catalog::Database, text("\"D\""))),
            ("DROP TABLESPACE x", Effect::Dropped(Catalog::Tablespace, text("x"))),
            ("DROP SUBSCRIPTION s", Effect::Dropped(Catalog::Subscription, text("s"))),
            ("VACUUM (ANALYZE) t", Effect::Repeatable),
            ("CALL p()", Effect::Unknown),
        ] {
            assert_eq!(Effect::of(sql), effect, "{sql}");
        }
    }
}
