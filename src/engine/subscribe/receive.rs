//! SUBSCRIBE: a client's filters are added to the router, and retained messages are sent.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::error::DecodeError;
use crate::codec::frame;
use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::suback::Suback;
use crate::codec::subscribe::{RetainHandling, Subscribe, SubscriptionOptions};
use crate::codec::topic::{TopicFilter, TopicName};
use crate::engine::access::chain::{Request as Question, Stage};
use crate::engine::access::hooks::{AccessRequest, Action};
use crate::engine::access::pending_decisions::{DecisionContext, denied, suback_has};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd, Handled};
use crate::engine::parts::subscriber::Subscriber;
use crate::locks::MutexGuard;
use crate::session::event::{Event, Level, Subscribed};
use crate::session::inbound::Inbound;
use crate::session::state::Control;
use crate::session::subscriptions::Held;
use crate::storage::SessionChange;

/// One entry of the packet: its filter, or the reason why it is refused.
struct Request<'f> {
    filter: Result<TopicFilter<'f>, ReasonCode>,
    options: SubscriptionOptions,
}

/// A filter whose retained messages are sent behind SUBACK.
struct FilterReply {
    filter: Arc<str>,
    qos: QoS,
}

/// For each filter of a packet, the reason why the host denies it; `None` if it is allowed.
type Denials = SmallVec<[Option<ReasonCode>; 8]>;

/// Why a filter is refused.
enum FilterRefusal {
    /// The server does not support the feature, as CONNACK has told.
    NotOffered(DecodeError),
    /// Only this filter is refused.
    Filter(ReasonCode),
}

impl Engine {
    /// Handles a SUBSCRIBE packet from a client.
    pub(crate) fn receive_subscribe(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut MutexGuard<'_, Inbound>,
        pending: &mut DecisionContext<'_>,
        subscribe: &Subscribe<'_>,
    ) -> Result<Handled, ConnectionEnd> {
        let identifier = subscribe.properties.subscription_identifier().unwrap_or(0);
        if identifier != 0 && !self.options.subscription_identifiers {
            let reason = ReasonCode::SubscriptionIdentifiersNotSupported;
            let cause = "subscription identifiers are off (mqtt.subscription_identifiers)";
            return Err(DecodeError::new(reason, cause).into());
        }
        self.check_answer(attached, || subscribe.filters().count())?;
        // The whole packet is checked first: a packet that ends the connection does not change the session.
        let mut requests: SmallVec<[Request<'_>; 4]> = SmallVec::new();
        for request in subscribe.filters() {
            let filter = self.check_filter(attached, request.filter, request.options)?;
            let options = match &filter {
                Ok(filter) if attached.is_bridge => of_a_bridge(filter, request.options),
                _ => request.options,
            };
            requests.push(Request { filter, options });
        }
        let mut denials: Denials = SmallVec::new();
        if self.wanted.authorize {
            let asked = pending.unlocked(attached, inbound, |pending| {
                self.ask_to_subscribe(turn, attached, pending, &requests, &mut denials)
            })?;
            if asked == Handled::Suspended {
                return Ok(Handled::Suspended);
            }
        }
        let mut denials = denials.into_iter();
        let mut reasons: SmallVec<[u8; 8]> = SmallVec::new();
        let mut answers: SmallVec<[FilterReply; 4]> = SmallVec::new();
        let mut control = attached.session.control.lock();
        if !control.is_connected_by(attached.epoch) {
            return Ok(Handled::Done);
        }
        // After a crash the whole packet is done, and its retained messages are due, or nothing of it.
        self.begin_group(turn);
        // [MQTT-3.8.4-5], [MQTT3-3.8.4-4]
        for request in requests {
            if let Some(denied) = denials.next().flatten() {
                reasons.push(denied.as_u8());
                continue;
            }
            let granted = request.filter.map_or_else(
                |refused| refused,
                |filter| {
                    let options = request.options;
                    self.subscribe_one(
                        turn,
                        attached,
                        &mut control,
                        filter,
                        options,
                        identifier,
                        &mut answers,
                    )
                },
            );
            // [MQTT-3.9.3-1], [MQTT3-3.9.3-1]: one reason code per filter, in order.
            reasons.push(granted.as_u8());
        }
        let is_kept = control.kept;
        drop(control);
        self.sys_later(turn.now);
        self.tell_change();
        if self.events.wants(EventMask::LOG) {
            self.log_subscriptions(turn, attached, subscribe, &reasons);
        }
        // [MQTT-2.2.1-6], [MQTT3-2.3.1-7], [MQTT-3.8.4-2], [MQTT3-3.8.4-2]; no Reason String, no User
        // Properties [MQTT-3.9.2-1], [MQTT-3.9.2-2].
        let suback =
            Suback { packet_id: subscribe.packet_id, properties: Properties::EMPTY, reasons: &reasons };
        // [MQTT3-3.8.4-1]
        let nothing_recorded = !is_kept || reasons.iter().all(|reason| *reason >= 0x80);
        // [MQTT-3.8.4-1]
        self.send_when_safe(turn, attached, nothing_recorded, |version, out| suback.encode(version, out));
        if !answers.is_empty() {
            self.begin_walks(turn, attached, &answers, identifier);
        }
        self.end_group(turn);
        Ok(Handled::Done)
    }

    fn log_subscriptions(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        subscribe: &Subscribe<'_>,
        reasons: &[u8],
    ) {
        let client_id = &attached.session.client_id;
        for (request, reason) in subscribe.filters().zip(reasons) {
            let filter = request.filter;
            if *reason < 0x80 {
                let text = || format!("client {client_id:?}: has subscribed to {filter:?} with QoS {reason}");
                self.log(turn, Level::Debug, Some(client_id), text);
            } else {
                let text =
                    || format!("client {client_id:?}: may not subscribe to {filter:?} (0x{reason:02X})");
                self.log(turn, Level::Warn, Some(client_id), text);
            }
        }
    }

    /// Asks whether a client may subscribe, for each filter that is not refused already.
    fn ask_to_subscribe(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        pending: &mut DecisionContext<'_>,
        requests: &[Request<'_>],
        denials: &mut Denials,
    ) -> Handled {
        let who = self.who(attached);
        let mut handled = Handled::Done;
        for (index, request) in (0..).zip(requests) {
            let Ok(filter) = &request.filter else {
                denials.push(None);
                continue;
            };
            let request = AccessRequest {
                client_id: &attached.session.client_id,
                username: who.username.as_deref(),
                address: who.address,
                action: Action::Subscribe,
                topic: filter.as_str(),
                qos: request.options.qos,
                retain: false,
                is_will: false,
            };
            // All filters are asked about, so that the host can decide them together.
            let stage = Stage::Subscribe { index };
            match self.ask(turn, pending, stage, Question::Authorize(&request)) {
                Some(verdict) => denials.push(denied(&verdict, ReasonCode::NotAuthorized, suback_has)),
                None => handled = Handled::Suspended,
            }
        }
        handled
    }

    /// Checks that the client accepts a packet of the answer's length [MQTT-3.1.2-24]. Otherwise nothing is done,
    /// because it could never be answered.
    pub(crate) fn check_answer(
        &self,
        attached: &AttachedConnection,
        filters: impl FnOnce() -> usize,
    ) -> Result<(), ConnectionEnd> {
        let most = attached.session.outbound.lock().maximum_packet_size();
        // The answer is no larger than the request, which is no larger than the broker's limit.
        if most >= self.options.max_packet_size {
            return Ok(());
        }
        // Packet Identifier, Property Length, and a reason code for each filter; MQTT 3 has no such bound.
        if frame::packet_len(3 + filters()) > most as usize {
            let cause = "the answer would be larger than the client's maximum packet size";
            return Err(DecodeError::new(ReasonCode::PacketTooLarge, cause).into());
        }
        Ok(())
    }

    /// The filter of one entry, or the reason why it is refused; an error if it ends the connection.
    fn check_filter<'f>(
        &self,
        attached: &AttachedConnection,
        text: &'f str,
        requested: SubscriptionOptions,
    ) -> Result<Result<TopicFilter<'f>, ReasonCode>, ConnectionEnd> {
        let filter = match TopicFilter::of_packet(text)? {
            Ok(filter) => filter,
            Err(refused) => return Ok(Err(refused)),
        };
        if filter.group().is_some() && requested.no_local {
            // [MQTT-3.8.3-4]
            return Err(DecodeError::protocol("a shared subscription cannot have no local").into());
        }
        if let Some(refused) = self.refuse_filter(&filter) {
            return match refused {
                // MQTT 5, sections 3.2.2.3.11 and 3.2.2.3.13: the client was told, so it violates the protocol.
                FilterRefusal::NotOffered(error) if attached.version.is_v5() => Err(error.into()),
                FilterRefusal::NotOffered(error) => Ok(Err(error.reason)),
                FilterRefusal::Filter(reason) => Ok(Err(reason)),
            };
        }
        Ok(Ok(filter))
    }

    #[allow(clippy::too_many_arguments, reason = "one entry of the packet, and where its effects go")]
    fn subscribe_one(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        control: &mut Control,
        filter: TopicFilter<'_>,
        requested: SubscriptionOptions,
        identifier: u32,
        answers: &mut SmallVec<[FilterReply; 4]>,
    ) -> ReasonCode {
        let text = filter.as_str();
        // [MQTT-3.8.4-7], [MQTT3-3.8.4-5]: the granted QoS may be lower than the requested one [MQTT-3.2.2-10].
        let options = SubscriptionOptions { qos: requested.qos.min(self.options.max_qos), ..requested };
        let subscriber = Subscriber::Session(Arc::clone(&attached.session));
        let full = control.subscriptions.len() >= self.options.max_subscriptions_per_client;
        let full = full
            || filter.group().is_some()
                && control.subscriptions.shared() >= self.options.max_shared_subscriptions_per_client;
        let bytes = control.subscriptions.bytes().saturating_add(Held::size_of(text));
        let full = full || bytes > self.options.max_subscription_bytes_per_client;
        if full && !control.subscriptions.contains(text) || control.kept && self.recorder.is_full() {
            return ReasonCode::QuotaExceeded;
        }
        let done = self.router.subscribe(filter, &subscriber, options, identifier);
        let held = Held { filter: Arc::clone(&done.filter), options, identifier };
        if self.events.wants(EventMask::SUBSCRIBED) {
            let (client_id, filter) = (attached.session.client_id.clone(), Arc::clone(&held.filter));
            let subscribed = Subscribed { client_id, filter, options, identifier };
            turn.events.push(Event::Subscribed(subscribed));
        }
        // The queue and the window are not touched [MQTT-3.8.4-4].
        // [MQTT-3.8.4-3], [MQTT3-3.8.4-3]: an equal filter replaces the subscription.
        control.subscriptions.put(held);
        if control.kept {
            let subscribed = SessionChange::Subscribed { filter: text, options, identifier };
            self.recorder.session(turn.now, &attached.session.client_id, subscribed);
        }
        let wants_retained = match requested.retain_handling {
            RetainHandling::SendAlways => true, // [MQTT-3.3.1-9], [MQTT3-3.3.1-6]
            RetainHandling::SendIfNew => !done.replaced, // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false, // [MQTT-3.3.1-11]
        };
        // Shared subscriptions get no retained messages.
        if wants_retained && filter.group().is_none() && self.may_have_retained(&filter) {
            answers.push(FilterReply { filter: done.filter, qos: options.qos });
        }
        match options.qos.as_u8() {
            0 => ReasonCode::Success,
            1 => ReasonCode::GrantedQos1,
            _ => ReasonCode::GrantedQos2,
        }
    }

    fn refuse_filter(&self, filter: &TopicFilter<'_>) -> Option<FilterRefusal> {
        if filter.group().is_some() && !self.options.shared_subscriptions {
            let cause = "shared subscriptions are off (mqtt.shared_subscriptions)";
            let error = DecodeError::new(ReasonCode::SharedSubscriptionsNotSupported, cause);
            return Some(FilterRefusal::NotOffered(error));
        }
        // [MQTT3-3.8.3-2]
        if filter.has_wildcard() && !self.options.wildcard_subscriptions {
            let cause = "wildcard subscriptions are off (mqtt.wildcard_subscriptions)";
            let error = DecodeError::new(ReasonCode::WildcardSubscriptionsNotSupported, cause);
            return Some(FilterRefusal::NotOffered(error));
        }
        if filter.level_count() > self.options.max_topic_levels
            || filter.as_str().len() > self.options.max_topic_length
        {
            return Some(FilterRefusal::Filter(ReasonCode::TopicFilterInvalid));
        }
        None
    }

    /// Whether there may be a retained message for a filter.
    fn may_have_retained(&self, filter: &TopicFilter<'_>) -> bool {
        if filter.filter().starts_with("$SYS/") {
            return true;
        }
        let topic = || TopicName::from_validated(filter.filter());
        !self.retained.is_empty() && (filter.has_wildcard() || self.retained.get(topic()).is_some())
    }

    /// Sends the retained messages of new subscriptions, as far as there is room.
    fn begin_walks(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        answers: &[FilterReply],
        identifier: u32,
    ) {
        let session = &attached.session;
        let mut outbound = session.outbound.lock();
        for answer in answers {
            outbound.begin_walk(&answer.filter, answer.qos, identifier);
            if outbound.is_kept() {
                let due = SessionChange::RetainedDue { filter: &answer.filter, qos: answer.qos, identifier };
                self.recorder.session(turn.now, &session.client_id, due);
            }
        }
        session.set_walks(true);
        drop(outbound);
        if self.walk_retained(turn, session) {
            turn.flush_later(session);
        }
    }
}

/// What a bridge of MQTT 3 expects of its subscriptions, as mosquitto grants it, and cannot say: its own messages do not come
/// back to it, and RETAIN is passed on. A shared subscription has no No Local [MQTT-3.8.3-4].
fn of_a_bridge(filter: &TopicFilter<'_>, requested: SubscriptionOptions) -> SubscriptionOptions {
    let no_local = filter.group().is_none();
    SubscriptionOptions { no_local, retain_as_published: true, ..requested }
}
