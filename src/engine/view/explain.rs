//! Why a message arrives or does not: what would become of it, subscriber by subscriber, without publishing it.

use smallvec::SmallVec;

use crate::codec::publish::encoded_len;
use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::codec::version::Version;
use crate::engine::core::state::Engine;
use crate::engine::parts::admission::{Draft, Refusal, Source};
use crate::engine::parts::subscriber::Subscriber;
use crate::session::delivery::Outcome;
use crate::session::state::Session;
use crate::stats::DropReason;
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
    /// The group of a shared subscription, of which one member gets the message: this one, unless another is more
    /// ready when the time comes.
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

impl Engine {
    /// What would become of a message if it were published now. Others may come in between.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let refused = self.refusal(question);
        let matches = self.router.matches(question.message.topic);
        let mut receivers = Vec::new();
        for group in matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity()) {
            receivers.extend(self.direct(question, group));
        }
        for shared in &matches.shared {
            let members = shared.group.members();
            let fates = members.iter().map(|member| self.fate(question, std::slice::from_ref(member)));
            // The fittest of them; whose turn it is among equals is not foretold.
            let picked = members.iter().zip(fates).min_by_key(|(_, (fate, _))| rank(*fate));
            if let Some((member, (fate, qos))) = picked {
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

    /// Why the broker would not take a message.
    fn refusal(&self, question: &Question<'_>) -> Option<Refusal> {
        let source = match question.publisher {
            None => Source::Console,
            Some(client_id) => {
                let session = self.sessions.get(client_id);
                let version = session.map_or(Version::V5, |session| session.outbound.lock().version());
                Source::Client { packet_len: question.message.packet_len(version) }
            }
        };
        self.options.admit(source, &question.message).err()
    }

    fn direct(&self, question: &Question<'_>, subscriptions: &[Match<Subscriber>]) -> Option<Receiver> {
        let subscriber = &subscriptions.first()?.subscriber;
        let (fate, qos) = self.fate(question, subscriptions);
        let filters = match subscriber {
            Subscriber::Session(session) => matching(session, question.message.topic),
            Subscriber::Local(local) => {
                subscriptions.iter().map(|held| (local.filter().to_owned(), held.options)).collect()
            }
        };
        Some(Receiver { client_id: client_id(subscriber), group: None, filters, qos, fate })
    }

    fn fate(&self, question: &Question<'_>, subscriptions: &[Match<Subscriber>]) -> (Fate, QoS) {
        let own = |subscriber: &Subscriber| match (subscriber, question.publisher) {
            (Subscriber::Session(session), Some(publisher)) => *session.client_id == *publisher,
            (Subscriber::Local(_), None) => true,
            _ => false,
        };
        let wanted = subscriptions.iter().filter(|held| !(held.options.no_local && own(&held.subscriber)));
        let wanted: SmallVec<[&Match<Subscriber>; 4]> = wanted.collect();
        let granted = wanted.iter().map(|held| held.options.qos).max();
        let (Some(granted), Some(first)) = (granted, wanted.first()) else {
            return (Fate::NoLocal, question.message.qos);
        };
        let qos = question.message.qos.min(granted);
        let Subscriber::Session(session) = &first.subscriber else {
            return (Fate::Sent, qos);
        };
        let identifiers = wanted.iter().filter(|held| held.identifier != 0).count();
        let outbound = session.outbound.lock();
        let version = outbound.version();
        let properties = match version.is_v5() {
            // An identifier takes two to five bytes.
            true => question.message.properties_len + 5 * identifiers,
            false => 0,
        };
        let size = encoded_len(
            version,
            question.message.topic.as_str().len(),
            qos > QoS::AtMostOnce,
            properties,
            question.message.payload_len,
        );
        let is_connected = outbound.is_connected();
        let stored = question.message.topic.as_str().len()
            + question.message.payload_len
            + question.message.properties_len;
        let fate = match outbound.foresee(&self.options.limits, qos, size, stored) {
            Outcome::Sent => Fate::Sent,
            Outcome::Queued if is_connected => Fate::QueuedWhileBusy,
            Outcome::Queued => Fate::QueuedWhileAway,
            Outcome::Dropped(reason) => Fate::Dropped(reason),
            Outcome::Overflowed => Fate::Overflowed,
        };
        (fate, qos)
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

/// Which member of a group is picked first.
fn rank(fate: Fate) -> u8 {
    match fate {
        Fate::Sent => 0,
        Fate::QueuedWhileBusy => 1,
        Fate::QueuedWhileAway => 2,
        Fate::Dropped(_) | Fate::Overflowed | Fate::NoLocal => 3,
    }
}
