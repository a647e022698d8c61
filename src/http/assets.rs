//! The console's pages: files of `assets/`, packed when the library is built.

use std::io::Read;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::read::GzDecoder;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};

use crate::http::answer::{Problem, Reply};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// One file.
struct Asset {
    /// The path: `/index.html`.
    path: &'static str,
    content_type: &'static str,
    /// The ETag of the content, with quotes.
    etag: &'static str,
    packed: Packed,
}

/// A content, compressed with gzip; it is unpacked when the first client asks for it so, and kept.
struct Packed {
    gzip: &'static [u8],
    whole: OnceLock<Bytes>,
}

impl Packed {
    const fn new(gzip: &'static [u8]) -> Packed {
        Packed { gzip, whole: OnceLock::new() }
    }

    fn whole(&self) -> Result<Bytes, Problem> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole.clone());
        }
        let mut whole = Vec::new();
        let unpacked = GzDecoder::new(self.gzip).read_to_end(&mut whole);
        unpacked.map_err(|error| Problem::internal(error.to_string()))?;
        Ok(self.whole.get_or_init(|| whole.into()).clone())
    }
}

/// The file at a path.
pub(super) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Result<Reply, Problem> {
    let path = if path == "/" { "/index.html" } else { path };
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return Err(Problem::not_found("not found"));
    };
    if method != Method::GET && method != Method::HEAD {
        return Err(Problem::method_not_allowed("GET, HEAD".to_owned()));
    }
    let is_known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag || tag.trim() == "*");
    let mut answer = match (is_known, takes_gzip(headers)) {
        (true, _) => Reply { status: StatusCode::NOT_MODIFIED, ..Reply::done() },
        (false, true) => Reply::new(asset.packed.gzip, asset.content_type).with(CONTENT_ENCODING, "gzip")?,
        (false, false) => Reply::new(asset.packed.whole()?, asset.content_type),
    };
    // Browsers revalidate each time, mostly with 304: a page is never older than the broker.
    answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    answer.headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    Ok(answer)
}

/// The document of the API.
pub(super) fn openapi() -> Result<Bytes, Problem> {
    OPENAPI.whole()
}

/// Whether the client accepts gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|line| line.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|q| q.bytes().all(|byte| matches!(byte, b'0' | b'.')))
        });
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH};
    use hyper::{HeaderMap, Method, StatusCode};

    use super::{ASSETS, answer, takes_gzip};

    #[test]
    fn every_file_unpacks_and_has_a_type() {
        assert!(ASSETS.iter().any(|asset| asset.path == "/index.html"));
        for asset in &ASSETS {
            let whole = asset.packed.whole().unwrap();
            assert!(!whole.is_empty(), "{}", asset.path);
            // Once: a flood of requests costs the threads of MQTT no unpacking.
            assert_eq!(asset.packed.whole().unwrap().as_ptr(), whole.as_ptr(), "{}", asset.path);
            assert_ne!(asset.content_type, "application/octet-stream", "{}", asset.path);
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = answer(&Method::GET, "/", &HeaderMap::new()).unwrap();
        assert!(first.body.starts_with(b"<!") && !first.headers.contains_key(CONTENT_ENCODING));
        let known = HeaderMap::from_iter([(IF_NONE_MATCH, first.headers[ETAG].clone())]);
        let second = answer(&Method::GET, "/", &known).unwrap();
        assert_eq!((second.status, second.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let other = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"x\""))]);
        assert_eq!(answer(&Method::GET, "/", &other).unwrap().status, StatusCode::OK);
        assert!(answer(&Method::GET, "/../Cargo.toml", &HeaderMap::new()).is_err());
        assert!(answer(&Method::POST, "/", &HeaderMap::new()).is_err());
    }

    #[test]
    fn packed_for_those_who_take_it() {
        let takes = |text: &str| {
            takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(text).unwrap())]))
        };
        assert!(takes("gzip") && takes("br, gzip;q=0.5") && takes("*") && takes("deflate, GZIP"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("gzip; q=0.0") && !takes(""));
    }
}
