//! Reason Strings: why the broker refuses something, in words.

use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::reason::ReasonCode;
use crate::session::link::Cause;

/// Writes a packet that ends a connection with the Reason String `sentence`, if it has one; without it if the packet
/// would be larger than `most` bytes [MQTT-3.2.2-19], [MQTT-3.14.2-3]; and not at all if it is too large even
/// then [MQTT-3.1.2-24]. There are no User Properties [MQTT-3.2.2-20], [MQTT-3.14.2-4].
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

/// What there is to say about the end of a connection that no packet of its client has caused; empty where the
/// reason code says it all.
pub(crate) fn reason_string(cause: Cause) -> &'static str {
    match cause {
        Cause::KeepAliveTimeout => "nothing came for one and a half times the keep alive",
        Cause::SessionTakenOver => "another connection came with the same client identifier",
        Cause::Refused(ReasonCode::QuotaExceeded) => "the queue of the session is full",
        _ => "",
    }
}
