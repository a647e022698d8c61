//! Reason Strings: why the broker ends a connection, in words.

use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::reason::ReasonCode;
use crate::session::link::Cause;

/// Writes a packet that ends a connection, with `reason_string` unless that is empty. The Reason String is left out if
/// the packet would be larger than `most` bytes [MQTT-3.2.2-19], [MQTT-3.14.2-3]. Nothing is written if it is too large
/// even then [MQTT-3.1.2-24]. There are no User Properties [MQTT-3.2.2-20], [MQTT-3.14.2-4].
pub(crate) fn encode_with(
    reason_string: &str,
    most: u32,
    out: &mut Vec<u8>,
    encode: impl Fn(Properties<'_>, &mut Vec<u8>),
) {
    let mut properties = Vec::new();
    if !reason_string.is_empty() {
        PropertyWriter::new(&mut properties).reason_string(reason_string);
    }
    let start = out.len();
    for properties in [properties.as_slice(), &[]] {
        encode(Properties::from_validated(properties), out);
        if out.len() - start <= most as usize {
            return;
        }
        out.truncate(start);
    }
}

/// The Reason String for the end of a connection that no packet of its client has caused; empty where the reason code
/// is enough.
pub(crate) fn reason_string(cause: Cause) -> &'static str {
    match cause {
        Cause::KeepAliveTimeout => "no packet for one and a half times the keep alive",
        Cause::SessionTakenOver => "another connection uses the same client identifier",
        Cause::Refused(ReasonCode::QuotaExceeded) => {
            "the queue is full (session.max_queued_messages or session.max_queued_bytes)"
        }
        _ => "",
    }
}
