//! A message for one client, and how it is sent.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::qos::QoS;
use crate::message::{Publication, SharedMessage};
use crate::session::delivery::DeliveryOptions;
use crate::session::pool::Pool;

/// A message for one client that waits to be sent or acknowledged.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The message.
    pub message: SharedMessage,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// Whether it is a retained message that answers a subscription: those have places of their own in the queue.
    pub walked: bool,
    /// The Subscription Identifier of the subscription that matched; 0 if none or several have one.
    identifier: u32,
    extras: Option<Box<PendingExtras>>,
}

/// Rarely used state, boxed to keep deliveries small.
#[derive(Clone, Debug)]
struct PendingExtras {
    /// The Subscription Identifiers of the subscriptions that matched [MQTT-3.3.4-3].
    identifiers: SmallVec<[u32; 2]>,
    /// The whole filter of the shared subscription that it was matched by: another member may get it instead.
    share: Option<Arc<str>>,
}

impl PendingExtras {
    fn size(&self) -> usize {
        Pending::options_size(self.identifiers.len(), true)
    }
}

impl Pending {
    /// The message of a publication, with these options.
    pub fn new(pool: &mut Pool, publication: &mut Publication<'_>, options: &DeliveryOptions<'_>) -> Pending {
        let (identifier, extras) = match (options.identifiers, options.share) {
            ([], None) => (0, None),
            ([identifier], None) => (*identifier, None),
            (identifiers, share) => {
                let identifiers = SmallVec::from_slice(identifiers);
                (0, Some(Box::new(PendingExtras { identifiers, share: share.map(Arc::clone) })))
            }
        };
        let message = Arc::clone(publication.message_from(&mut pool.messages));
        let DeliveryOptions { qos, retain, .. } = *options;
        Pending { message, qos, retain, walked: false, identifier, extras }
    }

    /// Bytes of memory of the message and its options, without its place in a queue or window.
    #[inline]
    pub fn size(&self) -> usize {
        self.message.size() + self.extras.as_ref().map_or(0, |extras| extras.size())
    }

    /// Bytes of memory that the options of a delivery take beside the message.
    pub fn options_size(identifiers: usize, is_shared: bool) -> usize {
        match identifiers > 1 || is_shared {
            true => size_of::<PendingExtras>() + size_of::<u32>() * identifiers,
            false => 0,
        }
    }

    /// The options of the delivery.
    pub fn options(&self) -> DeliveryOptions<'_> {
        let identifiers = match &self.extras {
            Some(extras) => &extras.identifiers[..],
            None if self.identifier == 0 => &[],
            None => std::slice::from_ref(&self.identifier),
        };
        DeliveryOptions { qos: self.qos, retain: self.retain, identifiers, share: self.share() }
    }

    /// The whole filter of the shared subscription that it was matched by, if any.
    pub fn share(&self) -> Option<&Arc<str>> {
        self.extras.as_ref()?.share.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Pending;
    use crate::codec::qos::QoS;
    use crate::message::Publication;
    use crate::session::delivery::DeliveryOptions;
    use crate::session::pool::Pool;
    use crate::time::Time;

    #[test]
    fn the_terms_are_kept() {
        let share: Arc<str> = "$share/g/t".into();
        for identifiers in [&[][..], &[7], &[7, 8], &[1, 2, 3]] {
            for share in [None, Some(&share)] {
                let options = DeliveryOptions { qos: QoS::ExactlyOnce, retain: true, identifiers, share };
                let mut publication = Publication::new(b"t", b"", QoS::ExactlyOnce, false, Time::ZERO);
                let pending = Pending::new(&mut Pool::new(), &mut publication, &options);
                let beside = Pending::options_size(identifiers.len(), share.is_some());
                assert_eq!(pending.size(), pending.message.size() + beside);
                assert_eq!(beside > 0, pending.extras.is_some());
                let kept = pending.options();
                assert_eq!((kept.qos, kept.retain, kept.identifiers), (options.qos, true, identifiers));
                assert_eq!(kept.share, share);
            }
        }
    }

    #[test]
    fn a_pending_message_takes_24_bytes() {
        assert_eq!(size_of::<Pending>(), 24);
    }
}
