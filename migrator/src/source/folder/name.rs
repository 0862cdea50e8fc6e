//! What the name of a file says.

/// A version as it is written: one number, or several (`1.2`, `1_2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written(pub(super) Vec<String>);

/// How a file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `V1__name.sql`.
    Migration,
    /// `D1__name.sql` or `U1__name.sql`.
    Undo,
    /// `1_name.up.sql`.
    Up,
    /// `1_name.down.sql`.
    Down,
    /// `1_name.sql`: its content says how it is divided.
    Plain,
}

/// A name that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) shape: Shape,
    pub(super) version: Written,
    pub(super) name: String,
}

/// The name of a file of SQL without its ending, which some write in capitals.
pub(super) fn stem(file_name: &str) -> Option<&str> {
    let (stem, extension) = file_name.rsplit_once('.')?;
    extension.eq_ignore_ascii_case("sql").then_some(stem)
}

/// Reads the name of a file that ends in `.sql`, or says why it is none of a migration.
pub(super) fn parse(file_name: &str) -> Result<Named, String> {
    let stem = stem(file_name).unwrap_or(file_name);
    if let Some(letter @ ('V' | 'D' | 'U')) = stem.chars().next()
        && stem[1..].starts_with(|it: char| it.is_ascii_digit())
    {
        let shape = if letter == 'V' { Shape::Migration } else { Shape::Undo };
        return lettered(&stem[1..], shape);
    }
    if let Some(reason) = of_flyway_alone(stem) {
        return Err(reason);
    }
    let (stem, shape) = match (stem.strip_suffix(".up"), stem.strip_suffix(".down")) {
        (Some(stem), _) => (stem, Shape::Up),
        (None, Some(stem)) => (stem, Shape::Down),
        (None, None) => (stem, Shape::Plain),
    };
    let digits = stem.find(|it: char| !it.is_ascii_digit()).unwrap_or(stem.len());
    let (version, rest) = stem.split_at(digits);
    if version.is_empty() || !(rest.is_empty() || rest.starts_with(['_', '-', '.'])) {
        return Err(
            "is named like no migration (V1__name.sql, 1_name.up.sql, 1_name.sql): rename it, or move it out of the folder"
                .to_owned(),
        );
    }
    Ok(Named {
        shape,
        version: Written(vec![version.to_owned()]),
        name: worded(rest.get(1..).unwrap_or_default()),
    })
}

/// `1__name`, `1.2__name`, `1_2__name`.
fn lettered(rest: &str, shape: Shape) -> Result<Named, String> {
    let wrong = || "is not named V<version>__<name>.sql (two underscores stand before the name)".to_owned();
    let (version, name) = rest.split_once("__").ok_or_else(wrong)?;
    let numbers: Vec<String> = version.split(['.', '_']).map(str::to_owned).collect();
    if numbers.iter().any(|it| it.is_empty() || !it.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(wrong());
    }
    Ok(Named { shape, version: Written(numbers), name: worded(name) })
}

fn of_flyway_alone(stem: &str) -> Option<String> {
    let numbered = |letter: char| {
        stem.strip_prefix(letter).is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    let is_callback = ["before", "after", "createSchema"].into_iter().any(|word| {
        stem.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_uppercase))
    });
    if stem.starts_with("R__") {
        Some("is a repeatable migration of Flyway's, which has no version to be remembered by: name what it says now V<next version>__name.sql, and write a new file for each change of it".to_owned())
    } else if numbered('B') && stem.contains("__") {
        Some("is a baseline of Flyway's: name it V<version>__name.sql, and `migrator stamp <version>` where the schema is there already".to_owned())
    } else if is_callback {
        Some("is a callback of Flyway's, which is not run here: put what it does into a migration, or move it out of the folder".to_owned())
    } else {
        None
    }
}

/// The name as the history keeps it: letters, digits and underscores.
fn worded(name: &str) -> String {
    if name.is_empty() {
        return "unnamed".to_owned();
    }
    let is_kept = |it: char| it.is_alphabetic() || it.is_ascii_digit();
    name.chars().map(|it| if is_kept(it) { it } else { '_' }).collect()
}

/// Whether the name is that of a file that undoes another one.
pub(super) fn is_undo(file_name: &str) -> bool {
    parse(file_name).is_ok_and(|it| matches!(it.shape, Shape::Undo | Shape::Down))
}

/// Whether the name is that of a migration written in Go, Rust, Java or Kotlin.
pub(super) fn is_program(file_name: &str) -> bool {
    let Some((stem, extension)) = file_name.rsplit_once('.') else { return false };
    let is_numbered = |text: &str, separator: &str| {
        let rest = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
        rest.len() < text.len() && rest.starts_with(separator)
    };
    match extension {
        "go" => is_numbered(stem, "_") && !stem.ends_with("_test"),
        "rs" | "java" | "kt" => stem.strip_prefix('V').is_some_and(|rest| is_numbered(rest, "_")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file_name: &str) -> (Shape, String, String) {
        let named = parse(file_name).expect(file_name);
        (named.shape, named.version.0.join("."), named.name)
    }

    #[test]
    fn names_are_understood() {
        for (file_name, shape, version, name) in [
            ("V1__create_users.sql", Shape::Migration, "1", "create_users"),
            ("V01__Create-Users.sql", Shape::Migration, "01", "Create_Users"),
            ("V1_12__a__b.sql", Shape::Migration, "1.12", "a__b"),
            ("V2.1.3__a.sql", Shape::Migration, "2.1.3", "a"),
            ("U2.1__a.sql", Shape::Undo, "2.1", "a"),
            ("D2__a.sql", Shape::Undo, "2", "a"),
            ("000001_create_users.up.sql", Shape::Up, "000001", "create_users"),
            ("20240101120000_a.b.down.sql", Shape::Down, "20240101120000", "a_b"),
            ("20240101120000-a.sql", Shape::Plain, "20240101120000", "a"),
            ("1.sql", Shape::Plain, "1", "unnamed"),
        ] {
            assert_eq!(shown(file_name), (shape, version.to_owned(), name.to_owned()));
        }
    }

    #[test]
    fn what_is_no_migration_is_told() {
        for (file_name, said) in [
            ("schema.sql", "like no migration"),
            ("1a.sql", "like no migration"),
            ("V1_name.sql", "V<version>__<name>.sql"),
            ("V1.__name.sql", "V<version>__<name>.sql"),
            ("R__views.sql", "repeatable"),
            ("B3__base.sql", "baseline"),
            ("afterMigrate.sql", "callback"),
        ] {
            let reason = parse(file_name).expect_err(file_name);
            assert!(reason.contains(said), "{file_name}: {reason}");
        }
    }

    #[test]
    fn programs_are_known() {
        for name in ["00002_rename.go", "V1__a.rs", "V1_2__A.java", "V1.2__A.kt"] {
            assert!(is_program(name), "{name}");
        }
        for name in ["migrations.go", "00002_rename_test.go", "mod.rs", "V1__a.sql", "2x.go"] {
            assert!(!is_program(name), "{name}");
        }
    }
}
