//! The admission of messages: one rule for every source of a message.

use crate::codec::error::DecodeError;
use crate::codec::properties::{MESSAGE_EXPIRY_INTERVAL_LEN, Properties};
use crate::codec::publish::encoded_len;
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicName;
use crate::codec::version::Version;
use crate::engine::parts::options::Options;

/// Bytes of a User Property with an empty name and value.
const SHORTEST_USER_PROPERTY: usize = 5;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client's PUBLISH. Its topic may be an alias, so the length of the received packet counts.
    Client {
        /// Bytes of the received packet.
        packet_len: usize,
    },
    /// The will in a client's CONNECT.
    Will,
    /// The host program.
    Host,
    /// The console.
    Console,
    /// A client's message or will that the host changes. It may be as large as the client's message, even beyond the
    /// limit.
    Edit {
        /// The [`Draft::packet_len`] of the client's message.
        original_len: usize,
    },
}

/// The parts of a message that the rule checks.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'d> {
    /// The Topic Name.
    pub topic: TopicName<'d>,
    /// The QoS.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// Bytes of the payload.
    pub payload_len: usize,
    /// Bytes of the encoded properties without the Message Expiry Interval.
    pub properties_len: usize,
    /// Whether it has a Message Expiry Interval.
    pub expires: bool,
    /// Its User Properties, as [`Options::count_user_properties`] says.
    pub user_properties: usize,
}

impl Draft<'_> {
    /// The bytes of its PUBLISH packet.
    pub fn packet_len(&self, version: Version) -> usize {
        let expiry = if self.expires { MESSAGE_EXPIRY_INTERVAL_LEN } else { 0 };
        let has_id = self.qos > QoS::AtMostOnce;
        let properties = self.properties_len.saturating_add(expiry);
        encoded_len(version, self.topic.as_str().len(), has_id, properties, self.payload_len)
    }
}

/// Why a message may not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its QoS is higher than `mqtt.max_qos`.
    QosTooHigh(QoS),
    /// It has the RETAIN flag, and `mqtt.retain` is off.
    RetainOff,
    /// The topic is longer than `mqtt.max_topic_length`, whose value is given.
    TopicTooLong(usize),
    /// The topic has more levels than `mqtt.max_topic_levels`, whose value is given.
    TopicTooDeep(usize),
    /// The packet is larger than `mqtt.max_packet_size`.
    TooLarge {
        /// Bytes of the packet.
        len: usize,
        /// The largest allowed length.
        most: usize,
    },
    /// It has more User Properties than `mqtt.max_user_properties`, which is this.
    TooManyUserProperties(usize),
    /// It is to be stored, and too much waits for the store already.
    StoreFull,
    /// The topic is below `$SYS`: only the broker says what it says of itself (MQTT 5, section 4.7.2).
    BrokersTopic,
}

impl Options {
    /// Whether a message may be published.
    #[inline]
    pub fn admit(&self, source: Source, draft: &Draft<'_>) -> Result<(), Refusal> {
        let topic = draft.topic.as_str();
        if draft.qos > self.max_qos {
            return Err(Refusal::QosTooHigh(draft.qos));
        }
        if draft.retain && !self.retain {
            return Err(Refusal::RetainOff);
        }
        if topic.len() > self.max_topic_length {
            return Err(Refusal::TopicTooLong(self.max_topic_length));
        }
        if draft.topic.level_count() > self.max_topic_levels {
            return Err(Refusal::TopicTooDeep(self.max_topic_levels));
        }
        let len = match source {
            Source::Client { packet_len } => packet_len,
            _ => draft.packet_len(Version::V5),
        };
        let most = match source {
            Source::Edit { original_len } => original_len.max(self.max_packet_size as usize),
            _ => self.max_packet_size as usize,
        };
        if len > most {
            return Err(Refusal::TooLarge { len, most });
        }
        if draft.user_properties > self.max_user_properties {
            return Err(Refusal::TooManyUserProperties(self.max_user_properties));
        }
        match topic.starts_with("$SYS/") && !(source.is_clients() && is_bridge_state(topic)) {
            true => Err(Refusal::BrokersTopic),
            false => Ok(()),
        }
    }
}

impl Options {
    /// The User Properties among these; 0 without counting if they are too short to be too many.
    #[inline]
    pub fn count_user_properties(&self, properties: Properties<'_>) -> usize {
        match properties.raw().len() {
            0 => 0,
            len if len / SHORTEST_USER_PROPERTY <= self.max_user_properties => 0,
            _ => properties.user_properties().count(),
        }
    }
}

impl Source {
    /// Whether the message is a client's.
    fn is_clients(self) -> bool {
        match self {
            Source::Client { .. } | Source::Will | Source::Edit { .. } => true,
            Source::Host | Source::Console => false,
        }
    }
}

/// Whether a topic is `$SYS/broker/connection/NAME/state`, where a bridge says whether it is connected. It is the one topic
/// below `$SYS` where clients publish.
pub(crate) fn is_bridge_state(topic: &str) -> bool {
    topic
        .strip_prefix("$SYS/broker/connection/")
        .and_then(|rest| rest.strip_suffix("/state"))
        .is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

impl Refusal {
    /// The reason code for a client.
    pub fn reason(self) -> ReasonCode {
        match self {
            Refusal::QosTooHigh(_) => ReasonCode::QosNotSupported,
            Refusal::RetainOff => ReasonCode::RetainNotSupported,
            Refusal::TopicTooLong(_) | Refusal::TopicTooDeep(_) => ReasonCode::TopicNameInvalid,
            Refusal::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Refusal::TooManyUserProperties(_) | Refusal::StoreFull => ReasonCode::QuotaExceeded,
            Refusal::BrokersTopic => ReasonCode::NotAuthorized,
        }
    }

    /// The setting that refuses it; `None` if no setting would allow it.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Refusal::QosTooHigh(_) => Some("mqtt.max_qos"),
            Refusal::RetainOff => Some("mqtt.retain"),
            Refusal::TopicTooLong(_) => Some("mqtt.max_topic_length"),
            Refusal::TopicTooDeep(_) => Some("mqtt.max_topic_levels"),
            Refusal::TooLarge { .. } => Some("mqtt.max_packet_size"),
            Refusal::TooManyUserProperties(_) => Some("mqtt.max_user_properties"),
            Refusal::StoreFull => Some("storage.path"),
            Refusal::BrokersTopic => None,
        }
    }

    /// The name of the argument that is at fault.
    pub fn argument(self) -> &'static str {
        match self {
            Refusal::QosTooHigh(_) | Refusal::StoreFull => "qos",
            Refusal::RetainOff => "retain",
            Refusal::TopicTooLong(_) | Refusal::TopicTooDeep(_) | Refusal::BrokersTopic => "topic",
            Refusal::TooLarge { .. } => "payload",
            Refusal::TooManyUserProperties(_) => "user_properties",
        }
    }

    /// What is wrong with that argument, for the host program.
    pub fn cause(self, topic: &str) -> String {
        match self {
            Refusal::QosTooHigh(qos) => format!("{} is higher than mqtt.max_qos allows", qos.as_u8()),
            Refusal::RetainOff => "mqtt.retain is off".to_owned(),
            Refusal::TopicTooLong(most) => {
                format!("is {} bytes long; mqtt.max_topic_length is {most}", topic.len())
            }
            Refusal::TopicTooDeep(most) => format!("has more than {most} levels (mqtt.max_topic_levels)"),
            Refusal::TooLarge { len, most } => {
                format!("makes a packet of {len} bytes; mqtt.max_packet_size is {most}")
            }
            Refusal::TooManyUserProperties(most) => {
                format!("are more than {most} (mqtt.max_user_properties)")
            }
            Refusal::StoreFull => {
                "the store cannot be written (storage.path), and too much waits for it: QoS 0 is possible"
                    .to_owned()
            }
            Refusal::BrokersTopic => format!("{topic:?} is below $SYS, where only the broker publishes"),
        }
    }

    /// The error for a client.
    pub fn error(self) -> DecodeError {
        let cause = match self {
            Refusal::QosTooHigh(_) => "the QoS is above the maximum of the server (mqtt.max_qos)",
            Refusal::RetainOff => "the server keeps no retained messages (mqtt.retain)",
            Refusal::TopicTooLong(_) => "the topic is longer than the server allows (mqtt.max_topic_length)",
            Refusal::TopicTooDeep(_) => {
                "the topic has more levels than the server allows (mqtt.max_topic_levels)"
            }
            Refusal::TooLarge { .. } => "the packet is larger than the server allows (mqtt.max_packet_size)",
            Refusal::TooManyUserProperties(_) => {
                "the message has more user properties than the server allows (mqtt.max_user_properties)"
            }
            Refusal::StoreFull => {
                "the server's store cannot be written, and too much waits for it (storage.path)"
            }
            Refusal::BrokersTopic => "only the server publishes below $SYS",
        };
        DecodeError::new(self.reason(), cause)
    }

    /// The cause as a sentence, for the console.
    pub fn sentence(self) -> &'static str {
        match self {
            Refusal::QosTooHigh(_) => "The QoS is higher than mqtt.max_qos.",
            Refusal::RetainOff => "The broker keeps no retained messages: mqtt.retain is off.",
            Refusal::TopicTooLong(_) => "The topic is longer than mqtt.max_topic_length.",
            Refusal::TopicTooDeep(_) => "The topic has more levels than mqtt.max_topic_levels.",
            Refusal::TooLarge { .. } => "The message is larger than mqtt.max_packet_size.",
            Refusal::TooManyUserProperties(_) => {
                "There are more user properties than mqtt.max_user_properties."
            }
            Refusal::StoreFull => {
                "The store cannot be written, and too much waits for it. QoS 0 is possible."
            }
            Refusal::BrokersTopic => "Only the broker publishes below $SYS.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Draft, Refusal, Source};
    use crate::codec::qos::QoS;
    use crate::codec::topic::TopicName;
    use crate::codec::version::Version;
    use crate::config::Config;
    use crate::engine::parts::options::Options;

    fn options(settings: &[(&str, &str)]) -> Options {
        let mut config = Config::new();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        Options::new(config.settings())
    }

    fn draft(topic: &str) -> Draft<'_> {
        let topic = TopicName::parse(topic).unwrap();
        let qos = QoS::AtMostOnce;
        Draft {
            topic,
            qos,
            retain: false,
            payload_len: 0,
            properties_len: 0,
            expires: false,
            user_properties: 0,
        }
    }

    const DOORS: [Source; 5] = [
        Source::Client { packet_len: 9 },
        Source::Will,
        Source::Host,
        Source::Console,
        Source::Edit { original_len: 0 },
    ];

    /// Every source has the same bounds: a message at the bound is admitted, one beyond it is refused.
    #[test]
    fn every_door_has_the_same_bounds() {
        let bounds = [
            ("mqtt.max_topic_length", "3"),
            ("mqtt.max_topic_levels", "2"),
            ("mqtt.max_qos", "1"),
            ("mqtt.retain", "false"),
            ("mqtt.max_user_properties", "2"),
        ];
        let options = options(&bounds);
        let with = |qos, retain| Draft { qos, retain, ..draft("t") };
        let cases = [
            (draft("abc"), None),
            (draft("abcd"), Some(Refusal::TopicTooLong(3))),
            (draft("/a"), None),
            (draft("//"), Some(Refusal::TopicTooDeep(2))),
            (with(QoS::AtLeastOnce, false), None),
            (with(QoS::ExactlyOnce, false), Some(Refusal::QosTooHigh(QoS::ExactlyOnce))),
            (with(QoS::AtMostOnce, true), Some(Refusal::RetainOff)),
            (Draft { user_properties: 2, ..draft("t") }, None),
            (Draft { user_properties: 3, ..draft("t") }, Some(Refusal::TooManyUserProperties(2))),
        ];
        for source in DOORS {
            for (draft, expected) in &cases {
                assert_eq!(options.admit(source, draft).err(), *expected, "{source:?} {draft:?}");
                let named = expected.and_then(Refusal::setting);
                assert!(named.is_none_or(|setting| bounds.iter().any(|(key, _)| *key == setting)));
            }
        }
    }

    #[test]
    fn below_sys_only_the_broker_publishes_whoever_asks() {
        let options = options(&[]);
        let state = "$SYS/broker/connection/host.bridge/state";
        for source in DOORS {
            let expected = match source {
                Source::Host | Source::Console => Err(Refusal::BrokersTopic),
                _ => Ok(()),
            };
            assert_eq!(options.admit(source, &draft(state)), expected, "{source:?}");
            for topic in [
                "$SYS/broker/connection//state",
                "$SYS/broker/connection/state",
                "$SYS/broker/connection/a/b/state",
                "$SYS/broker/connection/a/state/",
                "$SYS/broker/connection/a/status",
                "$SYS/broker/connection/a",
                "$SYS/broker/version",
            ] {
                assert_eq!(options.admit(source, &draft(topic)), Err(Refusal::BrokersTopic), "{source:?}");
            }
            assert_eq!(options.admit(source, &draft("$SYS/x")), Err(Refusal::BrokersTopic), "{source:?}");
            for topic in ["$SYS", "$SYSX/x", "a/$SYS/x", "$sys/x"] {
                assert_eq!(options.admit(source, &draft(topic)), Ok(()), "{source:?} {topic}");
            }
        }
    }

    /// A packet of 128 bytes: fixed header 2, or 3 beyond 129; topic 3; property length 1. An identifier has 2 bytes,
    /// an expiry 5.
    #[test]
    fn a_packet_is_measured_as_it_would_be_sent() {
        let options = options(&[("mqtt.max_packet_size", "128B")]);
        for (qos, expires, properties_len, at) in [
            (QoS::AtMostOnce, false, 0, 122),
            (QoS::AtLeastOnce, false, 0, 120),
            (QoS::AtMostOnce, true, 0, 117),
            (QoS::ExactlyOnce, true, 10, 105),
        ] {
            let of = |payload_len| Draft { qos, payload_len, properties_len, expires, ..draft("t") };
            assert_eq!(of(at).packet_len(Version::V5), 128);
            let too_large = Err(Refusal::TooLarge { len: 129, most: 128 });
            for source in [Source::Will, Source::Host, Source::Console, Source::Edit { original_len: 128 }] {
                assert_eq!(options.admit(source, &of(at)), Ok(()), "{source:?} {qos:?}");
                assert_eq!(options.admit(source, &of(at + 1)), too_large, "{source:?} {qos:?}");
            }
            // A packet that a client has sent with an alias may be larger with the topic.
            assert_eq!(options.admit(Source::Client { packet_len: 128 }, &of(at + 1)), Ok(()));
            assert_eq!(options.admit(Source::Client { packet_len: 129 }, &of(at)), too_large);
            let edit = Source::Edit { original_len: 129 };
            assert_eq!(options.admit(edit, &of(at + 1)), Ok(()));
            assert_eq!(options.admit(edit, &of(at + 2)), Err(Refusal::TooLarge { len: 131, most: 129 }));
        }
    }
}
