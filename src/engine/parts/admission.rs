//! What may be published: the bounds of a Topic Name, and the topics that are the broker's own.

use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::codec::topic::TopicName;
use crate::engine::parts::options::Options;

/// Whether only the broker publishes to a topic: nobody else says what it says of itself (MQTT 5, section 4.7.2).
pub(crate) fn is_the_brokers(topic: TopicName<'_>) -> bool {
    topic.as_str().starts_with("$SYS/")
}

impl Options {
    /// Whether a topic is within the bounds of length and levels.
    pub(crate) fn check_topic(&self, topic: TopicName<'_>) -> Result<(), DecodeError> {
        let too_deep = topic.level_count() > self.max_topic_levels;
        match too_deep || topic.as_str().len() > self.max_topic_length {
            true => Err(DecodeError::new(ReasonCode::TopicNameInvalid, "the topic is too long or too deep")),
            false => Ok(()),
        }
    }
}
