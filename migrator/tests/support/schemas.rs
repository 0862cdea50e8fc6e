//! Random schemas as DDL, for both databases.

use foundation::database::Backend;
use proptest::prelude::*;

/// A schema: which tables there are, and a view.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    /// The values of each enum; PostgreSQL only.
    enums: Vec<Option<Vec<usize>>>,
    tables: Vec<Option<Table>>,
    /// Which table the view reads.
    view: Option<usize>,
}

#[derive(Clone, Debug)]
struct Table {
    /// The type of `id`, and whether it is the primary key.
    id: usize,
    has_key: bool,
    columns: Vec<Option<Column>>,
    /// Which column is doubled into a generated one.
    doubled: Option<usize>,
    /// Pairs of columns.
    uniques: Vec<(usize, usize)>,
    /// The table that a column `r` points at.
    points_at: Option<usize>,
    indexes: Vec<Index>,
    /// STRICT, or UNLOGGED.
    option: bool,
}

#[derive(Clone, Debug)]
struct Column {
    type_number: usize,
    not_null: bool,
    has_default: bool,
    has_check: bool,
}

#[derive(Clone, Debug)]
struct Index {
    column: usize,
    unique: bool,
    partial: bool,
    descending: bool,
}

const COLUMNS: usize = 5;
const TABLES: usize = 3;
const VALUES: [&str; 5] = ["one", "two", "three", "four", "it's"];

/// A type, a default of it and a check on a column of it, `#` standing for the column.
type Kind = (&'static str, &'static str, &'static str);

const POSTGRES_TYPES: [Kind; 10] = [
    ("integer", "7", "# > 0"),
    ("bigint", "-1", "# > 0 AND # < 1000"),
    ("text", "'it''s'", "# <> '' OR length(#) = 0"),
    ("varchar(20)", "''", "length(#) BETWEEN 1 AND 10 OR # IN ('a', 'b')"),
    ("boolean", "true", "# IS NOT TRUE"),
    ("timestamptz", "CURRENT_TIMESTAMP", "# > '2000-01-01 00:00:00+00'"),
    ("jsonb", "'{}'", "jsonb_typeof(#) = 'object'"),
    ("numeric(10, 2)", "1.5", "# IN (1, 2, 3)"),
    ("integer[]", "'{}'", "cardinality(#) < 5"),
    ("uuid", "gen_random_uuid()", "# IS NOT NULL"),
];

const SQLITE_TYPES: [Kind; 5] = [
    ("INTEGER", "7", "# > 0"),
    ("TEXT", "'it''s'", "# <> '' or length(#)=0"),
    ("REAL", "-1.5", "# BETWEEN 1 AND 2"),
    ("BLOB", "x'00'", "typeof(#) = 'blob'"),
    ("integer", "(1 + 2)", "# IN (1,2, 3)"),
];

pub(crate) fn schema() -> impl Strategy<Value = Schema> {
    let values = proptest::sample::subsequence((0..VALUES.len()).collect::<Vec<_>>(), 1..=VALUES.len());
    let enums = prop::collection::vec(prop::option::of(values.prop_shuffle()), 2);
    let tables = prop::collection::vec(prop::option::weighted(0.8, table()), TABLES);
    let view = prop::option::of(0..TABLES);
    (enums, tables, view).prop_map(|(enums, tables, view)| Schema { enums, tables, view })
}

fn table() -> impl Strategy<Value = Table> {
    let column = (0..12_usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(type_number, not_null, has_default, has_check)| Column {
            type_number,
            not_null,
            has_default,
            has_check,
        },
    );
    let index = (0..COLUMNS, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(column, unique, partial, descending)| Index { column, unique, partial, descending });
    (
        0..3_usize,
        prop::bool::weighted(0.8),
        prop::collection::vec(prop::option::of(column), COLUMNS),
        prop::option::of(0..COLUMNS),
        prop::collection::vec((0..COLUMNS, 0..COLUMNS), 0..2),
        prop::option::of(0..TABLES),
        prop::collection::vec(index, 0..3),
        any::<bool>(),
    )
        .prop_map(|(id, has_key, columns, doubled, uniques, points_at, indexes, option)| Table {
            id,
            has_key,
            columns,
            doubled,
            uniques,
            points_at,
            indexes,
            option,
        })
}

impl Table {
    /// What only a column can say, in SQLite.
    fn counts(&self, postgres: bool) -> bool {
        !postgres && self.id == 2 && self.has_key
    }
}

impl Schema {
    /// The statements that make it on this database.
    pub(crate) fn ddl(&self, backend: Backend) -> String {
        let postgres = backend == Backend::Postgres;
        let mut sql = String::new();
        if postgres {
            for (number, values) in self.enums.iter().enumerate() {
                let Some(values) = values else { continue };
                let values: Vec<String> =
                    values.iter().map(|it| format!("'{}'", VALUES[*it].replace('\'', "''"))).collect();
                sql.push_str(&format!("CREATE TYPE e{number} AS ENUM ({});\n", values.join(", ")));
            }
        }
        let mut late = String::new();
        for (number, table) in self.tables.iter().enumerate() {
            if let Some(table) = table {
                self.table(number, table, postgres, &mut sql, &mut late);
            }
        }
        sql.push_str(&late);
        if let Some(number) = self.view.filter(|it| self.tables[*it].is_some()) {
            sql.push_str(&format!("CREATE VIEW v AS SELECT id FROM t{number} WHERE id IS NOT NULL;\n"));
        }
        sql
    }

    fn kind(&self, column: &Column, postgres: bool) -> Kind {
        if !postgres {
            return SQLITE_TYPES[column.type_number % SQLITE_TYPES.len()];
        }
        match POSTGRES_TYPES.get(column.type_number) {
            Some(kind) => *kind,
            None => {
                let number = column.type_number - POSTGRES_TYPES.len();
                match (&self.enums[number], number) {
                    (Some(values), number) => {
                        let name = if number == 0 { "e0" } else { "e1" };
                        match VALUES[values[0]] {
                            "one" => (name, "'one'", "# = 'one'"),
                            "two" => (name, "'two'", "# <> 'two'"),
                            "three" => (name, "'three'", "# IN ('three')"),
                            "four" => (name, "'four'", "# > 'four'"),
                            _ => (name, "'it''s'", "# = 'it''s'"),
                        }
                    }
                    (None, _) => POSTGRES_TYPES[0],
                }
            }
        }
    }

    fn id_type(&self, table: &Table, postgres: bool) -> &'static str {
        let types = if postgres { ["integer", "bigint", "text"] } else { ["INTEGER", "TEXT", "INTEGER"] };
        types[table.id]
    }

    /// The columns and their checks.
    fn columns(&self, name: &str, table: &Table, postgres: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let inline = if table.counts(postgres) { " PRIMARY KEY AUTOINCREMENT" } else { "" };
        let identity = if postgres && table.id == 1 { " GENERATED BY DEFAULT AS IDENTITY" } else { "" };
        lines.push(format!("id {}{inline}{identity}", self.id_type(table, postgres)));
        for (at, column) in table.columns.iter().enumerate() {
            let Some(column) = column else { continue };
            let (type_name, default, check) = self.kind(column, postgres);
            let mut line = format!("c{at} {type_name}");
            if column.has_default {
                line.push_str(&format!(" DEFAULT {default}"));
            }
            if column.not_null {
                line.push_str(" NOT NULL");
            }
            lines.push(line);
            if column.has_check {
                lines.push(format!(
                    "CONSTRAINT {name}_c{at}_check CHECK ({})",
                    check.replace('#', &format!("c{at}"))
                ));
            }
        }
        // SQLite takes the columns before the constraints alone.
        lines.sort_by_key(|it| it.starts_with("CONSTRAINT"));
        if let Some(at) = table.doubled
            && table.columns[at]
                .as_ref()
                .is_some_and(|it| self.kind(it, postgres).0.eq_ignore_ascii_case("integer"))
        {
            let type_name = if postgres { "integer" } else { "INTEGER" };
            lines.insert(1, format!("doubled {type_name} GENERATED ALWAYS AS (c{at} * 2) STORED"));
        }
        lines
    }

    fn table(&self, number: usize, table: &Table, postgres: bool, sql: &mut String, late: &mut String) {
        let name = format!("t{number}");
        let mut lines = self.columns(&name, table, postgres);
        let counts = table.counts(postgres);
        let there = |column: usize| table.columns[column].is_some();
        let pointed = table.points_at.and_then(|it| Some((it, self.tables[it].as_ref()?)));
        if let Some((at, other)) = pointed.filter(|(_, it)| it.has_key) {
            lines.insert(1, format!("r {}", self.id_type(other, postgres)));
            let clause =
                format!("CONSTRAINT {name}_r_fkey FOREIGN KEY (r) REFERENCES t{at} (id) ON DELETE CASCADE");
            if postgres {
                late.push_str(&format!("ALTER TABLE {name} ADD {clause};\n"));
            } else {
                lines.push(clause);
            }
        }
        if table.has_key && !counts {
            lines.push(format!("CONSTRAINT {name}_pkey PRIMARY KEY (id)"));
        }
        let indexable = |at: usize| {
            let unordered = table.columns[at].as_ref().is_some_and(|it| self.kind(it, postgres).0 == "jsonb");
            there(at) && !unordered
        };
        for (at, (left, right)) in table.uniques.iter().enumerate() {
            if left != right && indexable(*left) && indexable(*right) {
                lines.push(format!("CONSTRAINT {name}_unique_{at} UNIQUE (c{left}, c{right})"));
            }
        }
        let (before, after) = match (postgres, table.option) {
            (true, true)
                if table.points_at.is_none() && number == TABLES - 1 && !self.is_pointed_at(number) =>
            {
                ("UNLOGGED ", "")
            }
            (false, true) => ("", " STRICT"),
            _ => ("", ""),
        };
        sql.push_str(&format!("CREATE {before}TABLE {name} (\n  {}\n){after};\n", lines.join(",\n  ")));
        for (at, index) in table.indexes.iter().enumerate().filter(|(_, it)| indexable(it.column)) {
            let unique = if index.unique { "UNIQUE " } else { "" };
            let order = if index.descending { " DESC" } else { "" };
            let partial =
                if index.partial { format!(" WHERE c{} IS NOT NULL", index.column) } else { String::new() };
            sql.push_str(&format!(
                "CREATE {unique}INDEX {name}_index_{at} ON {name} (c{}{order}, id){partial};\n",
                index.column
            ));
        }
    }

    /// A table that keeps its rows cannot point at one that does not.
    fn is_pointed_at(&self, number: usize) -> bool {
        self.tables.iter().flatten().any(|it| it.points_at == Some(number))
    }
}
