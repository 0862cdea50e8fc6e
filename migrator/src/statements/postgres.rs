//! Where psql splits a file: at semicolons outside of parentheses and of bodies `BEGIN ATOMIC ... END`.

use std::ops::Range;

use super::Ranges;
use crate::source::Dialect;
use crate::structure::tokens::{Token, scan};

pub(super) fn ranges(file: &str) -> Vec<Range<usize>> {
    let (mut ranges, mut parentheses, mut bodies) = (Ranges::default(), 0_usize, 0_usize);
    let mut before: Option<Token<'_>> = None;
    for token in scan(file, Dialect::Postgres) {
        if token.is_symbol(";") && parentheses == 0 && bodies == 0 {
            ranges.end();
            before = None;
            continue;
        }
        if token.is_symbol("(") {
            parentheses += 1;
        } else if token.is_symbol(")") {
            parentheses = parentheses.saturating_sub(1);
        } else if token.is("ATOMIC") && before.is_some_and(|it| it.is("BEGIN"))
            || bodies > 0 && token.is("CASE")
        {
            bodies += 1;
        } else if bodies > 0 && token.is("END") {
            bodies -= 1;
        }
        before = Some(token);
        ranges.say(token.start..token.end());
    }
    ranges.finish()
}

#[cfg(test)]
mod tests {
    use crate::source::Dialect;
    use crate::statements::split;

    #[test]
    fn semicolons_in_texts_bodies_and_comments_end_nothing() {
        let statements = [
            "SELECT 'a;b', $$x;y$$, $n$;$$;$n$, E'\\';', \"a;\"\"b\" /* ; /* ; */ ; */ , 1 -- ;\n , 2",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END",
            "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
            "CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$",
            "BEGIN",
            "SELECT CASE WHEN true THEN 1 END",
            "END",
            "no SQL at all",
            "CREATE INDEX CONCURRENTLY ON t (a)",
        ];
        let file = format!("-- head;\n{};; ;\n/* tail; */", statements.join(";\n\n-- between;\n"));
        let parts = split(Dialect::Postgres, &file);
        assert_eq!(parts.iter().map(|part| part.sql).collect::<Vec<_>>(), statements);
        for part in &parts {
            assert!(file[part.offset..].starts_with(part.sql));
            assert_eq!(part.line, 1 + file[..part.offset].matches('\n').count(), "{}", part.sql);
        }
    }
}
