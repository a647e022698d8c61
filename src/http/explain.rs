//! Explanations in words: who hears a topic, and what becomes of a message.

use serde::{Deserialize, Serialize};

use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::TopicName;
use crate::engine::explain::{Explanation, Fate, Question, Receiver, Refusal};
use crate::http::answer::{Answer, Problem};
use crate::http::console::Console;
use crate::http::number::whole;
use crate::http::retained;
use crate::http::service::Asked;

/// An explanation as it is answered.
#[derive(Serialize)]
pub(super) struct Explained {
    topic: String,
    outcome: &'static str,
    text: String,
    receivers: Vec<Heard>,
    retained: &'static str,
    /// Hooks of the host that decide on what clients publish, and that an explanation does not ask: they may count, log or
    /// take their time. None where no client publishes.
    not_asked: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
struct Heard {
    client_id: Option<String>,
    shared: Option<String>,
    filters: Vec<Filter>,
    qos: u8,
    outcome: &'static str,
    reason: Option<&'static str>,
    text: String,
}

#[derive(Serialize)]
struct Filter {
    filter: String,
    qos: u8,
}

#[derive(Serialize)]
struct Matching<'m> {
    topic: &'m str,
    receivers: Vec<Hearer>,
    retained: bool,
}

#[derive(Serialize)]
struct Hearer {
    client_id: Option<String>,
    filters: Vec<Filter>,
    qos: u8,
    shared: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    topic: String,
    #[serde(default, deserialize_with = "whole")]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default, deserialize_with = "whole")]
    bytes: u32,
    #[serde(default)]
    client_id: Option<String>,
}

/// `GET /api/v1/subscriptions/match`
pub(super) fn matching(console: &Console, asked: &Asked) -> Result<Answer, Problem> {
    let topic = retained::topic(asked)?;
    let question = Question {
        topic,
        qos: QoS::ExactlyOnce,
        retain: false,
        payload_len: 0,
        properties_len: 0,
        publisher: None,
    };
    let mut receivers = console.engine.explain(&question).receivers;
    sort(&mut receivers);
    let show = |receiver: Receiver| Hearer {
        qos: receiver.filters.iter().map(|(_, options)| options.qos.as_u8()).max().unwrap_or(0),
        client_id: receiver.client_id,
        filters: filters(receiver.filters),
        shared: receiver.group,
    };
    Answer::json(&Matching {
        topic: topic.as_str(),
        receivers: receivers.into_iter().map(show).collect(),
        retained: console.engine.retained_message(topic).is_some(),
    })
}

/// `POST /api/v1/explain`
pub(super) fn explain(console: &Console, asked: &Asked) -> Result<Answer, Problem> {
    let wanted: Wanted = asked.json()?;
    let question = Question {
        topic: topic_of(&wanted.topic)?,
        qos: qos_of(wanted.qos)?,
        retain: wanted.retain,
        payload_len: wanted.bytes as usize,
        properties_len: 0,
        publisher: wanted.client_id.as_deref(),
    };
    let host = console.engine.host_wanted;
    let hooks = [("authorize", host.authorize), ("on_publish", host.on_publish)];
    let not_asked = hooks.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    let explained = Explained::of(&question, console.engine.explain(&question));
    Answer::json(&Explained { not_asked: Some(not_asked), ..explained })
}

/// A Topic Name from a body.
pub(super) fn topic_of(text: &str) -> Result<TopicName<'_>, Problem> {
    TopicName::parse(text).map_err(|error| Problem::bad_request(format!("topic: {error}")))
}

/// A QoS from a body.
pub(super) fn qos_of(number: u8) -> Result<QoS, Problem> {
    QoS::from_u8(number).ok_or_else(|| Problem::bad_request("qos is not 0, 1 or 2"))
}

impl Explained {
    /// An explanation in words.
    pub(super) fn of(question: &Question<'_>, explanation: Explanation) -> Explained {
        let Explanation { refused, mut receivers } = explanation;
        sort(&mut receivers);
        let retained = match (question.retain, refused, question.payload_len) {
            (false, _, _) => "no",
            (true, Some(_), _) => "refused",
            (true, None, 0) => "removed",
            (true, None, _) => "stored",
        };
        let topic = question.topic.as_str().to_owned();
        if let Some(refusal) = refused {
            let text = refusal_text(refusal).to_owned();
            let (outcome, receivers) = ("refused", Vec::new());
            return Explained { topic, outcome, text, receivers, retained, not_asked: None };
        }
        let heard: Vec<Heard> =
            receivers.into_iter().map(|receiver| Heard::of(question.qos, receiver)).collect();
        let count = |outcome| heard.iter().filter(|heard| heard.outcome == outcome).count();
        let (sent, queued) = (count("sent"), count("queued"));
        let (outcome, text) = match (heard.len(), sent, queued) {
            (0, ..) => (
                "no_subscriber",
                "Nobody has subscribed to this topic, so that nobody gets the message. Start the subscriber first, or \
                 publish with retain."
                    .to_owned(),
            ),
            (all, 0, 0) => ("dropped", format!("{all} match, and none gets the message.")),
            (all, 0, queued) => ("queued", format!("{queued} of {all} get the message later.")),
            (all, sent, 0) => ("delivered", format!("{sent} of {all} get the message now.")),
            (all, sent, queued) => {
                ("delivered", format!("{sent} of {all} get the message now, {queued} later."))
            }
        };
        Explained { topic, outcome, text, receivers: heard, retained, not_asked: None }
    }
}

impl Explained {
    /// The sentence alone.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Heard {
    fn of(published: QoS, receiver: Receiver) -> Heard {
        let (outcome, reason) = match receiver.fate {
            Fate::Sent => ("sent", None),
            Fate::QueuedWhileAway | Fate::QueuedWhileBusy => ("queued", None),
            Fate::Dropped(reason) => ("dropped", Some(reason.name())),
            Fate::Overflowed => ("dropped", Some("queue_full")),
            Fate::NoLocal => ("dropped", Some("no_local")),
        };
        let mut text = fate_text(receiver.fate).to_owned();
        if receiver.qos < published && outcome != "dropped" {
            let (from, to) = (published.as_u8(), receiver.qos.as_u8());
            text.push_str(&format!(
                " QoS {from} is lowered to {to}, which the subscription asks for at most."
            ));
        }
        if receiver.group.is_some() {
            text.push_str(" One member of the group gets the message; another one if it is its turn.");
        }
        Heard {
            client_id: receiver.client_id,
            shared: receiver.group,
            filters: filters(receiver.filters),
            qos: receiver.qos.as_u8(),
            outcome,
            reason,
            text,
        }
    }
}

fn sort(receivers: &mut [Receiver]) {
    receivers.sort_by(|a, b| a.client_id.cmp(&b.client_id).then_with(|| a.group.cmp(&b.group)));
}

fn filters(filters: Vec<(String, SubscriptionOptions)>) -> Vec<Filter> {
    filters.into_iter().map(|(filter, options)| Filter { filter, qos: options.qos.as_u8() }).collect()
}

fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Sent => "The message is sent at once.",
        Fate::QueuedWhileAway => "The client is away: the message waits in its session.",
        Fate::QueuedWhileBusy => {
            "The client has as many unacknowledged messages as it takes, or reads slowly: the message waits in its queue."
        }
        Fate::Dropped(reason) => reason.explanation(),
        Fate::Overflowed => {
            "The queue of the session is full: the message is dropped and the client disconnected, as \
             session.queue_overflow says."
        }
        Fate::NoLocal => "The client has published the message itself, and its subscription says No Local.",
    }
}

fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BrokersTopic => "Only the broker publishes below $SYS.",
        Refusal::TopicTooLong => {
            "The topic is longer than mqtt.max_topic_length or has more levels than mqtt.max_topic_levels."
        }
        Refusal::QosTooHigh => "The QoS is higher than mqtt.max_qos.",
        Refusal::RetainOff => "The broker keeps no retained messages: mqtt.retain is off.",
        Refusal::TooLarge => "The message is larger than mqtt.max_packet_size.",
    }
}
