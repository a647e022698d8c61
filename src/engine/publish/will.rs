//! The will, published when a connection ends without DISCONNECT.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::connect;
use crate::codec::topic::TopicName;
use crate::engine::access::edit::{Changes, Edit, joined};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::{OwedWill, Turn};
use crate::engine::parts::subscriber::Publisher;
use crate::message::{Message, Publication};
use crate::session::state::{Control, Session, Will};
use crate::stats::DropReason;
use crate::storage::SessionChange;
use crate::time::Time;

impl Engine {
    /// The Will Message of a CONNECT packet.
    pub(crate) fn will(&self, turn: &Turn, will: &connect::Will<'_>) -> Will {
        // The order is kept [MQTT-3.1.3-10].
        let properties: SmallVec<[&[u8]; 4]> = will.properties.forwardable().collect();
        Will {
            message: Arc::new(Message::new(
                will.topic.as_str().as_bytes(),
                &properties,
                will.payload,
                will.qos,
                // [MQTT-3.1.2-14], [MQTT3-3.1.2-16], [MQTT-3.1.2-15], [MQTT3-3.1.2-17]
                will.retain,
                turn.now,
                Time::NEVER,
            )),
            delay: will.properties.will_delay_interval().unwrap_or(0),
            expiry: will.properties.message_expiry_interval(),
        }
    }

    /// Publishes the session's will, if it has one, and deletes it [MQTT-3.1.2-10], [MQTT3-3.1.2-10].
    pub(crate) fn publish_will(&self, turn: &mut Turn, session: &Arc<Session>, control: &mut Control) {
        // [MQTT3-3.1.2-12]
        let Some(will) = control.will.take() else {
            return;
        };
        turn.counts.wills_published += 1;
        self.begin_group(turn);
        if control.kept {
            self.recorder.session(turn.now, &session.client_id, SessionChange::WillCleared);
        }
        if self.wanted.on_publish {
            // The host is called at the end of the turn, when no lock is held.
            turn.wills.push(OwedWill { session: Arc::clone(session), will });
        } else {
            self.publish_one_will(turn, session, &will);
        }
        self.end_group(turn);
    }

    /// Deletes the session's will.
    pub(crate) fn delete_will(&self, turn: &Turn, session: &Session, control: &mut Control) {
        if control.will.take().is_some() && control.kept {
            self.recorder.session(turn.now, &session.client_id, SessionChange::WillCleared);
        }
    }

    /// Publishes the wills that the host may change.
    pub(crate) fn publish_owed_wills(&self, turn: &mut Turn) {
        for owed in std::mem::take(&mut turn.wills) {
            self.publish_one_will(turn, &owed.session, &owed.will);
        }
    }

    fn publish_one_will(&self, turn: &mut Turn, session: &Arc<Session>, will: &Will) {
        let message = &will.message;
        let mut publication = Publication::new(
            message.topic_bytes(),
            message.payload(),
            message.qos(),
            message.retain(),
            turn.now,
        );
        if !message.properties_bytes().is_empty() {
            publication.properties.push(message.properties_bytes());
        }
        if let Some(seconds) = will.expiry {
            publication.expires_at = turn.now.plus_secs(u64::from(seconds));
        }
        let Some(changes) = self.look_at_will(turn, session, &publication, message.topic()) else {
            let client_id = Some(&*session.client_id);
            return self.dropped(turn, client_id, message.topic_bytes(), DropReason::Host);
        };
        let mut publication = changes.apply(&publication);
        if let Ok(topic) = TopicName::parse(changes.topic().unwrap_or(message.topic())) {
            // The client is the publisher, also for No Local [MQTT-3.8.3-3].
            self.publish(turn, Publisher::Session(session), topic, &mut publication);
        }
    }

    /// The host's changes to a will; `None` if it is dropped.
    fn look_at_will(
        &self,
        turn: &mut Turn,
        session: &Session,
        publication: &Publication<'_>,
        topic: &str,
    ) -> Option<Changes> {
        if !self.wanted.on_publish {
            return Some(Changes::default());
        }
        let properties = joined(publication);
        let edit = Edit::new(&self.options, &session.client_id, None, topic, publication, &properties);
        self.look(turn, edit.of_a_will())
    }
}
