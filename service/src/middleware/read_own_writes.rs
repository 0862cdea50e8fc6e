//! Who wrote something finds it in what they read next, also where reads go to a standby: the answer of a
//! write says where the primary was, and the caller sends it with the read.

use foundation::database::position::{Position, following};
use poem::http::header::{HeaderName, HeaderValue};
use poem::http::{HeaderMap, StatusCode};
use poem::{Endpoint, Middleware, Request, Response, Result};

use crate::api::problem::Failure;

/// The header that names a position: of an answer, the one after everything that the request wrote; of a
/// request, the one up to which it is to find everything.
pub const BEDPLATE_POSITION: HeaderName = HeaderName::from_static("bedplate-position");

/// Tells where writes ended, and has reads find them.
#[derive(Clone, Copy, Debug)]
pub struct ReadOwnWrites {
    has_standby: bool,
}

impl ReadOwnWrites {
    /// Where there is no standby, everybody finds everything, and nothing is told.
    #[must_use]
    pub const fn new(has_standby: bool) -> Self {
        Self { has_standby }
    }
}

/// The endpoint of [`ReadOwnWrites`].
pub struct ReadOwnWritesEndpoint<E> {
    inner: E,
    has_standby: bool,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for ReadOwnWrites {
    type Output = ReadOwnWritesEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ReadOwnWritesEndpoint { inner, has_standby: self.has_standby }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for ReadOwnWritesEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let after = match demanded(request.headers()) {
            Ok(after) => after,
            // It is told of after the caller is known and the route found, whose errors come first.
            Err(unreadable) => {
                request.set_data(unreadable);
                None
            }
        };
        if !self.has_standby {
            return self.inner.call(request).await;
        }
        let (response, written) = following(after, self.inner.call(request)).await;
        let Some(written) = written else { return response };
        match response {
            Ok(mut response) => {
                tell(written, &mut response);
                Ok(response)
            }
            Err(mut error) => {
                // A part of it may be stored. Whom the door does not know is told nothing of the database.
                if error.status() != StatusCode::UNAUTHORIZED {
                    error.set_data(Written(written));
                }
                Err(error)
            }
        }
    }
}

/// Where the writes of a request ended that failed nevertheless, for whoever answers the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written(pub(super) Position);

/// Names the position in an answer.
pub(super) fn tell(written: Position, response: &mut Response) {
    if let Ok(written) = HeaderValue::try_from(written.to_string()) {
        response.headers_mut().insert(BEDPLATE_POSITION, written);
    }
}

/// A position that is none, kept with its request until it is known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadablePosition;

impl From<UnreadablePosition> for Failure {
    fn from(_: UnreadablePosition) -> Self {
        let detail = "send it as a write answered it, two hexadecimal numbers with a slash between them";
        Self::Unreadable("/header/bedplate-position", detail.to_owned())
    }
}

/// The furthest of the positions that the request names.
fn demanded(headers: &HeaderMap) -> Result<Option<Position>, UnreadablePosition> {
    let position = |it: &HeaderValue| it.to_str().ok()?.parse().ok();
    let lines = headers.get_all(BEDPLATE_POSITION).iter();
    lines
        .map(|it| position(it).ok_or(UnreadablePosition))
        .try_fold(None, |furthest, it| Ok(furthest.max(Some(it?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_position_is_demanded() {
        let demanded = |lines: &[&'static str]| {
            let lines = lines.iter().map(|it| (BEDPLATE_POSITION, HeaderValue::from_static(it)));
            let mut headers = HeaderMap::new();
            lines.for_each(|(name, value)| _ = headers.append(name, value));
            demanded(&headers).map(|it| it.map(|it| it.to_string()))
        };
        assert_eq!(demanded(&[]), Ok(None));
        assert_eq!(demanded(&["0/5"]), Ok(Some("0/5".to_owned())));
        assert_eq!(demanded(&["0/5", "1/0", "0/9"]), Ok(Some("1/0".to_owned())));
        for wrong in [&[""][..], &["5"], &["0/5", "x"], &["0/5, 0/6"]] {
            assert_eq!(demanded(wrong), Err(UnreadablePosition), "{wrong:?}");
        }
    }
}
