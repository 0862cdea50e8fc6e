//! Who depends on what is about to be dropped, and is not dropped with it on purpose.

use foundation::database::{Connection, DatabaseError, Statement};

use super::made::Thing;
use crate::structure::names::quote_text;

/// How many are named.
const NAMED: usize = 8;

/// What CASCADE would take along that lies in a schema which stays, or is an extension that stays. It begins with
/// everything in the current schema, as [`drop_everything`](super::emptying::drop_everything) finds it, and with what
/// `thing (kind, name)` holds, which stands before this, and follows what depends on them, as far as that is dropped too.
const OUTSIDE: &str = "schema AS (
    SELECT n.oid, quote_ident(n.nspname) AS name, n.nspname = current_schema() AS stays FROM pg_namespace n
    WHERE n.nspname = current_schema() OR n.nspname IN (SELECT name FROM thing WHERE kind = 'SCHEMA')),
  root (classid, objid) AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN schema ON schema.oid = d.refobjid AND schema.stays
     WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' AND d.classid <> 'pg_extension'::regclass
       AND NOT EXISTS (SELECT 1 FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid
         AND o.objsubid = 0 AND o.deptype IN ('e', 'i', 'a'))
    UNION SELECT 'pg_namespace'::regclass, oid FROM schema WHERE NOT stays
    UNION SELECT 'pg_extension'::regclass, e.oid FROM pg_extension e JOIN thing ON e.extname = thing.name AND kind = 'EXTENSION'
    UNION SELECT 'pg_foreign_server'::regclass, s.oid FROM pg_foreign_server s JOIN thing ON s.srvname = thing.name AND kind = 'SERVER'
    UNION SELECT 'pg_foreign_data_wrapper'::regclass, w.oid FROM pg_foreign_data_wrapper w
      JOIN thing ON w.fdwname = thing.name AND kind = 'FOREIGN DATA WRAPPER'),
  found (classid, objid, objsubid, inside) AS (
    SELECT classid, objid, 0, true FROM root
    UNION
    SELECT d.classid, d.objid, d.objsubid,
      -- A part of what is dropped, or a member of an extension that is, wherever that lies.
      d.deptype IN ('i', 'e', 'P', 'S') OR CASE
        WHEN d.classid = 'pg_extension'::regclass THEN EXISTS (SELECT 1 FROM root WHERE (root.classid, root.objid) = (d.classid, d.objid))
        -- These hang on a table and have no schema of their own.
        WHEN d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_policy'::regclass)
          THEN quote_ident((pg_identify_object_as_address(d.classid, d.objid, d.objsubid)).object_names[1]) IN (SELECT name FROM schema)
        ELSE coalesce((pg_identify_object(d.classid, d.objid, d.objsubid)).schema
          IN (SELECT name FROM schema UNION ALL SELECT 'pg_toast'), true) END
    FROM found f JOIN pg_depend d ON d.refclassid = f.classid AND d.refobjid = f.objid
      AND (f.objsubid = 0 OR d.refobjsubid = f.objsubid)
    WHERE f.inside)
  SELECT DISTINCT i.type || ' ' || i.identity AS it
  FROM found f CROSS JOIN LATERAL pg_identify_object(f.classid, f.objid, f.objsubid) i
  WHERE NOT EXISTS (SELECT 1 FROM found o WHERE (o.classid, o.objid) = (f.classid, f.objid) AND o.inside) ORDER BY it";

const DEPENDENTS: Statement = Statement::read("pg_depend", "");

/// Why emptying the current schema and dropping these things would delete what is somebody else's, in words; nothing
/// when it would not.
pub(super) async fn outside(
    connection: &mut Connection,
    things: &[Thing],
) -> Result<Vec<String>, DatabaseError> {
    let rows: Vec<String> = things
        .iter()
        .map(|it| format!("SELECT {}, (parse_ident({}))[1]", quote_text(it.kind), quote_text(&it.name)))
        .chain(["SELECT NULL, NULL".to_owned()])
        .collect();
    let sql = format!("WITH RECURSIVE thing (kind, name) AS ({}), {OUTSIDE}", rows.join(" UNION ALL "));
    let rows = connection.query(&DEPENDENTS.clone().with_sql(sql), &[]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get("it")).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    Ok(vec![format!(
        "what depends on what the migrations made would be deleted, and lies elsewhere, so it may be another service's: {named}{rest}; drop it, or let it depend on something else, and reset again"
    )])
}
