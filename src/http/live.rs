//! The messages of a filter as they are published, for one viewer. Who reads too slowly misses some, and is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::engine::observe::publish_taps::{PublishTap, Seen};
use crate::http::answer::{Outgoing, Problem};
use crate::http::console::Console;
use crate::http::events::{Skipped, Stream, event};
use crate::http::payload::{Payload, SHOWN};
use crate::http::retained::filter_of;
use crate::http::service::Asked;
use crate::time::Time;

/// Messages of one piece of the stream.
const AT_ONCE: usize = 100;
/// The shortest time between two pieces: nobody reads faster.
const REST: Duration = Duration::from_millis(50);
/// A stream without messages says that it lives so often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of properties that are shown.
const SHOWN_PROPERTIES: usize = 4_096;

/// A viewer's queue, which publishing threads fill.
struct Viewer {
    filter: String,
    queue: Mutex<Queue>,
    filled: Notify,
    most: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Caught>,
    skipped: u64,
}

/// A message as it was seen.
struct Caught {
    at: Time,
    topic: Box<str>,
    payload: Box<[u8]>,
    bytes: usize,
    properties: Box<[u8]>,
    qos: QoS,
    retain: bool,
    client_id: Option<Box<str>>,
}

#[derive(Serialize)]
struct Shown<'c> {
    time: u64,
    topic: &'c str,
    payload: Payload,
    qos: u8,
    retain: bool,
    client_id: Option<&'c str>,
    properties: Shape<'c>,
}

#[derive(Serialize)]
struct Shape<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_format: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'c str>,
    /// In base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(&'c str, &'c str)>,
}

impl PublishTap for Viewer {
    fn see(&self, seen: &Seen<'_>) {
        let topic = seen.topic_name();
        let (Ok(filter), Ok(name)) = (TopicFilter::parse(&self.filter), TopicName::parse(topic)) else {
            return;
        };
        if !filter.matches(&name) {
            return;
        }
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= self.most {
            queue.skipped += 1;
            return;
        }
        let properties: usize = seen.properties.iter().map(|span| span.len()).sum();
        queue.waiting.push_back(Caught {
            at: seen.at,
            topic: topic.into(),
            payload: seen.payload.get(..SHOWN).unwrap_or(seen.payload).into(),
            bytes: seen.payload.len(),
            properties: match properties <= SHOWN_PROPERTIES {
                true => seen.properties.concat().into(),
                false => Box::default(),
            },
            qos: seen.qos,
            retain: seen.retain,
            client_id: seen.client_id.map(Into::into),
        });
        drop(queue);
        self.filled.notify_one();
    }
}

/// Watches as long as it is there.
struct LiveViewer {
    console: Arc<Console>,
    tap: Arc<dyn PublishTap>,
}

impl Drop for LiveViewer {
    fn drop(&mut self) {
        self.console.engine.unwatch(&self.tap);
    }
}

/// `GET /api/v1/live`
pub(super) fn begin(console: &Arc<Console>, asked: &Asked) -> Result<Response<Outgoing>, Problem> {
    let filter = asked.query.get("filter")?.unwrap_or("#");
    if filter_of(filter)?.group().is_some() {
        return Err(Problem::bad_request("the filter is shared, and a viewer takes no message from a group"));
    }
    let viewer = Arc::new(Viewer {
        filter: filter.to_owned(),
        queue: Mutex::default(),
        filled: Notify::new(),
        most: console.config.settings().console.max_live_messages,
    });
    let tap: Arc<dyn PublishTap> = viewer.clone();
    console.engine.watch(Arc::clone(&tap));
    let attached = LiveViewer { console: Arc::clone(console), tap };
    let (stream, response) = Stream::new(console);
    tokio::spawn(follow(attached, viewer, stream));
    Ok(response)
}

async fn follow(attached: LiveViewer, viewer: Arc<Viewer>, mut stream: Stream) {
    // So that the viewer knows that it watches.
    let mut out = b": watching\n\n".to_vec();
    loop {
        if !stream.send(std::mem::take(&mut out)).await || !stream.wait(sleep(REST)).await {
            return;
        }
        let heartbeat = async {
            let _in_time = timeout(HEARTBEAT, viewer.filled.notified()).await;
        };
        if viewer.queue.lock().waiting.is_empty() && !stream.wait(heartbeat).await {
            return;
        }
        let (console, viewer) = (Arc::clone(&attached.console), Arc::clone(&viewer));
        // Not on the threads that serve MQTT: a hundred payloads take their time.
        match spawn_blocking(move || viewer.show_next(&console)).await {
            Ok(shown) => out = shown,
            Err(_) => return,
        }
    }
}

impl Viewer {
    /// The next messages as events, and how many were missed.
    fn show_next(&self, console: &Console) -> Vec<u8> {
        let mut out = Vec::new();
        let (caught, skipped) = self.take();
        for caught in &caught {
            show(console, caught, &mut out);
        }
        if skipped > 0 {
            event(&mut out, "skipped", &Skipped { count: skipped });
        }
        if out.is_empty() {
            out.extend_from_slice(b": nothing\n\n");
        }
        out
    }

    /// The next messages, and how many were missed.
    fn take(&self) -> (Vec<Caught>, u64) {
        let mut queue = self.queue.lock();
        let count = queue.waiting.len().min(AT_ONCE);
        let caught = queue.waiting.drain(..count).collect();
        // What was missed comes behind what was not.
        let skipped = if queue.waiting.is_empty() { std::mem::take(&mut queue.skipped) } else { 0 };
        (caught, skipped)
    }
}

fn show(console: &Console, caught: &Caught, out: &mut Vec<u8>) {
    let properties = Properties::from_validated(&caught.properties);
    let shown = Shown {
        time: console.unix(caught.at),
        topic: &caught.topic,
        payload: Payload::of(&caught.payload, caught.bytes),
        qos: caught.qos.as_u8(),
        retain: caught.retain,
        client_id: caught.client_id.as_deref(),
        properties: Shape {
            payload_format: properties.payload_format_indicator(),
            content_type: properties.content_type(),
            response_topic: properties.response_topic(),
            correlation_data: properties.correlation_data().map(|data| STANDARD.encode(data)),
            user_properties: properties.user_properties().collect(),
        },
    };
    event(out, "message", &shown);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use hyper::HeaderMap;
    use parking_lot::Mutex;
    use tokio::sync::Notify;

    use super::{Viewer, begin};
    use crate::config::Config;
    use crate::engine::core::state::{Engine, EngineParts};
    use crate::http::console::{Console, ConsoleParts as Around};
    use crate::http::journal::Log;
    use crate::http::query::Query;
    use crate::http::service::Asked;
    use crate::runtime::{Clock, Ticker};
    use crate::storage::MemoryStore;

    fn console() -> (Arc<Console>, Arc<Engine>, Asked) {
        let config = Config::new();
        let surroundings = EngineParts {
            store: Arc::new(MemoryStore),
            alarm: Arc::new(Ticker::default()),
            seed: 7,
            started_unix: 1000,
        };
        let engine = Arc::new(Engine::new(config.settings(), surroundings));
        let around = Around {
            engine: Arc::clone(&engine),
            clock: Clock::by_hand(),
            log: Log::new(100),
            config,
            listeners: Box::new(Vec::new),
        };
        let here = ([127, 0, 0, 1], 1).into();
        let console = Console::new(around, here).unwrap();
        let asked = Asked {
            name: String::new(),
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: here,
        };
        (console, engine, asked)
    }

    #[test]
    fn a_viewer_for_whom_nothing_has_come_is_shown_a_sign_of_life() {
        let queue = Mutex::default();
        let viewer = Viewer { filter: "#".to_owned(), queue, filled: Notify::new(), most: 1 };
        assert_eq!(viewer.show_next(&console().0), b": nothing\n\n");
    }

    #[test]
    fn a_viewer_that_has_gone_is_shown_nothing_more() {
        let (console, engine, asked) = console();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let (one, other) = (begin(&console, &asked).unwrap(), begin(&console, &asked).unwrap());
        drop(one);
        assert!(engine.is_watched(), "the other is still there");
        drop(other);
        let begun = Instant::now();
        while engine.is_watched() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "a viewer that has gone is still shown messages"
            );
            std::thread::yield_now();
        }
    }
}
