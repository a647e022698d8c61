//! Helpers for the tests of the packets: bytes in, bytes out, refusals.

use crate::codec::error::DecodeError;
use crate::codec::frame::{Framing, split};
use crate::codec::packet::{Packet, decode};
use crate::codec::packet_id::PacketId;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;

pub(crate) const ALL_VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
pub(crate) const V3: [Version; 2] = [Version::V31, Version::V311];

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// Decodes `bytes`, which are one whole packet.
pub(crate) fn decode_bytes(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    match split(bytes, u32::MAX)? {
        Framing::Complete(frame) if frame.whole.len() == bytes.len() => decode(frame, version),
        framing => panic!("{bytes:02x?} is not one packet but {framing:?}"),
    }
}

pub(crate) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// `bytes` decode to `packet`, and `packet` encodes to `bytes`.
#[track_caller]
pub(crate) fn assert_golden(version: Version, bytes: &[u8], packet: &Packet<'_>) {
    assert_eq!(decode_bytes(bytes, version).as_ref(), Ok(packet), "{bytes:02x?} in {version}");
    assert_eq!(encode(packet, version), bytes, "{packet:?} in {version}");
}

/// `bytes` are refused for `reason`.
#[track_caller]
pub(crate) fn assert_refused(version: Version, bytes: &[u8], reason: ReasonCode) {
    match decode_bytes(bytes, version) {
        Ok(packet) => panic!("{bytes:02x?} in {version} is {packet:?}"),
        Err(error) => assert_eq!(error.reason, reason, "{bytes:02x?} in {version}: {error}"),
    }
}

/// Each body shorter than that of the short packet `bytes` is refused as malformed, down to `shortest` bytes.
#[track_caller]
pub(crate) fn assert_cut_is_malformed(version: Version, bytes: &[u8], shortest: usize) {
    for length in shortest..bytes.len() - 2 {
        let mut cut = bytes[..2 + length].to_vec();
        cut[1] = u8::try_from(length).unwrap();
        assert_refused(version, &cut, ReasonCode::MalformedPacket);
    }
}
