//! What a document may be: checked in one pass over its text, without a tree of values.

use std::borrow::Cow;

use super::scan;

/// The longest key, in characters.
pub const MAX_KEY: usize = 255;

/// The longest number, in characters: any double precision float fits in when it is written out.
pub const MAX_NUMBER: usize = 1100;

/// The most digits behind the point, of a number written without an exponent: PostgreSQL's `numeric` keeps no more.
pub const MAX_SCALE: i64 = 16_383;

/// Numbers of up to as many characters without an exponent are neither too large nor too small.
const PLAIN_NUMBER: usize = 300;

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub struct DocumentLimits {
    /// Its text, in bytes, with every number written without an exponent, as PostgreSQL gives it back.
    pub bytes: usize,
    /// Objects and arrays in each other, itself included.
    pub depth: usize,
    /// Keys of all its objects together.
    pub keys: usize,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no object.
    NotAnObject,
    /// Its text is too long.
    TooLarge,
    /// There is too much in each other.
    TooDeep,
    /// Its objects have too many keys.
    TooManyKeys,
    /// A key is too long.
    KeyTooLong,
    /// An object has a key twice.
    DuplicateKey,
    /// A text or a key has `\u0000`, which PostgreSQL does not keep.
    Nul,
    /// A text or a key has half of a surrogate pair, which is no character.
    LoneSurrogate,
    /// A number that no double precision float holds, or that is too long, or a zero with too many digits.
    Number,
}

impl Flaw {
    /// The word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::TooManyKeys => "too_many_keys",
            Self::KeyTooLong => "key_too_long",
            Self::DuplicateKey => "duplicate_key",
            Self::Nul => "nul_character",
            Self::LoneSurrogate => "lone_surrogate",
            Self::Number => "number_out_of_range",
        }
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn detail(self, limits: DocumentLimits) -> String {
        let DocumentLimits { bytes, depth, keys } = limits;
        match self {
            Self::NotAnObject => "it has to be an object".to_owned(),
            Self::TooLarge => {
                format!("it may have {bytes} bytes at most, with numbers written without exponents")
            }
            Self::TooDeep => format!("at most {depth} objects and arrays may be in each other"),
            Self::TooManyKeys => format!("its objects may have {keys} keys at most, all together"),
            Self::KeyTooLong => format!("a key may have {MAX_KEY} characters at most"),
            Self::DuplicateKey => "an object has the same key twice".to_owned(),
            Self::Nul => "a text or a key has \\u0000, which cannot be kept".to_owned(),
            Self::LoneSurrogate => "a text or a key has half of a surrogate pair".to_owned(),
            Self::Number => format!(
                "a number is none that a double precision float holds, or has more than {MAX_NUMBER} characters, \
                 or more than {MAX_SCALE} digits behind the point when it is written without an exponent"
            ),
        }
    }
}

/// An object or an array that is not over yet.
struct Open {
    is_object: bool,
    /// Whether the next text is a key.
    key_is_next: bool,
    /// Where its keys begin among those of all that are open.
    keys: usize,
}

/// Checks a well-formed JSON text.
///
/// # Errors
/// The first flaw.
pub fn check(text: &str, limits: DocumentLimits) -> Result<(), Flaw> {
    let bytes = text.as_bytes();
    if bytes.len() > limits.bytes {
        return Err(Flaw::TooLarge);
    }
    if bytes.first() != Some(&b'{') {
        return Err(Flaw::NotAnObject);
    }
    let (mut open, mut keys): (Vec<Open>, Vec<Cow<'_, str>>) = (Vec::new(), Vec::new());
    let (mut at, mut count, mut length) = (0, 0, bytes.len());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if open.len() == limits.depth {
                    return Err(Flaw::TooDeep);
                }
                let is_object = *byte == b'{';
                open.push(Open { is_object, key_is_next: is_object, keys: keys.len() });
            }
            b'}' | b']' => {
                if let Some(closed) = open.pop() {
                    if has_twice(&mut keys[closed.keys..]) {
                        return Err(Flaw::DuplicateKey);
                    }
                    keys.truncate(closed.keys);
                }
            }
            b',' => {
                if let Some(inner) = open.last_mut() {
                    inner.key_is_next = inner.is_object;
                }
            }
            b'"' => {
                let (end, has_escape) = scan::end_of_string(bytes, at);
                let inside = text.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
                if has_escape {
                    check_escapes(inside.as_bytes())?;
                }
                if let Some(inner) = open.last_mut().filter(|it| it.key_is_next) {
                    inner.key_is_next = false;
                    count += 1;
                    if count > limits.keys {
                        return Err(Flaw::TooManyKeys);
                    }
                    let key = if has_escape { scan::unescaped(inside) } else { Cow::Borrowed(inside) };
                    if key.len() > MAX_KEY && key.chars().count() > MAX_KEY {
                        return Err(Flaw::KeyTooLong);
                    }
                    keys.push(key);
                }
                at = end;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let end = scan::end_of_number(bytes, at);
                length = length.saturating_add(check_number(text.get(at..end).unwrap_or_default())?);
                if length > limits.bytes {
                    return Err(Flaw::TooLarge);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// A document on one line. Between its parts a break is a blank like any other, and inside of a text there is
/// none.
#[must_use]
pub fn on_one_line(document: &str) -> Cow<'_, str> {
    // Searched by bytes: most documents have none, and there are millions of them.
    let has = |byte: u8| document.as_bytes().contains(&byte);
    if has(b'\n') || has(b'\r') {
        Cow::Owned(document.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(document)
    }
}

/// Whether two of the keys of one object are the same.
fn has_twice(keys: &mut [Cow<'_, str>]) -> bool {
    // Mostly there are few.
    if keys.len() <= 8 {
        return keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key));
    }
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// Checks what is written as `\uXXXX`.
fn check_escapes(inside: &[u8]) -> Result<(), Flaw> {
    let mut at = 0;
    while let Some(byte) = inside.get(at) {
        if *byte != b'\\' {
            at += 1;
            continue;
        }
        let Some(unit) = code_unit(inside, at) else {
            at += 2;
            continue;
        };
        match unit {
            0 => return Err(Flaw::Nul),
            0xD800..=0xDBFF => match code_unit(inside, at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return Err(Flaw::LoneSurrogate),
            },
            0xDC00..=0xDFFF => return Err(Flaw::LoneSurrogate),
            _ => at += 6,
        }
    }
    Ok(())
}

/// The number of an escape `\uXXXX` that begins here.
fn code_unit(inside: &[u8], at: usize) -> Option<u32> {
    let digits = inside.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

/// Checks a number, and says how much longer it is at most without its exponent.
fn check_number(number: &str) -> Result<usize, Flaw> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    if number.len() <= PLAIN_NUMBER && mantissa.len() == number.len() {
        return Ok(0);
    }
    if number.len() > MAX_NUMBER {
        return Err(Flaw::Number);
    }
    let value: f64 = number.parse().map_err(|_| Flaw::Number)?;
    let is_zero = mantissa.bytes().all(|it| !matches!(it, b'1'..=b'9'));
    if !value.is_finite() || (value == 0.0 && !is_zero) {
        return Err(Flaw::Number);
    }
    // That of a zero may be any, and PostgreSQL keeps the digits behind its point.
    let is_negative = exponent.starts_with('-');
    let digits = exponent.trim_start_matches(['+', '-']).trim_start_matches('0');
    let places = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i64::MAX) };
    let behind = mantissa.split_once('.').map_or(0, |it| it.1.len());
    if is_negative && places.saturating_add(i64::try_from(behind).unwrap_or(i64::MAX)) > MAX_SCALE {
        return Err(Flaw::Number);
    }
    Ok(usize::try_from(places).unwrap_or(usize::MAX))
}
