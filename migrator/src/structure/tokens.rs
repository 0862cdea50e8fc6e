//! SQL as words, so that texts can be compared without a grammar of either database.

use std::fmt::Write as _;

use super::names::quote_name;
use crate::source::Dialect;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes.
    Name,
    /// A text, in whatever quotes, or a number.
    Literal,
    /// Anything else: one operator, comma or bracket.
    Symbol,
}

/// A word of SQL. Comments and blanks are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this symbol.
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    /// The name that it stands for. SQLite takes a text for one where a name has to be.
    pub(crate) fn name(&self) -> String {
        let quoted = match (self.kind, self.text.as_bytes().first()) {
            (Kind::Name, Some(b'[')) => return self.within(']').to_owned(),
            (Kind::Name, Some(b'`')) => '`',
            (Kind::Literal, Some(b'\'')) => '\'',
            (Kind::Name, _) => '"',
            _ => return self.text.to_owned(),
        };
        self.within(quoted).replace(&format!("{quoted}{quoted}"), &quoted.to_string())
    }

    /// What stands between its quotes, of which the last may be missing.
    fn within(&self, end: char) -> &str {
        let inner = &self.text[1..];
        inner.strip_suffix(end).unwrap_or(inner)
    }

    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The words of a text.
pub(crate) fn tokens(sql: &str, dialect: Dialect) -> Vec<Token<'_>> {
    scan(sql, dialect).collect()
}

/// The same one by one: of a long text nothing is kept.
pub(crate) fn scan(sql: &str, dialect: Dialect) -> impl Iterator<Item = Token<'_>> {
    pieces(sql, dialect).filter_map(|(start, piece)| match piece {
        Piece::Token(kind, text) => Some(Token { kind, text, start }),
        Piece::Remark(_) | Piece::Blank => None,
    })
}

/// The comments that end with their line, and where they begin, in bytes.
pub(crate) fn remarks(sql: &str, dialect: Dialect) -> impl Iterator<Item = (usize, &str)> {
    pieces(sql, dialect).filter_map(|(start, piece)| match piece {
        Piece::Remark(text) => Some((start, text)),
        Piece::Token(..) | Piece::Blank => None,
    })
}

enum Piece<'a> {
    Token(Kind, &'a str),
    /// A comment that ends with its line.
    Remark(&'a str),
    /// A blank, or any other comment.
    Blank,
}

/// Everything in a text, and where it begins, in bytes.
fn pieces(sql: &str, dialect: Dialect) -> impl Iterator<Item = (usize, Piece<'_>)> {
    // PostgreSQL ends a remark at the end of a line of the old Macintosh too.
    let line_ends: &[char] = if dialect == Dialect::Postgres { &['\n', '\r'] } else { &['\n'] };
    let mut end = 0;
    std::iter::from_fn(move || {
        let start = end;
        let rest = &sql[start..];
        let first = rest.chars().next()?;
        let (piece, length) = if matches!(first, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c') {
            (Piece::Blank, 1)
        } else if rest.starts_with("--") {
            let length = rest.find(line_ends).unwrap_or(rest.len());
            (Piece::Remark(&rest[..length]), length)
        } else if rest.starts_with("/*") {
            (Piece::Blank, comment_length(rest, dialect == Dialect::Postgres))
        } else {
            let (kind, length) = token(rest, first, dialect);
            (Piece::Token(kind, &rest[..length]), length)
        };
        end += length;
        Some((start, piece))
    })
}

fn token(rest: &str, first: char, dialect: Dialect) -> (Kind, usize) {
    let postgres = dialect == Dialect::Postgres;
    let second = rest.chars().nth(1);
    match first {
        '\'' => (Kind::Literal, quoted_length(rest, '\'', false)),
        'E' | 'e' if postgres && second == Some('\'') => {
            (Kind::Literal, 1 + quoted_length(&rest[1..], '\'', true))
        }
        'B' | 'b' | 'X' | 'x' | 'N' | 'n' if second == Some('\'') => {
            (Kind::Literal, 1 + quoted_length(&rest[1..], '\'', false))
        }
        '"' => (Kind::Name, quoted_length(rest, '"', false)),
        '`' if !postgres => (Kind::Name, quoted_length(rest, '`', false)),
        '[' if !postgres => (Kind::Name, rest.find(']').map_or(rest.len(), |at| at + 1)),
        '$' if postgres => match dollar_quoted_length(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Symbol, 1),
        },
        _ if first.is_ascii_digit() || (first == '.' && second.is_some_and(|it| it.is_ascii_digit())) => {
            (Kind::Literal, number_length(rest))
        }
        _ if first.is_alphabetic() || first == '_' || !first.is_ascii() => {
            let inside = |it: char| it.is_alphanumeric() || it == '_' || it == '$' || !it.is_ascii();
            (Kind::Word, rest.find(|it| !inside(it)).unwrap_or(rest.len()))
        }
        _ => {
            let operators = ["->>", "::", "||", "<>", "<=", ">=", "!=", "==", "->", "<<", ">>"];
            let length = operators.iter().find(|it| rest.starts_with(**it)).map_or(1, |it| it.len());
            (Kind::Symbol, length.max(first.len_utf8()))
        }
    }
}

fn comment_length(rest: &str, nested: bool) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < rest.len() {
        if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else if nested && rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// `rest` begins with the quote.
fn quoted_length(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if backslashes && character == '\\' {
            characters.next();
        } else if character == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => drop(characters.next()),
                _ => return at + quote.len_utf8(),
            }
        }
    }
    rest.len()
}

/// `$tag$ ... $tag$`, or nothing when it is no such quote.
fn dollar_quoted_length(rest: &str) -> Option<usize> {
    let tag_end = 1 + rest[1..].find('$')?;
    let tag = &rest[..=tag_end];
    let inner = &tag[1..tag_end];
    let is_tag = inner.chars().all(|it| it.is_alphanumeric() || it == '_')
        && !inner.starts_with(|it: char| it.is_ascii_digit());
    if !is_tag {
        return None;
    }
    Some(rest[tag.len()..].find(tag).map_or(rest.len(), |at| at + 2 * tag.len()))
}

fn number_length(rest: &str) -> usize {
    let while_any = |from: usize, inside: fn(char) -> bool| {
        rest[from..].find(|it| !inside(it)).map_or(rest.len(), |length| from + length)
    };
    let bytes = rest.as_bytes();
    // In 0xFE the E is a digit.
    if bytes[0] == b'0'
        && bytes.get(1).is_some_and(u8::is_ascii_alphabetic)
        && !matches!(bytes[1], b'e' | b'E')
    {
        return while_any(0, |it| it.is_ascii_alphanumeric() || it == '_');
    }
    let end = while_any(0, |it| it.is_ascii_digit() || matches!(it, '.' | '_'));
    // A word may follow at once, as in 2END, and a comment, as in 2e--.
    let digits = match bytes.get(end..).unwrap_or_default() {
        [b'e' | b'E', b'+' | b'-', digit, ..] if digit.is_ascii_digit() => end + 2,
        [b'e' | b'E', digit, ..] if digit.is_ascii_digit() => end + 1,
        _ => return end,
    };
    while_any(digits, |it| it.is_ascii_digit() || it == '_')
}

/// Keywords that SQLite takes in any case, written as they are compared.
const KEYWORDS: &str = "\
    ACTION ALWAYS AND AS ASC AUTOINCREMENT BETWEEN BY CASCADE CASE CAST CHECK COLLATE CONFLICT \
    CONSTRAINT CREATE DEFAULT DEFERRABLE DEFERRED DELETE DESC DISTINCT ELSE END ESCAPE EXISTS FAIL \
    FOREIGN FROM GENERATED GLOB GROUP IGNORE IMMEDIATE IN INDEX INITIALLY IS ISNULL KEY LIKE MATCH NO \
    NOT NOTNULL NULL ON OR ORDER PRIMARY REFERENCES REGEXP RESTRICT ROLLBACK SELECT SET STORED TABLE \
    THEN UNIQUE UPDATE USING VIRTUAL WHEN WHERE";

/// The same words in one form: blanks and comments do not count, nor the case of keywords, nor quotes around
/// a name that needs none and is one of `names`.
pub(crate) fn normalised(words: &[Token<'_>], names: &[String]) -> String {
    let mut text = String::new();
    let mut previous: Option<&Token<'_>> = None;
    for (at, token) in words.iter().enumerate() {
        let tight = previous.is_none_or(|before| {
            matches!(before.text, "(" | ".")
                || matches!(token.text, ")" | "," | ".")
                || is_call(before, token)
                || is_sign(&words[..at])
        });
        let space = if tight { "" } else { " " };
        let _infallible = match token.kind {
            Kind::Word if is_keyword(token.text) && !is_one_of(token, names) => {
                write!(text, "{space}{}", token.text.to_ascii_uppercase())
            }
            Kind::Name if is_one_of(token, names) => {
                write!(text, "{space}{}", quote_name(&token.name()))
            }
            _ => write!(text, "{space}{}", token.text),
        };
        previous = Some(token);
    }
    text
}

fn is_one_of(token: &Token<'_>, names: &[String]) -> bool {
    names.iter().any(|it| it.eq_ignore_ascii_case(&token.name()))
}

/// Whether the last of these is a sign of the number that follows: `-1` and not `a - 1`.
fn is_sign(before: &[Token<'_>]) -> bool {
    let Some((sign, earlier)) = before.split_last() else { return false };
    matches!(sign.text, "-" | "+")
        && earlier.last().is_none_or(|it| match it.kind {
            Kind::Symbol => it.text != ")",
            Kind::Word => is_keyword(it.text),
            _ => false,
        })
}

/// Whether a bracket follows the name of what is called.
fn is_call(before: &Token<'_>, token: &Token<'_>) -> bool {
    let is_keyword = before.kind == Kind::Word && is_keyword(before.text) && !before.is("cast");
    token.is_symbol("(") && before.kind != Kind::Symbol && !is_keyword
}

pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.split(' ').any(|it| it.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_same_are_the_same() {
        let same = |sql: &str| normalised(&tokens(sql, Dialect::Sqlite), &["a".to_owned()]);
        assert_eq!(same("check( \"a\">-1 and b -1 IN(1,2) /* x */ )"), "CHECK (a > -1 AND b - 1 IN (1, 2))");
        assert_eq!(same("length( a ) == 'x  y'"), "length(a) == 'x  y'");
        assert_eq!(same("\"b\" . [c]"), "\"b\".[c]");
    }

    #[test]
    fn a_number_ends_where_its_digits_do() {
        for (sql, expected) in [
            ("0xFE-- it's", &["0xFE"][..]),
            ("1e-5+2.5E+3-1e5", &["1e-5", "+", "2.5E+3", "-", "1e5"]),
            ("1e--2", &["1", "e"]),
            (".5-1_000.25", &[".5", "-", "1_000.25"]),
            ("CASE 1 WHEN 1 THEN 2END", &["CASE", "1", "WHEN", "1", "THEN", "2", "END"]),
            ("0END", &["0", "END"]),
            ("0b10 0o17", &["0b10", "0o17"]),
        ] {
            for dialect in Dialect::ALL {
                let texts: Vec<&str> = scan(sql, dialect).map(|token| token.text).collect();
                assert_eq!(texts, expected, "{sql}");
            }
        }
    }

    #[test]
    fn what_is_never_closed_is_a_name_all_the_same() {
        for (dialect, sql, name) in [
            (Dialect::Sqlite, "\"größe", "größe"),
            (Dialect::Sqlite, "[é", "é"),
            (Dialect::Sqlite, "`a``b`", "a`b"),
            (Dialect::Postgres, "\"", ""),
            (Dialect::Postgres, "-- a\rB", "B"),
            (Dialect::Sqlite, "-- a\rb\n[c]", "c"),
        ] {
            let names: Vec<String> = scan(sql, dialect).map(|token| token.name()).collect();
            assert_eq!(names, [name], "{sql:?}");
        }
    }
}
