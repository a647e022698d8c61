//! Explanation of a delivery: the predicted outcome of a message for each subscriber, without publishing it.

use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::codec::version::Version;
use crate::engine::core::state::Engine;
use crate::engine::parts::admission::{Draft, Refusal, Source};
use crate::engine::parts::granted::{Granted, Identifiers};
use crate::engine::parts::subscriber::{Publisher, Subscriber};
use crate::message::Message;
use crate::session::delivery::Outcome;
use crate::session::pending::Pending;
use crate::session::plan::Sizes;
use crate::session::state::Session;
use crate::stats::DropReason;
use crate::time::Time;
use crate::topics::Identity;
use crate::topics::Match;

/// The message to explain.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The message.
    pub message: Draft<'q>,
    /// The publishing client; `None` for the host program.
    pub publisher: Option<&'q str>,
}

/// The predicted outcome of a message.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Why the broker would refuse the message, if so; then it has no receivers.
    pub refused: Option<Refusal>,
    /// The receivers whose subscriptions match, in no particular order.
    pub receivers: Vec<Receiver>,
}

/// A receiver whose subscriptions match.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The client; `None` for the host program, and for a group without members.
    pub client_id: Option<String>,
    /// The group of a shared subscription. One member gets the message: this one, unless another is readier or
    /// has its turn by then.
    pub group: Option<String>,
    /// The filters that match.
    pub filters: Vec<(String, SubscriptionOptions)>,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// The predicted outcome.
    pub fate: Fate,
}

/// The predicted outcome of a message for one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It would be sent at once.
    Sent,
    /// It would be queued, because the client is offline.
    QueuedWhileAway,
    /// It would be queued, because the client is busy.
    QueuedWhileBusy,
    /// It would be dropped.
    Dropped(DropReason),
    /// It would be dropped and the client disconnected, because its queue is full.
    Overflowed,
    /// The client is the publisher, and its subscription has No Local.
    NoLocal,
}

/// A question with the values derived from it.
struct Asked<'a> {
    message: &'a Draft<'a>,
    now: Time,
    publisher: Publisher<'a>,
    sizes: Sizes,
    /// The bytes that the message takes in a queue.
    stored: usize,
}

impl Engine {
    /// Predicts the outcome of a message if it were published now. Other messages may come in between. A client that
    /// gets the message by a shared and by another subscription is judged by its state before both.
    pub fn explain(&self, now: Time, question: &Question<'_>) -> Explanation {
        let session = question.publisher.and_then(|client_id| self.sessions.get(client_id));
        let message = &question.message;
        let (topic, payload, properties) =
            (message.topic.as_str().len(), message.payload_len, message.properties_len);
        let asked = Asked {
            message,
            now,
            publisher: match (question.publisher, &session) {
                (None, _) => Publisher::Host,
                (Some(_), Some(session)) => Publisher::Session(session),
                // No Local does not matter for an unknown client, which has no subscription.
                (Some(_), None) => Publisher::Broker,
            },
            sizes: Sizes { topic, payload, properties, expires: message.expires },
            stored: Message::size_of(topic + payload + properties),
        };
        let source = match (question.publisher, &session) {
            (None, _) => Source::Console,
            (Some(_), session) => {
                let version =
                    session.as_ref().map_or(Version::V5, |session| session.outbound.lock().version());
                Source::Client { packet_len: message.packet_len(version) }
            }
        };
        let refused = self.options.admit(source, message).err();
        let matches = self.router.matches(message.topic);
        let mut receivers = Vec::new();
        for group in matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity()) {
            receivers.extend(self.direct(&asked, group));
        }
        for shared in &matches.shared {
            let picked = shared.group.next(|member| {
                let topic = message.topic.as_str().as_bytes();
                self.readiness(asked.publisher, topic, &asked.sizes, asked.stored, message.qos, member)
            });
            if let Some(member) = picked {
                let (fate, qos) = self.fate(&asked, std::slice::from_ref(&member), true);
                let group = TopicFilter::parse(shared.group.filter()).ok();
                receivers.push(Receiver {
                    client_id: client_id(&member.subscriber),
                    group: group.and_then(|filter| filter.group().map(str::to_owned)),
                    filters: vec![(shared.group.filter().to_string(), member.options)],
                    qos,
                    fate,
                });
            }
        }
        Explanation { refused, receivers }
    }

    /// The number of subscribers of a topic: clients, subscriptions of the host, groups.
    pub fn subscribers_of(&self, topic: TopicName<'_>) -> usize {
        let matches = self.router.matches(topic);
        let direct = matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity());
        direct.count() + matches.shared.len()
    }

    fn direct(&self, asked: &Asked<'_>, subscriptions: &[Match<Subscriber>]) -> Option<Receiver> {
        let subscriber = &subscriptions.first()?.subscriber;
        let (fate, qos) = self.fate(asked, subscriptions, false);
        let filters = match subscriber {
            Subscriber::Session(session) => matching(session, asked.message.topic),
            Subscriber::Local(local) => {
                subscriptions.iter().map(|held| (local.filter().to_owned(), held.options)).collect()
            }
        };
        Some(Receiver { client_id: client_id(subscriber), group: None, filters, qos, fate })
    }

    fn fate(&self, asked: &Asked<'_>, subscriptions: &[Match<Subscriber>], is_shared: bool) -> (Fate, QoS) {
        let Draft { qos, retain, .. } = *asked.message;
        let mut identifiers = Identifiers::new();
        let granted = subscriptions.first().and_then(|first| {
            let own = asked.publisher.is(&first.subscriber);
            Some((first, Granted::by(subscriptions, own, qos, retain, &mut identifiers)?))
        });
        let Some((first, granted)) = granted else {
            return (Fate::NoLocal, qos);
        };
        if !self.may_have(&first.subscriber, asked.message.topic.as_str().as_bytes()) {
            return (Fate::Dropped(DropReason::NotAuthorized), granted.qos);
        }
        let stored = asked.stored + Pending::options_size(identifiers.len(), is_shared);
        let foreseen =
            self.foresee(asked.now, &first.subscriber, &asked.sizes, stored, granted.qos, &identifiers);
        let fate = match foreseen.outcome {
            Outcome::Sent => Fate::Sent,
            Outcome::Queued if foreseen.away => Fate::QueuedWhileAway,
            Outcome::Queued => Fate::QueuedWhileBusy,
            Outcome::Dropped(reason) => Fate::Dropped(reason),
            Outcome::Overflowed(_) => Fate::Overflowed,
        };
        (fate, granted.qos)
    }
}

/// The matching filters of a session.
fn matching(session: &Session, topic: TopicName<'_>) -> Vec<(String, SubscriptionOptions)> {
    let control = session.control.lock();
    let held = control.subscriptions.as_slice().iter().filter(|held| {
        TopicFilter::parse(&held.filter)
            .is_ok_and(|filter| filter.group().is_none() && filter.matches(&topic))
    });
    held.map(|held| (held.filter.to_string(), held.options)).collect()
}

fn client_id(subscriber: &Subscriber) -> Option<String> {
    match subscriber {
        Subscriber::Session(session) => Some(session.client_id.to_string()),
        Subscriber::Local(_) => None,
    }
}
