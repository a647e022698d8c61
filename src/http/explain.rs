//! Explanations in words: which subscriptions match a topic, and what happens to a message.

use serde::{Deserialize, Serialize};

use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::TopicName;
use crate::engine::parts::admission::Draft;
use crate::engine::view::explain::{Explanation, Fate, Question, Receiver};
use crate::http::answer::{Problem, Reply, fitting};
use crate::http::console::Console;
use crate::http::number::whole;
use crate::http::retained;
use crate::http::service::ApiRequest;

/// The JSON of an explanation.
#[derive(Serialize)]
pub(super) struct Explained {
    topic: String,
    outcome: &'static str,
    text: String,
    receivers: Vec<Heard>,
    /// Whether the response has no room for all receivers.
    truncated: bool,
    retained: &'static str,
    /// Hooks of the host that decide about messages of clients. An explanation does not call them, because they may
    /// have side effects. None if the publisher is not a client.
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
    /// Whether the response has no room for all receivers.
    truncated: bool,
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
pub(super) fn matching(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let topic = retained::topic(request)?;
    let message = Draft {
        topic,
        qos: QoS::ExactlyOnce,
        retain: false,
        payload_len: 0,
        properties_len: 0,
        expires: false,
        user_properties: 0,
    };
    let question = Question { message, publisher: None };
    let mut receivers = console.engine.explain(console.now(), &question).receivers;
    sort(&mut receivers);
    let show = |receiver: Receiver| Hearer {
        qos: receiver.filters.iter().map(|(_, options)| options.qos.as_u8()).max().unwrap_or(0),
        client_id: receiver.client_id,
        filters: filters(receiver.filters),
        shared: receiver.group,
    };
    let (receivers, truncated) = fitting(receivers.into_iter().map(show))?;
    Reply::json(&Matching {
        topic: topic.as_str(),
        receivers,
        truncated,
        retained: console.engine.retained_message(topic).is_some(),
    })
}

/// `POST /api/v1/explain`
pub(super) fn explain(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let wanted: Wanted = request.json()?;
    let message = Draft {
        topic: topic_of(&wanted.topic)?,
        qos: qos_of(wanted.qos)?,
        retain: wanted.retain,
        payload_len: wanted.bytes as usize,
        properties_len: 0,
        expires: false,
        user_properties: 0,
    };
    let question = Question { message, publisher: wanted.client_id.as_deref() };
    let host = console.engine.wanted;
    let hooks = [("authorize", host.authorize), ("on_publish", host.on_publish)];
    let not_asked = hooks.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    let explained = Explained::of(&question, console.engine.explain(console.now(), &question));
    Reply::json(&Explained { not_asked: Some(not_asked), ..explained.fitting()? })
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
        let retained = match (question.message.retain, refused, question.message.payload_len) {
            (false, _, _) => "no",
            (true, Some(_), _) => "refused",
            (true, None, 0) => "removed",
            (true, None, _) => "stored",
        };
        let topic = question.message.topic.as_str().to_owned();
        if let Some(refusal) = refused {
            let text = refusal.sentence().to_owned();
            let (outcome, receivers) = ("refused", Vec::new());
            return Explained {
                topic,
                outcome,
                text,
                receivers,
                truncated: false,
                retained,
                not_asked: None,
            };
        }
        let heard: Vec<Heard> =
            receivers.into_iter().map(|receiver| Heard::of(question.message.qos, receiver)).collect();
        let count = |outcome| heard.iter().filter(|heard| heard.outcome == outcome).count();
        let (sent, queued) = (count("sent"), count("queued"));
        let (outcome, text) = match (heard.len(), sent, queued) {
            (0, ..) if retained != "no" => {
                let text = match retained {
                    "stored" => "The message is kept: later subscriptions get it.",
                    _ => "The retained message of the topic is removed.",
                };
                ("no_subscriber", format!("No subscription matches this topic now. {text}"))
            }
            (0, ..) => (
                "no_subscriber",
                "No subscription matches this topic, so nobody gets the message. Start the subscriber first, or \
                 publish with retain."
                    .to_owned(),
            ),
            (all, 0, 0) => ("dropped", format!("{all} match, but none gets the message.")),
            (all, 0, queued) => ("queued", format!("{queued} of {all} get the message later.")),
            (all, sent, 0) => ("delivered", format!("{sent} of {all} get the message now.")),
            (all, sent, queued) => {
                ("delivered", format!("{sent} of {all} get the message now, {queued} later."))
            }
        };
        Explained { topic, outcome, text, receivers: heard, truncated: false, retained, not_asked: None }
    }

    /// The explanation with the receivers that have room in a response.
    pub(super) fn fitting(self) -> Result<Explained, Problem> {
        let (receivers, truncated) = fitting(self.receivers)?;
        Ok(Explained { receivers, truncated, ..self })
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
            text.push_str(&format!(" QoS {from} is lowered to {to}, the maximum of the subscription."));
        }
        if receiver.group.is_some() {
            text.push_str(" One member of the group gets the message; the members take turns.");
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
        Fate::QueuedWhileAway => "The client is offline: the message waits in its session.",
        Fate::QueuedWhileBusy => {
            "The client's window of unacknowledged messages is full, or it reads slowly: the message waits in its queue."
        }
        Fate::Dropped(reason) => reason.explanation(),
        Fate::Overflowed => {
            "The queue of the session is full: the message is dropped and the client disconnected \
             (session.queue_overflow)."
        }
        Fate::NoLocal => "The client published the message itself, and its subscription has No Local.",
    }
}

#[cfg(test)]
mod tests {
    use super::{Explained, Heard, fate_text};
    use crate::codec::qos::QoS;
    use crate::codec::subscribe::SubscriptionOptions;
    use crate::codec::topic::TopicName;
    use crate::engine::parts::admission::{Draft, Refusal};
    use crate::engine::view::explain::{Explanation, Fate, Question, Receiver};
    use crate::stats::DropReason;

    const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    fn question(retain: bool, payload_len: usize) -> Question<'static> {
        let topic = TopicName::parse("t").unwrap();
        let qos = QoS::AtLeastOnce;
        let message =
            Draft { topic, qos, retain, payload_len, properties_len: 0, expires: false, user_properties: 0 };
        Question { message, publisher: None }
    }

    fn receiver(client_id: Option<&str>, group: Option<&str>, qos: QoS, fate: Fate) -> Receiver {
        Receiver {
            client_id: client_id.map(str::to_owned),
            group: group.map(str::to_owned),
            filters: vec![("t".to_owned(), SubscriptionOptions::with_qos(qos))],
            qos,
            fate,
        }
    }

    fn heard(published: QoS, qos: QoS, fate: Fate) -> Heard {
        Heard::of(published, receiver(Some("c"), None, qos, fate))
    }

    fn explained(fates: &[Fate]) -> Explained {
        let receivers = fates.iter().map(|fate| receiver(Some("c"), None, QoS::AtLeastOnce, *fate)).collect();
        Explained::of(&question(false, 1), Explanation { refused: None, receivers })
    }

    /// A publisher that sets RETAIN is not advised to set it.
    #[test]
    fn a_retained_message_without_receivers_is_said_to_be_kept() {
        for (payload_len, text) in [
            (1, "No subscription matches this topic now. The message is kept: later subscriptions get it."),
            (0, "No subscription matches this topic now. The retained message of the topic is removed."),
        ] {
            let explanation = Explanation { refused: None, receivers: Vec::new() };
            let explained = Explained::of(&question(true, payload_len), explanation);
            assert_eq!((explained.outcome, explained.text.as_str()), ("no_subscriber", text));
        }
    }

    /// The text mentions a lower QoS only if it is lower, and not for a dropped message.
    #[test]
    fn a_qos_is_said_to_be_lowered_only_where_it_is() {
        for published in QOS {
            for granted in QOS.into_iter().filter(|granted| *granted <= published) {
                let (from, to) = (published.as_u8(), granted.as_u8());
                let lowered = format!(" QoS {from} is lowered to {to}, the maximum of the subscription.");
                for fate in [Fate::Sent, Fate::QueuedWhileAway, Fate::QueuedWhileBusy] {
                    let told = if granted < published { lowered.as_str() } else { "" };
                    let expected = format!("{}{told}", fate_text(fate));
                    assert_eq!(heard(published, granted, fate).text, expected);
                }
                let fate = Fate::Dropped(DropReason::QueueFull);
                assert_eq!(heard(published, granted, fate).text, DropReason::QueueFull.explanation());
            }
        }
    }

    #[test]
    fn each_fate_has_its_outcome_its_reason_and_its_sentence() {
        let cases = [
            (Fate::Sent, "sent", None, "The message is sent at once."),
            (
                Fate::QueuedWhileAway,
                "queued",
                None,
                "The client is offline: the message waits in its session.",
            ),
            (
                Fate::QueuedWhileBusy,
                "queued",
                None,
                "The client's window of unacknowledged messages is full, or it reads slowly: the message waits in its \
                 queue.",
            ),
            (
                Fate::Overflowed,
                "dropped",
                Some("queue_full"),
                "The queue of the session is full: the message is dropped and the client disconnected \
                 (session.queue_overflow).",
            ),
            (
                Fate::NoLocal,
                "dropped",
                Some("no_local"),
                "The client published the message itself, and its subscription has No Local.",
            ),
        ];
        for (fate, outcome, reason, text) in cases {
            let heard = heard(QoS::AtLeastOnce, QoS::AtLeastOnce, fate);
            assert_eq!(
                (heard.outcome, heard.reason, heard.text.as_str()),
                (outcome, reason, text),
                "{fate:?}"
            );
            assert_eq!((heard.client_id.as_deref(), heard.shared, heard.qos), (Some("c"), None, 1));
            assert_eq!((heard.filters[0].filter.as_str(), heard.filters[0].qos), ("t", 1));
        }
        for reason in DropReason::ALL {
            let heard = heard(QoS::AtLeastOnce, QoS::AtLeastOnce, Fate::Dropped(*reason));
            assert_eq!((heard.outcome, heard.reason), ("dropped", Some(reason.name())));
            assert_eq!(heard.text, reason.explanation());
        }
    }

    #[test]
    fn a_group_is_said_to_have_other_members() {
        let one = receiver(Some("c"), Some("g"), QoS::AtMostOnce, Fate::Sent);
        let heard = Heard::of(QoS::AtLeastOnce, one);
        let expected = "The message is sent at once. QoS 1 is lowered to 0, the maximum of the subscription. One \
                        member of the group gets the message; the members take turns.";
        assert_eq!((heard.text.as_str(), heard.shared.as_deref()), (expected, Some("g")));
    }

    #[test]
    fn all_receivers_together_are_one_sentence() {
        let dropped = Fate::Dropped(DropReason::Offline);
        let nobody = "No subscription matches this topic, so nobody gets the message. Start the subscriber first, or \
                      publish with retain.";
        let cases: [(&[Fate], &str, &str); 7] = [
            (&[], "no_subscriber", nobody),
            (&[dropped, Fate::NoLocal], "dropped", "2 match, but none gets the message."),
            (&[Fate::QueuedWhileAway, dropped], "queued", "1 of 2 get the message later."),
            (&[Fate::Sent], "delivered", "1 of 1 get the message now."),
            (&[Fate::Sent, Fate::Overflowed, Fate::Sent], "delivered", "2 of 3 get the message now."),
            (
                &[Fate::Sent, Fate::QueuedWhileBusy, Fate::QueuedWhileAway],
                "delivered",
                "1 of 3 get the message now, 2 later.",
            ),
            (&[Fate::QueuedWhileBusy], "queued", "1 of 1 get the message later."),
        ];
        for (fates, outcome, text) in cases {
            let explained = explained(fates);
            assert_eq!((explained.outcome, explained.text.as_str()), (outcome, text), "{fates:?}");
            assert_eq!((explained.receivers.len(), explained.topic.as_str()), (fates.len(), "t"));
        }
    }

    #[test]
    fn a_refusal_is_its_sentence_and_nobody_gets_the_message() {
        let cases = [
            (Refusal::BrokersTopic, "Only the broker publishes below $SYS."),
            (
                Refusal::StoreFull,
                "The store cannot be written, and too much waits for it. QoS 0 is possible.",
            ),
            (Refusal::TopicTooLong(3), "The topic is longer than mqtt.max_topic_length."),
            (Refusal::TopicTooDeep(3), "The topic has more levels than mqtt.max_topic_levels."),
            (Refusal::QosTooHigh(QoS::ExactlyOnce), "The QoS is higher than mqtt.max_qos."),
            (Refusal::RetainOff, "The broker keeps no retained messages: mqtt.retain is off."),
            (Refusal::TooLarge { len: 9, most: 8 }, "The message is larger than mqtt.max_packet_size."),
        ];
        for (refusal, text) in cases {
            let receivers = vec![receiver(Some("c"), None, QoS::AtMostOnce, Fate::Sent)];
            let explained =
                Explained::of(&question(false, 1), Explanation { refused: Some(refusal), receivers });
            assert_eq!((explained.outcome, explained.receivers.len()), ("refused", 0));
            assert_eq!(explained.text, text);
        }
    }

    /// Retained, not retained, or removed by an empty payload.
    #[test]
    fn what_becomes_of_the_retained_message_is_told() {
        let explanation = |refused| Explanation { refused, receivers: Vec::new() };
        let too_large = Some(Refusal::TooLarge { len: 9, most: 8 });
        for (retain, refused, payload_len, told) in [
            (false, None, 1, "no"),
            (false, too_large, 1, "no"),
            (true, too_large, 1, "refused"),
            (true, too_large, 0, "refused"),
            (true, None, 0, "removed"),
            (true, None, 1, "stored"),
        ] {
            let explained = Explained::of(&question(retain, payload_len), explanation(refused));
            assert_eq!(explained.retained, told, "{retain} {refused:?} {payload_len}");
        }
    }

    /// The host comes first, then clients by identifier; a client comes before its groups.
    #[test]
    fn receivers_are_sorted() {
        let one = |client_id, group| receiver(client_id, group, QoS::AtMostOnce, Fate::Sent);
        let receivers = vec![
            one(Some("b"), None),
            one(Some("a"), Some("h")),
            one(Some("a"), Some("g")),
            one(Some("a"), None),
            one(None, None),
        ];
        let explained = Explained::of(&question(false, 1), Explanation { refused: None, receivers });
        let order: Vec<_> =
            explained.receivers.iter().map(|h| (h.client_id.as_deref(), h.shared.as_deref())).collect();
        let expected = [
            (None, None),
            (Some("a"), None),
            (Some("a"), Some("g")),
            (Some("a"), Some("h")),
            (Some("b"), None),
        ];
        assert_eq!(order, expected);
    }
}
