//! Building the properties of a packet.

use crate::codec::properties::property::Property;
use crate::codec::qos::QoS;
use crate::codec::wire::varint_len;

/// Bytes of an encoded Message Expiry Interval.
pub const MESSAGE_EXPIRY_INTERVAL_LEN: usize = 5;
/// Bytes of an encoded Topic Alias.
pub const TOPIC_ALIAS_LEN: usize = 3;

/// Bytes of an encoded Subscription Identifier: two to five.
#[inline]
pub const fn subscription_identifier_len(identifier: u32) -> usize {
    1 + varint_len(identifier as usize)
}

/// Appends encoded properties to a buffer, without the Property Length in front.
///
/// It checks nothing; [`Properties::from_encoded`](crate::codec::properties::Properties::from_encoded) does.
/// A string or binary value is cut after 65535 bytes.
///
/// ```
/// use midge::protocol::{Properties, PropertyWriter};
///
/// let mut bytes = Vec::new();
/// PropertyWriter::new(&mut bytes).session_expiry_interval(5).user_property("a", "b");
/// let properties = Properties::from_encoded(&bytes).unwrap();
/// assert_eq!(properties.session_expiry_interval(), Some(5));
/// ```
#[derive(Debug)]
pub struct PropertyWriter<'o>(&'o mut Vec<u8>);

/// Writes one appending method for each property.
macro_rules! writers {
    ($($name:ident: $variant:ident($type:ty);)*) => {
        $(
            #[doc = concat!("Appends [`Property::", stringify!($variant), "`].")]
            pub fn $name(&mut self, value: $type) -> &mut Self {
                self.property(&Property::$variant(value))
            }
        )*
    };
}

impl<'o> PropertyWriter<'o> {
    /// A writer that appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> PropertyWriter<'o> {
        PropertyWriter(out)
    }

    /// Appends any property.
    pub fn property(&mut self, property: &Property<'_>) -> &mut Self {
        property.encode(self.0);
        self
    }

    /// Appends [`Property::UserProperty`].
    pub fn user_property(&mut self, name: &str, value: &str) -> &mut Self {
        self.property(&Property::UserProperty(name, value))
    }

    writers! {
        payload_format_indicator: PayloadFormatIndicator(u8);
        message_expiry_interval: MessageExpiryInterval(u32);
        content_type: ContentType(&str);
        response_topic: ResponseTopic(&str);
        correlation_data: CorrelationData(&[u8]);
        subscription_identifier: SubscriptionIdentifier(u32);
        session_expiry_interval: SessionExpiryInterval(u32);
        assigned_client_identifier: AssignedClientIdentifier(&str);
        server_keep_alive: ServerKeepAlive(u16);
        authentication_method: AuthenticationMethod(&str);
        authentication_data: AuthenticationData(&[u8]);
        request_problem_information: RequestProblemInformation(bool);
        will_delay_interval: WillDelayInterval(u32);
        request_response_information: RequestResponseInformation(bool);
        response_information: ResponseInformation(&str);
        server_reference: ServerReference(&str);
        reason_string: ReasonString(&str);
        receive_maximum: ReceiveMaximum(u16);
        topic_alias_maximum: TopicAliasMaximum(u16);
        topic_alias: TopicAlias(u16);
        maximum_qos: MaximumQos(QoS);
        retain_available: RetainAvailable(bool);
        maximum_packet_size: MaximumPacketSize(u32);
        wildcard_subscription_available: WildcardSubscriptionAvailable(bool);
        subscription_identifier_available: SubscriptionIdentifierAvailable(bool);
        shared_subscription_available: SharedSubscriptionAvailable(bool);
    }
}
