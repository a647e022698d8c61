//! UNSUBSCRIBE: a client's filters are removed from the router.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::properties::Properties;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicFilter;
use crate::codec::unsuback::Unsuback;
use crate::codec::unsubscribe::Unsubscribe;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::engine::parts::subscriber::Subscriber;
use crate::session::event::{Event, Level, Unsubscribed};
use crate::session::state::{Control, Mark, Session};
use crate::storage::SessionChange;

impl Engine {
    /// Handles an UNSUBSCRIBE packet from a client. Messages that were queued or sent before are still delivered
    /// [MQTT-3.10.4-3], [MQTT3-3.10.4-3].
    pub(crate) fn receive_unsubscribe(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), ConnectionEnd> {
        self.check_answer(attached, || unsubscribe.filters().count())?;
        // The whole packet is checked first: a packet that ends the connection does not change the session.
        let mut requests: SmallVec<[_; 4]> = SmallVec::new();
        for text in unsubscribe.filters() {
            requests.push((text, TopicFilter::of_packet(text)?));
        }
        let mut reasons: SmallVec<[u8; 8]> = SmallVec::new();
        let mut control = attached.session.control.lock();
        if !control.is_connected_by(attached.epoch) {
            return Ok(());
        }
        self.begin_group(turn);
        // [MQTT-3.10.4-6], [MQTT3-3.10.4-6]
        for (text, filter) in requests {
            // [MQTT-3.10.4-1], [MQTT3-3.10.4-1]: filters are compared character by character.
            let reason = match self.unsubscribe_one(turn, &attached.session, &mut control, text, filter.ok())
            {
                true => {
                    let client_id = &attached.session.client_id;
                    self.log(turn, Level::Debug, Some(client_id), || {
                        format!("client {client_id:?}: has unsubscribed from {text:?}")
                    });
                    ReasonCode::Success
                }
                false => filter.err().unwrap_or(ReasonCode::NoSubscriptionExisted),
            };
            reasons.push(reason.as_u8());
        }
        self.end_group(turn);
        let nothing_recorded = !control.kept;
        drop(control);
        self.tell_change();
        // [MQTT-2.2.1-6]; no Reason String, no User Properties [MQTT-3.11.2-1], [MQTT-3.11.2-2].
        let unsuback =
            Unsuback { packet_id: unsubscribe.packet_id, properties: Properties::EMPTY, reasons: &reasons };
        // [MQTT-3.10.4-4], [MQTT3-3.10.4-4], [MQTT-3.10.4-5], [MQTT3-3.10.4-5]
        self.send_when_safe(turn, attached, nothing_recorded, |version, out| unsuback.encode(version, out));
        Ok(())
    }

    /// Ends a session's subscription to a filter, whose text is given, too; false if it has none.
    pub(super) fn unsubscribe_one(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        control: &mut Control,
        text: &str,
        filter: Option<TopicFilter<'_>>,
    ) -> bool {
        let Some(held) = control.subscriptions.remove(text) else { return false };
        // [MQTT-3.10.4-2], [MQTT3-3.10.4-2]
        if let Some(filter) = filter {
            self.router.unsubscribe(filter, &Subscriber::Session(Arc::clone(session)));
        }
        if self.events.wants(EventMask::UNSUBSCRIBED) {
            let (client_id, filter) = (session.client_id.clone(), held.filter);
            turn.events.push(Event::Unsubscribed(Unsubscribed { client_id, filter }));
        }
        if session.is_marked(Mark::WALKS) {
            let mut outbound = session.outbound.lock();
            session.set_walks(outbound.give_up_walk(text));
        }
        if control.kept {
            let unsubscribed = SessionChange::Unsubscribed { filter: text };
            self.recorder.session(turn.now, &session.client_id, unsubscribed);
        }
        true
    }

    /// Removes a subscription from the router.
    pub(crate) fn unroute(&self, filter: &str, subscriber: &Subscriber) {
        if let Ok(filter) = TopicFilter::parse(filter) {
            self.router.unsubscribe(filter, subscriber);
        }
    }
}
