//! Where psql splits a file: at semicolons outside of parentheses and of bodies `BEGIN ATOMIC ... END`.
//! The tokens come from squawk's lexer, which knows PostgreSQL's strings, dollar quotes and nested comments.

use std::ops::Range;

use squawk_syntax::{SourceFile, SyntaxKind};

use super::Ranges;

pub(super) fn ranges(file: &str) -> Vec<Range<usize>> {
    let root = SourceFile::parse(file).syntax_node();
    let tokens = root.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token);
    let (mut ranges, mut parentheses, mut bodies) = (Ranges::default(), 0_usize, 0_usize);
    let mut before = SyntaxKind::WHITESPACE;
    for token in tokens {
        let kind = token.kind();
        match kind {
            SyntaxKind::WHITESPACE | SyntaxKind::COMMENT => continue,
            SyntaxKind::SEMICOLON if parentheses == 0 && bodies == 0 => {
                ranges.end();
                before = kind;
                continue;
            }
            SyntaxKind::L_PAREN => parentheses += 1,
            SyntaxKind::R_PAREN => parentheses = parentheses.saturating_sub(1),
            SyntaxKind::ATOMIC_KW if before == SyntaxKind::BEGIN_KW => bodies += 1,
            SyntaxKind::CASE_KW if bodies > 0 => bodies += 1,
            SyntaxKind::END_KW if bodies > 0 => bodies -= 1,
            _ => {}
        }
        before = kind;
        let range = token.text_range();
        ranges.say(usize::from(range.start())..usize::from(range.end()));
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
