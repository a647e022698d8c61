//! A message that the host owns.

use bytes::Bytes;

use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::qos::QoS;
use crate::embed::arena::MessageView;
use crate::engine::observe::sink::Published;
use crate::message::{Publication, SharedMessage};
use crate::session::pending::Pending;
use crate::time::Time;

/// A received message. Its clones share one payload.
#[derive(Clone, Debug)]
pub struct Message {
    topic: Box<str>,
    payload: Bytes,
    properties: Box<[u8]>,
    expiry_interval: Option<u32>,
    qos: QoS,
    retain: bool,
    tag: u64,
}

impl Message {
    /// A message that is being published; its tag is the broker's time in milliseconds.
    pub(super) fn of(published: &Published<'_>) -> Message {
        Message {
            topic: published.topic_name().into(),
            payload: Bytes::copy_from_slice(published.payload),
            properties: published.properties.concat().into(),
            expiry_interval: published.expiry_interval,
            qos: published.qos,
            retain: published.retain,
            tag: published.at.as_millis(),
        }
    }

    /// A retained message, as a new subscription would get it now.
    pub(super) fn retained(message: &SharedMessage, now: Time) -> Message {
        Message {
            topic: message.topic().into(),
            payload: message.payload_shared(),
            properties: message.properties_bytes().into(),
            expiry_interval: Publication::of(message).expiry_interval(now),
            qos: message.qos(),
            retain: true,
            tag: 0,
        }
    }

    /// A message of a session's queue, as its client would get it now.
    pub(super) fn queued(pending: &Pending, now: Time) -> Message {
        let (message, options) = (&pending.message, pending.options());
        let mut properties = message.properties_bytes().to_vec();
        let mut writer = PropertyWriter::new(&mut properties);
        for identifier in options.identifiers {
            writer.subscription_identifier(*identifier);
        }
        Message {
            topic: message.topic().into(),
            payload: message.payload_shared(),
            properties: properties.into(),
            expiry_interval: Publication::of(message).expiry_interval(now),
            qos: options.qos,
            retain: options.retain,
            tag: 0,
        }
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The QoS of the delivery.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// RETAIN: the message was retained when the subscription was made.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The tag of the queue's subscription that the message came by.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The rest of the Message Expiry Interval, in seconds, when the message was queued.
    pub fn expiry_interval(&self) -> Option<u32> {
        self.expiry_interval
    }

    /// The MQTT 5 properties of the publication, and the Subscription Identifiers.
    pub fn properties(&self) -> Properties<'_> {
        Properties::from_validated(&self.properties)
    }

    /// The message as a view.
    pub fn view(&self) -> MessageView<'_> {
        MessageView {
            topic: &self.topic,
            payload: &self.payload,
            shared: Some(&self.payload),
            qos: self.qos,
            retain: self.retain,
            tag: self.tag,
            expiry_interval: self.expiry_interval,
            properties: self.properties(),
        }
    }
}

impl MessageView<'_> {
    /// A message of its own, that outlives the batch. A large payload is shared, a small one copied.
    pub fn to_message(&self) -> Message {
        Message {
            topic: self.topic.into(),
            payload: self.shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(self.payload)),
            properties: self.properties.raw().into(),
            expiry_interval: self.expiry_interval,
            qos: self.qos,
            retain: self.retain,
            tag: self.tag,
        }
    }
}
