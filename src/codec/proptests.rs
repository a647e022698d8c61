//! Properties that hold for every packet and for any bytes.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::BoxedStrategy;

use crate::codec::ack::Ack;
use crate::codec::auth::Auth;
use crate::codec::connack::Connack;
use crate::codec::connect::{Connect, Will};
use crate::codec::disconnect::Disconnect;
use crate::codec::frame::{Frame, Framing, split};
use crate::codec::packet::{Packet, decode};
use crate::codec::properties::{Properties, Property, PropertyId, place};
use crate::codec::publish::{Publish, encoded_len};
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::suback::Suback;
use crate::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use crate::codec::testing::{decode_bytes, encode, id};
use crate::codec::topic::{TopicFilter, TopicName};
use crate::codec::unsuback::Unsuback;
use crate::codec::unsubscribe::{Unsubscribe, encode_filter};
use crate::codec::version::Version;
use crate::codec::wire::put_packet;

/// The parts that a packet of any type is made from; each type uses the ones it has.
#[derive(Clone, Debug)]
struct Parts {
    kind: u8,
    version: Version,
    flags: [bool; 4],
    qos: QoS,
    number: u16,
    reason: ReasonCode,
    reasons: Vec<u8>,
    topic: String,
    texts: [String; 2],
    payload: Vec<u8>,
    properties: Vec<u8>,
    will_properties: Vec<u8>,
    requests: Vec<u8>,
    filters: Vec<u8>,
}

impl Parts {
    fn properties(&self) -> Properties<'_> {
        if self.version.is_v5() {
            Properties::from_encoded(&self.properties).unwrap()
        } else {
            Properties::EMPTY
        }
    }

    fn packet(&self) -> Packet<'_> {
        let (packet_id, properties, reason) = (id(self.number), self.properties(), self.reason);
        let ack = Ack { packet_id, reason, properties };
        match self.kind {
            1 => Packet::Connect(self.connect()),
            2 => {
                let session_present =
                    self.flags[0] && reason == ReasonCode::Success && self.version > Version::V31;
                Packet::Connack(Connack { session_present, reason, properties })
            }
            3 => Packet::Publish(self.publish()),
            4 => Packet::Puback(ack),
            5 => Packet::Pubrec(ack),
            6 => Packet::Pubrel(ack),
            7 => Packet::Pubcomp(ack),
            8 => Packet::Subscribe(Subscribe::from_encoded(packet_id, properties, &self.requests).unwrap()),
            9 => Packet::Suback(Suback { packet_id, properties, reasons: &self.reasons }),
            10 => {
                Packet::Unsubscribe(Unsubscribe::from_encoded(packet_id, properties, &self.filters).unwrap())
            }
            11 => Packet::Unsuback(Unsuback { packet_id, properties, reasons: &self.reasons }),
            12 => Packet::Pingreq,
            13 => Packet::Pingresp,
            14 => Packet::Disconnect(Disconnect { reason, properties }),
            15 => Packet::Auth(Auth { reason, properties }),
            kind => panic!("{kind} is no packet type"),
        }
    }

    fn connect(&self) -> Connect<'_> {
        let version = self.version;
        let will_properties = Properties::from_encoded(&self.will_properties).unwrap();
        let will = Will {
            topic: TopicName::parse(&self.topic).unwrap(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.flags[1],
            properties: if version.is_v5() { will_properties } else { Properties::EMPTY },
        };
        let has_username = self.flags[2];
        Connect {
            version,
            clean_start: self.flags[0],
            keep_alive: self.number,
            is_bridge: false,
            client_id: &self.texts[0],
            will: self.number.is_multiple_of(2).then_some(will),
            username: has_username.then_some(&self.texts[1]),
            password: (self.flags[3] && (has_username || version.is_v5())).then_some(&self.payload),
            properties: self.properties(),
        }
    }

    fn publish(&self) -> Publish<'_> {
        let properties = self.properties();
        let is_acknowledged = self.qos != QoS::AtMostOnce;
        Publish {
            dup: self.flags[0] && is_acknowledged,
            qos: self.qos,
            retain: self.flags[1],
            topic: if self.flags[2] && properties.topic_alias().is_some() { "" } else { &self.topic },
            packet_id: is_acknowledged.then_some(id(self.number)),
            properties,
            payload: &self.payload,
        }
    }
}

/// Where the properties of a packet of type `kind` stand.
fn place_of(kind: u8) -> u16 {
    match kind {
        1 => place::CONNECT,
        2 => place::CONNACK,
        3 => place::PUBLISH,
        8 => place::SUBSCRIBE,
        9 => place::SUBACK,
        10 => place::UNSUBSCRIBE,
        11 => place::UNSUBACK,
        14 => place::DISCONNECT,
        15 => place::AUTH,
        _ => place::ACK,
    }
}

/// Some reason codes that a packet of type `kind` may hold.
fn reasons_of(kind: u8, version: Version) -> &'static [u8] {
    match (kind, version.is_v5()) {
        (2, true) => &[0x00, 0x80, 0x86, 0x8C, 0x90, 0x9F],
        (2, false) => &[0x00, 0x84, 0x85, 0x86, 0x87, 0x88],
        (4 | 5, true) => &[0x00, 0x10, 0x80, 0x97],
        (6 | 7, true) => &[0x00, 0x92],
        (9, true) => &[0x00, 0x01, 0x02, 0x80, 0x8F, 0xA2],
        (9, false) => &[0x00, 0x01, 0x02, 0x80],
        (11, true) => &[0x00, 0x11, 0x87],
        (14, true) => &[0x00, 0x04, 0x82, 0x8E, 0xA2],
        (15, true) => &[0x00, 0x18, 0x19],
        _ => &[0x00],
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn text() -> impl Strategy<Value = String> {
    "[^\\x00]{0,8}"
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c$/]{1,8}", "[^\\x00+#]{1,8}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => vec(any::<u8>(), 0..16), 1 => vec(any::<u8>(), 100..300)]
}

fn encoded(property: &Property<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    property.encode(&mut out);
    out
}

/// One encoded property of any kind.
fn property() -> BoxedStrategy<Vec<u8>> {
    let number = any::<u32>().prop_flat_map(|value| {
        prop_oneof![
            Just(Property::MessageExpiryInterval(value)),
            Just(Property::SessionExpiryInterval(value)),
            Just(Property::WillDelayInterval(value)),
            Just(Property::MaximumPacketSize(value.max(1))),
            Just(Property::SubscriptionIdentifier((value >> 4).max(1))),
            Just(Property::ServerKeepAlive(value as u16)),
            Just(Property::ReceiveMaximum((value as u16).max(1))),
            Just(Property::TopicAliasMaximum(value as u16)),
            Just(Property::TopicAlias((value as u16).max(1))),
        ]
    });
    let flag = any::<bool>().prop_flat_map(|value| {
        prop_oneof![
            Just(Property::PayloadFormatIndicator(value.into())),
            Just(Property::RequestProblemInformation(value)),
            Just(Property::RequestResponseInformation(value)),
            Just(Property::MaximumQos(if value { QoS::AtLeastOnce } else { QoS::AtMostOnce })),
            Just(Property::RetainAvailable(value)),
            Just(Property::WildcardSubscriptionAvailable(value)),
            Just(Property::SubscriptionIdentifierAvailable(value)),
            Just(Property::SharedSubscriptionAvailable(value)),
        ]
    });
    prop_oneof![
        3 => number.prop_map(|property| encoded(&property)),
        2 => flag.prop_map(|property| encoded(&property)),
        3 => (0usize..6, text()).prop_map(|(which, text)| {
            let kinds = [
                Property::ContentType,
                Property::AssignedClientIdentifier,
                Property::AuthenticationMethod,
                Property::ResponseInformation,
                Property::ServerReference,
                Property::ReasonString,
            ];
            encoded(&kinds[which](&text))
        }),
        1 => topic().prop_map(|topic| encoded(&Property::ResponseTopic(&topic))),
        1 => bytes().prop_map(|bytes| encoded(&Property::CorrelationData(&bytes))),
        1 => bytes().prop_map(|bytes| encoded(&Property::AuthenticationData(&bytes))),
        2 => (text(), text()).prop_map(|(name, value)| encoded(&Property::UserProperty(&name, &value))),
    ]
    .boxed()
}

/// The encoded properties of a packet of `place`.
fn properties(place: u16) -> impl Strategy<Value = Vec<u8>> {
    vec(property(), 0..12).prop_map(move |mut all| {
        let mut seen = Vec::new();
        all.retain(|bytes| {
            let id = PropertyId::from_u8(bytes[0]).unwrap();
            let is_new = id == PropertyId::UserProperty || !seen.contains(&id);
            seen.push(id);
            is_new && id.is_allowed(place)
        });
        let has = |id: PropertyId| all.iter().any(|bytes| bytes[0] == id as u8);
        let needs_method = place == place::AUTH || has(PropertyId::AuthenticationData);
        if needs_method && !has(PropertyId::AuthenticationMethod) {
            all.push(encoded(&Property::AuthenticationMethod("m")));
        }
        all.concat()
    })
}

/// The encoded entries of a SUBSCRIBE.
fn requests(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let byte = (0u8..64).prop_map(move |byte| if version.is_v5() { byte } else { byte & 3 });
    let options = byte
        .prop_filter_map("reserved options", |byte| SubscriptionOptions::from_byte(byte, Version::V5).ok());
    vec((text(), options), 1..4).prop_map(|requests| {
        let mut out = Vec::new();
        for (filter, options) in requests {
            SubscriptionRequest { filter: &filter, options }.encode(&mut out);
        }
        out
    })
}

/// The encoded entries of an UNSUBSCRIBE.
fn filters() -> impl Strategy<Value = Vec<u8>> {
    vec(text(), 1..4).prop_map(|filters| {
        let mut out = Vec::new();
        for filter in filters {
            encode_filter(&filter, &mut out);
        }
        out
    })
}

fn parts() -> impl Strategy<Value = Parts> {
    let kind = (1u8..=15, version()).prop_filter("AUTH is of MQTT 5", |&(kind, v)| kind != 15 || v.is_v5());
    kind.prop_flat_map(|(kind, version)| {
        let reasons = prop::sample::select(reasons_of(kind, version));
        let count = if kind == 11 && !version.is_v5() { 0..=0 } else { 1..=5 };
        let scalars = (any::<[bool; 4]>(), qos(), 1u16.., reasons.clone(), vec(reasons, count));
        let fields = (topic(), [text(), text()], bytes());
        let lists = (properties(place_of(kind)), properties(place::WILL), requests(version), filters());
        (scalars, fields, lists).prop_map(move |(scalars, fields, lists)| {
            let (flags, qos, number, reason, reasons) = scalars;
            let (topic, texts, payload) = fields;
            let (properties, will_properties, requests, filters) = lists;
            let reason = ReasonCode::from_u8(reason).unwrap();
            Parts {
                kind,
                version,
                flags,
                qos,
                number,
                reason,
                reasons,
                topic,
                texts,
                payload,
                properties,
                will_properties,
                requests,
                filters,
            }
        })
    })
}

/// A packet that decodes is encoded to bytes that decode to the same packet.
fn assert_stable(frame: Frame<'_>, version: Version) {
    if let Ok(packet) = decode(frame, version) {
        let bytes = encode(&packet, version);
        assert_eq!(decode_bytes(&bytes, version), Ok(packet));
    }
}

/// The frame of a packet with this first byte and body, decoded if the first byte and body allow.
fn assert_stable_body(first: u8, body: &[u8], version: Version) {
    let mut bytes = Vec::new();
    put_packet(&mut bytes, first, |out| out.extend_from_slice(body));
    match split(&bytes, u32::MAX) {
        Ok(Framing::Complete(frame)) => {
            assert_eq!((frame.first, frame.body, frame.whole), (first, body, &bytes[..]));
            assert_stable(frame, version);
        }
        other => panic!("{bytes:02x?} is {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_packet_written_is_the_packet_read(parts in parts()) {
        let packet = parts.packet();
        let bytes = encode(&packet, parts.version);
        prop_assert_eq!(decode_bytes(&bytes, parts.version), Ok(packet));
        if let Packet::Publish(publish) = packet {
            let (topic_len, has_id) = (publish.topic.len(), publish.packet_id.is_some());
            let properties_len = publish.properties.raw().len();
            let len = encoded_len(parts.version, topic_len, has_id, properties_len, publish.payload.len());
            prop_assert_eq!(bytes.len(), len);
        }
    }

    #[test]
    fn a_packet_arrives_in_any_pieces(parts in parts(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&parts.packet(), parts.version);
        let cut = cut.index(bytes.len());
        match split(&bytes[..cut], u32::MAX) {
            Ok(Framing::Partial { need }) => prop_assert!(need > cut && need <= bytes.len()),
            other => panic!("{cut} bytes of {bytes:02x?} are {other:?}"),
        }
    }

    #[test]
    fn a_damaged_packet_is_refused_or_read_stably(
        parts in parts(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 0usize..3,
        version in version(),
    ) {
        let bytes = encode(&parts.packet(), parts.version);
        let Ok(Framing::Complete(frame)) = split(&bytes, u32::MAX) else { panic!("{bytes:02x?}") };
        let mut body = frame.body[..frame.body.len().saturating_sub(cut)].to_vec();
        for (index, byte) in damage {
            if !body.is_empty() {
                let at = index.index(body.len());
                body[at] = byte;
            }
        }
        assert_stable_body(frame.first, &body, parts.version);
        assert_stable_body(frame.first, &body, version);
    }

    #[test]
    fn any_body_is_refused_or_read_stably(first in any::<u8>(), body in bytes(), version in version()) {
        assert_stable_body(first, &body, version);
    }

    #[test]
    fn any_bytes_are_split_or_refused(bytes in bytes(), max in any::<u32>(), version in version()) {
        match split(&bytes, max) {
            Ok(Framing::Complete(frame)) => {
                prop_assert!(frame.whole.len() <= max as usize);
                prop_assert!(bytes.starts_with(frame.whole) && frame.whole.ends_with(frame.body));
                assert_stable(frame, version);
            }
            Ok(Framing::Partial { need }) => prop_assert!(need > bytes.len()),
            Err(error) => prop_assert!(error.reason.is_error()),
        }
    }

    #[test]
    fn properties_are_rewritten_as_they_were(pool in vec(property(), 0..8), noise in vec(any::<u8>(), 0..3)) {
        let bytes = [pool.concat(), noise].concat();
        if let Ok(properties) = Properties::from_encoded(&bytes) {
            let rewritten: Vec<Vec<u8>> = properties.iter().map(|property| encoded(&property)).collect();
            prop_assert_eq!(rewritten.concat(), properties.raw());
            let kept = rewritten.iter().filter(|bytes| ![0x23, 0x02, 0x0B, 0x18].contains(&bytes[0]));
            let kept: Vec<u8> = kept.flatten().copied().collect();
            prop_assert_eq!(properties.is_forwardable_as_is(), kept.len() == bytes.len());
            prop_assert_eq!(properties.forwardable().collect::<Vec<_>>().concat(), kept);
        }
    }

    #[test]
    fn a_name_is_matched_by_filters_made_from_it(name in topic(), plus in vec(any::<bool>(), 8), hash in 0usize..9) {
        let name = TopicName::parse(&name).unwrap();
        let mut levels: Vec<&str> = name.levels().collect();
        for (level, _) in levels.iter_mut().zip(plus).filter(|(_, plus)| *plus) {
            *level = "+";
        }
        if hash <= levels.len() {
            levels.truncate(hash);
            levels.push("#");
        }
        let text = levels.join("/");
        let filter = TopicFilter::parse(&text);
        let is_shared = text.starts_with("$share/") || text.starts_with("$queue/");
        prop_assert!(filter.is_ok() || is_shared, "{} is {:?}", text, filter);
        if let Ok(filter) = filter && !is_shared {
            let is_hidden = name.starts_with_dollar() && text.starts_with(['+', '#']);
            prop_assert_eq!(filter.matches(&name), !is_hidden);
        }
    }

    #[test]
    fn any_text_is_a_filter_or_refused(text in "[a$/+#]{0,6}|\\$share/[a/+#]{0,5}|\\$queue/[a/+#]{0,3}") {
        if let Ok(filter) = TopicFilter::parse(&text) {
            prop_assert!(text.ends_with(filter.filter()) && filter.as_str() == text);
            prop_assert_eq!(filter.has_wildcard(), TopicName::parse(filter.filter()).is_err());
            if let Some(group) = filter.group().filter(|&group| group != "$queue") {
                prop_assert_eq!(format!("$share/{}/{}", group, filter.filter()), text);
            }
        }
    }
}
