//! What is asked of PostgreSQL's catalogs.

use foundation::database::Statement;

/// How tables lie on machines is no part of the schema, and neither is what distributes them.
pub(super) const EXTENSIONS: Statement = Statement::read(
    "pg_extension",
    "SELECT extname::text AS name FROM pg_extension
     WHERE extname NOT IN ('plpgsql', 'citus', 'citus_columnar') ORDER BY 1",
);

pub(super) const ENUMS: Statement = Statement::read(
    "pg_enum",
    concat!(
        "SELECT t.typname::text AS name, v.enumlabel::text AS value
         FROM pg_type t JOIN pg_enum v ON v.enumtypid = t.oid
         WHERE t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid"),
        " ORDER BY t.typname::text COLLATE \"C\", v.enumsortorder"
    ),
);

pub(super) const COMPOSITES: Statement = Statement::read(
    "pg_type",
    concat!(
        "SELECT t.typname::text AS name,
           (SELECT coalesce(string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum), '')
            FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS definition
         FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
         WHERE t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid")
    ),
);

pub(super) const DOMAINS: Statement = Statement::read(
    "pg_type",
    concat!(
        "SELECT t.typname::text AS name, format_type(t.typbasetype, t.typtypmod) AS base, t.typnotnull AS not_null,
           t.typdefault AS \"default\", k.conname::text AS check_name, pg_get_constraintdef(k.oid, true) AS check_definition
         FROM pg_type t LEFT JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
         WHERE t.typtype = 'd' AND t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid")
    ),
);

/// Those of identity columns belong to their column.
pub(super) const SEQUENCES: Statement = Statement::read(
    "pg_sequence",
    concat!(
        "SELECT c.relname::text AS name,
           'AS ' || format_type(s.seqtypid, NULL) || ' INCREMENT BY ' || s.seqincrement || ' MINVALUE ' || s.seqmin
             || ' MAXVALUE ' || s.seqmax || ' START WITH ' || s.seqstart || ' CACHE ' || s.seqcache
             || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END AS definition,
           o.relname::text AS owner_table, a.attname::text AS owner_column
         FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
         LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
           AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
         LEFT JOIN pg_class o ON o.oid = d.refobjid
         LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE d.deptype IS DISTINCT FROM 'i' AND ",
        is_ours!(),
        " AND coalesce(o.relname, '') NOT IN ",
        of_tools!(),
        " AND coalesce(o.relname, '') !~ '^migrator_'"
    ),
);

/// The definition has the name of the schema in its head.
pub(super) const ROUTINES: Statement = Statement::read(
    "pg_proc",
    concat!(
        "SELECT p.proname::text AS name, ",
        arguments!(),
        " AS arguments,
           CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END AS kind,
           CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS definition,
           quote_ident(current_schema()) || '.' AS prefix,
           EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
             AND (d.refclassid = 'pg_class'::regclass OR d.refclassid = 'pg_type'::regclass
               AND EXISTS (SELECT 1 FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
                 JOIN pg_class r ON r.oid IN (t.typrelid, e.typrelid) AND r.relkind <> 'c' WHERE t.oid = d.refobjid))) AS after_tables,
           (SELECT coalesce(json_agg(DISTINCT v.relname::text), '[]') FROM pg_depend d
              LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
              LEFT JOIN pg_type e ON e.oid = t.typelem
              JOIN pg_class v ON v.relkind IN ('v', 'm') AND v.relnamespace = p.pronamespace
                AND (d.refclassid = 'pg_class'::regclass AND v.oid = d.refobjid OR v.oid IN (t.typrelid, e.typrelid))
            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid)::text AS views
         FROM pg_proc p WHERE ",
        is_our_routine!()
    ),
);

pub(super) const RELATIONS: Statement = Statement::read(
    "pg_class",
    concat!(
        "SELECT c.relname::text AS name, c.relkind::text AS kind, c.relpersistence = 'u' AS unlogged,
           c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced,
           CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid, true) END AS view,
           (SELECT json_agg(p.relname::text ORDER BY i.inhseqno) FROM pg_inherits i
            JOIN pg_class p ON p.oid = i.inhparent WHERE i.inhrelid = c.oid)::text AS inherits,
           array_to_string(c.reloptions, ', ') AS storage
         FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm') AND ",
        is_ours!()
    ),
);

pub(super) const VIEW_READS: Statement = Statement::read(
    "pg_depend",
    concat!(
        "SELECT DISTINCT c.relname::text AS name, o.relname::text AS reads
         FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid
         JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
         JOIN pg_class o ON o.oid = d.refobjid AND o.oid <> c.oid AND o.relnamespace = c.relnamespace
         WHERE c.relkind IN ('v', 'm') AND ",
        is_ours!()
    ),
);

pub(super) const PARTITIONS: Statement = Statement::read(
    "pg_inherits",
    concat!(
        "SELECT root.relname::text AS root, parent.relname::text AS parent, c.relname::text AS name,
           pg_get_expr(c.relpartbound, c.oid) || coalesce(' PARTITION BY ' || CASE WHEN c.relkind = 'p'
             THEN pg_get_partkeydef(c.oid) END, '') AS definition,
           c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced, false AS unlogged
         FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class parent ON parent.oid = i.inhparent
         JOIN pg_class root ON root.oid = pg_partition_root(c.oid)
         WHERE c.relispartition AND c.relkind IN ('r', 'p') AND root.relnamespace = ",
        schema!()
    ),
);

pub(super) const COLUMNS: Statement = Statement::read(
    "pg_attribute",
    concat!(
        "SELECT c.relname::text AS relation, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid, true) AS expression,
           a.attgenerated::text AS generated, a.attidentity::text AS identity,
           (SELECT CASE WHEN l.collnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', current_schema()))
              THEN quote_ident(l.collname) ELSE quote_ident(n.nspname) || '.' || quote_ident(l.collname) END
            FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
            WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation) AS collation,
           (SELECT concat_ws(' ', CASE WHEN s.seqincrement <> 1 THEN 'INCREMENT BY ' || s.seqincrement END,
              CASE WHEN s.seqmin <> 1 THEN 'MINVALUE ' || s.seqmin END,
              CASE WHEN s.seqmax <> CASE s.seqtypid WHEN 'int8'::regtype THEN 9223372036854775807 WHEN 'int4'::regtype
                THEN 2147483647 ELSE 32767 END THEN 'MAXVALUE ' || s.seqmax END,
              CASE WHEN s.seqstart <> 1 THEN 'START WITH ' || s.seqstart END,
              CASE WHEN s.seqcache <> 1 THEN 'CACHE ' || s.seqcache END, CASE WHEN s.seqcycle THEN 'CYCLE' END)
            FROM pg_depend q JOIN pg_sequence s ON s.seqrelid = q.objid
            WHERE q.refclassid = 'pg_class'::regclass AND q.refobjid = c.oid AND q.refobjsubid = a.attnum
              AND q.classid = 'pg_class'::regclass AND q.deptype = 'i') AS identity_options
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relkind IN ('r', 'p') AND a.attislocal AND ",
        is_ours!(),
        " ORDER BY c.relname, a.attnum"
    ),
);

/// NOT NULL, which PostgreSQL 18 has here too, is told with the columns, and a trigger with the triggers.
pub(super) const CONSTRAINTS: Statement = Statement::read(
    "pg_constraint",
    concat!(
        "SELECT c.relname::text AS relation, k.conname::text AS name, k.contype::text AS kind,
           pg_get_constraintdef(k.oid, true) AS definition, f.relname::text AS references
         FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid LEFT JOIN pg_class f ON f.oid = k.confrelid
         WHERE k.contype IN ('p', 'u', 'c', 'x', 'f') AND k.conislocal AND (k.coninhcount = 0 OR NOT c.relispartition) AND ",
        is_ours_or_partition!()
    ),
);

pub(super) const INDEXES: Statement = Statement::read(
    "pg_index",
    concat!(
        "SELECT c.relname::text AS relation, n.relname::text AS name, pg_get_indexdef(n.oid, 0, true) AS definition,
           i.indisvalid AS valid
         FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class n ON n.oid = i.indexrelid
         WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = n.oid AND k.contype IN ('p', 'u', 'x'))
           AND NOT (c.relispartition AND n.relispartition) AND ",
        is_ours_or_partition!()
    ),
);

/// One that fires in another way than usual is told with the statement that makes it so.
pub(super) const TRIGGERS: Statement = Statement::read(
    "pg_trigger",
    concat!(
        "SELECT c.relname::text AS relation, t.tgname::text AS name, pg_get_triggerdef(t.oid, true)
           || coalesce(E';\nALTER TABLE ' || quote_ident(c.relname) || CASE t.tgenabled WHEN 'D' THEN ' DISABLE'
             WHEN 'R' THEN ' ENABLE REPLICA' WHEN 'A' THEN ' ENABLE ALWAYS' END || ' TRIGGER ' || quote_ident(t.tgname), '')
           AS definition
         FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND ",
        is_ours_or_partition!()
    ),
);

/// The query of a view is a rule too, and told with the view.
pub(super) const RULES: Statement = Statement::read(
    "pg_rewrite",
    concat!(
        "SELECT c.relname::text AS relation, r.rulename::text AS name, rtrim(pg_get_ruledef(r.oid, true), ';')
           || coalesce(E';\nALTER TABLE ' || quote_ident(c.relname) || CASE r.ev_enabled WHEN 'D' THEN ' DISABLE'
             WHEN 'R' THEN ' ENABLE REPLICA' WHEN 'A' THEN ' ENABLE ALWAYS' END || ' RULE ' || quote_ident(r.rulename), '')
           AS definition
         FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN' AND ",
        is_ours_or_partition!()
    ),
);

pub(super) const POLICIES: Statement = Statement::read(
    "pg_policy",
    concat!(
        "SELECT c.relname::text AS relation, p.polname::text AS name,
           'CREATE POLICY ' || quote_ident(p.polname) || ' ON ' || quote_ident(c.relname)
             || CASE WHEN p.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
             || CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE'
                  WHEN 'd' THEN ' FOR DELETE' ELSE '' END
             || ' TO ' || (SELECT string_agg(CASE r.id WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.id)) END, ', '
                  ORDER BY r.id) FROM unnest(p.polroles) AS r(id))
             || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid, true) || ')', '')
             || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid, true) || ')', '') AS definition
         FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE ",
        is_ours_or_partition!()
    ),
);

/// Those of identity columns, with their columns.
pub(super) const IDENTITY_SEQUENCES: Statement = Statement::read(
    "pg_depend",
    concat!(
        "SELECT c.relname::text AS name, o.relname::text AS owner_table, a.attname::text AS owner_column
         FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
           AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
         JOIN pg_class o ON o.oid = d.refobjid
         JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         WHERE c.relkind = 'S' AND ",
        is_ours!()
    ),
);

/// What nobody changed is what PostgreSQL gives by itself: everybody may run a new function.
pub(super) const GRANTS: Statement = Statement::read(
    "pg_class",
    concat!(
        "SELECT g.kind, g.name, g.arguments, g.attribute, a.privilege_type AS privilege, a.is_grantable AS grantable,
           CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END AS grantee
         FROM (
           SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.relname::text AS name,
             NULL::text AS arguments, c.relacl AS acl, c.relowner AS owner, NULL::text AS attribute
           FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (SELECT 1 FROM pg_depend d
             JOIN pg_class o ON o.oid = d.refobjid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
               AND d.deptype IN ('a', 'i') AND (o.relname ~ '^migrator_' OR o.relname IN ",
        of_tools!(),
        ")) AND ",
        is_ours_or_partition!(),
        " UNION ALL
           SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.proname::text, ",
        arguments!(),
        ", coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner, NULL
           FROM pg_proc p WHERE ",
        is_our_routine!(),
        " UNION ALL
           SELECT 'TYPE', t.typname::text, NULL, coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner, NULL
           FROM pg_type t LEFT JOIN pg_class r ON r.oid = t.typrelid
           WHERE (t.typtype IN ('e', 'd') OR r.relkind = 'c') AND t.typnamespace = ",
        schema!(),
        " AND ",
        of_no_extension!("pg_type", "t.oid"),
        " UNION ALL
           SELECT 'TABLE', c.relname::text, NULL, t.attacl, c.relowner, t.attname::text
           FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL AND NOT t.attisdropped
           WHERE c.relkind IN ('r', 'p', 'v', 'm') AND ",
        is_ours!(),
        " ) AS g CROSS JOIN LATERAL aclexplode(g.acl) AS a WHERE a.grantee <> g.owner"
    ),
);
