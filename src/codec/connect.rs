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
    /// The version that the client speaks; it rules every later packet of the connection.
    pub version: Version,
    /// Whether an earlier session is discarded (Clean Session in MQTT 3.1 and 3.1.1).
    pub clean_start: bool,
    /// The longest silence of the client, in seconds; 0: no limit.
    pub keep_alive: u16,
    /// The Client Identifier; empty if the server is to choose one.
    pub client_id: &'a str,
    /// The message to publish when the connection ends badly.
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

/// The protocol level in the body of a CONNECT, if the protocol name before it is one of MQTT's.
///
/// It tells in which shape to refuse a packet that does not decode: 5 and above understand a CONNACK of MQTT 5.
pub fn peek_version(body: &[u8]) -> Option<u8> {
    let mut reader = Reader::new(body);
    match reader.binary().ok()? {
        b"MQTT" | b"MQIsdp" => reader.u8().ok(),
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
            out.push(self.version as u8);
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
        let version = read_version(&mut reader)?;
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let keep_alive = reader.u16()?;
        let properties = read_properties(&mut reader, version, place::CONNECT)?;
        if properties.authentication_data().is_some() && properties.authentication_method().is_none() {
            // MQTT 5, section 3.1.2.11.10
            return Err(DecodeError::protocol("there is authentication data and no authentication method"));
        }
        let client_id = reader.utf8()?; // [MQTT-3.1.3-3]
        let will = if flags & WILL != 0 { Some(read_will(&mut reader, flags, version)?) } else { None };
        let username =
            if has_field(flags & USERNAME, &reader, version) { Some(reader.utf8()?) } else { None };
        let password =
            if has_field(flags & PASSWORD, &reader, version) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        let clean_start = flags & CLEAN_START != 0;
        Ok(Connect { version, clean_start, keep_alive, client_id, will, username, password, properties })
    }

    fn writable_password(&self) -> Option<&'a [u8]> {
        // [MQTT-3.1.2-22] of MQTT 3.1.1
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

/// The password is left out, so that it reaches no log.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "..."))
            .field("properties", &self.properties)
            .finish()
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    const UNSUPPORTED: DecodeError = DecodeError::new(
        ReasonCode::UnsupportedProtocolVersion,
        "the protocol is not MQTT 3.1, 3.1.1 or 5.0",
    );
    let name = reader.binary()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(UNSUPPORTED); // [MQTT-3.1.2-1]
    }
    match (name, reader.u8()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        _ => Err(UNSUPPORTED), // [MQTT-3.1.2-2]
    }
}

/// MQTT 3.1 gives no meaning to the bits that the later versions demand to be 0.
fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    let strict = version > Version::V31;
    if strict && flags & RESERVED != 0 {
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
        // [MQTT-3.1.2-22] of MQTT 3.1.1
        return Err(DecodeError::malformed("there is a password and no user name"));
    }
    Ok(())
}

/// In MQTT 3.1 the flag of the user name or password may be set and the field missing at the end of the packet.
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
