//! Settings that are lists of names and values.

use std::fmt;

use super::Setting;

/// Headers that every export carries. They often hold a token, so they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpHeaders(Vec<(String, String)>);

impl OtlpHeaders {
    /// Names in lower case, and their values. Pass them to the exporter and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OtlpHeaders([redacted])")
    }
}

impl Setting for OtlpHeaders {
    const EXPECTED: &'static str = "name=value,name=value with what is special percent-encoded";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let headers = parse_pairs(text)?;
        let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
        if !headers.iter().all(|(name, _)| name.bytes().all(is_token)) {
            return Err("one of the names is no header's name".to_owned());
        }
        if !headers.iter().all(|(_, value)| value.bytes().all(|it| (b' '..=b'~').contains(&it))) {
            return Err("one of the values is not printable ASCII".to_owned());
        }
        Ok(Self(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()))
    }

    fn show(&self) -> String {
        "[redacted]".to_owned()
    }
}

/// What a process tells of itself once for all its spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceAttributes(pub Vec<(String, String)>);

impl Setting for ResourceAttributes {
    const EXPECTED: &'static str = "name=value,name=value with what is special percent-encoded";

    fn parse(text: &str) -> Result<Self, String> {
        parse_pairs(text).map(Self)
    }

    fn show(&self) -> String {
        let encode = |text: &str| text.replace('%', "%25").replace(',', "%2C").replace('=', "%3D");
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join(",")
    }
}

/// Reads `name=value,name=value`, both percent-encoded, as the specification writes headers and
/// resource attributes (it took the form from W3C Baggage). The errors repeat no value.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or("there is no = in one of the pairs")?;
            match (percent_decode(name.trim()), percent_decode(value.trim())) {
                (Some(name), Some(value)) if !name.is_empty() => Ok((name, value)),
                (Some(_), Some(_)) => Err("one of the pairs has no name".to_owned()),
                _ => Err("a % in it is not followed by two hexadecimal digits of UTF-8".to_owned()),
            }
        })
        .collect()
}

pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let [high, low] = [digits[0], digits[1]].map(|it| char::from(it).to_digit(16));
            bytes.push(u8::try_from(high? * 16 + low?).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded() {
        let headers = OtlpHeaders::parse("Authorization=Bearer%20abc=, x-team = a%2Cb ,")
            .expect("they are well formed");
        let expected = [("authorization", "Bearer abc="), ("x-team", "a,b")]
            .map(|(name, value)| (name.into(), value.into()));
        assert_eq!(headers.expose(), expected);
        assert_eq!(format!("{headers:?}{}", headers.show()), "OtlpHeaders([redacted])[redacted]");
        for bad in ["a", "=b", "a=%2", "a=%ff", "a b=c", "a=x%0d%0ay"] {
            OtlpHeaders::parse(bad).expect_err(bad);
        }
        let attributes = ResourceAttributes::parse("a=1%2C2,b=%3D").expect("they are well formed");
        assert_eq!(attributes.show(), "a=1%2C2,b=%3D");
    }
}
