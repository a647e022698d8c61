//! The tree of published topics, which the first request starts.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::codec::topic::TopicName;
use crate::engine::observe::sink::EventSink;
use crate::http::answer::{Problem, Reply, fitting};
use crate::http::console::Console;
use crate::http::payload::Payload;
use crate::http::query::FARTHEST;
use crate::http::service::ApiRequest;
use crate::http::tree::{Branch, LastMessage, Recent, Tree};
use crate::locks::Mutex;
use crate::message::SharedMessage;
use crate::time::Time;

/// Milliseconds after the last request until the tree is dropped. Browsers let a hidden page send one request per
/// minute.
const TREE_LIFETIME: u64 = 120_000;
/// Time between two moves of published messages into the tree.
const STEP: Duration = Duration::from_millis(250);
/// Bytes of topics and payloads that are kept between two moves.
const BETWEEN: usize = 16 << 20;
/// The default number of branches in one response.
const USUAL: usize = 500;
const MOST: usize = 5_000;
/// Retained messages that are read under one hold of the lock.
const PAGE: usize = 1_024;

/// The tree while it is watched.
#[derive(Default)]
pub(super) struct Watching(Mutex<Option<Watch>>);

struct Watch {
    tree: Tree,
    recent: Arc<Recent>,
    last_request: Time,
}

#[derive(Serialize)]
struct TopicsReply<'t> {
    parent: &'t str,
    watching_since: u64,
    /// The number of matching items on all pages.
    total: usize,
    offset: usize,
    topics: usize,
    left_out: u64,
    truncated: bool,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    level: String,
    topic: String,
    children: usize,
    last: Option<Payload>,
    last_at: Option<u64>,
    qos: Option<u8>,
    retained: bool,
    messages: u64,
    rate: f64,
    subscribers: usize,
}

/// `GET /api/v1/topics`
pub(super) fn show(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let parent = request.query.get("parent")?;
    // An empty level is a level, too: `parent=` is the root, and `root=empty` is the level before a leading slash.
    let parent = match request.query.get("root")? {
        None => parent,
        Some("empty") => Some(""),
        Some(_) => return Err(Problem::bad_request("root must be empty")),
    };
    let limit = request.query.number("limit", USUAL, MOST)?;
    let after = request.query.get("after")?;
    let offset = request.query.number("offset", 0, FARTHEST)?;
    let search = request.query.get("search")?;
    let now = console.now();
    let read = |after: Option<&str>| console.engine.retained_page(after, PAGE);
    let (branches, total, truncated, topics, left_out, since) = watched(console, read, |watch| {
        watch.last_request = now;
        watch.recent.drain_into(&mut watch.tree);
        let tree = &watch.tree;
        let (branches, total, more) = match (search, after) {
            (Some(text), _) if !text.is_empty() => {
                let (found, total) = tree.search(text, offset, limit, now);
                let more = total > offset.saturating_add(found.len());
                (found, total, more)
            }
            (_, None) => {
                let (part, total) = (tree.part(parent, offset, limit, now), tree.width(parent));
                let more = total > offset.saturating_add(part.len());
                (part, total, more)
            }
            (_, Some(_)) => {
                let (branches, more) = tree.below(parent, after, limit, now);
                (branches, tree.width(parent), more)
            }
        };
        (branches, total, more, tree.topics(), tree.left_out, tree.since)
    });
    let (items, is_cut) = fitting(branches.into_iter().map(|branch| item(console, branch)))?;
    Reply::json(&TopicsReply {
        parent: parent.unwrap_or_default(),
        watching_since: console.unix(since),
        total,
        offset,
        topics,
        left_out,
        truncated: truncated || is_cut,
        items,
    })
}

/// What `look` finds in the tree, which is started first if nobody has watched it. `read` gives the retained messages behind a
/// topic.
fn watched<T>(
    console: &Console,
    read: impl FnMut(Option<&str>) -> Vec<SharedMessage>,
    look: impl FnOnce(&mut Watch) -> T,
) -> T {
    // Retained messages are looked at under the lock, and some may meanwhile be replaced: this is their last use.
    console.engine.host_buffers().keep_during(|| {
        let mut watching = console.topics.0.lock();
        look(match &mut *watching {
            Some(watch) => watch,
            none => none.insert(begin(console, read)),
        })
    })
}

/// Starts a tree with the retained messages, and a tap for messages published from now on.
fn begin(console: &Console, mut read: impl FnMut(Option<&str>) -> Vec<SharedMessage>) -> Watch {
    let settings = &console.config.settings().console;
    let (now, most) = (console.now(), settings.max_topics);
    let mut tree = Tree::new(most, settings.max_topic_bytes, now);
    let mut page = read(None);
    while let Some(end) = page.last().map(|message| message.topic().to_owned()) {
        for message in page.iter().filter(|message| !message.is_expired(now)) {
            tree.add(message.topic(), 0, last(message));
        }
        page = match tree.topics() < most {
            true => read(Some(&end)),
            false => Vec::new(),
        };
    }
    let recent = Recent::new(most, BETWEEN);
    let tap: Arc<dyn EventSink> = recent.clone();
    console.engine.watch(tap);
    if let Some(console) = console.me() {
        tokio::spawn(keep(console));
    }
    Watch { tree, recent, last_request: now }
}

fn last(message: &SharedMessage) -> LastMessage {
    LastMessage {
        payload: Some(
            message.payload().get(..crate::http::payload::SHOWN).unwrap_or(message.payload()).into(),
        ),
        bytes: message.payload().len(),
        at: message.received_at(),
        qos: message.qos(),
    }
}

/// Moves published messages into the tree, until it has had no request for [`TREE_LIFETIME`].
async fn keep(console: Arc<Console>) {
    loop {
        sleep(STEP).await;
        let console = Arc::clone(&console);
        // Not on the threads that serve MQTT, because many topics take time.
        match spawn_blocking(move || is_kept(&console)).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// Moves published messages into the tree; false if the tree has expired.
fn is_kept(console: &Console) -> bool {
    let mut watching = console.topics.0.lock();
    let Some(watch) = &mut *watching else { return false };
    if console.now().millis_since(watch.last_request) > TREE_LIFETIME {
        let tap: Arc<dyn EventSink> = watch.recent.clone();
        console.engine.unwatch(&tap);
        *watching = None;
        return false;
    }
    watch.recent.drain_into(&mut watch.tree);
    true
}

fn item(console: &Console, branch: Branch) -> Item {
    let name = TopicName::parse(&branch.topic).ok();
    let retained = name.and_then(|name| console.engine.retained_message(name));
    Item {
        subscribers: name.map_or(0, |name| console.engine.subscribers_of(name)),
        retained: retained.is_some(),
        last_at: branch.last.as_ref().map(|last| console.unix(last.at)),
        qos: branch.last.as_ref().map(|last| last.qos.as_u8()),
        last: branch.last.and_then(|last| Some(Payload::of(&last.payload?, last.bytes))),
        level: branch.level,
        topic: branch.topic,
        children: branch.children,
        messages: branch.messages,
        rate: branch.rate,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{PAGE, watched};
    use crate::codec::qos::QoS;
    use crate::codec::topic::TopicName;
    use crate::engine::parts::subscriber::Publisher;
    use crate::http::console::Console;
    use crate::http::live::tests::console;
    use crate::message::Publication;
    use crate::time::Time;

    /// A payload of the host, which looks whether a lock is held when it is given back.
    struct Lent(Arc<Console>, Arc<AtomicU32>);

    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            &[b'x'; 9000]
        }
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            assert!(self.0.topics.0.try_lock().is_some(), "the host's code runs under the lock of the tree");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The message is removed while the tree is made of it.
    #[test]
    fn the_last_use_of_a_lent_payload_ends_after_the_lock_of_the_tree() {
        // Where the task that keeps the tree is started; it does not run.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let (console, engine, _) = console();
        let given_back = Arc::new(AtomicU32::new(0));
        let topic = TopicName::parse("t").unwrap();
        {
            let lent = engine.host_buffers().share(Lent(Arc::clone(&console), Arc::clone(&given_back)));
            let mut publication = Publication::new(b"t", &lent, QoS::AtMostOnce, true, Time::ZERO);
            publication.host_payload = Some(&lent);
            engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, topic, &mut publication);
        }
        let read = |after: Option<&str>| {
            let page = engine.retained_page(after, PAGE);
            assert_eq!(engine.clear_retained(Time::ZERO, topic), after.is_none());
            page
        };
        assert_eq!(watched(&console, read, |watch| watch.tree.topics()), 1);
        assert_eq!(given_back.load(Ordering::Relaxed), 1);
    }
}
