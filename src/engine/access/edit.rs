//! A message that the host may change before it is published.

use std::borrow::Cow;

use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::qos::QoS;
use crate::codec::topic::{TopicError, TopicName};
use crate::codec::version::Version;
use crate::engine::parts::admission::{Draft, Refusal, Source};
use crate::engine::parts::options::Options;
use crate::message::Publication;
use crate::time::Time;

/// The longest string that MQTT can carry, in bytes.
const LONGEST: usize = 65_535;

/// A client's message before it is published. A value that is set replaces that of the client.
pub struct Edit<'m> {
    options: &'m Options,
    client_id: &'m str,
    username: Option<&'m str>,
    is_will: bool,
    original: Original<'m>,
    changes: Changes,
}

/// The message as the client has sent it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each field is that of the message")]
#[non_exhaustive]
pub struct Original<'m> {
    pub topic: &'m str,
    pub payload: &'m [u8],
    pub qos: QoS,
    pub retain: bool,
    pub properties: Properties<'m>,
    pub expiry_interval: Option<u32>,
}

/// The values that the host has set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    topic: Option<String>,
    payload: Option<Vec<u8>>,
    qos: Option<QoS>,
    retain: Option<bool>,
    properties: Option<Vec<u8>>,
    expiry_interval: Option<Option<u32>>,
}

/// Why a value cannot be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The topic is not a valid Topic Name.
    #[error("topic {topic:?}: {cause}")]
    Topic {
        /// The given text.
        topic: String,
        /// What is wrong with it.
        cause: TopicError,
    },
    /// The value is beyond the limits of the settings or of MQTT.
    #[error("{argument}: {cause}")]
    Argument {
        /// The name of the value.
        argument: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl std::fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edit")
            .field("client_id", &self.client_id)
            .field("topic", &self.topic())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish_non_exhaustive()
    }
}

impl<'m> Edit<'m> {
    /// The message of a publication; `properties` is the result of [`joined`].
    pub(crate) fn new<'p: 'm>(
        options: &'m Options,
        client_id: &'m str,
        username: Option<&'m str>,
        topic: &'m str,
        publication: &Publication<'p>,
        properties: &'m [u8],
    ) -> Edit<'m> {
        let original = Original {
            topic,
            payload: publication.payload,
            qos: publication.qos,
            retain: publication.retain,
            properties: Properties::from_validated(properties),
            expiry_interval: publication.expiry_interval(publication.received_at),
        };
        Edit { options, client_id, username, is_will: false, original, changes: Changes::default() }
    }

    /// The same message, as a Will.
    pub(crate) fn of_a_will(self) -> Edit<'m> {
        Edit { is_will: true, ..self }
    }

    /// The values that were set.
    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    /// The message as the client has sent it.
    pub fn original(&self) -> Original<'m> {
        self.original
    }

    /// The publisher's Client Identifier.
    pub fn client_id(&self) -> &str {
        self.client_id
    }

    /// The publisher's User Name; always `None` with a Will, whose client is gone.
    pub fn username(&self) -> Option<&str> {
        self.username
    }

    /// Whether it is a Will.
    pub fn is_will(&self) -> bool {
        self.is_will
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        self.changes.topic.as_deref().unwrap_or(self.original.topic)
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.changes.payload.as_deref().unwrap_or(self.original.payload)
    }

    /// The QoS.
    pub fn qos(&self) -> QoS {
        self.changes.qos.unwrap_or(self.original.qos)
    }

    /// The RETAIN flag.
    pub fn retain(&self) -> bool {
        self.changes.retain.unwrap_or(self.original.retain)
    }

    /// The properties that are forwarded to subscribers, without the Message Expiry Interval.
    pub fn properties(&self) -> Properties<'_> {
        self.changes.properties.as_deref().map_or(self.original.properties, Properties::from_validated)
    }

    /// Seconds after which the message is no longer delivered.
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.changes.expiry_interval.unwrap_or(self.original.expiry_interval)
    }

    /// Sets the topic. Whether the client may publish to it is not checked.
    pub fn set_topic(&mut self, topic: &str) -> Result<(), EditError> {
        let name =
            TopicName::parse(topic).map_err(|cause| EditError::Topic { topic: topic.to_owned(), cause })?;
        self.admit("topic", &Draft { topic: name, ..self.draft() })?;
        self.changes.topic = Some(topic.to_owned());
        Ok(())
    }

    /// Sets the payload.
    pub fn set_payload(&mut self, payload: impl Into<Vec<u8>>) -> Result<(), EditError> {
        let payload = payload.into();
        self.admit("payload", &Draft { payload_len: payload.len(), ..self.draft() })?;
        self.changes.payload = Some(payload);
        Ok(())
    }

    /// Sets the QoS of the publication. The acknowledgement to the client is not changed.
    pub fn set_qos(&mut self, qos: QoS) -> Result<(), EditError> {
        self.admit("qos", &Draft { qos, ..self.draft() })?;
        self.changes.qos = Some(qos);
        Ok(())
    }

    /// Sets the RETAIN flag.
    pub fn set_retain(&mut self, retain: bool) -> Result<(), EditError> {
        self.admit("retain", &Draft { retain, ..self.draft() })?;
        self.changes.retain = Some(retain);
        Ok(())
    }

    /// Sets the seconds after which the message is no longer delivered.
    pub fn set_message_expiry_interval(&mut self, seconds: Option<u32>) -> Result<(), EditError> {
        self.admit("message_expiry_interval", &Draft { expires: seconds.is_some(), ..self.draft() })?;
        self.changes.expiry_interval = Some(seconds);
        Ok(())
    }

    /// Adds a User Property after the existing ones.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        let mut properties = self.properties().raw().to_vec();
        let argument = "user_properties";
        let refuse = |cause: &str| Err(EditError::Argument { argument, cause: cause.to_owned() });
        if name.len().max(value.len()) > LONGEST {
            return refuse("is longer than the 65535 bytes that MQTT carries");
        }
        if name.contains('\0') || value.contains('\0') {
            return refuse("holds U+0000, which MQTT forbids");
        }
        PropertyWriter::new(&mut properties).user_property(name, value);
        self.admit(argument, &self.draft_with(&properties))?;
        self.changes.properties = Some(properties);
        Ok(())
    }

    /// Replaces the properties. Properties that are not forwarded to subscribers are left out.
    pub fn set_properties(&mut self, properties: Properties<'_>) -> Result<(), EditError> {
        let properties = properties.forwardable().collect::<Vec<_>>().concat();
        self.admit("properties", &self.draft_with(&properties))?;
        self.changes.properties = Some(properties);
        Ok(())
    }

    /// Replaces everything but the topic and the payload; on an error nothing.
    pub(crate) fn set_all(
        &mut self,
        qos: QoS,
        retain: bool,
        expiry_interval: Option<u32>,
        properties: Properties<'_>,
    ) -> Result<(), EditError> {
        let properties = properties.forwardable().collect::<Vec<_>>().concat();
        let expires = expiry_interval.is_some();
        self.admit("options", &Draft { qos, retain, expires, ..self.draft_with(&properties) })?;
        self.changes.qos = Some(qos);
        self.changes.retain = Some(retain);
        self.changes.expiry_interval = Some(expiry_interval);
        self.changes.properties = Some(properties);
        Ok(())
    }

    /// The message as it is now.
    fn draft(&self) -> Draft<'_> {
        Draft {
            topic: TopicName::from_validated(self.topic()),
            qos: self.qos(),
            retain: self.retain(),
            payload_len: self.payload().len(),
            properties_len: self.properties().raw().len(),
            expires: self.message_expiry_interval().is_some(),
            user_properties: self.options.count_user_properties(self.properties()),
        }
    }

    /// The same with other properties.
    fn draft_with(&self, properties: &[u8]) -> Draft<'_> {
        let user_properties = self.options.count_user_properties(Properties::from_validated(properties));
        Draft { properties_len: properties.len(), user_properties, ..self.draft() }
    }

    /// Whether the message may become this; `changed` is the argument that makes it too large.
    fn admit(&self, changed: &'static str, draft: &Draft<'_>) -> Result<(), EditError> {
        let sent = &self.original;
        let original = Draft {
            topic: TopicName::from_validated(sent.topic),
            qos: sent.qos,
            retain: sent.retain,
            payload_len: sent.payload.len(),
            properties_len: sent.properties.raw().len(),
            expires: sent.expiry_interval.is_some(),
            user_properties: 0,
        };
        let source = Source::Edit { original_len: original.packet_len(Version::V5) };
        self.options.admit(source, draft).map_err(|refusal| {
            let argument = match refusal {
                Refusal::TooLarge { .. } => changed,
                _ => refusal.argument(),
            };
            EditError::Argument { argument, cause: refusal.cause(draft.topic.as_str()) }
        })
    }
}

impl Changes {
    /// The topic, if it was set.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// A publication with the changes.
    pub(crate) fn apply<'a, 'p: 'a>(&'a self, publication: &Publication<'p>) -> Publication<'a> {
        let p = publication;
        let mut changed = Publication::new(
            self.topic.as_ref().map_or(p.topic, |topic| topic.as_bytes()),
            self.payload.as_deref().unwrap_or(p.payload),
            self.qos.unwrap_or(p.qos),
            self.retain.unwrap_or(p.retain),
            p.received_at,
        );
        match &self.properties {
            Some(properties) => changed.properties.push(properties),
            None => changed.properties.extend(p.properties.iter().copied()),
        }
        changed.expires_at = match self.expiry_interval {
            Some(Some(seconds)) => p.received_at.plus_secs(u64::from(seconds)),
            Some(None) => Time::NEVER,
            None => p.expires_at,
        };
        if *self == Changes::default() {
            // A changed message no longer equals the received packet.
            changed.frame = p.frame;
            changed.owner = p.owner;
        }
        changed
    }
}

/// The properties of a publication in one piece.
pub(crate) fn joined<'p>(publication: &Publication<'p>) -> Cow<'p, [u8]> {
    match publication.properties.as_slice() {
        [] => Cow::Borrowed(&[]),
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.concat()),
    }
}
