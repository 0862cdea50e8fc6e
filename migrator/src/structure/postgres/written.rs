//! What PostgreSQL writes in one way and understands in another.
//!
//! `a IN ('x', 'y')` on a varchar is kept as `a::text = ANY (ARRAY['x'::character varying, ...]::text[])`. What
//! that text makes when it is run is kept as `ARRAY['x'::character varying::text, ...]`, and so a schema that
//! was made by its own dump would not be the same. Both mean `ARRAY['x'::text, ...]`, which stays what it is.

use crate::source::Dialect;
use crate::structure::tokens::{Kind, Token, tokens};

/// The text in the form that stays what it is.
pub(super) fn one_form(sql: String) -> String {
    if !sql.contains("ARRAY[") {
        return sql;
    }
    let words = tokens(&sql, Dialect::Postgres);
    let (mut text, mut copied, mut at) = (String::new(), 0, 0);
    while at < words.len() {
        match list(&words, at) {
            Some((values, end)) => {
                text.push_str(&sql[copied..words[at].start]);
                let values: Vec<String> = values.iter().map(|it| format!("{it}::text")).collect();
                text.push_str(&format!("ARRAY[{}]", values.join(", ")));
                copied = words[end - 1].end();
                at = end;
            }
            None => at += 1,
        }
    }
    text.push_str(&sql[copied..]);
    text
}

/// The values of the list that begins here, and where it ends, when it is one of the two forms.
fn list<'a>(words: &[Token<'a>], start: usize) -> Option<(Vec<&'a str>, usize)> {
    let is = |at: usize, text: &str| words.get(at).is_some_and(|it| it.text == text);
    let all =
        |at: usize, texts: &[&str]| texts.iter().enumerate().all(|(offset, text)| is(at + offset, text));
    if !all(start, &["ARRAY", "["]) {
        return None;
    }
    let (mut values, mut cast_each, mut at) = (Vec::new(), None, start + 2);
    loop {
        values.push(words.get(at).filter(|it| it.kind == Kind::Literal || it.is("null"))?.text);
        if !all(at + 1, &["::", "character", "varying"]) {
            return None;
        }
        at += 4;
        let cast = all(at, &["::", "text"]);
        if *cast_each.get_or_insert(cast) != cast {
            return None;
        }
        at += if cast { 2 } else { 0 };
        if is(at, "]") {
            break;
        }
        if !is(at, ",") {
            return None;
        }
        at += 1;
    }
    match cast_each {
        Some(true) => Some((values, at + 1)),
        _ if all(at + 1, &["::", "text", "[", "]"]) => Some((values, at + 5)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_list_are_one() {
        let one = "CHECK (a::text = ANY (ARRAY['x'::text, 'it''s'::text]) AND b)";
        for written in [
            "CHECK (a::text = ANY (ARRAY['x'::character varying, 'it''s'::character varying]::text[]) AND b)",
            "CHECK (a::text = ANY (ARRAY['x'::character varying::text, 'it''s'::character varying::text]) AND b)",
            one,
        ] {
            assert_eq!(one_form(written.to_owned()), one);
        }
        let one = "ARRAY['a'::text, NULL::text]";
        assert_eq!(
            one_form("ARRAY['a'::character varying, NULL::character varying]::text[]".to_owned()),
            one
        );
        let other = "ARRAY['x'::character varying, b]::text[]";
        assert_eq!(one_form(other.to_owned()), other);
    }
}
