//! Messages that were sent with a Packet Identifier and are not yet acknowledged, in the order of sending.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::packet_id::PacketId;
use crate::codec::qos::QoS;
use crate::message::SharedMessage;
use crate::session::outbound::Terms;

/// Packet Identifiers run from 1 to this number, then again from 1.
const IDENTIFIERS: u64 = 65_535;

/// A message for one client: what is sent, and how.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The message.
    pub message: SharedMessage,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// The Subscription Identifiers of the subscriptions that matched [MQTT-3.3.4-3].
    pub identifiers: SmallVec<[u32; 1]>,
    /// The whole filter of the shared subscription that it was sent for: another member may take its place.
    pub share: Option<Arc<str>>,
}

impl Pending {
    /// How it is sent.
    pub fn terms(&self) -> Terms<'_> {
        Terms {
            qos: self.qos,
            retain: self.retain,
            identifiers: &self.identifiers,
            share: self.share.as_ref(),
        }
    }
}

/// What the client has to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// PUBACK, for QoS 1.
    Puback,
    /// PUBREC, for QoS 2.
    Pubrec,
    /// PUBCOMP; PUBREL was sent and the message is no longer needed.
    Pubcomp,
}

/// One delivery that is not complete.
#[derive(Debug)]
pub struct Delivery {
    sequence: u64,
    /// What the client has to send next.
    pub awaits: Awaits,
    /// The message, until PUBREC.
    pub pending: Option<Pending>,
}

impl Delivery {
    /// The Packet Identifier, the same for every transmission [MQTT-4.4.0-1], [MQTT3-4.4.0-1].
    pub fn packet_id(&self) -> PacketId {
        identifier(self.sequence)
    }
}

fn identifier(sequence: u64) -> PacketId {
    PacketId::new((sequence % IDENTIFIERS + 1) as u16).unwrap_or(PacketId::MIN)
}

/// The in-flight window of one session.
#[derive(Debug, Default)]
pub struct Inflight {
    /// Ordered by sequence.
    deliveries: VecDeque<Delivery>,
    next: u64,
    /// How many deliveries from the front were sent on this connection.
    sent: usize,
}

impl Inflight {
    /// Deliveries that are not complete.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether every delivery is complete.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Adds a delivery that is being sent for the first time, and gives it an identifier that is not in
    /// use [MQTT-2.2.1-4], [MQTT3-2.3.1-4]. `None` if all are in use.
    pub fn begin(&mut self, pending: Pending) -> Option<PacketId> {
        if self.deliveries.len() as u64 >= IDENTIFIERS {
            return None;
        }
        while self.in_use(self.next) {
            self.next += 1;
        }
        let sequence = self.next;
        self.next += 1;
        let awaits = match pending.qos {
            QoS::ExactlyOnce => Awaits::Pubrec,
            _ => Awaits::Puback,
        };
        self.deliveries.push_back(Delivery { sequence, awaits, pending: Some(pending) });
        self.sent += 1;
        Some(identifier(sequence))
    }

    /// The delivery with this identifier.
    pub fn get_mut(&mut self, id: PacketId) -> Option<&mut Delivery> {
        let at = self.position(id)?;
        self.deliveries.get_mut(at)
    }

    /// Ends the delivery with this identifier.
    pub fn complete(&mut self, id: PacketId) -> Option<Delivery> {
        let at = self.position(id)?;
        let done = self.deliveries.remove(at)?;
        if at < self.sent {
            self.sent -= 1;
        }
        if self.deliveries.is_empty() {
            self.deliveries = VecDeque::new();
        }
        Some(done)
    }

    /// A new connection: every delivery is to be sent again, in order [MQTT-4.4.0-1],
    /// [MQTT-4.6.0-1], [MQTT3-4.6.0-1].
    pub fn restart(&mut self) {
        self.sent = 0;
    }

    /// Deliveries that were begun or gone on with on this connection and are not complete.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// The next delivery that was not yet sent on this connection.
    pub fn unsent(&self) -> Option<&Delivery> {
        self.deliveries.get(self.sent)
    }

    /// Counts the delivery that [`Inflight::unsent`] gave as sent.
    pub fn mark_sent(&mut self) {
        self.sent = self.deliveries.len().min(self.sent + 1);
    }

    /// Removes the delivery that [`Inflight::unsent`] gave.
    pub fn remove_unsent(&mut self) {
        self.deliveries.remove(self.sent);
    }

    /// The messages that the client does not have for sure and that another may be sent, oldest first: those of
    /// QoS 1 [MQTT-4.8.2-5].
    pub fn into_unacknowledged(self) -> impl Iterator<Item = Pending> {
        let qos1 = self.deliveries.into_iter().filter(|d| d.awaits == Awaits::Puback);
        qos1.filter_map(|d| d.pending)
    }

    /// Every delivery, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter()
    }

    fn in_use(&self, sequence: u64) -> bool {
        match self.deliveries.front() {
            Some(oldest) if sequence - oldest.sequence >= IDENTIFIERS => {
                self.deliveries.iter().any(|d| (sequence - d.sequence).is_multiple_of(IDENTIFIERS))
            }
            _ => false,
        }
    }

    /// Sequences are sorted, and identifiers are given round: usually the youngest sequence with this
    /// identifier is the one. Only a delivery that is left behind by 65,535 younger ones is searched for.
    fn position(&self, id: PacketId) -> Option<usize> {
        let youngest = self.next.checked_sub(1)?;
        let back = (youngest % IDENTIFIERS + IDENTIFIERS + 1 - u64::from(id.get())) % IDENTIFIERS;
        let by_sequence = youngest
            .checked_sub(back)
            .and_then(|wanted| self.deliveries.binary_search_by_key(&wanted, |d| d.sequence).ok());
        by_sequence.or_else(|| {
            let oldest = self.deliveries.front()?;
            if youngest - oldest.sequence < IDENTIFIERS {
                return None;
            }
            self.deliveries.iter().position(|d| d.packet_id() == id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Inflight, Pending};
    use crate::codec::qos::QoS;
    use crate::message::Message;
    use crate::time::Time;
    use smallvec::SmallVec;
    use std::sync::Arc;

    fn pending() -> Pending {
        let message = Message::new(b"t", &[], b"", QoS::AtLeastOnce, false, Time::ZERO, Time::NEVER);
        Pending {
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: SmallVec::new(),
            share: None,
        }
    }

    #[test]
    fn identifiers_begin_at_one_and_are_found() {
        let mut inflight = Inflight::default();
        let a = inflight.begin(pending()).unwrap();
        let b = inflight.begin(pending()).unwrap();
        assert_eq!((a.get(), b.get()), (1, 2));
        assert!(inflight.complete(b).is_some());
        assert!(inflight.complete(b).is_none());
        assert!(inflight.complete(a).is_some());
        assert!(inflight.is_empty());
    }

    /// [MQTT-2.2.1-4]: an identifier is not given again while it is in use.
    /// [MQTT-4.3.2-1], [MQTT-4.3.3-1]
    #[test]
    fn an_identifier_in_use_is_skipped_when_the_numbers_come_round() {
        let mut inflight = Inflight::default();
        let stuck = inflight.begin(pending()).unwrap();
        for _ in 0..65_534 {
            let id = inflight.begin(pending()).unwrap();
            assert_ne!(id, stuck);
            inflight.complete(id).unwrap();
        }
        let next = inflight.begin(pending()).unwrap();
        assert_eq!(next.get(), 2);
        assert!(inflight.complete(stuck).is_some());
        assert!(inflight.complete(next).is_some());
    }

    #[test]
    fn all_identifiers_can_be_in_use_and_then_there_is_none() {
        let mut inflight = Inflight::default();
        for _ in 0..65_535 {
            assert!(inflight.begin(pending()).is_some());
        }
        assert!(inflight.begin(pending()).is_none());
    }

    #[test]
    fn a_new_connection_sends_all_again_in_order() {
        let mut inflight = Inflight::default();
        let ids: Vec<_> = (0..3).map(|_| inflight.begin(pending()).unwrap()).collect();
        assert!(inflight.unsent().is_none());
        inflight.restart();
        inflight.complete(ids[1]).unwrap();
        let mut again = Vec::new();
        while let Some(delivery) = inflight.unsent() {
            again.push(delivery.packet_id());
            inflight.mark_sent();
        }
        assert_eq!(again, [ids[0], ids[2]]);
    }
}
