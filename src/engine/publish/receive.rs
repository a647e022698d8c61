//! PUBLISH: a message is received from a client or from the host program.

use std::sync::atomic::Ordering;

use crate::codec::ack::{Ack, AckKind};
use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;
use crate::codec::publish::Publish;
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicName;
use crate::engine::access::chain::{Request, Stage};
use crate::engine::access::edit::{Changes, Edit, joined};
use crate::engine::access::hooks::{AccessRequest, Action};
use crate::engine::access::pending_decisions::{DecisionContext, denied, puback_has};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::admission::{Draft, Refusal, Source};
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd, Handled, ReceivedPacket};
use crate::engine::parts::subscriber::Publisher;
use crate::engine::publish::deliver::Reach;
use crate::locks::MutexGuard;
use crate::message::{Frame, Publication};
use crate::session::aliases::AliasesIn;
use crate::session::held_acks::HeldAck;
use crate::session::inbound::{Inbound, Unreleased};
use crate::session::state::Mark;
use crate::stats::DropReason;
use crate::storage::SessionChange;
use crate::time::Time;

impl Engine {
    /// Whether a message may be published. One of QoS 1 or 2 may not while too much waits for the store.
    #[inline]
    pub fn admit(&self, source: Source, draft: &Draft<'_>) -> Result<(), Refusal> {
        self.options.admit(source, draft)?;
        match draft.qos != QoS::AtMostOnce && self.recorder.is_full() {
            true => Err(Refusal::StoreFull),
            false => Ok(()),
        }
    }

    /// Stores a message if it has the RETAIN flag, and delivers it to every subscriber; returns their number.
    pub fn publish(
        &self,
        turn: &mut Turn,
        publisher: Publisher<'_>,
        topic: TopicName<'_>,
        publication: &mut Publication<'_>,
    ) -> usize {
        self.spread(turn, publisher, topic, publication).subscribers
    }

    /// Does what [`Engine::publish`] does; returns whom the message has reached.
    #[inline(always)] // It has two callers, one for each message of the host and one for each of clients.
    fn spread(
        &self,
        turn: &mut Turn,
        publisher: Publisher<'_>,
        topic: TopicName<'_>,
        publication: &mut Publication<'_>,
    ) -> Reach {
        turn.counts.messages_published += 1;
        if self.events.wants(EventMask::PUBLISHING) {
            self.show(turn, EventMask::PUBLISHING, publisher, publication);
        }
        self.begin_group(turn);
        // [MQTT-3.3.1-8], [MQTT3-3.3.1-12]
        let in_order = publication.retain.then(|| {
            let order = self.topic_order.lock(topic);
            self.retain(turn, topic, publication);
            order
        });
        let reached = self.route(turn, publisher, topic, publication);
        drop(in_order);
        // A retained message is kept, has removed the one of its topic, or was counted when there was no room for it.
        if reached.subscribers == 0 && !publication.retain {
            let client_id = publisher.client_id();
            self.dropped(turn, client_id, publication.topic, DropReason::NoSubscriber);
        }
        self.end_group(turn);
        if self.events.wants(EventMask::PUBLISHED) {
            self.show(turn, EventMask::PUBLISHED, publisher, publication);
        }
        reached
    }

    /// Handles a PUBLISH packet from a client.
    pub(crate) fn receive_publish(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut MutexGuard<'_, Inbound>,
        pending: &mut DecisionContext<'_>,
        publish: &Publish<'_>,
        received: ReceivedPacket<'_>,
    ) -> Result<Handled, ConnectionEnd> {
        if !pending.again {
            attached.session.received_messages.fetch_add(1, Ordering::Relaxed);
            turn.counts.publish_received += 1;
            turn.counts.publish_bytes_received += publish.payload.len() as u64;
        }
        if !publish.properties.is_empty() && publish.properties.subscription_identifier().is_some() {
            // [MQTT-3.3.4-6]
            return refused(ReasonCode::ProtocolError, "a client must not send a subscription identifier");
        }
        let Inbound { received: unreleased, aliases, kept, .. } = &mut **inbound;
        let topic = self.resolve(aliases, publish)?;
        let draft = Draft {
            topic,
            qos: publish.qos,
            retain: publish.retain,
            payload_len: publish.payload.len(),
            properties_len: publish.properties.raw().len(),
            expires: false,
            user_properties: self.options.count_user_properties(publish.properties),
        };
        // [MQTT-3.2.2-11], [MQTT-3.2.2-14]
        let turned_down = match self.admit(Source::Client { packet_len: received.whole.len() }, &draft) {
            Ok(()) => None,
            Err(refusal @ Refusal::BrokersTopic) => Some(refusal),
            // The client was not told the number: its message is refused, if there is an answer for that.
            Err(refusal @ Refusal::TooManyUserProperties(_)) if publish.packet_id.is_some() => Some(refusal),
            // A client of MQTT 3 would take any acknowledgement for success: it has to send the message again.
            Err(refusal @ Refusal::StoreFull) if attached.version.is_v5() => Some(refusal),
            // Its acknowledgement waits for ever.
            Err(Refusal::StoreFull) if self.recorder.store().failed().is_some() => None,
            Err(refusal) => return Err(refusal.error().into()),
        };
        if publish.qos == QoS::ExactlyOnce
            && let Some(id) = publish.packet_id.filter(|id| unreleased.contains(*id))
        {
            // [MQTT-4.3.3-10], [MQTT3-4.3.3-2]: a known message is only acknowledged again.
            self.acknowledge(turn, attached, AckKind::Pubrec, id, ReasonCode::Success);
            return Ok(Handled::Done);
        }
        let mut outstanding = unreleased.len();
        if attached.version.is_v5() {
            outstanding += attached.session.unacknowledged.load(Ordering::Relaxed) as usize;
        }
        if publish.packet_id.is_some() && outstanding >= usize::from(self.options.receive_maximum) {
            // [MQTT-3.3.4-7]; a client of MQTT 3 was not told the number, but it still bounds the identifiers of
            // QoS 2 messages that are kept.
            return refused(
                ReasonCode::ReceiveMaximumExceeded,
                "too many messages are unacknowledged (mqtt.receive_maximum)",
            );
        }
        let reason = match (turned_down, self.wanted.asks_to_publish()) {
            // [MQTT3-3.3.5-2]
            (Some(refusal), _) => {
                if refusal == Refusal::BrokersTopic {
                    let client_id = Some(&*attached.session.client_id);
                    self.dropped(turn, client_id, topic.as_str().as_bytes(), DropReason::NotAuthorized);
                }
                refusal.reason()
            }
            (None, false) => {
                // After a crash the message is both known and delivered, or neither.
                self.begin_group(turn);
                let accepted = self.accept(turn, attached, topic, publish, received);
                if publish.qos == QoS::ExactlyOnce
                    && let Ok(reason) = accepted
                {
                    self.remember(turn, attached, unreleased, *kept, publish, reason);
                }
                self.end_group(turn);
                accepted?
            }
            (None, true) => {
                // The host may take long and may do anything meanwhile, so the lock is released.
                let topic = topic.as_str().to_owned();
                let topic = TopicName::from_validated(&topic);
                let judged = pending.unlocked(attached, inbound, |pending| {
                    self.ask_to_publish(turn, attached, pending, topic, publish, received)
                })?;
                let Some(judged) = judged? else {
                    return Ok(Handled::Suspended);
                };
                let Inbound { received: unreleased, kept, .. } = &mut **inbound;
                // Under the lock again, so that no other connection of the client finds it published and not known.
                self.begin_group(turn);
                let reason = match judged {
                    Judged::Answered(reason) => reason,
                    Judged::Passes(changes) => {
                        self.accept_judged(turn, attached, topic, publish, received, changes.as_deref())
                    }
                };
                self.remember(turn, attached, unreleased, *kept, publish, reason);
                self.end_group(turn);
                reason
            }
        };
        // [MQTT-3.3.4-1], [MQTT3-3.3.4-1], [MQTT-4.3.2-4], [MQTT-4.3.3-8]; at QoS 1 no identifier is kept
        // [MQTT-4.3.2-5], [MQTT3-4.3.2-2].
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => self.acknowledge(turn, attached, AckKind::Puback, id, reason),
            (QoS::ExactlyOnce, Some(id)) => {
                self.acknowledge(turn, attached, AckKind::Pubrec, id, reason);
            }
            _ => {}
        }
        Ok(Handled::Done)
    }

    /// Stores the identifier of an accepted QoS 2 message until it is released [MQTT-4.3.3-9].
    fn remember(
        &self,
        turn: &Turn,
        attached: &AttachedConnection,
        unreleased: &mut Unreleased,
        kept: bool,
        publish: &Publish<'_>,
        reason: ReasonCode,
    ) {
        if let Some(packet_id) = publish.packet_id
            && publish.qos == QoS::ExactlyOnce
            && !reason.is_error()
        {
            unreleased.insert(packet_id);
            if kept {
                let client_id = &attached.session.client_id;
                self.recorder.session(turn.now, client_id, SessionChange::Received { packet_id });
            }
        }
    }

    /// The Topic Name of a packet, given directly or by an alias.
    fn resolve<'t>(
        &self,
        aliases: &'t mut AliasesIn,
        publish: &Publish<'t>,
    ) -> Result<TopicName<'t>, DecodeError> {
        let alias = match publish.properties.is_empty() {
            true => None,
            false => publish.properties.topic_alias(),
        };
        let name = match alias {
            None => publish.topic,
            Some(alias) => {
                // [MQTT-3.3.2-8], [MQTT-3.3.2-9], [MQTT-3.3.2-12]
                if alias == 0 || alias > self.options.topic_alias_maximum {
                    let cause = "the topic alias is 0 or above mqtt.topic_alias_maximum";
                    return Err(DecodeError::new(ReasonCode::TopicAliasInvalid, cause));
                }
                if !publish.topic.is_empty() {
                    aliases.set(alias, publish.topic);
                    publish.topic
                } else {
                    aliases.get(alias).ok_or(DecodeError::protocol("the topic alias is not set"))?
                }
            }
        };
        Ok(TopicName::from_validated(name))
    }

    /// Publishes a client's message; returns the reason code of its acknowledgement.
    fn accept(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        topic: TopicName<'_>,
        publish: &Publish<'_>,
        received: ReceivedPacket<'_>,
    ) -> Result<ReasonCode, ConnectionEnd> {
        if let Some(reason) = check_payload(publish)? {
            return Ok(reason);
        }
        let mut publication = publication(publish, topic, received, attached.version.is_v5(), turn.now);
        Ok(self.pass_on(turn, attached, topic, &mut publication))
    }

    /// Publishes a client's message that the host has allowed, with the host's changes; returns the reason code of its
    /// acknowledgement.
    fn accept_judged(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        topic: TopicName<'_>,
        publish: &Publish<'_>,
        received: ReceivedPacket<'_>,
        changes: Option<&Changes>,
    ) -> ReasonCode {
        let mut publication = publication(publish, topic, received, attached.version.is_v5(), turn.now);
        let Some(changes) = changes else {
            return self.pass_on(turn, attached, topic, &mut publication);
        };
        let mut publication = changes.apply(&publication);
        let topic = changes.topic().map_or(topic, TopicName::from_validated);
        self.pass_on(turn, attached, topic, &mut publication)
    }

    /// Asks the host about a client's message. `None` if the decision is made later.
    fn ask_to_publish(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        pending: &mut DecisionContext<'_>,
        topic: TopicName<'_>,
        publish: &Publish<'_>,
        received: ReceivedPacket<'_>,
    ) -> Result<Option<Judged>, ConnectionEnd> {
        if let Some(reason) = check_payload(publish)? {
            return Ok(Some(Judged::Answered(reason)));
        }
        let who = self.who(attached);
        let client_id = &*attached.session.client_id;
        if self.wanted.authorize {
            let request = AccessRequest {
                client_id,
                username: who.username.as_deref(),
                address: who.address,
                action: Action::Publish,
                topic: topic.as_str(),
                qos: publish.qos,
                retain: publish.retain,
                is_will: false,
            };
            let Some(verdict) = self.ask(turn, pending, Stage::Publish, Request::Authorize(&request)) else {
                return Ok(None);
            };
            if let Some(reason) = denied(&verdict, ReasonCode::NotAuthorized, puback_has) {
                let topic = topic.as_str().as_bytes();
                self.dropped(turn, Some(client_id), topic, DropReason::NotAuthorized);
                return Ok(Some(Judged::Answered(reason)));
            }
        }
        if !self.wanted.on_publish {
            return Ok(Some(Judged::Passes(None)));
        }
        if !attached.session.is_attached(attached.epoch) {
            return Err(ConnectionEnd::Gone); // The host has ended the connection.
        }
        let publication = publication(publish, topic, received, attached.version.is_v5(), turn.now);
        let properties = joined(&publication);
        let username = who.username.as_deref();
        let edit = Edit::new(&self.options, client_id, username, topic.as_str(), &publication, &properties);
        let Some(changes) = self.look(turn, edit) else {
            self.dropped(turn, Some(client_id), topic.as_str().as_bytes(), DropReason::Host);
            return Ok(Some(Judged::Answered(ReasonCode::Success)));
        };
        Ok(Some(Judged::Passes(Some(Box::new(changes)))))
    }

    /// Publishes a message; returns the reason code of success.
    fn pass_on(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        topic: TopicName<'_>,
        publication: &mut Publication<'_>,
    ) -> ReasonCode {
        // A subscription that No Local keeps from the message matches all the same.
        match self.spread(turn, Publisher::Session(&attached.session), topic, publication).matched {
            false => ReasonCode::NoMatchingSubscribers,
            true => ReasonCode::Success,
        }
    }

    /// Acknowledges a received message by PUBACK or PUBREC.
    pub(crate) fn acknowledge(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let ends_delivery = kind == AckKind::Puback && !reason.is_error();
        turn.counts.acknowledgements_sent += u64::from(ends_delivery);
        let ack = HeldAck { kind, packet_id, reason };
        if turn.slow.is_some() || attached.session.is_marked(Mark::HOLDS_ACKS) {
            return self.hold(turn, attached, ack);
        }
        self.send_ack(turn, attached, ack.kind, ack.packet());
    }

    /// Sends PUBACK, PUBREC or PUBCOMP, now or when the store has committed its effects.
    pub(crate) fn send_ack(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        kind: AckKind,
        ack: Ack<'_>,
    ) {
        let refused = ack.reason.is_error();
        self.send_when_safe(turn, attached, refused, |version, out| ack.encode(kind, version, out));
    }

    /// Removes the retained message of a topic; false if there is none.
    pub(crate) fn forget_retained(&self, now: Time, topic: TopicName<'_>) -> bool {
        self.retained.remove_then(topic, || self.record_cleared(now, topic.as_str())).is_some()
    }

    /// Stores a message as its topic's retained message; an empty one removes it
    /// [MQTT-3.3.1-5], [MQTT3-3.3.1-5], [MQTT-3.3.1-6], [MQTT3-3.3.1-10].
    fn retain(&self, turn: &mut Turn, topic: TopicName<'_>, publication: &mut Publication<'_>) {
        if publication.payload.is_empty() {
            // [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT3-3.3.1-11]
            self.forget_retained(turn.now, topic);
            return;
        }
        let message = publication.message();
        let expires = message.expires_at() != Time::NEVER;
        // If there is no room, the topic's old message is removed as well [MQTT-3.3.1-5], [MQTT3-3.3.1-7].
        let stored =
            self.retained.store_then(topic, message.clone(), message.size(), |stored| match stored {
                true => self.record_retained(turn.now, message),
                false => self.record_cleared(turn.now, topic.as_str()),
            });
        match stored {
            Ok(_) => {
                if expires {
                    self.sweep_later(turn);
                }
            }
            Err(_) => {
                self.dropped(turn, None, publication.topic, DropReason::RetainedFull);
            }
        }
    }
}

/// What the host has said about a client's message.
enum Judged {
    /// It is not published, and acknowledged with this reason code.
    Answered(ReasonCode),
    /// It is published, with the host's changes if it has looked at it.
    Passes(Option<Box<Changes>>),
}

/// The error that ends a connection for this reason.
fn refused<T>(reason: ReasonCode, cause: &'static str) -> Result<T, ConnectionEnd> {
    Err(DecodeError::new(reason, cause).into())
}

/// The reason code if a payload is declared as UTF-8 and is not; at QoS 0 an error that ends the connection.
fn check_payload(publish: &Publish<'_>) -> Result<Option<ReasonCode>, ConnectionEnd> {
    let is_text = !publish.properties.is_empty() && publish.properties.payload_format_indicator() == Some(1);
    if is_text && std::str::from_utf8(publish.payload).is_err() {
        let reason = ReasonCode::PayloadFormatInvalid;
        return match publish.qos {
            QoS::AtMostOnce => refused(reason, "the payload is declared as UTF-8 but is not valid UTF-8"),
            _ => Ok(Some(reason)),
        };
    }
    Ok(None)
}

/// The publication of a PUBLISH packet.
fn publication<'a>(
    publish: &Publish<'a>,
    topic: TopicName<'a>,
    received: ReceivedPacket<'a>,
    v5: bool,
    now: Time,
) -> Publication<'a> {
    let topic = topic.as_str().as_bytes();
    let mut publication = Publication::new(topic, publish.payload, publish.qos, publish.retain, now);
    let mut unchanged = true;
    if !publish.properties.is_empty() {
        let properties = &publish.properties;
        unchanged = properties.is_forwardable_as_is();
        // [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18],
        // [MQTT-3.3.2-20]
        publication.properties = properties.forwardable().collect();
        if let Some(seconds) = properties.message_expiry_interval() {
            publication.expires_at = now.plus_secs(u64::from(seconds));
        }
    }
    publication.owner = received.owner;
    if unchanged {
        publication.frame = Some(Frame {
            whole: received.whole,
            v5,
            packet_id_at: publish.packet_id.map(|_| end_of(received.whole, publish.topic)),
        });
    }
    publication
}

/// The index in `whole` at which its slice `part` ends.
fn end_of(whole: &[u8], part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize) + part.len()
}
