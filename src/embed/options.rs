//! How the host publishes and subscribes.

use crate::codec::properties::PropertyWriter;
use crate::codec::qos::QoS;
use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::codec::topic::TopicName;
use crate::embed::error::Error;

/// The longest string or binary value that MQTT can carry, in bytes.
const LONGEST: usize = 65_535;

/// How a message is published. The default: QoS 0, not retained, no properties.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct PublishOptions {
    /// The QoS; a subscriber gets the lower of this and its own.
    pub qos: QoS,
    /// Whether the message becomes its topic's retained message; with an empty payload it removes that.
    pub retain: bool,
    /// Seconds after which the message is no longer delivered.
    pub message_expiry_interval: Option<u32>,
    /// Whether the payload is UTF-8 text (MQTT 5).
    pub payload_is_text: bool,
    /// What the payload is, as a MIME type or otherwise (MQTT 5).
    pub content_type: Option<String>,
    /// Where an answer is expected (MQTT 5).
    pub response_topic: Option<String>,
    /// What the answer is to carry (MQTT 5).
    pub correlation_data: Option<Vec<u8>>,
    /// Name and value pairs, in order (MQTT 5).
    pub user_properties: Vec<(String, String)>,
}

impl PublishOptions {
    /// The default.
    pub(super) const PLAIN: &PublishOptions = &PublishOptions {
        qos: QoS::AtMostOnce,
        retain: false,
        message_expiry_interval: None,
        payload_is_text: false,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };

    /// Options with this QoS.
    pub fn qos(qos: QoS) -> PublishOptions {
        PublishOptions { qos, ..PublishOptions::default() }
    }

    /// The same options, retained.
    pub fn retained(mut self) -> PublishOptions {
        self.retain = true;
        self
    }

    /// Whether there are no properties.
    #[inline]
    fn is_plain(&self) -> bool {
        !self.payload_is_text
            && self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.user_properties.is_empty()
    }

    /// The properties, encoded without their length.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut encoded = Vec::new();
        if self.is_plain() {
            return Ok(encoded);
        }
        let mut writer = PropertyWriter::new(&mut encoded);
        if self.payload_is_text {
            writer.payload_format_indicator(1);
        }
        if let Some(text) = &self.content_type {
            check("content_type", text)?;
            writer.content_type(text);
        }
        if let Some(topic) = &self.response_topic {
            TopicName::parse(topic)
                .map_err(|cause| Error::Argument { argument: "response_topic", cause: cause.to_string() })?;
            writer.response_topic(topic);
        }
        if let Some(data) = &self.correlation_data {
            check_len("correlation_data", data.len())?;
            writer.correlation_data(data);
        }
        for (name, value) in &self.user_properties {
            check("user_properties", name)?;
            check("user_properties", value)?;
            writer.user_property(name, value);
        }
        Ok(encoded)
    }
}

fn check(argument: &'static str, text: &str) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::Argument { argument, cause: "holds U+0000, which MQTT forbids".to_owned() });
    }
    check_len(argument, text.len())
}

fn check_len(argument: &'static str, len: usize) -> Result<(), Error> {
    if len > LONGEST {
        let cause = format!("is {len} bytes long; MQTT carries at most {LONGEST}");
        return Err(Error::Argument { argument, cause });
    }
    Ok(())
}

/// How the host subscribes. The default: QoS 2 at most, with retained messages.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The highest QoS of a delivery.
    pub qos: QoS,
    /// Whether messages that the host publishes itself are left out.
    pub no_local: bool,
    /// Whether RETAIN is passed on as it was published.
    pub retain_as_published: bool,
    /// Which retained messages are delivered at once.
    pub retain_handling: RetainHandling,
    /// A number that comes with each message of this subscription, 1 to 268,435,455; 0 is none.
    pub identifier: u32,
    /// Whether a callback runs on the thread that publishes, before the publishing call returns, instead of on the
    /// callback thread. See [`Broker::subscribe_with`](crate::embed::Broker::subscribe_with). Not for queues.
    pub direct: bool,
}

impl Default for SubscribeOptions {
    fn default() -> SubscribeOptions {
        SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
            identifier: 0,
            direct: false,
        }
    }
}

impl SubscribeOptions {
    /// The largest Subscription Identifier.
    pub const MAX_IDENTIFIER: u32 = 268_435_455;

    /// The options of MQTT.
    pub(super) fn to_mqtt(self) -> Result<SubscriptionOptions, Error> {
        if self.identifier > Self::MAX_IDENTIFIER {
            let cause = format!("{} is out of range (0 to {})", self.identifier, Self::MAX_IDENTIFIER);
            return Err(Error::Argument { argument: "identifier", cause });
        }
        Ok(SubscriptionOptions {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: self.retain_handling,
        })
    }
}
