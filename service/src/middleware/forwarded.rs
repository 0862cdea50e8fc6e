//! The header `Forwarded` (RFC 7239), read from its end: what stands there was written by the nearest proxy. What
//! stands before it may be whatever the client wrote, quotes that never end included, and changes nothing of what
//! comes after it.

use std::borrow::Cow;

/// The elements of a line, the last one first; nothing for what is left when a quote is not one of a pair.
pub(super) fn elements(line: &str) -> impl Iterator<Item = Option<&str>> {
    rsplit(line, b',')
}

/// What an element says of its client: the one `for` in `for="[2001:db8::7]:80";proto=https`.
pub(super) fn node(element: &str) -> Option<Cow<'_, str>> {
    let mut node = None;
    for pair in rsplit(element, b';') {
        let pair = pair?.trim();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
    }
    node
}

/// The parts between separators that are not in quotes, the last one first.
fn rsplit(text: &str, separator: u8) -> impl Iterator<Item = Option<&str>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (bytes, mut is_quoted) = (text.as_bytes(), false);
        for (at, byte) in bytes.iter().enumerate().rev() {
            if *byte == b'"' {
                let escapes = bytes[..at].iter().rev().take_while(|it| **it == b'\\').count();
                let is_escaped = escapes % 2 == 1;
                // Seen from the end, a quote that is escaped is in the middle of quotes.
                match (is_quoted, is_escaped) {
                    (true, true) => {}
                    (_, false) => is_quoted = !is_quoted,
                    (false, true) => return Some(None),
                }
            } else if *byte == separator && !is_quoted {
                rest = Some(&text[..at]);
                return Some(Some(&text[at + 1..]));
            }
        }
        Some((!is_quoted).then_some(text))
    })
}

/// A value without its quotes.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    let inner = inner.strip_suffix('"')?;
    let (mut plain, mut characters) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => plain.push(characters.next()?),
            other => plain.push(other),
        }
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(line: &str) -> Vec<Option<String>> {
        elements(line).map(|it| node(it?).map(Cow::into_owned)).collect()
    }

    #[test]
    fn elements_are_read_from_the_end() {
        for (line, expected) in [
            ("for=a", &[Some("a")][..]),
            ("for=a, For=b;proto=http ,by=x;for=c", &[Some("c"), Some("b"), Some("a")]),
            (r#"for="a,b;c""#, &[Some("a,b;c")]),
            (r#"for=a;host="b,for=c;x=""#, &[Some("a")]),
            (r#"for="a\"b\\", for=c"#, &[Some("c"), Some(r#"a"b\"#)]),
            (r#"for=";", for=c"#, &[Some("c"), Some(";")]),
            ("", &[None]),
            ("proto=http", &[None]),
            (";for=a; ;", &[Some("a")]),
            ("for=a;for=b", &[None]),
            ("for=a;nothing", &[None]),
            (r#"for=a"b"c"#, &[None]),
            (r#"for=a, for="b"c""#, &[None]),
            (r#"for=a, for=b\""#, &[None]),
            // Quotes that were left open do not reach what comes after them.
            (r#"for="a, for="b", for=c"#, &[Some("c"), Some("b"), None]),
            (r#"for="a, for=b"#, &[Some("b"), None]),
        ] {
            let expected: Vec<_> = expected.iter().map(|it| it.map(str::to_owned)).collect();
            assert_eq!(nodes(line), expected, "{line}");
        }
    }
}
