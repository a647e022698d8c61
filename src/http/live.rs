//! Live messages of a filter for one viewer. A slow viewer misses some, and gets the number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::codec::properties::Properties;
use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::{EventSink, Moment, Published};
use crate::http::answer::{Problem, ResponseBody};
use crate::http::console::Console;
use crate::http::events::{Skipped, Stream, event};
use crate::http::live_budget::LiveBudget;
use crate::http::payload::{Payload, SHOWN};
use crate::http::retained::filter_of;
use crate::http::service::ApiRequest;
use crate::http::shorten::shortened;
use crate::locks::Mutex;
use crate::time::Time;

/// Messages in one chunk of the stream.
const AT_ONCE: usize = 100;
/// Bytes of messages after which a chunk of the stream ends.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that a message in a queue counts as, in addition to its texts: its place, and the rounding of the allocator.
const OVERHEAD: usize = 256;
/// The shortest time between two chunks; people do not read faster.
const REST: Duration = Duration::from_millis(50);
/// Time between keep-alive comments in a stream without messages.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The maximum size of properties that are shown, in bytes.
const SHOWN_PROPERTIES: usize = 4_096;
/// The maximum size of a topic or client identifier that is shown, in bytes.
const SHOWN_NAME: usize = 4_096;

/// The tap of a viewer; publishing threads fill its queue.
struct LiveTap {
    filter: String,
    queue: Mutex<Queue>,
    filled: Notify,
    most: usize,
    budget: Arc<LiveBudget>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<LiveMessage>,
    /// Bytes of the waiting messages.
    bytes: usize,
    skipped: u64,
}

/// A message in a viewer's queue.
struct LiveMessage {
    at: Time,
    topic: Box<str>,
    payload: Box<[u8]>,
    bytes: usize,
    properties: Box<[u8]>,
    qos: QoS,
    retain: bool,
    client_id: Option<Box<str>>,
    /// Bytes that it counts as in the queue.
    counted: usize,
}

impl Drop for LiveTap {
    fn drop(&mut self) {
        self.budget.give_back(self.queue.get_mut().bytes);
    }
}

#[derive(Serialize)]
struct MessageView<'c> {
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

impl EventSink for LiveTap {
    fn mask(&self) -> EventMask {
        EventMask::PUBLISHING
    }

    fn moment(&self, moment: &Moment<'_>) {
        if let Moment::Publishing(seen) = moment {
            self.see(seen);
        }
    }
}

impl LiveTap {
    fn see(&self, seen: &Published<'_>) {
        let topic = seen.topic_name();
        let (Ok(filter), Ok(name)) = (TopicFilter::parse(&self.filter), TopicName::parse(topic)) else {
            return;
        };
        if !filter.matches(&name) {
            return;
        }
        let topic = shortened(topic, SHOWN_NAME);
        let client_id = seen.client_id.map(|client_id| shortened(client_id, SHOWN_NAME));
        let payload = seen.payload.get(..SHOWN).unwrap_or(seen.payload);
        let properties = match seen.properties.iter().map(|span| span.len()).sum::<usize>() {
            0..=SHOWN_PROPERTIES => seen.properties,
            _ => &[],
        };
        let texts = topic.len() + client_id.as_ref().map_or(0, |client_id| client_id.len());
        let bytes =
            OVERHEAD + texts + payload.len() + properties.iter().map(|span| span.len()).sum::<usize>();
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= self.most || !self.budget.take(queue.bytes, bytes) {
            queue.skipped += 1;
            return;
        }
        queue.bytes += bytes;
        queue.waiting.push_back(LiveMessage {
            at: seen.at,
            topic: topic.into(),
            payload: payload.into(),
            bytes: seen.payload.len(),
            properties: properties.concat().into(),
            qos: seen.qos,
            retain: seen.retain,
            client_id: client_id.map(Into::into),
            counted: bytes,
        });
        drop(queue);
        self.filled.notify_one();
    }
}

/// Removes the tap when it is dropped.
struct TapGuard {
    console: Arc<Console>,
    tap: Arc<dyn EventSink>,
}

impl Drop for TapGuard {
    fn drop(&mut self) {
        self.console.engine.unwatch(&self.tap);
    }
}

/// `GET /api/v1/live`
pub(super) fn begin(console: &Arc<Console>, request: &ApiRequest) -> Result<Response<ResponseBody>, Problem> {
    let filter = request.query.get("filter")?.unwrap_or("#");
    if filter_of(filter)?.group().is_some() {
        return Err(Problem::bad_request("a viewer cannot watch a shared filter; leave out $share/<group>/"));
    }
    let viewer = Arc::new(LiveTap {
        filter: filter.to_owned(),
        queue: Mutex::default(),
        filled: Notify::new(),
        most: console.config.settings().console.max_live_messages,
        budget: Arc::clone(&console.live),
    });
    let tap: Arc<dyn EventSink> = viewer.clone();
    console.engine.watch(Arc::clone(&tap));
    let attached = TapGuard { console: Arc::clone(console), tap };
    let (stream, response) = Stream::new(console, request);
    tokio::spawn(follow(attached, viewer, stream));
    Ok(response)
}

async fn follow(attached: TapGuard, viewer: Arc<LiveTap>, mut stream: Stream) {
    // The viewer learns that the tap is active.
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
        // Not on the threads that serve MQTT, because a hundred payloads take time.
        match spawn_blocking(move || viewer.show_next(&console)).await {
            Ok(shown) => out = shown,
            Err(_) => return,
        }
    }
}

impl LiveTap {
    /// The next messages as events, then the number of missed ones.
    fn show_next(&self, console: &Console) -> Vec<u8> {
        let mut out = Vec::new();
        let (messages, skipped) = self.take();
        for message in &messages {
            show(console, message, &mut out);
        }
        if skipped > 0 {
            event(&mut out, "skipped", &Skipped { count: skipped });
        }
        if out.is_empty() {
            out.extend_from_slice(b": nothing\n\n");
        }
        out
    }

    /// The next messages, and the number of missed ones.
    fn take(&self) -> (Vec<LiveMessage>, u64) {
        let mut queue = self.queue.lock();
        let (mut count, mut bytes, mut freed) = (0, 0, 0);
        for message in queue.waiting.iter().take(AT_ONCE) {
            bytes += message.counted - OVERHEAD;
            if count > 0 && bytes > CHUNK_BYTES {
                break;
            }
            count += 1;
            freed += message.counted;
        }
        let messages = queue.waiting.drain(..count).collect();
        queue.bytes -= freed;
        self.budget.give_back(freed);
        // The number of missed messages follows the messages.
        let skipped = if queue.waiting.is_empty() { std::mem::take(&mut queue.skipped) } else { 0 };
        (messages, skipped)
    }
}

fn show(console: &Console, message: &LiveMessage, out: &mut Vec<u8>) {
    let properties = Properties::from_validated(&message.properties);
    let shown = MessageView {
        time: console.unix(message.at),
        topic: &message.topic,
        payload: Payload::of(&message.payload, message.bytes),
        qos: message.qos.as_u8(),
        retain: message.retain,
        client_id: message.client_id.as_deref(),
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
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use hyper::HeaderMap;
    use tokio::sync::Notify;

    use super::{CHUNK_BYTES, LiveTap, begin};
    use crate::codec::qos::QoS;
    use crate::config::Config;
    use crate::engine::core::state::{Engine, EngineParts};
    use crate::engine::observe::mask::EventMask;
    use crate::engine::observe::sink::Published;
    use crate::http::console::{Console, ConsoleParts as Around};
    use crate::http::journal::ConsoleJournal;
    use crate::http::live_budget::LiveBudget;
    use crate::http::origin::TrustedProxies;
    use crate::http::query::Query;
    use crate::http::service::ApiRequest;
    use crate::locks::Mutex;
    use crate::runtime::{Clock, Ticker};
    use crate::storage::MemoryStore;
    use crate::time::Time;

    pub(in crate::http) fn console() -> (Arc<Console>, Arc<Engine>, ApiRequest) {
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
            log: ConsoleJournal::new(100),
            config,
            listeners: Box::new(crate::http::listeners::NoListeners),
            storage: None,
            #[cfg(feature = "tls")]
            tls: crate::http::certificates::ConsoleTls {
                own: None,
                servers: Arc::default(),
                reload: Box::new(Vec::new),
            },
        };
        let here = ([127, 0, 0, 1], 1).into();
        let console = Console::new(around, here).unwrap();
        let request = ApiRequest {
            name: String::new(),
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            origin: TrustedProxies::new("").origin(here, &HeaderMap::new()),
            login_end: None,
        };
        (console, engine, request)
    }

    fn tap(most: usize, budget: &Arc<LiveBudget>) -> LiveTap {
        let (filter, queue, filled) = ("#".to_owned(), Mutex::default(), Notify::new());
        LiveTap { filter, queue, filled, most, budget: Arc::clone(budget) }
    }

    /// A message with a topic, client identifier, payload and properties of 60,000 bytes.
    fn see_long(viewer: &LiveTap) {
        let (long, payload) = ("t".repeat(60_000), vec![0xff; 60_000]);
        viewer.see(&Published {
            client_id: Some(&long),
            topic: long.as_bytes(),
            payload: &payload,
            properties: &[&payload],
            qos: QoS::AtMostOnce,
            retain: false,
            at: Time::ZERO,
            expiry_interval: None,
        });
    }

    #[test]
    fn what_waits_for_viewers_is_bounded_in_bytes() {
        let budget = LiveBudget::new(1 << 20);
        let viewers: Vec<_> = (0..20).map(|_| tap(1000, &budget)).collect();
        viewers.iter().for_each(|viewer| (0..1000).for_each(|_| see_long(viewer)));
        // An eighth of the whole has room for ten messages of 12,544 bytes.
        let waiting: Vec<_> = viewers.iter().map(|viewer| viewer.queue.lock().waiting.len()).collect();
        assert_eq!(waiting[..8], [10; 8]);
        assert_eq!(waiting.iter().sum::<usize>(), 83, "{waiting:?}");
        assert_eq!(budget.used(), 83 * 12_544);
        let (taken, skipped) = viewers[0].take();
        assert_eq!((taken.len(), skipped, budget.used()), (5, 0, 78 * 12_544));
        let (taken, skipped) = viewers[0].take();
        assert_eq!((taken.len(), skipped, budget.used()), (5, 990, 73 * 12_544));
        let (topic, client_id) = (&taken[0].topic, taken[0].client_id.as_ref().unwrap());
        assert_eq!((topic.len(), client_id.len(), taken[0].bytes), (4096, 4096, 60_000));
        assert!(topic.ends_with("t\u{2026}"));
        drop(viewers);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_chunk_of_the_stream_is_bounded_in_bytes() {
        let (console, ..) = console();
        let viewer = tap(1000, &LiveBudget::new(1 << 30));
        (0..1000).for_each(|_| see_long(&viewer));
        let chunk = viewer.show_next(&console).len();
        assert!(chunk < 2 * CHUNK_BYTES, "{chunk} bytes");
    }

    #[test]
    fn a_viewer_for_whom_nothing_has_come_is_shown_a_sign_of_life() {
        let viewer = tap(1, &LiveBudget::new(1 << 20));
        assert_eq!(viewer.show_next(&console().0), b": nothing\n\n");
    }

    #[test]
    fn a_viewer_that_has_gone_is_shown_nothing_more() {
        let (console, engine, request) = console();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let (one, other) = (begin(&console, &request).unwrap(), begin(&console, &request).unwrap());
        drop(one);
        assert!(engine.wants(EventMask::PUBLISHING), "the other is still there");
        drop(other);
        let begun = Instant::now();
        while engine.wants(EventMask::PUBLISHING) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "a viewer that has gone is still shown messages"
            );
            std::thread::yield_now();
        }
    }
}
