//! The delivery that the matching subscriptions of one subscriber grant together.

use smallvec::SmallVec;

use crate::codec::qos::QoS;
use crate::engine::parts::subscriber::Subscriber;
use crate::topics::Match;

/// How one subscriber gets a message, when one or more of its subscriptions match
/// [MQTT-3.3.4-2], [MQTT3-3.3.5-1].
#[derive(Clone, Copy)]
pub(crate) struct Granted {
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
}

/// The Subscription Identifiers of a delivery [MQTT-3.3.4-3], [MQTT-3.3.4-4].
pub(crate) type Identifiers = SmallVec<[u32; 4]>;

impl Granted {
    /// The delivery that these subscriptions grant for a message of this QoS and RETAIN flag; `None` if No Local
    /// excludes all of them. `own`: the subscriber has published it. The Subscription Identifiers are added to
    /// `identifiers`.
    #[inline(always)] // A call would add a tenth to the cost of a delivery.
    pub(crate) fn by(
        subscriptions: &[Match<Subscriber>],
        own: bool,
        qos: QoS,
        retain: bool,
        identifiers: &mut Identifiers,
    ) -> Option<Granted> {
        let mut granted = None;
        let mut retained = false;
        for subscription in subscriptions {
            // [MQTT-3.8.3-3]
            if own && subscription.options.no_local {
                continue;
            }
            granted = granted.max(Some(subscription.options.qos));
            // [MQTT-3.3.1-12], [MQTT3-3.3.1-9], [MQTT-3.3.1-13]
            retained |= retain && subscription.options.retain_as_published;
            if subscription.identifier != 0 {
                identifiers.push(subscription.identifier);
            }
        }
        // [MQTT-4.8.2-3]
        Some(Granted { qos: qos.min(granted?), retain: retained })
    }
}
