//! `Idempotency-Key`: what is sent twice is done once.

use bytes::Bytes;
use poem::http::HeaderMap;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::api::problem::Failure;
use crate::domain::access::Caller;
use crate::domain::idempotency::{Answer, KeyedRequest, Outcome};

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// The key of a request, where it has one. poem-openapi's `Header` takes one that is not ASCII for none, and of
/// several the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        let schema =
            MetaSchema { min_length: Some(1), max_length: Some(MAX_KEY), ..MetaSchema::new("string") };
        Some(MetaSchemaRef::Inline(Box::new(schema)))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(sent(request.headers())?))
    }
}

/// The key that was sent.
fn sent(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let unreadable = |detail: &str| Failure::Unreadable("/header/idempotency-key", detail.to_owned());
    let mut lines = headers.get_all("idempotency-key").iter();
    let Some(key) = lines.next().map(|it| it.as_bytes()) else { return Ok(None) };
    if lines.next().is_some() {
        return Err(unreadable("there are several; a request has one key"));
    }
    let is_visible = |it: &u8| it.is_ascii_graphic() || *it == b' ';
    match std::str::from_utf8(key) {
        Ok(text) if (1..=MAX_KEY).contains(&key.len()) && key.iter().all(is_visible) => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(unreadable("a key has 1 to 255 visible characters of ASCII, for example those of a UUID")),
    }
}

/// The request with its key, where it has one.
#[must_use]
pub fn keyed(request: &Request, caller: &Caller, key: IdempotencyKey, body: Bytes) -> Option<KeyedRequest> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().filter(|it| !it.is_empty()).map(str::to_owned);
    Some(KeyedRequest { caller: caller.user.id, method: "POST", path, query, key: key.0?, body })
}

/// The answer of a request, and `Idempotent-Replayed` where it is that of an earlier one.
#[must_use]
pub fn parts(outcome: Outcome) -> (Answer, Option<bool>) {
    match outcome {
        Outcome::Done(answer) => (answer, None),
        Outcome::Replayed(answer) => (answer, Some(true)),
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_read_or_refused() {
        let sent = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("idempotency-key", HeaderValue::from_bytes(line).unwrap());
            }
            sent(&headers).map_err(drop)
        };
        let long = [b'k'; 256];
        assert_eq!(sent(&[]), Ok(None));
        assert_eq!(sent(&[b"k 1,2"]), Ok(Some("k 1,2".to_owned())));
        assert_eq!(sent(&[&long[1..]]).map(|it| it.map(|it| it.len())), Ok(Some(255)));
        for wrong in
            [&[&b""[..]][..], &[&long], &["clé-1".as_bytes()], &[b"a\tb"], &[b"k", b"l"], &[b"k", b"k"]]
        {
            assert_eq!(sent(wrong), Err(()), "{wrong:?}");
        }
    }
}
