//! CONNECT: a client asks for a session (MQTT 5, section 3.1).

use std::fmt;

use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, place};
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicName;
use crate::codec::version::Version;
use crate::codec::wire::{Reader, put_binary, put_packet, put_u16, put_utf8};

/// A CONNECT packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the client speaks; it holds for every later packet of the connection.
    pub version: Version,
    /// Whether an earlier session is discarded (Clean Session in MQTT 3.1 and 3.1.1).
    pub clean_start: bool,
    /// The longest silence of the client, in seconds; 0: no limit.
    pub keep_alive: u16,
    /// Whether a bridge of MQTT 3 says that it is one: it sets the highest bit of the protocol level, which no
    /// specification names.
    pub is_bridge: bool,
    /// The Client Identifier; empty if the server chooses one.
    pub client_id: &'a str,
    /// The message to publish when the connection ends without a DISCONNECT.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password, any bytes.
    pub password: Option<&'a [u8]>,
    /// The properties; none before MQTT 5.
    pub properties: Properties<'a>,
}

/// The Will of a CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic to publish to.
    pub topic: TopicName<'a>,
    /// The payload, at most 65535 bytes.
    pub payload: &'a [u8],
    /// The QoS to publish with.
    pub qos: QoS,
    /// Whether the message is retained.
    pub retain: bool,
    /// The properties of the Will; none before MQTT 5.
    pub properties: Properties<'a>,
}

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// The bit of the protocol level by which a bridge of MQTT 3 says that it is one.
const BRIDGE: u8 = 0x80;

/// The protocol level in the body of a CONNECT, if the protocol name before it is one of MQTT's. The bit of a bridge is left
/// out.
///
/// A packet that does not decode is refused in this version: 5 and above understand a CONNACK of MQTT 5.
pub fn peek_version(body: &[u8]) -> Option<u8> {
    let mut reader = Reader::new(body);
    match reader.binary().ok()? {
        b"MQTT" | b"MQIsdp" => match reader.u8().ok()? {
            level @ (0x83 | 0x84) => Some(level & !BRIDGE),
            level => Some(level),
        },
        _ => None,
    }
}

impl<'a> Connect<'a> {
    /// Appends the packet in the shape of its own version.
    ///
    /// Before MQTT 5 a password without a user name is not written. Fields are cut after 65535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_packet(out, 0x10, |out| {
            put_utf8(out, if self.version == Version::V31 { "MQIsdp" } else { "MQTT" });
            out.push(self.version as u8 | if self.is_bridge { BRIDGE } else { 0 });
            out.push(self.flags());
            put_u16(out, self.keep_alive);
            if self.version.is_v5() {
                self.properties.write(out);
            }
            put_utf8(out, self.client_id);
            if let Some(will) = &self.will {
                if self.version.is_v5() {
                    will.properties.write(out);
                }
                put_utf8(out, will.topic.as_str());
                put_binary(out, will.payload);
            }
            if let Some(username) = self.username {
                put_utf8(out, username);
            }
            if let Some(password) = self.writable_password() {
                put_binary(out, password);
            }
        });
    }

    /// Reads the packet; its version is in its first bytes.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let (version, is_bridge) = read_version(&mut reader)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let properties = read_properties(&mut reader, version, place::CONNECT)?;
        if properties.authentication_data().is_some() && properties.authentication_method().is_none() {
            // MQTT 5, section 3.1.2.11.10
            return Err(DecodeError::protocol("authentication data without an authentication method"));
        }
        let client_id = reader.utf8()?; // [MQTT-3.1.3-3]
        let will = if flags & WILL != 0 { Some(read_will(&mut reader, flags, version)?) } else { None };
        let username =
            if has_field(flags & USERNAME, &reader, version) { Some(reader.utf8()?) } else { None };
        let password =
            if has_field(flags & PASSWORD, &reader, version) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        let clean_start = flags & CLEAN_START != 0;
        Ok(Connect {
            version,
            clean_start,
            keep_alive,
            is_bridge,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }

    fn writable_password(&self) -> Option<&'a [u8]> {
        // [MQTT3-3.1.2-22]
        self.password.filter(|_| self.version.is_v5() || self.username.is_some())
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.username.is_some() {
            flags |= USERNAME;
        }
        if self.writable_password().is_some() {
            flags |= PASSWORD;
        }
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos.as_u8() << 3);
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.clean_start {
            flags |= CLEAN_START;
        }
        flags
    }
}

/// Leaves the password out, so that it reaches no log.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("is_bridge", &self.is_bridge)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "..."))
            .field("properties", &self.properties)
            .finish()
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), DecodeError> {
    const UNSUPPORTED: DecodeError = DecodeError::new(
        ReasonCode::UnsupportedProtocolVersion,
        "the protocol is not MQTT 3.1, 3.1.1 or 5.0",
    );
    let name = reader.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(UNSUPPORTED); // [MQTT-3.1.2-1], [MQTT3-3.1.2-1]
    }
    match (name, reader.u8()?) {
        // [MQTT31-1]
        (b"MQIsdp", 3) => Ok((Version::V31, false)),
        (b"MQTT", 4) => Ok((Version::V311, false)),
        (b"MQTT", 5) => Ok((Version::V5, false)),
        (b"MQIsdp", 0x83) => Ok((Version::V31, true)),
        (b"MQTT", 0x84) => Ok((Version::V311, true)),
        _ => Err(UNSUPPORTED), // [MQTT-3.1.2-2]
    }
}

/// MQTT 3.1 ignores the bits that later versions require to be 0.
/// [MQTT31-4]
fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    let strict = version > Version::V31;
    if strict && flags & RESERVED != 0 {
        // [MQTT3-3.1.2-3]
        return Err(DecodeError::malformed("the reserved connect flag is set")); // [MQTT-3.1.2-3]
    }
    if strict && flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        return Err(DecodeError::malformed("the will QoS or will retain flag is set without the will flag"));
    }
    if flags & WILL != 0 && flags & WILL_QOS == WILL_QOS {
        return Err(DecodeError::malformed("the will QoS is 3")); // [MQTT-3.1.2-12]
    }
    if !version.is_v5() && flags & PASSWORD != 0 && flags & USERNAME == 0 {
        // [MQTT3-3.1.2-22]
        return Err(DecodeError::malformed("the password flag is set without the user name flag"));
    }
    Ok(())
}

/// In MQTT 3.1 the packet may end before the user name or password whose flag is set.
/// [MQTT31-5]
fn has_field(flag: u8, reader: &Reader<'_>, version: Version) -> bool {
    flag != 0 && !(version == Version::V31 && reader.is_empty())
}

fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    place: u16,
) -> Result<Properties<'a>, DecodeError> {
    if version.is_v5() { Properties::read(reader, place) } else { Ok(Properties::EMPTY) }
}

fn read_will<'a>(reader: &mut Reader<'a>, flags: u8, version: Version) -> Result<Will<'a>, DecodeError> {
    let properties = read_properties(reader, version, place::WILL)?;
    let topic = TopicName::parse(reader.utf8()?)
        .map_err(|_| DecodeError::new(ReasonCode::TopicNameInvalid, "the will topic is not a topic name"))?;
    let payload = reader.binary()?;
    let qos = QoS::from_u8((flags & WILL_QOS) >> 3).unwrap_or_default();
    Ok(Will { topic, payload, qos, retain: flags & WILL_RETAIN != 0, properties })
}

#[cfg(test)]
mod tests {
    use super::{Connect, Will, peek_version};
    use crate::codec::packet::Packet;
    use crate::codec::properties::Properties;
    use crate::codec::qos::QoS;
    use crate::codec::reason::ReasonCode;
    use crate::codec::testing::{
        ALL_VERSIONS, assert_cut_is_malformed, assert_golden, assert_refused, decode_bytes,
    };
    use crate::codec::topic::TopicName;
    use crate::codec::version::Version;

    const PLAIN: Connect<'_> = Connect {
        version: Version::V311,
        clean_start: true,
        keep_alive: 60,
        is_bridge: false,
        client_id: "a",
        will: None,
        username: None,
        password: None,
        properties: Properties::EMPTY,
    };

    const PLAIN_V31: &[u8] = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a";
    const PLAIN_V311: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    const PLAIN_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";
    const FULL_V311: &[u8] =
        b"\x10\x1b\x00\x04MQTT\x04\xf4\x00\x00\x00\x01c\x00\x02w/\x00\x02\xff\x00\x00\x01u\x00\x01\xfe";
    const FULL_V5: &[u8] = b"\x10\x25\x00\x04MQTT\x05\xec\x00\x0a\x05\x11\x00\x00\x00\x05\x00\x01c\x05\x18\x00\x00\x00\x07\x00\x01w\x00\x01p\x00\x01u\x00\x01\xfe";

    fn full(version: Version) -> Connect<'static> {
        let topic = TopicName::parse("w/").unwrap();
        let will = Will {
            topic,
            payload: &[0xFF, 0],
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
        Connect {
            version,
            clean_start: false,
            keep_alive: 0,
            is_bridge: false,
            client_id: "c",
            will: Some(will),
            username: Some("u"),
            password: Some(&[0xFE]),
            ..PLAIN
        }
    }

    /// `bytes` with the byte at `position` replaced.
    fn altered(bytes: &[u8], position: usize, byte: u8) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[position] = byte;
        bytes
    }

    #[test]
    fn golden_bytes_of_every_version() {
        // The version of the connection is not known yet, and does not matter.
        for version in ALL_VERSIONS {
            assert_golden(version, PLAIN_V31, &Packet::Connect(Connect { version: Version::V31, ..PLAIN }));
            assert_golden(version, PLAIN_V311, &Packet::Connect(PLAIN));
            assert_golden(version, PLAIN_V5, &Packet::Connect(Connect { version: Version::V5, ..PLAIN }));
            assert_golden(version, FULL_V311, &Packet::Connect(full(Version::V311)));
        }
    }

    #[test]
    fn a_connect_of_mqtt_5_carries_properties_and_will_properties() {
        let will = Will {
            topic: TopicName::parse("w").unwrap(),
            payload: b"p",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::from_encoded(&[0x18, 0, 0, 0, 7]).unwrap(),
        };
        let connect = Connect {
            keep_alive: 10,
            is_bridge: false,
            clean_start: false,
            will: Some(will),
            properties: Properties::from_encoded(&[0x11, 0, 0, 0, 5]).unwrap(),
            ..full(Version::V5)
        };
        assert_golden(Version::V5, FULL_V5, &Packet::Connect(connect));
        assert_eq!(connect.properties.session_expiry_interval(), Some(5));
        assert_eq!(will.properties.will_delay_interval(), Some(7));
    }

    /// The fields of a payload of MQTT 5, each of another length.
    const ID: &[u8] = b"\x00\x02id";
    const WILL_PROPERTIES: &[u8] = b"\x05\x18\x00\x00\x00\x07";
    const WILL_TOPIC: &[u8] = b"\x00\x03top";
    const WILL_PAYLOAD: &[u8] = b"\x00\x04load";
    const USERNAME: &[u8] = b"\x00\x05tommy";
    const PASSWORD: &[u8] = b"\x00\x06secret";

    /// A CONNECT of MQTT 5 with these flags and this payload.
    fn with_payload(flags: u8, fields: &[&[u8]]) -> Vec<u8> {
        let mut bytes = b"\x10\x00\x00\x04MQTT\x05\x00\x00\x0a\x00".to_vec();
        bytes[9] = flags;
        bytes.extend(fields.concat());
        bytes[1] = (bytes.len() - 2) as u8;
        bytes
    }

    /// Expects that these flags and this payload do not fit.
    #[track_caller]
    fn assert_no_payload(flags: u8, fields: &[&[u8]]) {
        assert_refused(Version::V5, &with_payload(flags, fields), ReasonCode::MalformedPacket);
    }

    /// [MQTT-3.1.3-1], [MQTT-3.1.3-3]
    #[test]
    fn mqtt_3_1_3_1_the_fields_of_the_payload_have_one_order() {
        let fields = [ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD, USERNAME, PASSWORD];
        let bytes = with_payload(0xF6, &fields);
        let Ok(Packet::Connect(connect)) = decode_bytes(&bytes, Version::V5) else { panic!("{bytes:02x?}") };
        let will = connect.will.unwrap();
        assert_eq!(connect.client_id, "id");
        assert_eq!(will.properties.will_delay_interval(), Some(7));
        assert_eq!((will.topic.as_str(), will.payload), ("top", &b"load"[..]));
        assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
        assert_eq!((connect.username, connect.password), (Some("tommy"), Some(&b"secret"[..])));
        // In no other order do they mean the same.
        for at in 1..fields.len() {
            let mut swapped = fields;
            swapped.swap(at - 1, at);
            let swapped = with_payload(0xF6, &swapped);
            assert_ne!(decode_bytes(&swapped, Version::V5), Ok(Packet::Connect(connect)), "{at}");
        }
    }

    /// [MQTT-3.1.3-3]
    #[test]
    fn mqtt_3_1_3_3_there_is_a_client_identifier() {
        assert_no_payload(0x02, &[]);
        assert_no_payload(0x82, &[USERNAME]);
        assert!(decode_bytes(&with_payload(0x02, &[ID]), Version::V5).is_ok());
    }

    /// [MQTT-3.1.2-9], [MQTT-3.1.2-11]: all of its fields are there, or none of them.
    #[test]
    fn mqtt_3_1_2_9_a_will_has_its_fields_if_it_has_its_flag() {
        let fields = [ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD];
        assert!(decode_bytes(&with_payload(0x06, &fields), Version::V5).is_ok());
        assert!(decode_bytes(&with_payload(0x02, &fields[..1]), Version::V5).is_ok());
        for count in 1..4 {
            assert_no_payload(0x06, &fields[..count]);
            assert_no_payload(0x02, &fields[..=count]);
        }
        assert_no_payload(0x06, &[ID, WILL_TOPIC, WILL_PAYLOAD]);
        assert_no_payload(0x06, &[ID, WILL_PROPERTIES, WILL_PAYLOAD]);
        assert_no_payload(0x86, &[ID, USERNAME]);
    }

    /// [MQTT-3.1.2-16], whatever else is there.
    #[test]
    fn mqtt_3_1_2_16_without_its_flag_there_is_no_user_name() {
        assert_no_payload(0x02, &[ID, USERNAME]);
        assert_no_payload(0x42, &[ID, USERNAME, PASSWORD]);
        assert_no_payload(0x06, &[ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD, USERNAME]);
    }

    /// [MQTT-3.1.2-17], whatever else is there.
    #[test]
    fn mqtt_3_1_2_17_with_its_flag_there_is_a_user_name() {
        assert_no_payload(0x82, &[ID]);
        assert_no_payload(0xC2, &[ID, PASSWORD]);
        assert_no_payload(0x86, &[ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD]);
        let bytes = with_payload(0x82, &[ID, USERNAME]);
        let connect = Connect { version: Version::V5, keep_alive: 10, client_id: "id", ..PLAIN };
        let expected = Connect { username: Some("tommy"), ..connect };
        assert_eq!(decode_bytes(&bytes, Version::V5), Ok(Packet::Connect(expected)));
    }

    /// [MQTT-3.1.2-18], whatever else is there.
    #[test]
    fn mqtt_3_1_2_18_without_its_flag_there_is_no_password() {
        assert_no_payload(0x02, &[ID, PASSWORD]);
        assert_no_payload(0x82, &[ID, USERNAME, PASSWORD]);
        assert_no_payload(0x06, &[ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD, PASSWORD]);
    }

    /// [MQTT-3.1.2-19], whatever else is there.
    #[test]
    fn mqtt_3_1_2_19_with_its_flag_there_is_a_password() {
        assert_no_payload(0x42, &[ID]);
        assert_no_payload(0xC2, &[ID, USERNAME]);
        assert_no_payload(0x46, &[ID, WILL_PROPERTIES, WILL_TOPIC, WILL_PAYLOAD]);
        let bytes = with_payload(0x42, &[ID, PASSWORD]);
        let connect = Connect { version: Version::V5, keep_alive: 10, client_id: "id", ..PLAIN };
        let expected = Connect { password: Some(b"secret"), ..connect };
        assert_eq!(decode_bytes(&bytes, Version::V5), Ok(Packet::Connect(expected)));
    }

    #[test]
    fn a_connect_cut_short_or_too_long_is_malformed() {
        for bytes in [PLAIN_V31, PLAIN_V311, PLAIN_V5, FULL_V311, FULL_V5] {
            assert_cut_is_malformed(Version::V311, bytes, 0);
            let mut longer = altered(bytes, 1, bytes[1] + 1);
            longer.push(0);
            assert_refused(Version::V311, &longer, ReasonCode::MalformedPacket);
        }
    }

    /// [MQTT-3.1.2-1], [MQTT-3.1.2-2], [MQTT3-3.1.2-1], [MQTT3-3.1.2-2], [MQTT31-1]
    #[test]
    fn mqtt_3_1_2_2_other_names_and_levels_are_unsupported() {
        let cases: [&[u8]; 9] = [
            b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01a",
            b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a",
            b"\x10\x0d\x00\x04MQTT\x83\x02\x00\x3c\x00\x01a",
            b"\x10\x0d\x00\x04MQTT\x85\x02\x00\x3c\x00\x01a",
            b"\x10\x0f\x00\x06MQIsdp\x84\x02\x00\x3c\x00\x01a",
            b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x3c\x00\x01a",
            b"\x10\x0f\x00\x06MQIsdp\x04\x02\x00\x3c\x00\x01a",
            b"\x10\x0a\x00\x01M\x04\x02\x00\x3c\x00\x01a",
            b"\x10\x07\x00\x04MQTT\x06",
        ];
        for bytes in cases {
            assert_refused(Version::V311, bytes, ReasonCode::UnsupportedProtocolVersion);
        }
    }

    #[test]
    fn a_bridge_of_mqtt_3_says_so_by_a_bit_of_the_level() {
        for (version, plain, at) in [(Version::V31, PLAIN_V31, 10), (Version::V311, PLAIN_V311, 8)] {
            let bytes = altered(plain, at, version as u8 | 0x80);
            let bridge = Connect { version, is_bridge: true, ..PLAIN };
            assert_eq!(decode_bytes(&bytes, Version::V311), Ok(Packet::Connect(bridge)));
            assert_eq!(peek_version(&bytes[2..]), Some(version as u8));
            let mut written = Vec::new();
            bridge.encode(&mut written);
            assert_eq!(written, bytes);
        }
    }

    /// [MQTT-3.1.2-3], [MQTT3-3.1.2-3], [MQTT31-4]
    #[test]
    fn mqtt_3_1_2_3_the_reserved_flag_is_0_since_3_1_1() {
        assert_refused(Version::V311, &altered(PLAIN_V311, 9, 0x03), ReasonCode::MalformedPacket);
        assert_refused(Version::V5, &altered(PLAIN_V5, 9, 0x03), ReasonCode::MalformedPacket);
        assert!(decode_bytes(&altered(PLAIN_V31, 11, 0x03), Version::V31).is_ok());
    }

    /// [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT3-3.1.2-11], [MQTT3-3.1.2-13], [MQTT3-3.1.2-15]
    #[test]
    fn mqtt_3_1_2_11_will_qos_and_retain_need_the_will_flag() {
        for flags in [0x0A, 0x12, 0x1A, 0x22] {
            assert_refused(Version::V311, &altered(PLAIN_V311, 9, flags), ReasonCode::MalformedPacket);
            assert_refused(Version::V5, &altered(PLAIN_V5, 9, flags), ReasonCode::MalformedPacket);
            assert!(decode_bytes(&altered(PLAIN_V31, 11, flags), Version::V31).is_ok());
        }
    }

    /// [MQTT-3.1.2-12], [MQTT3-3.1.2-14]
    #[test]
    fn mqtt_3_1_2_12_the_will_qos_is_not_3() {
        assert_refused(Version::V311, &altered(FULL_V311, 9, 0xFC), ReasonCode::MalformedPacket);
        assert_refused(Version::V5, &altered(FULL_V5, 9, 0xFC), ReasonCode::MalformedPacket);
    }

    /// [MQTT3-3.1.2-22]
    #[test]
    fn mqtt_3_1_2_22_a_password_without_a_user_name_needs_mqtt_5() {
        let v311 = b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p";
        assert_refused(Version::V311, v311, ReasonCode::MalformedPacket);
        let v5 = b"\x10\x11\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x01a\x00\x01p";
        let connect = Connect { version: Version::V5, password: Some(b"p"), ..PLAIN };
        assert_golden(Version::V5, v5, &Packet::Connect(connect));
    }

    /// [MQTT31-5]
    #[test]
    fn in_mqtt_3_1_the_length_takes_precedence_over_the_user_name_flag() {
        let bytes = altered(PLAIN_V31, 11, 0xC2);
        let connect = Connect { version: Version::V31, ..PLAIN };
        assert_eq!(decode_bytes(&bytes, Version::V31), Ok(Packet::Connect(connect)));
    }

    #[test]
    fn strings_that_are_no_strings_are_malformed() {
        for byte in [0x00, 0xFF] {
            assert_refused(Version::V311, &altered(PLAIN_V311, 14, byte), ReasonCode::MalformedPacket);
            // The will topic, then the user name.
            assert_refused(Version::V311, &altered(FULL_V311, 17, byte), ReasonCode::MalformedPacket);
            assert_refused(Version::V311, &altered(FULL_V311, 25, byte), ReasonCode::MalformedPacket);
        }
    }

    #[test]
    fn a_will_topic_with_a_wildcard_is_no_topic_name() {
        assert_refused(Version::V311, &altered(FULL_V311, 17, b'#'), ReasonCode::TopicNameInvalid);
        let empty = b"\x10\x11\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x00\x00\x00";
        assert_refused(Version::V311, empty, ReasonCode::TopicNameInvalid);
    }

    #[test]
    fn properties_are_those_of_a_connect_and_of_a_will() {
        let with_properties = |properties: &[u8]| {
            let mut bytes = b"\x10\x00\x00\x04MQTT\x05\x02\x00\x3c".to_vec();
            bytes.push(properties.len() as u8);
            bytes.extend_from_slice(properties);
            bytes.extend_from_slice(b"\x00\x01a");
            bytes[1] = (bytes.len() - 2) as u8;
            bytes
        };
        let cases: [(&[u8], ReasonCode); 7] = [
            (&[0x18, 0, 0, 0, 7], ReasonCode::MalformedPacket),
            (&[0x23, 0, 1], ReasonCode::MalformedPacket),
            (&[0x7F], ReasonCode::MalformedPacket),
            (&[0x21, 0, 0], ReasonCode::ProtocolError),
            (&[0x17, 2], ReasonCode::ProtocolError),
            (&[0x17, 1, 0x17, 1], ReasonCode::ProtocolError),
            (&[0x16, 0, 1, 9], ReasonCode::ProtocolError),
        ];
        for (properties, reason) in cases {
            assert_refused(Version::V5, &with_properties(properties), reason);
        }
        assert!(decode_bytes(&with_properties(&[0x15, 0, 1, b'm', 0x16, 0, 1, 9]), Version::V5).is_ok());
        // The will carries a session expiry interval.
        assert_refused(Version::V5, &altered(FULL_V5, 22, 0x11), ReasonCode::MalformedPacket);
    }

    /// MQTT 3.1 calls them "not used".
    #[test]
    fn the_flags_of_the_fixed_header_are_0_since_3_1_1() {
        for flags in 1..16 {
            let first = 0x10 | flags;
            assert_refused(Version::V311, &altered(PLAIN_V311, 0, first), ReasonCode::MalformedPacket);
            assert_refused(Version::V5, &altered(PLAIN_V5, 0, first), ReasonCode::MalformedPacket);
            let bytes = altered(PLAIN_V31, 0, first);
            let taken = decode_bytes(&bytes, Version::V311).unwrap();
            assert_eq!(taken, decode_bytes(PLAIN_V31, Version::V31).unwrap());
        }
    }

    #[test]
    fn the_level_is_seen_where_the_name_is_legible() {
        assert_eq!(peek_version(b"\x00\x04MQTT\x07garbage"), Some(7));
        assert_eq!(peek_version(b"\x00\x06MQIsdp\x03"), Some(3));
        for body in [&b"\x00\x04MQTT"[..], b"\x00\x04HTTP\x05", b"\x00", b""] {
            assert_eq!(peek_version(body), None);
        }
    }

    #[test]
    fn the_debug_text_does_not_hold_the_password() {
        let connect = Connect { username: Some("u"), password: Some(b"secret"), ..PLAIN };
        let text = format!("{connect:?}");
        assert!(text.contains("username: Some(\"u\"), password: Some(\"...\")"), "{text}");
    }
}
