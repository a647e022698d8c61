//! Asks authorities that answer at once, while locks are held.

use std::sync::atomic::Ordering;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::engine::access::authority::ReceiveRequest;
use crate::engine::access::hooks::{AccessRequest, Action};
use crate::engine::access::pending_decisions::{denied, puback_has};
use crate::engine::core::state::Engine;
use crate::engine::parts::attached::AttachedConnection;
use crate::engine::parts::subscriber::Subscriber;
use crate::session::outbound::Outbound;
use crate::session::state::Session;

impl Engine {
    /// The reason code with which a client's messages to a topic are refused, by authorities that answer at once; `None`
    /// if they may be published.
    pub(crate) fn denied_now(
        &self,
        attached: &AttachedConnection,
        topic: &str,
        qos: QoS,
        retain: bool,
    ) -> Option<ReasonCode> {
        let control = attached.session.control.lock();
        let connected = control.connected.as_deref();
        let request = AccessRequest {
            client_id: &attached.session.client_id,
            username: connected.and_then(|connected| connected.username.as_deref()),
            address: connected.and_then(|connected| connected.peer),
            action: Action::Publish,
            topic,
            qos,
            retain,
            is_will: false,
        };
        match self.authorities.prompt_verdict(&request) {
            Some(verdict) => denied(&verdict, ReasonCode::NotAuthorized, puback_has),
            None => Some(ReasonCode::NotAuthorized),
        }
    }

    /// Whether the client of a session may receive messages of a topic, where that is checked at each delivery.
    #[inline]
    pub(crate) fn may_receive(&self, session: &Session, outbound: &mut Outbound, topic: &[u8]) -> bool {
        !self.wanted.receive || self.ask_to_receive(session, outbound, topic)
    }

    /// Whether a subscriber may receive messages of a topic. The host may always.
    pub(crate) fn may_have(&self, subscriber: &Subscriber, topic: &[u8]) -> bool {
        match subscriber {
            Subscriber::Session(session) if self.wanted.receive => {
                self.ask_to_receive(session, &mut session.outbound.lock(), topic)
            }
            _ => true,
        }
    }

    #[inline(never)]
    fn ask_to_receive(&self, session: &Session, outbound: &mut Outbound, topic: &[u8]) -> bool {
        let Some(reader) = outbound.reader_mut() else { return false };
        reader.may_receive(self.rights.load(Ordering::Acquire), topic, |username| {
            let topic = std::str::from_utf8(topic).unwrap_or_default();
            self.authorities.may_receive(&ReceiveRequest { client_id: &session.client_id, username, topic })
        })
    }
}
