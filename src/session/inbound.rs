//! What a session remembers of the packets that its client sends.

use hashbrown::HashSet;

use crate::codec::packet_id::PacketId;
use crate::session::aliases::AliasesIn;

/// The receiving half of a session. Its lock is held by the client's connection for the length of a turn, and
/// by nobody else but a connection that takes the session over.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The connection that may use this half; an older one finds another number here and ends.
    pub epoch: u32,
    /// QoS 2 messages that were received and not yet released [MQTT-4.3.3-10].
    pub received: HashSet<PacketId>,
    /// The Topic Aliases of this connection.
    pub aliases: AliasesIn,
}

impl Inbound {
    /// A new connection: aliases are its own [MQTT-3.3.2-7], received identifiers are the session's.
    pub fn restart(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.aliases = AliasesIn::default();
    }
}
