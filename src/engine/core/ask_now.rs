//! Asks authorities that answer at once, while locks are held.

use std::sync::atomic::Ordering;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::engine::access::authority::ReceiveRequest;
use crate::engine::access::chain::AccessExplanation;
use crate::engine::access::hooks::{AccessRequest, Action};
use crate::engine::access::pending_decisions::{denied, puback_has};
use crate::engine::core::state::Engine;
use crate::engine::parts::attached::AttachedConnection;
use crate::engine::parts::subscriber::Subscriber;
use crate::session::outbound::Outbound;
use crate::session::reader::Reader;
use crate::session::state::Session;
use crate::session::verdicts::Verdicts;

impl Engine {
    /// The reason code with which a client's messages to a topic are refused, by authorities that answer at once; `None`
    /// if they may be published.
    #[cold]
    #[inline(never)]
    pub(crate) fn denied_now(
        &self,
        attached: &AttachedConnection,
        verdicts: &mut Option<Box<Verdicts<Option<ReasonCode>>>>,
        topic: &str,
        (qos, retain): (QoS, bool),
    ) -> Option<ReasonCode> {
        let version = self.rights.load(Ordering::Acquire);
        verdicts.get_or_insert_default().about(version, topic.as_bytes(), || {
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
        })
    }

    /// Which authority decides about an action of a client, and why. Nothing is done, and no authority is asked that may
    /// answer later.
    pub fn explain_access(
        &self,
        client_id: &str,
        username: Option<&str>,
        action: Action,
        topic: &str,
    ) -> AccessExplanation {
        self.authorities.explain(&AccessRequest {
            client_id,
            username,
            address: None,
            action,
            topic,
            qos: QoS::AtMostOnce,
            retain: false,
            is_will: false,
        })
    }

    /// Checks at each delivery what the client of a session may receive.
    #[cold]
    #[inline(never)]
    pub(crate) fn check_deliveries(&self, outbound: &mut Outbound, user: Option<&str>) {
        outbound.set_reader(Reader::new(user.map(Into::into)));
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

    #[cold]
    #[inline(never)]
    fn ask_to_receive(&self, session: &Session, outbound: &mut Outbound, topic: &[u8]) -> bool {
        let Some(reader) = outbound.reader_mut() else { return false };
        let Reader { user, verdicts } = reader;
        verdicts.about(self.rights.load(Ordering::Acquire), topic, || {
            let topic = std::str::from_utf8(topic).unwrap_or_default();
            let (client_id, username) = (&*session.client_id, user.as_deref());
            self.authorities.may_receive(&ReceiveRequest { client_id, username, topic })
        })
    }
}
