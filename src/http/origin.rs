//! Where a request comes from: the connection's peer, or what a trusted proxy says of its client.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::FORWARDED;

/// The addresses of the client and of each proxy but the last, as the proxies saw them.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The scheme of the client's request: `http` or `https`.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Proxies whose headers are believed.
#[derive(Debug)]
pub(super) struct TrustedProxies(Vec<IpAddr>);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client speaks HTTPS, with the console or with a trusted proxy.
    pub is_https: bool,
    /// Whether any proxy says that it forwards the request.
    pub is_forwarded: bool,
}

impl TrustedProxies {
    /// The addresses of the setting `console.trusted_proxies`, which are valid.
    pub(super) fn new(setting: &str) -> TrustedProxies {
        TrustedProxies(setting.split(',').filter_map(|address| address.trim().parse().ok()).collect())
    }

    /// The origin of a request.
    pub(super) fn origin(&self, peer: SocketAddr, headers: &HeaderMap) -> Origin {
        let is_forwarded = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED);
        let peer = peer.ip().to_canonical();
        if !self.0.contains(&peer) {
            return Origin { address: peer, is_https: false, is_forwarded };
        }
        // Each proxy appends the address of its peer. Only what trusted proxies have appended is believed.
        let mut address = peer;
        for entry in last_first(headers, FORWARDED_FOR) {
            let Ok(next) = entry.parse::<IpAddr>() else { break };
            address = next.to_canonical();
            if !self.0.contains(&address) {
                break;
            }
        }
        let is_https = last_first(headers, FORWARDED_PROTO).next().is_some_and(|s| s == "https");
        Origin { address, is_https, is_forwarded }
    }
}

/// The entries of a list in headers, the last one first.
fn last_first<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h str> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.into_iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{HeaderName, HeaderValue};

    use super::TrustedProxies;

    fn origin(trusted: &str, peer: &str, headers: &[(&'static str, &'static str)]) -> (String, bool, bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let found = TrustedProxies::new(trusted).origin(format!("{peer}:1").parse().unwrap(), &map);
        (found.address.to_string(), found.is_https, found.is_forwarded)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let told = [("x-forwarded-for", "192.0.2.1, 192.0.2.2"), ("x-forwarded-proto", "https")];
        let of = |address: &str, is_https, is_forwarded| (address.to_owned(), is_https, is_forwarded);
        assert_eq!(origin("", "127.0.0.1", &told), of("127.0.0.1", false, true));
        assert_eq!(origin("127.0.0.2", "127.0.0.1", &told), of("127.0.0.1", false, true));
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &told), of("192.0.2.2", true, true));
        assert_eq!(origin("192.0.2.2, 127.0.0.1", "127.0.0.1", &told), of("192.0.2.1", true, true));
        assert_eq!(origin("127.0.0.1", "[::ffff:127.0.0.1]", &told), of("192.0.2.2", true, true));
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &[]), of("127.0.0.1", false, false));
        let two = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.3")];
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &two), of("192.0.2.3", false, true));
        let no_address = [("x-forwarded-for", "192.0.2.1, unknown"), ("x-forwarded-proto", "https, http")];
        assert_eq!(origin("127.0.0.1", "127.0.0.1", &no_address), of("127.0.0.1", false, true));
    }
}
