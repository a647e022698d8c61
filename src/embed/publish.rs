//! Publishing from the host, on the caller's own stack.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::codec::properties::Properties;
use crate::codec::topic::TopicName;
use crate::embed::arena::MessageView;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::options::PublishOptions;
use crate::embed::shared::Shared;
use crate::engine::core::durability::DurabilityWaiter;
use crate::engine::parts::admission::{Draft, Source};
use crate::engine::parts::subscriber::Publisher;
use crate::message::{Publication, SHARE_FROM};

impl Broker {
    /// Publishes a message and returns how many subscribers it matched. When this returns, the message is in the
    /// outbox or queue of each; for those that have none, and for nobody, it is counted as dropped with the reason.
    ///
    /// May be called from any thread, and from callbacks.
    pub fn publish(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        options: &PublishOptions,
    ) -> Result<usize, Error> {
        self.publish_for(topic, payload.as_ref(), options, None)
    }

    /// As [`Broker::publish`] with the default options.
    pub(crate) fn publish_plain(&self, topic: &str, payload: &[u8]) -> Result<usize, Error> {
        let options = PublishOptions::PLAIN;
        let outgoing =
            Outgoing { topic, payload, host_buffers: None, properties: Properties::EMPTY, options };
        self.shared()?.publish(&outgoing, None)
    }

    /// As [`Broker::publish`], of a payload that Midge keeps as it is: one of 8 KiB or more is not copied. It is dropped
    /// once, on any thread, when nobody uses it any more: no subscriber, queue, retained message or received
    /// [`Message`](crate::embed::Message). A smaller one is copied, which is cheaper, and dropped before this returns.
    pub fn publish_owned(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]> + Send + 'static,
        options: &PublishOptions,
    ) -> Result<usize, Error> {
        if payload.as_ref().len() < SHARE_FROM {
            return self.publish(topic, payload, options);
        }
        let properties = options.encode()?;
        let shared = self.shared()?;
        let payload = shared.engine().host_buffers().share(payload);
        let properties = Properties::from_validated(&properties);
        shared.publish(
            &Outgoing { topic, payload: &payload, host_buffers: Some(&payload), properties, options },
            None,
        )
    }

    /// Publishes a received message under its own topic, with its payload and properties. A large payload is shared.
    pub fn publish_message(&self, message: &MessageView<'_>, retain: bool) -> Result<usize, Error> {
        let options = PublishOptions {
            qos: message.qos,
            retain,
            message_expiry_interval: message.expiry_interval,
            ..PublishOptions::default()
        };
        let shared = self.shared()?;
        // Lent by this broker, too: it may have come from a buffer of another one's host.
        let host_buffers = message.shared.filter(|payload| payload.len() >= SHARE_FROM);
        let host_buffers = host_buffers.map(|payload| shared.engine().host_buffers().share(payload.clone()));
        let (topic, payload, properties) = (message.topic, message.payload, message.properties);
        let outgoing =
            Outgoing { topic, payload, host_buffers: host_buffers.as_ref(), properties, options: &options };
        shared.publish(&outgoing, None)
    }

    /// As [`Broker::publish`]; `waiter` is told when the message is safe, unless this fails.
    pub(super) fn publish_for(
        &self,
        topic: &str,
        payload: &[u8],
        options: &PublishOptions,
        waiter: Option<Arc<dyn DurabilityWaiter>>,
    ) -> Result<usize, Error> {
        let properties = options.encode()?;
        let properties = Properties::from_validated(&properties);
        self.shared()?.publish(&Outgoing { topic, payload, host_buffers: None, properties, options }, waiter)
    }
}

/// A message of the host.
struct Outgoing<'o> {
    topic: &'o str,
    payload: &'o [u8],
    /// The payload as a buffer that may be kept.
    host_buffers: Option<&'o Bytes>,
    properties: Properties<'o>,
    options: &'o PublishOptions,
}

impl Shared {
    fn publish(
        &self,
        message: &Outgoing<'_>,
        waiter: Option<Arc<dyn DurabilityWaiter>>,
    ) -> Result<usize, Error> {
        let Outgoing { topic, payload, properties, options, .. } = *message;
        let name =
            TopicName::parse(topic).map_err(|cause| Error::Topic { topic: topic.to_owned(), cause })?;
        let user_properties = self.engine().options.count_user_properties(properties);
        let properties: SmallVec<[&[u8]; 2]> = properties.forwardable().collect();
        let draft = Draft {
            topic: name,
            qos: options.qos,
            retain: options.retain,
            payload_len: payload.len(),
            properties_len: properties.iter().map(|span| span.len()).sum(),
            expires: options.message_expiry_interval.is_some(),
            user_properties,
        };
        self.engine().admit(Source::Host, &draft).map_err(|refusal| Error::Argument {
            argument: refusal.argument(),
            cause: refusal.cause(topic),
        })?;
        let mut turn = match options.message_expiry_interval {
            None => self.quick_turn()?,
            Some(_) => self.turn()?,
        };
        let mut publication =
            Publication::new(topic.as_bytes(), payload, options.qos, options.retain, turn.now);
        publication.host_payload = message.host_buffers;
        publication.properties = properties;
        if let Some(seconds) = options.message_expiry_interval {
            publication.expires_at = turn.now.plus_secs(u64::from(seconds));
        }
        let reached = self.engine().publish(&mut turn, Publisher::Host, name, &mut publication);
        if let Some(waiter) = waiter {
            self.engine().tell_when_safe(&mut turn, options.qos, waiter);
        }
        Ok(reached)
    }
}
