//! One property: its identifier, its type, the packets that may carry it (MQTT 5, table 2-4).

use crate::codec::error::DecodeError;
use crate::codec::qos::QoS;
use crate::codec::topic::TopicName;
use crate::codec::wire::{Reader, put_binary, put_u16, put_u32, put_utf8, put_varint};

/// The packets that carry properties, as bits.
pub(crate) mod place {
    pub(crate) const CONNECT: u16 = 1;
    pub(crate) const WILL: u16 = 1 << 1;
    pub(crate) const CONNACK: u16 = 1 << 2;
    pub(crate) const PUBLISH: u16 = 1 << 3;
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    pub(crate) const ACK: u16 = 1 << 4;
    pub(crate) const SUBSCRIBE: u16 = 1 << 5;
    pub(crate) const SUBACK: u16 = 1 << 6;
    pub(crate) const UNSUBSCRIBE: u16 = 1 << 7;
    pub(crate) const UNSUBACK: u16 = 1 << 8;
    pub(crate) const DISCONNECT: u16 = 1 << 9;
    pub(crate) const AUTH: u16 = 1 << 10;
    pub(crate) const ANY: u16 = u16::MAX;
    /// Packets that respond to another packet.
    pub(crate) const ANSWER: u16 = CONNACK | ACK | SUBACK | UNSUBACK | DISCONNECT | AUTH;
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    VarInt,
    /// A string or binary data.
    Field,
    Pair,
}

/// Writes the identifiers, and their kinds and places, from one table.
macro_rules! property_ids {
    ($($variant:ident = $id:literal, $kind:ident, $places:expr;)*) => {
        /// The identifier of a property; the number is the byte on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $(#[doc = concat!("See [`Property::", stringify!($variant), "`].")] $variant = $id,)*
        }

        impl PropertyId {
            /// The identifier with this number; `None` if the specification defines none.
            #[inline]
            pub const fn from_u8(id: u8) -> Option<PropertyId> {
                match id {
                    $($id => Some(PropertyId::$variant),)*
                    _ => None,
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(PropertyId::$variant => Kind::$kind,)*
                }
            }

            const fn places(self) -> u16 {
                match self {
                    $(PropertyId::$variant => $places,)*
                }
            }
        }
    };
}

property_ids! {
    PayloadFormatIndicator = 0x01, Byte, place::PUBLISH | place::WILL;
    MessageExpiryInterval = 0x02, FourBytes, place::PUBLISH | place::WILL;
    ContentType = 0x03, Field, place::PUBLISH | place::WILL;
    ResponseTopic = 0x08, Field, place::PUBLISH | place::WILL;
    CorrelationData = 0x09, Field, place::PUBLISH | place::WILL;
    SubscriptionIdentifier = 0x0B, VarInt, place::PUBLISH | place::SUBSCRIBE;
    SessionExpiryInterval = 0x11, FourBytes, place::CONNECT | place::CONNACK | place::DISCONNECT;
    AssignedClientIdentifier = 0x12, Field, place::CONNACK;
    ServerKeepAlive = 0x13, TwoBytes, place::CONNACK;
    AuthenticationMethod = 0x15, Field, place::CONNECT | place::CONNACK | place::AUTH;
    AuthenticationData = 0x16, Field, place::CONNECT | place::CONNACK | place::AUTH;
    RequestProblemInformation = 0x17, Byte, place::CONNECT;
    WillDelayInterval = 0x18, FourBytes, place::WILL;
    RequestResponseInformation = 0x19, Byte, place::CONNECT;
    ResponseInformation = 0x1A, Field, place::CONNACK;
    ServerReference = 0x1C, Field, place::CONNACK | place::DISCONNECT;
    ReasonString = 0x1F, Field, place::ANSWER;
    ReceiveMaximum = 0x21, TwoBytes, place::CONNECT | place::CONNACK;
    TopicAliasMaximum = 0x22, TwoBytes, place::CONNECT | place::CONNACK;
    TopicAlias = 0x23, TwoBytes, place::PUBLISH;
    MaximumQos = 0x24, Byte, place::CONNACK;
    RetainAvailable = 0x25, Byte, place::CONNACK;
    UserProperty = 0x26, Pair, place::ANY;
    MaximumPacketSize = 0x27, FourBytes, place::CONNECT | place::CONNACK;
    WildcardSubscriptionAvailable = 0x28, Byte, place::CONNACK;
    SubscriptionIdentifierAvailable = 0x29, Byte, place::CONNACK;
    SharedSubscriptionAvailable = 0x2A, Byte, place::CONNACK;
}

/// A property and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// 0: the payload is bytes; 1: it is UTF-8 text.
    PayloadFormatIndicator(u8),
    /// Seconds until the message expires.
    MessageExpiryInterval(u32),
    /// The type of the payload, as the application defines it.
    ContentType(&'a str),
    /// The topic for a response to the message.
    ResponseTopic(&'a str),
    /// Data that the response must repeat.
    CorrelationData(&'a [u8]),
    /// The number of a subscription: 1 to 268435455.
    SubscriptionIdentifier(u32),
    /// Seconds that the session outlives its connection; 0xFFFFFFFF: for ever.
    SessionExpiryInterval(u32),
    /// The Client Identifier that the server chose.
    AssignedClientIdentifier(&'a str),
    /// The Keep Alive, in seconds, that the client must use.
    ServerKeepAlive(u16),
    /// The name of the extended authentication.
    AuthenticationMethod(&'a str),
    /// Data whose meaning the authentication method defines.
    AuthenticationData(&'a [u8]),
    /// Whether the server may send Reason Strings and User Properties on failures.
    RequestProblemInformation(bool),
    /// Seconds between the end of the connection and the publication of the Will.
    WillDelayInterval(u32),
    /// Whether the client asks for Response Information.
    RequestResponseInformation(bool),
    /// The basis of response topics.
    ResponseInformation(&'a str),
    /// Another server that the client can use.
    ServerReference(&'a str),
    /// A message for people and logs.
    ReasonString(&'a str),
    /// QoS 1 and 2 messages in flight that the sender of this property accepts: 1 to 65535.
    ReceiveMaximum(u16),
    /// The highest Topic Alias that the sender of this property accepts.
    TopicAliasMaximum(u16),
    /// A number that stands for the Topic Name: 1 to 65535.
    TopicAlias(u16),
    /// The highest QoS that the server accepts: 0 or 1.
    MaximumQos(QoS),
    /// Whether the server keeps retained messages.
    RetainAvailable(bool),
    /// A name and a value that the application defines.
    UserProperty(&'a str, &'a str),
    /// Bytes of the largest packet that the sender of this property accepts; not 0.
    MaximumPacketSize(u32),
    /// Whether the server accepts wildcards in Topic Filters.
    WildcardSubscriptionAvailable(bool),
    /// Whether the server accepts Subscription Identifiers.
    SubscriptionIdentifierAvailable(bool),
    /// Whether the server accepts shared subscriptions.
    SharedSubscriptionAvailable(bool),
}

impl PropertyId {
    /// Whether a packet of one of `places` may carry the property.
    pub(crate) const fn is_allowed(self, places: u16) -> bool {
        self.places() & places != 0
    }

    /// Whether the server forwards the property of a message to subscribers unaltered.
    pub(crate) const fn is_forwardable(self) -> bool {
        !matches!(
            self,
            PropertyId::TopicAlias
                | PropertyId::MessageExpiryInterval
                | PropertyId::SubscriptionIdentifier
                | PropertyId::WillDelayInterval
        )
    }

    /// Reads an identifier.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<PropertyId, DecodeError> {
        PropertyId::from_u8(reader.u8()?)
            .ok_or(DecodeError::malformed("the property identifier is not defined"))
    }

    /// Skips the value that belongs to the identifier, without checking it.
    pub(crate) fn skip_value(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self.kind() {
            Kind::Byte => reader.take(1).map(drop),
            Kind::TwoBytes => reader.take(2).map(drop),
            Kind::FourBytes => reader.take(4).map(drop),
            Kind::VarInt => reader.varint().map(drop),
            Kind::Field => reader.binary().map(drop),
            Kind::Pair => reader.binary().and_then(|_| reader.binary()).map(drop),
        }
    }
}

impl<'a> Property<'a> {
    /// Appends the identifier and the value. A string or binary value is cut after 65535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        use PropertyId as Id;
        match *self {
            Property::PayloadFormatIndicator(value) => byte(out, Id::PayloadFormatIndicator, value),
            Property::MessageExpiryInterval(value) => four(out, Id::MessageExpiryInterval, value),
            Property::ContentType(value) => text(out, Id::ContentType, value),
            Property::ResponseTopic(value) => text(out, Id::ResponseTopic, value),
            Property::CorrelationData(value) => binary(out, Id::CorrelationData, value),
            Property::SubscriptionIdentifier(value) => {
                out.push(Id::SubscriptionIdentifier as u8);
                put_varint(out, value as usize);
            }
            Property::SessionExpiryInterval(value) => four(out, Id::SessionExpiryInterval, value),
            Property::AssignedClientIdentifier(value) => text(out, Id::AssignedClientIdentifier, value),
            Property::ServerKeepAlive(value) => two(out, Id::ServerKeepAlive, value),
            Property::AuthenticationMethod(value) => text(out, Id::AuthenticationMethod, value),
            Property::AuthenticationData(value) => binary(out, Id::AuthenticationData, value),
            Property::RequestProblemInformation(value) => {
                byte(out, Id::RequestProblemInformation, value.into())
            }
            Property::WillDelayInterval(value) => four(out, Id::WillDelayInterval, value),
            Property::RequestResponseInformation(value) => {
                byte(out, Id::RequestResponseInformation, value.into())
            }
            Property::ResponseInformation(value) => text(out, Id::ResponseInformation, value),
            Property::ServerReference(value) => text(out, Id::ServerReference, value),
            Property::ReasonString(value) => text(out, Id::ReasonString, value),
            Property::ReceiveMaximum(value) => two(out, Id::ReceiveMaximum, value),
            Property::TopicAliasMaximum(value) => two(out, Id::TopicAliasMaximum, value),
            Property::TopicAlias(value) => two(out, Id::TopicAlias, value),
            Property::MaximumQos(value) => byte(out, Id::MaximumQos, value.as_u8()),
            Property::RetainAvailable(value) => byte(out, Id::RetainAvailable, value.into()),
            Property::UserProperty(name, value) => {
                text(out, Id::UserProperty, name);
                put_utf8(out, value);
            }
            Property::MaximumPacketSize(value) => four(out, Id::MaximumPacketSize, value),
            Property::WildcardSubscriptionAvailable(value) => {
                byte(out, Id::WildcardSubscriptionAvailable, value.into());
            }
            Property::SubscriptionIdentifierAvailable(value) => {
                byte(out, Id::SubscriptionIdentifierAvailable, value.into());
            }
            Property::SharedSubscriptionAvailable(value) => {
                byte(out, Id::SharedSubscriptionAvailable, value.into())
            }
        }
    }

    /// Reads and checks the value that belongs to `id`.
    pub(crate) fn read_value(id: PropertyId, reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
        use PropertyId as Id;
        Ok(match id {
            Id::PayloadFormatIndicator => Property::PayloadFormatIndicator(flag(reader)?.into()),
            Id::MessageExpiryInterval => Property::MessageExpiryInterval(reader.u32()?),
            // [MQTT-3.3.2-19]
            Id::ContentType => Property::ContentType(reader.utf8()?),
            Id::ResponseTopic => Property::ResponseTopic(response_topic(reader)?),
            Id::CorrelationData => Property::CorrelationData(reader.binary()?),
            Id::SubscriptionIdentifier => Property::SubscriptionIdentifier(subscription_identifier(reader)?),
            Id::SessionExpiryInterval => Property::SessionExpiryInterval(reader.u32()?),
            Id::AssignedClientIdentifier => Property::AssignedClientIdentifier(reader.utf8()?),
            Id::ServerKeepAlive => Property::ServerKeepAlive(reader.u16()?),
            Id::AuthenticationMethod => Property::AuthenticationMethod(reader.utf8()?),
            Id::AuthenticationData => Property::AuthenticationData(reader.binary()?),
            Id::RequestProblemInformation => Property::RequestProblemInformation(flag(reader)?),
            Id::WillDelayInterval => Property::WillDelayInterval(reader.u32()?),
            Id::RequestResponseInformation => Property::RequestResponseInformation(flag(reader)?),
            Id::ResponseInformation => Property::ResponseInformation(reader.utf8()?),
            Id::ServerReference => Property::ServerReference(reader.utf8()?),
            Id::ReasonString => Property::ReasonString(reader.utf8()?),
            Id::ReceiveMaximum => Property::ReceiveMaximum(receive_maximum(reader)?),
            Id::TopicAliasMaximum => Property::TopicAliasMaximum(reader.u16()?),
            Id::TopicAlias => Property::TopicAlias(topic_alias(reader)?),
            Id::MaximumQos => Property::MaximumQos(maximum_qos(reader)?),
            Id::RetainAvailable => Property::RetainAvailable(flag(reader)?),
            // [MQTT-1.5.7-1]
            Id::UserProperty => Property::UserProperty(reader.utf8()?, reader.utf8()?),
            Id::MaximumPacketSize => Property::MaximumPacketSize(maximum_packet_size(reader)?),
            Id::WildcardSubscriptionAvailable => Property::WildcardSubscriptionAvailable(flag(reader)?),
            Id::SubscriptionIdentifierAvailable => Property::SubscriptionIdentifierAvailable(flag(reader)?),
            Id::SharedSubscriptionAvailable => Property::SharedSubscriptionAvailable(flag(reader)?),
        })
    }
}

fn byte(out: &mut Vec<u8>, id: PropertyId, value: u8) {
    out.extend_from_slice(&[id as u8, value]);
}

fn two(out: &mut Vec<u8>, id: PropertyId, value: u16) {
    out.push(id as u8);
    put_u16(out, value);
}

fn four(out: &mut Vec<u8>, id: PropertyId, value: u32) {
    out.push(id as u8);
    put_u32(out, value);
}

fn text(out: &mut Vec<u8>, id: PropertyId, value: &str) {
    out.push(id as u8);
    put_utf8(out, value);
}

fn binary(out: &mut Vec<u8>, id: PropertyId, value: &[u8]) {
    out.push(id as u8);
    put_binary(out, value);
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::protocol("a property that must be 0 or 1 has another value")),
    }
}

fn maximum_qos(reader: &mut Reader<'_>) -> Result<QoS, DecodeError> {
    Ok(if flag(reader)? { QoS::AtLeastOnce } else { QoS::AtMostOnce })
}

fn receive_maximum(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match reader.u16()? {
        0 => Err(DecodeError::protocol("the receive maximum is 0")),
        value => Ok(value),
    }
}

fn maximum_packet_size(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.u32()? {
        0 => Err(DecodeError::protocol("the maximum packet size is 0")),
        value => Ok(value),
    }
}

fn topic_alias(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    match reader.u16()? {
        // [MQTT-3.3.2-8]
        0 => {
            Err(DecodeError::new(crate::codec::reason::ReasonCode::TopicAliasInvalid, "the topic alias is 0"))
        }
        value => Ok(value),
    }
}

fn subscription_identifier(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match reader.varint()? {
        0 => Err(DecodeError::protocol("the subscription identifier is 0")),
        value => Ok(value),
    }
}

fn response_topic<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    // [MQTT-3.3.2-13]
    let text = reader.utf8()?;
    // [MQTT-3.3.2-14]
    TopicName::parse(text).map_err(|_| DecodeError::protocol("the response topic is not a topic name"))?;
    Ok(text)
}
