//! Checks of every request: the host name and the origin. Also the security headers of every response.

use std::net::IpAddr;

use hyper::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Uri};

/// Content-Security-Policy: only the console's own files, no inline script or style, no embedding in frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// Host names that requests may use.
#[derive(Debug)]
pub(super) struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// The names of the setting `console.hosts`.
    pub(super) fn new(setting: &str) -> AllowedHosts {
        AllowedHosts(
            setting
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .filter(|n| !n.is_empty())
                .collect(),
        )
    }

    /// Whether the request's host is an IP address or an allowed name. Any other name may belong to a hostile site that
    /// resolves it to this machine (DNS rebinding).
    pub(super) fn is_allowed(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let Some(name) = host.to_str().ok().and_then(name_of) else {
            return false;
        };
        // A request target in absolute form also names a host.
        let same = uri.authority().is_none_or(|authority| name_of(authority.as_str()) == Some(name));
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let name = name.to_ascii_lowercase();
        same && (address.is_ok() || name == "localhost" || self.0.contains(&name))
    }
}

/// Whether a request comes from a page of the console or from no page.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        // "none": typed by the user.
        if site != "same-origin" && site != "none" {
            return false;
        }
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    // A proxy in front of the console may use https.
    origin.is_some_and(|(scheme, authority)| {
        (scheme == "http" || scheme == "https")
            && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
    })
}

/// Adds the security headers.
pub(super) fn add_security_headers(headers: &mut HeaderMap) {
    let said = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ];
    for (name, value) in said {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The name in `name:port`, `[address]:port` or either without a port.
fn name_of(authority: &str) -> Option<&str> {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            authority.split_at_checked(end)?
        }
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    (!name.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};
    use hyper::{HeaderMap, Uri};

    use super::{AllowedHosts, is_same_origin};

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn is_allowed(host: &str) -> bool {
        let hosts = AllowedHosts::new("Broker.Example.org, b");
        hosts.is_allowed(&Uri::from_static("/"), &headers(&[(HOST, host)]))
    }

    #[test]
    fn addresses_and_names_of_the_settings_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:18083",
            "[::1]:1",
            "[::1]",
            "192.0.2.1:80",
            "localhost:18083",
            "LocalHost",
            "broker.example.org:18083",
            "b",
        ] {
            assert!(is_allowed(host), "{host}");
        }
        for host in
            ["example.org", "localhost.example.org", "127.0.0.1.example.org", "", ":80", "[::1", "b:x", "b@c"]
        {
            assert!(!is_allowed(host), "{host}");
        }
    }

    #[test]
    fn a_request_has_one_host() {
        let hosts = AllowedHosts::new("");
        let uri = Uri::from_static("/");
        assert!(!hosts.is_allowed(&uri, &HeaderMap::new()));
        let mut two = headers(&[(HOST, "localhost")]);
        two.append(HOST, HeaderValue::from_static("localhost"));
        assert!(!hosts.is_allowed(&uri, &two));
        let one = headers(&[(HOST, "localhost")]);
        assert!(hosts.is_allowed(&Uri::from_static("http://localhost:80/"), &one));
        assert!(!hosts.is_allowed(&Uri::from_static("http://example.org/"), &one));
    }

    #[test]
    fn foreign_pages_are_found_by_their_origin() {
        let site = HeaderName::from_static("sec-fetch-site");
        let host = (HOST, "127.0.0.1:18083");
        let ok = |more: &[(HeaderName, &str)]| {
            is_same_origin(&headers(&[std::slice::from_ref(&host), more].concat()))
        };
        assert!(ok(&[]));
        assert!(ok(&[(ORIGIN, "http://127.0.0.1:18083")]));
        assert!(ok(&[(ORIGIN, "https://127.0.0.1:18083"), (site.clone(), "same-origin")]));
        assert!(ok(&[(site.clone(), "none")]));
        for origin in [
            "http://127.0.0.1:18084",
            "http://127.0.0.1",
            "null",
            "https://example.org",
            "file://",
            "ftp://127.0.0.1:18083",
        ] {
            assert!(!ok(&[(ORIGIN, origin)]), "{origin}");
        }
        assert!(!ok(&[(site.clone(), "cross-site")]));
        assert!(!ok(&[(site, "same-site")]));
    }
}
