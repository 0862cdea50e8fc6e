//! `Idempotency-Key`: what is sent twice is done once.

use bytes::Bytes;
use poem::Request;

use crate::api::problem::Failure;
use crate::domain::access::Caller;
use crate::domain::idempotency::KeyedRequest;

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// The request with its key, where it has one.
///
/// # Errors
/// The key is not one of 1 to 255 visible characters.
pub fn keyed(
    request: &Request,
    caller: &Caller,
    key: Option<String>,
    body: Bytes,
) -> Result<Option<KeyedRequest>, Failure> {
    let Some(key) = key else { return Ok(None) };
    if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|it| it.is_ascii_graphic() || it == b' ') {
        let detail = "a key has 1 to 255 visible characters, for example those of a UUID";
        return Err(Failure::Unreadable("/header/idempotency-key", detail.to_owned()));
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().filter(|it| !it.is_empty()).map(str::to_owned);
    Ok(Some(KeyedRequest { caller: caller.user.id, method: "POST", path, query, key, body }))
}
