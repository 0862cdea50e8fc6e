//! Finding one's way in the text of a well-formed JSON document, without a tree of values. In a text that is
//! not well-formed nothing is found.

use std::borrow::Cow;

/// Where the string that begins here is over, behind its quote, and whether it has an escape.
#[must_use]
pub fn end_of_string(bytes: &[u8], begin: usize) -> (usize, bool) {
    let (mut at, mut has_escape) = (begin + 1, false);
    loop {
        match bytes.get(at) {
            Some(b'"') => return (at + 1, has_escape),
            Some(b'\\') => {
                has_escape = true;
                at += 2;
            }
            Some(_) => at += 1,
            None => return (bytes.len(), has_escape),
        }
    }
}

/// Where the number that begins here is over.
#[must_use]
pub fn end_of_number(bytes: &[u8], begin: usize) -> usize {
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    let rest = bytes.get(begin..).unwrap_or_default();
    begin + rest.iter().position(|byte| !is_of_number(byte)).unwrap_or(rest.len())
}

/// What stands between the quotes of a string, its escapes resolved.
#[must_use]
pub fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str(&format!("\"{inside}\"")).map_or(Cow::Borrowed(inside), Cow::Owned)
}

/// A reader of a text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// One step of a path: a key of an object, or the place of an element where it has an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The key.
    pub key: String,
    /// The place in an array, from 0, where the key is written as one.
    pub index: Option<usize>,
}

impl Step {
    /// The step of this key. Digits without zeros before them are the place in an array too.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let is_plain = key == "0" || !key.starts_with('0');
        let is_index = is_plain && key.len() <= 6 && key.bytes().all(|it| it.is_ascii_digit());
        Self { key: key.to_owned(), index: key.parse().ok().filter(|_| is_index) }
    }
}

/// A number in a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<'a> {
    /// As it is written.
    pub text: &'a str,
    /// The double precision float that is next to it. A zero has no sign, as in PostgreSQL.
    pub value: f64,
}

/// The number that the path leads to. What is no number, or none that a double precision float holds, is
/// nothing.
#[must_use]
pub fn number_at<'a>(text: &'a str, path: &[Step]) -> Option<Number<'a>> {
    let mut reader = Reader { text, at: 0 };
    for step in path {
        match reader.next_byte()? {
            b'{' => reader.enter_object(&step.key)?,
            b'[' => reader.enter_array(step.index?)?,
            _ => return None,
        }
    }
    match reader.next_byte()? {
        b'-' | b'0'..=b'9' => {
            let end = end_of_number(text.as_bytes(), reader.at);
            let text = text.get(reader.at..end)?;
            let value = text.parse().ok().filter(|it: &f64| it.is_finite())?;
            Some(Number { text, value: value + 0.0 })
        }
        _ => None,
    }
}

impl<'a> Reader<'a> {
    /// The next byte that is no blank; the reader stands at it.
    fn next_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// From the brace of an object to the value of its key.
    fn enter_object(&mut self, key: &str) -> Option<()> {
        self.at += 1;
        loop {
            if self.next_byte()? != b'"' {
                return None;
            }
            let found = self.string()?;
            if self.next_byte()? != b':' {
                return None;
            }
            self.at += 1;
            if unescaped(found) == key {
                return Some(());
            }
            self.skip()?;
            self.comma()?;
        }
    }

    /// From the bracket of an array to the element at this place.
    fn enter_array(&mut self, index: usize) -> Option<()> {
        self.at += 1;
        for _before in 0..index {
            self.skip()?;
            self.comma()?;
        }
        (self.next_byte()? != b']').then_some(())
    }

    fn comma(&mut self) -> Option<()> {
        if self.next_byte()? != b',' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let begin = self.at;
        self.at = end_of_string(self.text.as_bytes(), begin).0;
        self.text.get(begin + 1..self.at.checked_sub(1)?)
    }

    /// Goes past a value.
    fn skip(&mut self) -> Option<()> {
        let (bytes, mut depth) = (self.text.as_bytes(), 0_usize);
        loop {
            match self.next_byte()? {
                b'"' => self.at = end_of_string(bytes, self.at).0,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => {
                    let is_word =
                        |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']' | b':');
                    while bytes.get(self.at).is_some_and(is_word) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}
