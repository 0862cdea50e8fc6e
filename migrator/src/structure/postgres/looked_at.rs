//! What of a database is looked at: only what a migration could have made, nothing of an extension, nothing that a
//! tool for migrations keeps, no partition by range, and none that is on its way out. Parts of SQL, which `concat!`
//! puts together.

/// The schema that is looked at.
macro_rules! schema {
    () => {
        "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
    };
}

/// The tables in which tools for migrations remember what they did, beside ours.
macro_rules! of_tools {
    () => {
        "('refinery_schema_history', 'alembic_version', 'flyway_schema_history', 'schema_migrations', '_sqlx_migrations', 'goose_db_version')"
    };
}

/// Whether the relation `c` is one that is looked at.
macro_rules! is_ours {
    () => {
        concat!(
            "c.relnamespace = ",
            schema!(),
            " AND NOT c.relispartition AND c.relname NOT IN ",
            of_tools!(),
            " AND c.relname !~ '^migrator_'
              AND c.relname !~ '^metrics_snapshot_detached_[0-9]+$'
              AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                AND e.deptype = 'e')"
        )
    };
}

/// Whether the relation `c` is one of those, or a partition that is the schema's own.
macro_rules! is_ours_or_partition {
    () => {
        concat!(
            "(",
            is_ours!(),
            " OR c.relispartition AND EXISTS (SELECT 1 FROM pg_class r WHERE r.oid = pg_partition_root(c.oid) AND r.relnamespace = ",
            schema!(),
            ") AND NOT EXISTS (SELECT 1 FROM pg_partition_ancestors(c.oid) AS a (relation)
               JOIN pg_partitioned_table t ON t.partrelid = a.relation WHERE a.relation <> c.oid AND t.partstrat = 'r'))"
        )
    };
}

/// Whether what has this id in this catalog is no extension's.
macro_rules! of_no_extension {
    ($catalog:literal, $id:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = '",
            $catalog,
            "'::regclass AND e.objid = ",
            $id,
            " AND e.deptype = 'e')"
        )
    };
}

/// The types of a routine's arguments, by which it is known: their names may change. Of an aggregate they are
/// written in another way.
macro_rules! arguments {
    () => {
        "CASE p.prokind WHEN 'a' THEN pg_get_function_identity_arguments(p.oid) ELSE oidvectortypes(p.proargtypes) END"
    };
}

/// Whether the routine `p` is looked at: the functions that make values of a range are its type's.
macro_rules! is_our_routine {
    () => {
        concat!(
            "p.pronamespace = ",
            schema!(),
            " AND NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
               AND i.objid = p.oid AND i.refclassid = 'pg_type'::regclass AND i.deptype = 'i') AND ",
            of_no_extension!("pg_proc", "p.oid")
        )
    };
}
