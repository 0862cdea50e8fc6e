//! How values get from one type of PostgreSQL to another, and what they lose on the way.

/// Types whose values PostgreSQL stores as each other by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Numbers,
    Texts,
    Moments,
    Times,
    Intervals,
    Bits,
    Documents,
    Addresses,
    Other,
}

/// What stands behind USING. Nothing where PostgreSQL stores one as the other by itself: it refuses a value
/// that does not fit then, while a cast that is written out cuts it.
pub(super) fn using(name: &str, old: &str, new: &str) -> Option<String> {
    let (before, after) = (family(old), family(new));
    let arrays = new.ends_with("[]");
    let same_shape = old.ends_with("[]") == arrays;
    let by_itself = after == Family::Texts || (before == after && after != Family::Other);
    if same_shape && by_itself {
        return None;
    }
    let brackets = if same_shape && arrays { "[]" } else { "" };
    if same_shape && base(old) == "boolean" && after == Family::Numbers {
        // There is this one cast from a boolean; the rest of the way PostgreSQL goes by itself.
        return Some(format!("{name}::integer{brackets}"));
    }
    Some(format!("{name}::text{brackets}::{new}"))
}

/// Whether a value may be another one afterwards: rounded, or without a part of it.
pub(super) fn loses(old: &str, new: &str) -> bool {
    match (family(old), family(new)) {
        _ if old == new => false,
        (Family::Numbers | Family::Texts, Family::Numbers) => rounds(old, new),
        (Family::Moments, Family::Moments) if base(old) == "date" => false,
        (Family::Moments, Family::Moments) if base(new) == "date" => true,
        (Family::Moments, Family::Moments) | (Family::Times, Family::Times)
            if is_zoned(old) && !is_zoned(new) =>
        {
            true
        }
        (Family::Moments, Family::Moments)
        | (Family::Times, Family::Times)
        | (Family::Intervals, Family::Intervals) => precision(old) > precision(new),
        (Family::Texts, Family::Moments | Family::Times | Family::Intervals)
        | (Family::Moments, Family::Times) => true,
        (Family::Addresses, Family::Addresses) => base(new) == "cidr",
        // Blanks, the order of the keys, and all but the last of those that are alike.
        (Family::Documents | Family::Texts, Family::Documents) => base(new) == "jsonb",
        _ => false,
    }
}

/// What is too large is refused; what has more digits behind the point than there is room for is rounded.
fn rounds(old: &str, new: &str) -> bool {
    let whole = matches!(base(old), "smallint" | "integer" | "bigint");
    let floats = matches!(base(old), "real" | "double precision");
    match base(new) {
        "numeric" => {
            !whole
                && match scale(new) {
                    Some(after) => scale(old).is_none_or(|before| before > after),
                    None => floats,
                }
        }
        "real" => base(old) != "smallint",
        "double precision" => !matches!(base(old), "smallint" | "integer" | "real"),
        // A text that is no whole number is refused.
        _ => !whole && family(old) == Family::Numbers && scale(old) != Some(0),
    }
}

fn family(type_name: &str) -> Family {
    match base(type_name) {
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => Family::Numbers,
        "text" | "character varying" | "character" => Family::Texts,
        "date" | "timestamp" => Family::Moments,
        "time" => Family::Times,
        "interval" => Family::Intervals,
        "bit" | "bit varying" => Family::Bits,
        "json" | "jsonb" => Family::Documents,
        "inet" | "cidr" => Family::Addresses,
        _ => Family::Other,
    }
}

/// The name of the type without what stands in its brackets and behind them.
fn base(type_name: &str) -> &str {
    let name = type_name.split(['(', '[']).next().unwrap_or_default().trim();
    ["timestamp", "time", "interval"]
        .into_iter()
        .find(|it| name.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
        .unwrap_or(name)
}

fn is_zoned(type_name: &str) -> bool {
    type_name.contains("with time zone")
}

/// What stands in the brackets, number by number.
fn modifiers(type_name: &str) -> Vec<i32> {
    let inside = type_name.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inside.map(|(it, _)| it.split(',').filter_map(|it| it.trim().parse().ok()).collect()).unwrap_or_default()
}

/// How many digits a number has behind its point, where that is settled.
fn scale(type_name: &str) -> Option<i32> {
    (base(type_name) == "numeric").then(|| modifiers(type_name).get(1).copied()).flatten()
}

/// How many digits the seconds have behind their point: six where nothing is said.
fn precision(type_name: &str) -> i32 {
    modifiers(type_name).first().copied().unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_needs_no_cast_and_what_is_rounded_is_known() {
        for (old, new, cast, loss) in [
            ("text", "character varying(5)", None, false),
            ("character varying(9)[]", "character varying(5)[]", None, false),
            ("integer", "character varying(5)", None, false),
            ("bigint", "integer", None, false),
            ("integer", "numeric(10,2)", None, false),
            ("numeric(10,2)", "numeric(12,2)", None, false),
            ("numeric(10,2)", "numeric(12,1)", None, true),
            ("numeric", "integer", None, true),
            ("numeric(5,0)", "integer", None, false),
            ("double precision", "real", None, true),
            ("real", "double precision", None, false),
            ("bigint", "double precision", None, true),
            ("timestamp with time zone", "date", None, true),
            ("date", "timestamp without time zone", None, false),
            ("timestamp with time zone", "timestamp(3) with time zone", None, true),
            ("timestamp(3) with time zone", "timestamp with time zone", None, false),
            ("time with time zone", "time without time zone", None, true),
            ("timestamp with time zone", "timestamp without time zone", None, true),
            ("timestamp without time zone", "timestamp with time zone", None, false),
            ("json", "jsonb", None, true),
            ("jsonb", "json", None, false),
            ("bit(8)", "bit(4)", None, false),
            ("inet", "cidr", None, true),
            ("boolean", "bigint", Some("c::integer"), false),
            ("integer", "boolean", Some("c::text::boolean"), false),
            ("text", "integer", Some("c::text::integer"), false),
            ("text", "numeric(5,2)", Some("c::text::numeric(5,2)"), true),
            ("text", "date", Some("c::text::date"), true),
            ("text[]", "integer[]", Some("c::text[]::integer[]"), false),
            ("mood", "mood", Some("c::text::mood"), false),
        ] {
            assert_eq!(using("c", old, new).as_deref(), cast, "{old} to {new}");
            assert_eq!(loses(old, new), loss, "{old} to {new}");
        }
    }
}
