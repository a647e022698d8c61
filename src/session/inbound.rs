//! The receiving half of a session: unreleased QoS 2 messages and Topic Aliases.

use hashbrown::HashSet;

use crate::codec::packet_id::PacketId;
use crate::codec::reason::ReasonCode;
use crate::session::aliases::AliasesIn;
use crate::session::epoch::Epoch;
use crate::session::verdicts::Verdicts;

/// The receiving half of a session. The client's connection holds its lock for the length of a turn. Only a connection
/// that takes the session over locks it besides.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The connection that may use this half; an older connection finds a different number and ends.
    pub epoch: Epoch,
    /// Whether changes of the session are recorded.
    pub kept: bool,
    /// QoS 2 messages that were received and not yet released [MQTT-4.3.3-10].
    pub received: Unreleased,
    /// The Topic Aliases of this connection.
    pub aliases: AliasesIn,
    /// The latest verdicts about topics that this connection has published to; boxed because few brokers have any.
    pub verdicts: Option<Box<Verdicts<Option<ReasonCode>>>>,
}

/// Packet Identifiers of QoS 2 messages; boxed because few sessions have any.
#[derive(Debug, Default)]
pub struct Unreleased(Option<Box<HashSet<PacketId>>>);

impl Unreleased {
    /// The number of identifiers.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.len())
    }

    /// Whether there is no identifier.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `id` is one of them.
    pub fn contains(&self, id: PacketId) -> bool {
        self.0.as_ref().is_some_and(|known| known.contains(&id))
    }

    /// Adds an identifier.
    pub fn insert(&mut self, id: PacketId) {
        self.0.get_or_insert_default().insert(id);
    }

    /// Removes an identifier; returns whether it was present.
    pub fn remove(&mut self, id: PacketId) -> bool {
        self.0.as_mut().is_some_and(|known| known.remove(&id))
    }
}

impl Inbound {
    /// Starts a new connection: it has aliases of its own [MQTT-3.3.2-7]; the received identifiers stay with the
    /// session.
    pub(super) fn restart(&mut self, epoch: Epoch, kept: bool) {
        self.epoch = epoch;
        self.kept = kept;
        self.aliases = AliasesIn::default();
        self.verdicts = None;
        if self.received.is_empty() {
            self.received = Unreleased::default();
        }
    }
}
