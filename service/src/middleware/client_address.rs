//! The client's address: that of whoever connects or, where that is a proxy of ours, the one that the proxy
//! tells of. What clients themselves write into those headers is never believed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use poem::Request;
use poem::http::HeaderMap;
use poem::http::header::{FORWARDED, HeaderName};

use super::forwarded;
use crate::settings::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word is taken. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<Networks>);

impl TrustedProxies {
    /// Those in these networks.
    #[must_use]
    pub fn new(networks: Networks) -> Self {
        Self(Arc::new(networks))
    }

    /// The address of the client that asks; nothing where the connection has none.
    #[must_use]
    pub fn client_of(&self, request: &Request) -> Option<IpAddr> {
        let peer = request.remote_addr().as_socket_addr()?.ip().to_canonical();
        Some(if self.0.contains(peer) { self.behind(peer, request.headers()) } else { peer })
    }

    /// The client that the proxy `peer` tells of. Most proxies write one of the two headers and pass the
    /// other on as the client sent it, so where both are there and disagree, neither is believed.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = |name: HeaderName| {
            let lines: Vec<_> = headers.get_all(name).iter().map(|it| it.to_str().unwrap_or("?")).collect();
            // Several lines are one list, whose end is what the nearest proxy wrote.
            (!lines.is_empty()).then(|| lines.into_iter().rev())
        };
        let addresses = lines(X_FORWARDED_FOR).map(|lines| {
            let hops = lines.flat_map(|line| line.rsplit(',')).map(address);
            self.last_untrusted(peer, hops)
        });
        let forwarded = lines(FORWARDED).map(|lines| {
            let hops =
                lines.flat_map(forwarded::elements).map(|element| address(&forwarded::node(element?)?));
            self.last_untrusted(peer, hops)
        });
        match (addresses, forwarded) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    /// Goes from the nearest hop outwards as long as each is a proxy of ours. What is written beyond the
    /// first that is not, or beyond one that cannot be read, may be anybody's invention.
    fn last_untrusted(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            client = hop;
            if !self.0.contains(hop) {
                break;
            }
        }
        client
    }
}

/// An address, perhaps with a port: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()));
    parsed.map(|it: IpAddr| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use foundation::settings::Setting as _;
    use poem::http::HeaderValue;

    use super::*;

    const PEER: &str = "10.0.0.1";

    /// The client that a proxy of ours tells of in these headers.
    fn client(headers: &[(HeaderName, &'static str)]) -> String {
        let proxies = TrustedProxies::new(Networks::parse("10.0.0.0/8, 2001:db8:1::/48,192.0.2.9").unwrap());
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        proxies.behind(PEER.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_last_that_is_no_proxy_is_the_client() {
        for (header, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            // What the client wrote stands before what the proxies did.
            ("8.8.8.8, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
            ("8.8.8.8,192.0.2.7,2001:db8:1::1,192.0.2.9", "192.0.2.7"),
            ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
            // Beyond what cannot be read, nothing is believed.
            ("8.8.8.8, unknown", PEER),
            ("8.8.8.8, unknown, 10.1.2.3", "10.1.2.3"),
            ("", PEER),
            ("192.0.2.7,", PEER),
        ] {
            assert_eq!(client(&[(X_FORWARDED_FOR, header)]), expected, "{header}");
        }
    }

    #[test]
    fn the_standard_header_is_understood() {
        for (header, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"[2001:db8::7]:4711\";proto=https", "2001:db8::7"),
            ("for=8.8.8.8, by=10.0.0.1;for=192.0.2.7;proto=http", "192.0.2.7"),
            ("for=8.8.8.8, for=_hidden", PEER),
            ("proto=https", PEER),
            // What is in quotes is no list, wherever it came from.
            ("for=192.0.2.7;host=\"a,for=8.8.8.8;x=\"", "192.0.2.7"),
            ("for=192.0.2.7;host=\"a\\\",for=8.8.8.8;x=\\\"\"", "192.0.2.7"),
            // What the client has left open ends nothing that the proxy wrote.
            ("for=8.8.8.8;host=\", for=192.0.2.7", "192.0.2.7"),
            ("for=8.8.8.8;host=\", for=\"192.0.2.7:80\"", "192.0.2.7"),
        ] {
            assert_eq!(client(&[(FORWARDED, header)]), expected, "{header}");
        }
    }

    #[test]
    fn of_two_headers_that_disagree_neither_is_believed() {
        let (mine, same) = ((X_FORWARDED_FOR, "192.0.2.7"), (FORWARDED, "for=192.0.2.7"));
        assert_eq!(client(&[mine.clone(), same]), "192.0.2.7");
        assert_eq!(client(&[mine, (FORWARDED, "for=8.8.8.8")]), PEER);
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [(X_FORWARDED_FOR, "8.8.8.8"), (X_FORWARDED_FOR, "192.0.2.7")];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        let proxies = TrustedProxies::new(Networks::parse("10.0.0.0/8").unwrap());
        assert_eq!(proxies.behind(PEER.parse().unwrap(), &headers).to_string(), "192.0.2.7");
    }
}
