//! Why a message arrives or does not: what would become of it, subscriber by subscriber, without publishing it.

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
use crate::session::plan::Sizes;
use crate::session::state::Session;
use crate::stats::DropReason;
use crate::time::Time;
use crate::topics::Identity;
use crate::topics::Match;

/// A message about which it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The message.
    pub message: Draft<'q>,
    /// The client that publishes; `None` for the host program.
    pub publisher: Option<&'q str>,
}

/// What would become of a message.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Why the broker would not take it; then nobody gets it.
    pub refused: Option<Refusal>,
    /// Everybody whose subscriptions match, in no order.
    pub receivers: Vec<Receiver>,
}

/// Somebody whose subscriptions match.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The client; `None` for the host program, and for a group without members.
    pub client_id: Option<String>,
    /// The group of a shared subscription, of which one member gets the message: this one, unless another is fitter
    /// when the time comes, or it is that one's turn by then.
    pub group: Option<String>,
    /// The filters that match.
    pub filters: Vec<(String, SubscriptionOptions)>,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// What would become of the message.
    pub fate: Fate,
}

/// What would become of a message for one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It would be sent at once.
    Sent,
    /// It would wait, because the client is away.
    QueuedWhileAway,
    /// It would wait, because the client has enough to do.
    QueuedWhileBusy,
    /// It would be dropped.
    Dropped(DropReason),
    /// It would be dropped and the client disconnected, for its queue is full.
    Overflowed,
    /// The client has published it, and does not want its own messages.
    NoLocal,
}

/// A question, and what answering it takes.
struct Asked<'a> {
    message: &'a Draft<'a>,
    now: Time,
    publisher: Publisher<'a>,
    sizes: Sizes,
    /// Bytes that the message takes in a queue.
    stored: usize,
}

impl Engine {
    /// What would become of a message if it were published now. Others may come in between, and a client that gets a message
    /// both by a shared subscription and by another one is looked at as it is before the first of them.
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
                // A client that is not there has no subscription that No Local is about.
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
                self.readiness(asked.publisher, &asked.sizes, asked.stored, message.qos, member)
            });
            if let Some(member) = picked {
                let (fate, qos) = self.fate(&asked, std::slice::from_ref(&member));
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

    /// How many subscribers a topic has: clients, subscriptions of the host, groups.
    pub fn subscribers_of(&self, topic: TopicName<'_>) -> usize {
        let matches = self.router.matches(topic);
        let direct = matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity());
        direct.count() + matches.shared.len()
    }

    fn direct(&self, asked: &Asked<'_>, subscriptions: &[Match<Subscriber>]) -> Option<Receiver> {
        let subscriber = &subscriptions.first()?.subscriber;
        let (fate, qos) = self.fate(asked, subscriptions);
        let filters = match subscriber {
            Subscriber::Session(session) => matching(session, asked.message.topic),
            Subscriber::Local(local) => {
                subscriptions.iter().map(|held| (local.filter().to_owned(), held.options)).collect()
            }
        };
        Some(Receiver { client_id: client_id(subscriber), group: None, filters, qos, fate })
    }

    fn fate(&self, asked: &Asked<'_>, subscriptions: &[Match<Subscriber>]) -> (Fate, QoS) {
        let Draft { qos, retain, .. } = *asked.message;
        let mut identifiers = Identifiers::new();
        let granted = subscriptions.first().and_then(|first| {
            let own = asked.publisher.is(&first.subscriber);
            Some((first, Granted::by(subscriptions, own, qos, retain, &mut identifiers)?))
        });
        let Some((first, granted)) = granted else {
            return (Fate::NoLocal, qos);
        };
        let foreseen =
            self.foresee(asked.now, &first.subscriber, &asked.sizes, asked.stored, granted.qos, &identifiers);
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

/// The filters of a session that match.
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
