//! What a schema is not made of, and somebody may still want: it is named, so that it is not passed over.

use std::collections::BTreeSet;

use foundation::database::{Backend, Connection, DatabaseError, Statement};

use super::Structure;

/// Schemas beside the current one with the relations in them, and what is given for everything that is made later.
const BEYOND: Statement = Statement::read(
    "pg_namespace",
    "SELECT 'schema ' || n.nspname AS name FROM pg_namespace n
     WHERE n.nspname <> current_schema() AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e')
     UNION ALL SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence '
         WHEN 'f' THEN 'foreign table ' ELSE 'table ' END || n.nspname || '.' || c.relname
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> current_schema() AND n.nspname !~ '^pg_'
       AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
         AND (e.deptype = 'e' OR c.relkind = 'S' AND e.deptype IN ('a', 'i') AND e.refobjsubid > 0))
     UNION ALL SELECT 'default right of ' || coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') || ' to ' || a.privilege_type
         || ' on ' || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
           WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'objects' END || coalesce(' in ' || n.nspname, '')
     FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) a
     WHERE a.grantee <> d.defaclrole
     UNION ALL SELECT 'end of the default right of PUBLIC on ' || CASE d.defaclobjtype WHEN 'f' THEN 'functions' ELSE 'types' END
     FROM pg_default_acl d WHERE d.defaclnamespace = 0 AND d.defaclobjtype IN ('f', 'T')
       AND NOT EXISTS (SELECT 1 FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)",
);

/// The names of all that.
pub(crate) async fn beyond(
    connection: &mut Connection,
    structure: &Structure,
) -> Result<BTreeSet<String>, DatabaseError> {
    let mut found = BTreeSet::new();
    if connection.backend() == Backend::Sqlite {
        return Ok(found);
    }
    for row in connection.query(&BEYOND, &[]).await? {
        found.insert(row.get("name")?);
    }
    for (table, it) in &structure.tables {
        let come_and_go = it.partitions.iter().filter(|(_, partition)| it.comes_and_goes(partition));
        found.extend(come_and_go.map(|(name, _)| format!("partition {name} of {table}")));
    }
    Ok(found)
}
