//! Why bytes are not a packet.

use crate::codec::reason::ReasonCode;

/// A packet that cannot be accepted, with the reason that an MQTT 5 peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause} ({} {:#04x})", .reason.name(), .reason.as_u8())]
pub struct DecodeError {
    /// The reason code for the DISCONNECT or CONNACK that answers the packet.
    pub reason: ReasonCode,
    /// What is wrong, as a clause for a log line or a Reason String.
    pub cause: &'static str,
}

impl DecodeError {
    /// An error with this reason and cause.
    pub const fn new(reason: ReasonCode, cause: &'static str) -> DecodeError {
        DecodeError { reason, cause }
    }

    /// A packet that cannot be parsed: reason Malformed Packet, 0x81.
    pub const fn malformed(cause: &'static str) -> DecodeError {
        DecodeError::new(ReasonCode::MalformedPacket, cause)
    }

    /// A packet that can be parsed but breaks the protocol: reason Protocol Error, 0x82.
    pub const fn protocol(cause: &'static str) -> DecodeError {
        DecodeError::new(ReasonCode::ProtocolError, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::DecodeError;

    #[test]
    fn the_text_names_cause_reason_and_number() {
        let error = DecodeError::malformed("the packet ends early");
        assert_eq!(error.to_string(), "the packet ends early (Malformed Packet 0x81)");
    }
}
