//! Retained messages.

use serde::{Deserialize, Serialize};

use crate::codec::topic::{TopicFilter, TopicName};
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::explain::topic_of;
use crate::http::payload::Payload;
use crate::http::query::Page;
use crate::http::service::ApiRequest;
use crate::message::SharedMessage;
use crate::time::Time;

/// Messages that are read under one hold of the lock.
const STEP: usize = 1_024;
/// The keys that the list can be sorted by.
const SORTS: &[&str] = &["topic", "bytes", "qos", "stored_at", "expires_in"];

#[derive(Serialize)]
struct Retained {
    topic: String,
    payload: Payload,
    qos: u8,
    stored_at: u64,
    expires_in: Option<u64>,
}

/// `GET /api/v1/retained`: `search` is a Topic Filter if it has a wildcard, else a part of the topic.
pub(super) fn list(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let page = Page::of(&request.query, SORTS)?;
    let search = request.query.get("search")?.unwrap_or_default();
    let filter = match search.contains(['+', '#']) {
        true => Some(filter_of(search)?),
        false => None,
    };
    let now = console.now();
    let is_wanted = |message: &SharedMessage| {
        let found = match (&filter, TopicName::parse(message.topic())) {
            (Some(filter), Ok(topic)) => filter.matches(&topic),
            _ => page.finds(&[message.topic()]),
        };
        found && !message.is_expired(now)
    };
    let mut all = Vec::new();
    let mut part = console.engine.retained_page(None, STEP);
    while let Some(end) = part.last().map(|message| message.topic().to_owned()) {
        all.extend(part.into_iter().filter(is_wanted));
        part = console.engine.retained_page(Some(&end), STEP);
    }
    let by = page.sort().unwrap_or("topic");
    let compare = |a: &SharedMessage, b: &SharedMessage| {
        let order = match by {
            "bytes" => a.payload().len().cmp(&b.payload().len()),
            "qos" => a.qos().cmp(&b.qos()),
            // A message that never expires is the last.
            "expires_in" => a.expires_at().cmp(&b.expires_at()),
            "stored_at" => a.received_at().cmp(&b.received_at()),
            _ => std::cmp::Ordering::Equal,
        };
        order.then_with(|| a.topic().cmp(b.topic()))
    };
    page.cut(all, compare, |message| show(console, &message, now))
}

/// `GET /api/v1/retained/message`
pub(super) fn one(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    find(console, topic(request)?)
}

/// `POST /api/v1/retained/find`: for a topic that an address has no room for.
pub(super) fn find_long(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let RetainedTopic { topic } = request.json()?;
    find(console, topic_of(&topic)?)
}

fn find(console: &Console, topic: TopicName<'_>) -> Result<Reply, Problem> {
    let now = console.now();
    let found = console.engine.retained_message(topic).filter(|message| !message.is_expired(now));
    Reply::json(&show(console, &found.ok_or_else(none)?, now))
}

/// `DELETE /api/v1/retained/message`
pub(super) fn remove(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    clear(console, topic(request)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetainedTopic {
    topic: String,
}

/// `POST /api/v1/retained/delete`: for a topic that an address has no room for.
pub(super) fn remove_long(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let RetainedTopic { topic } = request.json()?;
    clear(console, topic_of(&topic)?)
}

fn clear(console: &Console, topic: TopicName<'_>) -> Result<Reply, Problem> {
    match console.engine.clear_retained(console.now(), topic) {
        true => Ok(Reply::done()),
        false => Err(none()),
    }
}

/// A Topic Filter from a request.
pub(super) fn filter_of(text: &str) -> Result<TopicFilter<'_>, Problem> {
    TopicFilter::parse(text).map_err(|error| Problem::bad_request(format!("the filter {text:?}: {error}")))
}

/// The Topic Name of a request.
pub(super) fn topic(request: &ApiRequest) -> Result<TopicName<'_>, Problem> {
    let text = request.query.need("topic")?;
    TopicName::parse(text).map_err(|error| Problem::bad_request(format!("the topic {text:?}: {error}")))
}

fn none() -> Problem {
    Problem::not_found("the topic has no retained message")
}

fn show(console: &Console, message: &SharedMessage, now: Time) -> Retained {
    let expires = (message.expires_at() != Time::NEVER).then(|| message.expires_at());
    Retained {
        topic: message.topic().to_owned(),
        payload: Payload::whole(message.payload()),
        qos: message.qos().as_u8(),
        stored_at: console.unix(message.received_at()),
        expires_in: expires.map(|at| at.millis_since(now).div_ceil(1000)),
    }
}
