//! Packet Identifiers.

use std::fmt;
use std::num::NonZeroU16;

/// The number that ties an acknowledgement to its packet: 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The identifier 1.
    pub const MIN: PacketId = PacketId(NonZeroU16::MIN);
    /// The identifier 65535.
    pub const MAX: PacketId = PacketId(NonZeroU16::MAX);

    /// The identifier `id`; `None` for 0, which is no identifier.
    pub const fn new(id: u16) -> Option<PacketId> {
        // [MQTT-2.2.1-3], [MQTT3-2.3.1-1]
        match NonZeroU16::new(id) {
            Some(id) => Some(PacketId(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
