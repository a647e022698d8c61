//! Publishing over HTTP.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::topic::TopicName;
use crate::engine::parts::admission::{Draft, Source};
use crate::engine::parts::subscriber::Publisher;
use crate::engine::view::explain::Question;
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::explain::{Explained, qos_of, topic_of};
use crate::http::number::{whole, whole_or_null};
use crate::http::service::ApiRequest;
use crate::message::Publication;

/// Base64 that ignores unused bits of the last character.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
/// The longest string or binary value that MQTT carries, in bytes.
const LONGEST: usize = 65_535;

/// A message, with Midge's or EMQX's field names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default, alias = "payload_encoding")]
    encoding: Encoding,
    #[serde(default, deserialize_with = "whole")]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default, deserialize_with = "whole_or_null")]
    expiry: Option<u32>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    response_topic: Option<String>,
    /// In base64.
    #[serde(default)]
    correlation_data: Option<String>,
    #[serde(default)]
    user_properties: Vec<(String, String)>,
    /// EMQX's field for the publisher; ignored, because the host publishes.
    #[serde(default, rename = "client_id", alias = "clientid", alias = "client")]
    _client_id: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Plain,
    Base64,
}

#[derive(Serialize)]
struct Published {
    explanation: Explained,
}

/// `POST /api/v1/publish`
pub(super) fn publish(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let message: Message = request.json()?;
    let payload = match message.encoding {
        Encoding::Plain => message.payload.as_bytes().to_vec(),
        Encoding::Base64 => decoded("payload", &message.payload)?,
    };
    let topic = topic_of(&message.topic)?;
    let qos = qos_of(message.qos)?;
    let encoded = message.properties()?;
    let draft = Draft {
        topic,
        qos,
        retain: message.retain,
        payload_len: payload.len(),
        properties_len: encoded.len(),
        expires: message.expiry.is_some(),
        user_properties: console.engine.options.count_user_properties(Properties::from_validated(&encoded)),
    };
    if let Err(refusal) = console.engine.admit(Source::Console, &draft) {
        return Err(Problem::bad_request(refusal.sentence()));
    }
    let question = Question { message: draft, publisher: None };
    let explanation = console.engine.explain(console.now(), &question);
    let mut turn = console.engine.turn(console.now());
    let mut publication =
        Publication::new(topic.as_str().as_bytes(), &payload, qos, message.retain, turn.now);
    publication.properties = Properties::from_validated(&encoded).forwardable().collect();
    if let Some(seconds) = message.expiry {
        publication.expires_at = turn.now.plus_secs(u64::from(seconds));
    }
    console.engine.publish(&mut turn, Publisher::Host, topic, &mut publication);
    turn.finish();
    Reply::json(&Published { explanation: Explained::of(&question, explanation).fitting()? })
}

impl Message {
    /// The properties, encoded without their length.
    fn properties(&self) -> Result<Vec<u8>, Problem> {
        let mut encoded = Vec::new();
        let mut writer = PropertyWriter::new(&mut encoded);
        if let Some(text) = &self.content_type {
            writer.content_type(checked("content_type", text)?);
        }
        if let Some(topic) = &self.response_topic {
            TopicName::parse(topic)
                .map_err(|error| Problem::bad_request(format!("response_topic: {error}")))?;
            writer.response_topic(topic);
        }
        if let Some(data) = &self.correlation_data {
            let data = decoded("correlation_data", data)?;
            if data.len() > LONGEST {
                return Err(Problem::bad_request(format!("correlation_data has more than {LONGEST} bytes")));
            }
            writer.correlation_data(&data);
        }
        for (name, value) in &self.user_properties {
            writer.user_property(checked("user_properties", name)?, checked("user_properties", value)?);
        }
        Ok(encoded)
    }
}

fn decoded(name: &str, text: &str) -> Result<Vec<u8>, Problem> {
    LENIENT.decode(text).map_err(|error| Problem::bad_request(format!("{name} is not base64: {error}")))
}

fn checked<'t>(name: &str, text: &'t str) -> Result<&'t str, Problem> {
    match text.contains('\0') || text.len() > LONGEST {
        true => Err(Problem::bad_request(format!("{name} holds U+0000 or has more than {LONGEST} bytes"))),
        false => Ok(text),
    }
}
