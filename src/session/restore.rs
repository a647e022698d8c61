//! Restoring a session from the store: each change has the effect that it had when it was recorded.

use std::sync::Arc;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::message::{Publication, SharedMessage};
use crate::session::delivery::DeliveryOptions;
use crate::session::entry::Entry;
use crate::session::inflight::Awaits;
use crate::session::outbound::Outbound;
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use crate::storage::{DeliveryRecord, LoadError};

impl Outbound {
    /// Sets whether changes of the session are recorded.
    pub fn keep(&mut self, kept: bool) {
        self.client_limits.kept = kept;
    }

    /// Restores `Queued`: adds `message`, that of the record, to the queue.
    pub fn restore_queued(
        &mut self,
        pool: &mut Pool,
        client_id: &str,
        record: &DeliveryRecord<'_>,
        message: &SharedMessage,
    ) -> Result<(), LoadError> {
        if record.qos == QoS::AtMostOnce {
            return Err(LoadError::QueuedQos0 { client_id: client_id.to_owned() });
        }
        let share: Option<Arc<str>> = record.share.map(Into::into);
        let options = DeliveryOptions {
            qos: record.qos,
            retain: record.retain,
            identifiers: record.identifiers,
            share: share.as_ref(),
        };
        self.queue.push_unbounded(Pending::new(pool, &mut Publication::of(message), &options));
        Ok(())
    }

    /// Adds a message to the queue that stays in the store.
    pub fn restore_stored(&mut self, entry: Entry) {
        self.queue.push_stored(entry);
    }

    /// Restores `Dropped`: removes a message from the queue.
    pub fn restore_dropped(&mut self, client_id: &str, index: usize) -> Result<(), LoadError> {
        self.take_queued(client_id, "dropped", index).map(|_| ())
    }

    /// Restores `Sent`: moves the oldest message of the queue to the window.
    pub fn restore_sent(
        &mut self,
        pool: &mut Pool,
        client_id: &str,
        packet_id: PacketId,
    ) -> Result<(), LoadError> {
        let len = self.queue.len();
        let Entry::Held(pending) = self.take_queued(client_id, "sent", 0)? else {
            return Err(LoadError::NotQueued {
                client_id: client_id.to_owned(),
                change: "sent",
                index: 0,
                len,
            });
        };
        match self.inflight.restore(pool, packet_id, pending) {
            true => Ok(()),
            false => {
                Err(LoadError::PacketIdInUse { client_id: client_id.to_owned(), packet_id: packet_id.get() })
            }
        }
    }

    /// Restores `Confirmed`: a QoS 2 delivery now awaits PUBCOMP.
    pub fn restore_confirmed(&mut self, client_id: &str, packet_id: PacketId) -> Result<(), LoadError> {
        match self.inflight.find(packet_id) {
            Some((at, delivery)) if delivery.awaits != Awaits::Puback => {
                delivery.awaits = Awaits::Pubcomp;
                self.inflight.take_message(at);
                Ok(())
            }
            _ => Err(unknown(client_id, "confirmed", packet_id)),
        }
    }

    /// Restores `Done`: removes a delivery from the window.
    pub fn restore_done(
        &mut self,
        pool: &mut Pool,
        client_id: &str,
        packet_id: PacketId,
    ) -> Result<(), LoadError> {
        let at = self.inflight.find(packet_id).map(|(at, _)| at);
        let at = at.ok_or_else(|| unknown(client_id, "done", packet_id))?;
        self.inflight.complete(pool, at);
        Ok(())
    }

    fn take_queued(
        &mut self,
        client_id: &str,
        change: &'static str,
        index: usize,
    ) -> Result<Entry, LoadError> {
        let len = self.queue.len();
        let missing = || LoadError::NotQueued { client_id: client_id.to_owned(), change, index, len };
        self.queue.remove(index).ok_or_else(missing)
    }
}

/// The error of a change that names an unused Packet Identifier.
pub(super) fn unknown(client_id: &str, change: &'static str, packet_id: PacketId) -> LoadError {
    LoadError::UnknownPacketId { client_id: client_id.to_owned(), change, packet_id: packet_id.get() }
}
