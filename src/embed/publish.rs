//! Publishing from the host, on the caller's own stack.

use crate::codec::properties::Properties;
use crate::codec::publish::encoded_len;
use crate::codec::topic::TopicName;
use crate::codec::version::Version;
use crate::embed::arena::MessageView;
use crate::embed::broker::{Broker, Shared};
use crate::embed::error::Error;
use crate::embed::options::PublishOptions;
use crate::engine::subscriber::Publisher;
use crate::message::Publication;

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
        let properties = options.encode()?;
        let properties = Properties::from_validated(&properties);
        self.shared()?.publish(topic, payload.as_ref(), properties, options)
    }

    /// Publishes a received message under its own topic, with its payload and properties.
    pub fn publish_message(&self, message: &MessageView<'_>, retain: bool) -> Result<usize, Error> {
        let options = PublishOptions {
            qos: message.qos,
            retain,
            message_expiry_interval: message.expiry_interval,
            ..PublishOptions::default()
        };
        self.shared()?.publish(message.topic, message.payload, message.properties, &options)
    }
}

impl Shared {
    fn publish(
        &self,
        topic: &str,
        payload: &[u8],
        properties: Properties<'_>,
        options: &PublishOptions,
    ) -> Result<usize, Error> {
        let name =
            TopicName::parse(topic).map_err(|cause| Error::Topic { topic: topic.to_owned(), cause })?;
        let settings = self.settings();
        let levels = settings.mqtt.max_topic_levels;
        if name.levels().take(levels + 1).count() > levels {
            let cause = format!("has more than {levels} levels (mqtt.max_topic_levels)");
            return Err(Error::Argument { argument: "topic", cause });
        }
        if options.qos.as_u8() > settings.mqtt.max_qos {
            let cause = format!("{} is higher than mqtt.max_qos allows", options.qos.as_u8());
            return Err(Error::Argument { argument: "qos", cause });
        }
        if options.retain && !settings.mqtt.retain {
            let cause = "mqtt.retain is off".to_owned();
            return Err(Error::Argument { argument: "retain", cause });
        }
        let size = encoded_len(Version::V5, topic.len(), true, properties.raw().len(), payload.len());
        if size > settings.mqtt.max_packet_size as usize {
            let most = settings.mqtt.max_packet_size;
            let cause = format!("makes a packet of {size} bytes; mqtt.max_packet_size is {most}");
            return Err(Error::Argument { argument: "payload", cause });
        }
        let mut turn = self.turn()?;
        let mut publication =
            Publication::new(topic.as_bytes(), payload, options.qos, options.retain, turn.now);
        publication.properties = properties.forwardable().collect();
        if let Some(seconds) = options.message_expiry_interval {
            publication.expires_at = turn.now.plus_secs(u64::from(seconds));
        }
        Ok(self.engine().publish(&mut turn, Publisher::Host, name, &mut publication))
    }
}
