//! What first bytes say of the protocol that a client speaks, and lists in settings.

/// The beginning of a PROXY header of version 1.
pub(super) const PROXY_V1: &[u8] = b"PROXY ";
/// The beginning of a PROXY header of version 2.
pub(super) const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whether bytes begin as a PROXY header does.
pub(super) fn is_proxy(bytes: &[u8]) -> bool {
    bytes.starts_with(PROXY_V1) || bytes.starts_with(PROXY_V2)
}

/// The protocol of a client's first bytes, for the log.
pub(super) fn name(bytes: &[u8]) -> &'static str {
    match bytes.first() {
        Some(0x10) => "MQTT",
        Some(0x16) => "TLS",
        Some(0x80) => "SSL 2",
        _ if is_proxy(bytes) => "a PROXY header",
        Some(first) if first.is_ascii_uppercase() => "HTTP",
        _ => "of no known protocol",
    }
}

/// The words of a list in a setting, which commas or spaces separate.
pub(super) fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).filter(|word| !word.is_empty())
}
