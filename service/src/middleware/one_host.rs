//! A request says which host it asks, and says it once (RFC 9112, 3.2).

use std::sync::Arc;

use poem::http::header::HOST;
use poem::http::uri::Authority;
use poem::http::{HeaderMap, Version};
use poem::{Endpoint, Request, Response, Result};

use crate::api::problem::Failure;

/// Refuses requests that a proxy in front may have understood as ones for another host.
///
/// # Errors
/// The request is one of them, or what the handler ended with.
pub async fn one_host<E: Endpoint<Output = Response>>(
    endpoint: Arc<E>,
    request: Request,
) -> Result<Response> {
    match wrong_host(request.version(), request.headers()) {
        Some(detail) => Err(Failure::Unreadable("/header/host", detail.to_owned()).into()),
        None => endpoint.call(request).await,
    }
}

fn wrong_host(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // Before HTTP/1.1 there was none.
        (None, _) => (version >= Version::HTTP_11).then_some("it is missing"),
        (Some(_), Some(_)) => Some("it is given twice"),
        (Some(host), None) => {
            let host = host.as_bytes();
            // Empty is what has no authority.
            let is_one =
                host.is_empty() || Authority::try_from(host).is_ok_and(|it| !it.as_str().contains('@'));
            (!is_one).then_some("it is no host")
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn each_request_has_one_host() {
        for (version, hosts, is_one) in [
            (Version::HTTP_11, &["example.org"][..], true),
            (Version::HTTP_11, &["127.0.0.1:8080"], true),
            (Version::HTTP_11, &["[::1]:8080"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_10, &["a", "b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a, b"], false),
            (Version::HTTP_11, &["me@a"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            assert_eq!(wrong_host(version, &headers).is_none(), is_one, "{version:?} {hosts:?}");
        }
    }
}
