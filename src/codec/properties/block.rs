//! The properties of one packet, as the bytes they arrived in.

use std::fmt;

use crate::codec::error::DecodeError;
use crate::codec::properties::property::{Property, PropertyId, place};
use crate::codec::qos::QoS;
use crate::codec::wire::{Reader, put_varint};

/// The properties of a packet: their encoded bytes, checked, without the Property Length.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

/// The properties of a packet, one after the other.
#[derive(Clone, Debug)]
pub struct PropertyIter<'a>(Reader<'a>);

/// Writes one accessor for each property that occurs at most once.
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(self) -> Option<$type> {
                match self.find(PropertyId::$variant)? {
                    Property::$variant(value) => Some(value),
                    _ => None,
                }
            }
        )*
    };
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Properties<'static> = Properties(&[]);

    /// The properties that `bytes` encode, without the Property Length in front.
    ///
    /// # Errors
    /// A property is unknown, is cut short, has a value that it must not have, or occurs twice and may not.
    /// Whether the packet may carry the property is not checked.
    pub fn from_encoded(bytes: &'a [u8]) -> Result<Properties<'a>, DecodeError> {
        check(bytes, place::ANY)?;
        Ok(Properties(bytes))
    }

    /// The properties that `bytes` encode, which come from checked properties or from a [`PropertyWriter`].
    ///
    /// [`PropertyWriter`]: crate::codec::properties::PropertyWriter
    #[inline]
    pub(crate) const fn from_validated(bytes: &'a [u8]) -> Properties<'a> {
        Properties(bytes)
    }

    /// The encoded bytes, without the Property Length.
    #[inline]
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The properties in the order of the wire.
    pub fn iter(self) -> PropertyIter<'a> {
        PropertyIter(Reader::new(self.0))
    }

    accessors! {
        /// 1 if the payload is UTF-8 text, 0 if it is bytes.
        payload_format_indicator: PayloadFormatIndicator -> u8;
        /// Seconds until the message expires.
        message_expiry_interval: MessageExpiryInterval -> u32;
        /// The type of the payload, as the application defines it.
        content_type: ContentType -> &'a str;
        /// The topic for a response to the message.
        response_topic: ResponseTopic -> &'a str;
        /// Data that the response must repeat.
        correlation_data: CorrelationData -> &'a [u8];
        /// The number of the subscription; of a PUBLISH, the first of [`Properties::subscription_identifiers`].
        subscription_identifier: SubscriptionIdentifier -> u32;
        /// Seconds that the session outlives its connection; `u32::MAX`: for ever.
        session_expiry_interval: SessionExpiryInterval -> u32;
        /// The Client Identifier that the server chose.
        assigned_client_identifier: AssignedClientIdentifier -> &'a str;
        /// The Keep Alive, in seconds, that the client must use.
        server_keep_alive: ServerKeepAlive -> u16;
        /// The name of the extended authentication.
        authentication_method: AuthenticationMethod -> &'a str;
        /// Data whose meaning the authentication method defines.
        authentication_data: AuthenticationData -> &'a [u8];
        /// Whether the server may send Reason Strings and User Properties on failures.
        request_problem_information: RequestProblemInformation -> bool;
        /// Seconds between the end of the connection and the publication of the Will.
        will_delay_interval: WillDelayInterval -> u32;
        /// Whether the client asks for Response Information.
        request_response_information: RequestResponseInformation -> bool;
        /// The basis of response topics.
        response_information: ResponseInformation -> &'a str;
        /// Another server that the client can use.
        server_reference: ServerReference -> &'a str;
        /// A message for people and logs.
        reason_string: ReasonString -> &'a str;
        /// QoS 1 and 2 messages in flight that the sender accepts.
        receive_maximum: ReceiveMaximum -> u16;
        /// The highest Topic Alias that the sender accepts.
        topic_alias_maximum: TopicAliasMaximum -> u16;
        /// The number that stands for the Topic Name.
        topic_alias: TopicAlias -> u16;
        /// The highest QoS that the server accepts.
        maximum_qos: MaximumQos -> QoS;
        /// Whether the server keeps retained messages.
        retain_available: RetainAvailable -> bool;
        /// Bytes of the largest packet that the sender accepts.
        maximum_packet_size: MaximumPacketSize -> u32;
        /// Whether the server accepts wildcards in Topic Filters.
        wildcard_subscription_available: WildcardSubscriptionAvailable -> bool;
        /// Whether the server accepts Subscription Identifiers.
        subscription_identifier_available: SubscriptionIdentifierAvailable -> bool;
        /// Whether the server accepts shared subscriptions.
        shared_subscription_available: SharedSubscriptionAvailable -> bool;
    }

    /// The User Properties, name and value, in the order of the wire.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The Subscription Identifiers of a PUBLISH, in the order of the wire.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// The encoded properties of a PUBLISH or a Will that a server forwards unaltered; neighbours are joined.
    ///
    /// Topic Alias, Message Expiry Interval, Subscription Identifiers and Will Delay Interval are left out.
    pub fn forwardable(self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        Forwardable(self.0)
    }

    /// Whether [`Properties::forwardable`] leaves nothing out.
    pub fn is_forwardable_as_is(self) -> bool {
        forwardable_prefix(self.0) == self.0.len()
    }

    /// Reads the Property Length and the properties, and checks them for a packet of `place`.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>, place: u16) -> Result<Properties<'a>, DecodeError> {
        let length = reader.varint()?;
        let bytes = reader.take(length as usize)?;
        if !bytes.is_empty() {
            check(bytes, place)?;
        }
        Ok(Properties(bytes))
    }

    /// Appends the Property Length and the properties.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        // 0 where there are none [MQTT-2.2.2-1].
        put_varint(out, self.0.len());
        out.extend_from_slice(self.0);
    }

    /// The first property with this identifier; values before it are skipped.
    fn find(self, wanted: PropertyId) -> Option<Property<'a>> {
        let mut reader = Reader::new(self.0);
        while !reader.is_empty() {
            let id = PropertyId::read(&mut reader).ok()?;
            if id == wanted {
                return Property::read_value(id, &mut reader).ok();
            }
            id.skip_value(&mut reader).ok()?;
        }
        None
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let id = PropertyId::read(&mut self.0).ok()?;
        Property::read_value(id, &mut self.0).ok()
    }
}

/// The spans of [`Properties::forwardable`].
#[derive(Clone)]
struct Forwardable<'a>(&'a [u8]);

impl<'a> Iterator for Forwardable<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let (span, rest) = self.0.split_at_checked(forwardable_prefix(self.0))?;
            let mut reader = Reader::new(rest);
            if !rest.is_empty() {
                PropertyId::read(&mut reader).ok()?.skip_value(&mut reader).ok()?;
            }
            self.0 = reader.rest();
            if !span.is_empty() {
                return Some(span);
            }
        }
        None
    }
}

/// The number of bytes before the first property that is not forwarded.
fn forwardable_prefix(bytes: &[u8]) -> usize {
    let mut reader = Reader::new(bytes);
    let mut prefix = 0;
    while let Ok(id) = PropertyId::read(&mut reader)
        && id.is_forwardable()
        && id.skip_value(&mut reader).is_ok()
    {
        prefix = bytes.len() - reader.rest().len();
    }
    prefix
}

/// Checks identifiers, values and repetitions of the properties of a packet of `place`.
fn check(bytes: &[u8], place: u16) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut seen = 0u64;
    while !reader.is_empty() {
        let id = PropertyId::read(&mut reader)?;
        if !id.is_allowed(place) {
            return Err(DecodeError::malformed("the packet has a property that its type does not allow"));
        }
        let bit = 1u64 << (id as u8);
        if seen & bit != 0 && !may_repeat(id, place) {
            return Err(DecodeError::protocol("a property occurs twice"));
        }
        seen |= bit;
        Property::read_value(id, &mut reader)?;
    }
    Ok(())
}

/// User Properties repeat everywhere, Subscription Identifiers in a PUBLISH.
fn may_repeat(id: PropertyId, place: u16) -> bool {
    match id {
        PropertyId::UserProperty => true,
        PropertyId::SubscriptionIdentifier => place & place::PUBLISH != 0,
        _ => false,
    }
}
