//! A payload as JSON: as text if it is UTF-8, and always as base64; a long payload is truncated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// The maximum size that is shown, in bytes.
pub(super) const SHOWN: usize = 4_096;

/// A payload, or its beginning.
#[derive(Serialize)]
pub(super) struct Payload {
    bytes: usize,
    text: Option<String>,
    base64: String,
    truncated: bool,
}

impl Payload {
    /// The beginning of a payload of `bytes` bytes.
    pub(super) fn of(beginning: &[u8], bytes: usize) -> Payload {
        let shown = beginning.get(..SHOWN).unwrap_or(beginning);
        let truncated = shown.len() < bytes;
        Payload { bytes, text: text_of(shown, truncated), base64: STANDARD.encode(shown), truncated }
    }

    /// A whole payload.
    pub(super) fn whole(payload: &[u8]) -> Payload {
        Payload::of(payload, payload.len())
    }
}

/// The text; a truncated one without the incomplete last character.
fn text_of(shown: &[u8], truncated: bool) -> Option<String> {
    match std::str::from_utf8(shown) {
        Ok(text) => Some(text.to_owned()),
        Err(error) if truncated && error.error_len().is_none() => {
            let whole = shown.get(..error.valid_up_to())?;
            std::str::from_utf8(whole).ok().map(str::to_owned)
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Payload, SHOWN};

    #[test]
    fn text_is_text_and_other_bytes_are_not() {
        let text = Payload::whole("hi ü".as_bytes());
        assert_eq!((text.text.as_deref(), text.base64.as_str(), text.bytes), (Some("hi ü"), "aGkgw7w=", 5));
        let bytes = Payload::whole(&[0xff, 0]);
        assert_eq!((bytes.text, bytes.base64.as_str(), bytes.truncated), (None, "/wA=", false));
        assert_eq!(Payload::whole(b"").text.as_deref(), Some(""));
    }

    #[test]
    fn a_long_payload_is_cut_between_characters() {
        let long = "ü".repeat(SHOWN);
        let shifted = format!("a{long}");
        let payload = Payload::whole(shifted.as_bytes());
        assert!(payload.truncated && payload.bytes == 2 * SHOWN + 1);
        assert_eq!(payload.text.unwrap().len(), SHOWN - 1);
        assert_eq!(Payload::whole(&[0x80; SHOWN + 1]).text, None);
    }
}
