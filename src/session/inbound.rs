//! What a session remembers of the packets that its client sends.

use hashbrown::HashSet;

use crate::codec::packet_id::PacketId;
use crate::session::aliases::AliasesIn;
use crate::session::epoch::Epoch;

/// The receiving half of a session. Its lock is held by the client's connection for the length of a turn, and
/// by nobody else but a connection that takes the session over.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The connection that may use this half; an older one finds another number here and ends.
    pub epoch: Epoch,
    /// Whether changes of the session are recorded.
    pub kept: bool,
    /// QoS 2 messages that were received and not yet released [MQTT-4.3.3-10].
    pub received: Unreleased,
    /// The Topic Aliases of this connection.
    pub aliases: AliasesIn,
}

/// Packet Identifiers of QoS 2 messages. Few sessions have any.
#[derive(Debug, Default)]
pub struct Unreleased(Option<Box<HashSet<PacketId>>>);

impl Unreleased {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is one of them.
    pub fn contains(&self, id: PacketId) -> bool {
        self.0.as_ref().is_some_and(|known| known.contains(&id))
    }

    /// Adds one.
    pub fn insert(&mut self, id: PacketId) {
        self.0.get_or_insert_default().insert(id);
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, id: PacketId) -> bool {
        self.0.as_mut().is_some_and(|known| known.remove(&id))
    }
}

impl Inbound {
    /// A new connection: aliases are its own [MQTT-3.3.2-7], received identifiers are the session's.
    pub(super) fn restart(&mut self, epoch: Epoch, kept: bool) {
        self.epoch = epoch;
        self.kept = kept;
        self.aliases = AliasesIn::default();
        if self.received.is_empty() {
            self.received = Unreleased::default();
        }
    }
}
