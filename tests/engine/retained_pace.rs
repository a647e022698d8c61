//! Retained messages for a new subscription come at the pace of its subscriber, and take no other message's place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::{TopicFilter, TopicName};
use midge::engine::core::state::Engine;
use midge::engine::parts::sink::{Local, LocalMessage, Sink};
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::queue::Room;
use midge::time::Time;

use crate::harness::{ALL, Client, Network, Q0, Q1, Q2, QOS, Received, V5, opts};

const RETAINED: usize = 600;

/// A broker with retained messages below `r/`.
fn network(settings: &[(&str, &str)], qos: QoS) -> Network {
    let network = Network::with(settings);
    for n in 0..RETAINED {
        network.publish(&format!("r/{n:03}"), &"x".repeat(500), qos.as_u8(), true);
    }
    network
}

/// Messages that were lost for want of room.
fn lost(network: &Network) -> u64 {
    let stats = network.stats();
    stats.messages_dropped_queue_full
        + stats.messages_dropped_outbox_full
        + stats.messages_dropped_local_queue_full
}

/// Publishes a retained message on any thread.
fn retain(engine: &Engine, topic: &str, payload: &str) {
    let mut publication = Publication::new(topic.as_bytes(), payload.as_bytes(), Q1, true, Time::ZERO);
    let topic = TopicName::parse(topic).unwrap();
    engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, topic, &mut publication);
}

/// Reads and acknowledges up to `most` messages; their topics.
fn take(client: &mut Client<'_>, most: usize) -> Vec<String> {
    let mut topics = Vec::new();
    while topics.len() < most {
        match client.next() {
            Some(Received::Publish(message)) => {
                topics.push(message.topic.clone());
                client.acknowledge(&message);
            }
            Some(_) => {}
            None => break,
        }
    }
    topics
}

/// Live messages that are within the queue's bound are not lost because retained messages are under way, whatever the
/// policy; and no retained message is lost to a live one.
#[test]
fn live_messages_keep_their_places_while_retained_ones_are_sent() {
    for policy in ["drop_newest", "drop_oldest", "disconnect"] {
        for qos in [Q1, Q2] {
            let settings = [
                ("session.max_queued_messages", "10"),
                ("session.queue_overflow", policy),
                ("mqtt.max_inflight", "5"),
            ];
            let network = network(&settings, qos);
            let mut hearer = opts("to", V5).on(&network);
            hearer.send_subscribe(&[("#", SubscriptionOptions::with_qos(qos))], 0);
            let mut topics = Vec::new();
            let mut live = 0;
            while topics.iter().filter(|topic: &&String| topic.starts_with("r/")).count() < RETAINED {
                // As many as there is room for, and no more than the client takes next.
                for _ in 0..5 {
                    network.publish(&format!("live/{live}"), "x", qos.as_u8(), false);
                    live += 1;
                }
                let got = take(&mut hearer, 40);
                assert!(!got.is_empty(), "{policy} {qos:?}: {} of {RETAINED}, then nothing", topics.len());
                topics.extend(got);
            }
            topics.extend(take(&mut hearer, usize::MAX));
            assert_eq!(lost(&network), 0, "{policy} {qos:?}");
            let (kept, new): (Vec<_>, Vec<_>) = topics.iter().partition(|topic| topic.starts_with("r/"));
            assert_eq!(
                new,
                (0..live).map(|n| format!("live/{n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
            );
            assert_eq!(
                kept,
                (0..RETAINED).map(|n| format!("r/{n:03}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
            );
        }
    }
}

/// The same of QoS 0, whose places are bytes of the outbox.
#[test]
fn live_messages_of_qos_0_find_room_in_the_outbox_while_retained_ones_are_sent() {
    let network = network(&[("session.max_outbox_bytes", "64KiB")], Q0);
    let mut hearer = opts("to", V5).on(&network);
    hearer.line.block();
    hearer.send_subscribe(&[("#", SubscriptionOptions::default())], 0);
    for n in 0..50 {
        network.publish(&format!("live/{n}"), &"x".repeat(500), 0, false);
    }
    assert_eq!(lost(&network), 0);
    hearer.line.open();
    hearer.writable();
    let topics = take(&mut hearer, usize::MAX);
    assert_eq!(topics.len(), RETAINED + 50);
    assert_eq!(lost(&network), 0);
}

/// A subscription whose retained messages have no room holds a position, and not the messages.
#[test]
fn few_messages_wait_however_many_are_retained() {
    for (version, qos) in ALL.into_iter().flat_map(|version| QOS.map(|qos| (version, qos))) {
        let network = network(&[("mqtt.max_inflight", "2")], qos);
        let mut hearer = opts("to", version).on(&network);
        hearer.line.block();
        hearer.send_subscribe(&[("r/#", SubscriptionOptions::with_qos(qos))], 0);
        let view = network.engine.clients().into_iter().find(|client| client.client_id == "to").unwrap();
        assert!(view.queued <= 16 && view.inflight <= 2, "{version} {qos:?}");
        hearer.line.open();
        hearer.writable();
        assert_eq!(take(&mut hearer, usize::MAX).len(), RETAINED, "{version} {qos:?}");
    }
}

/// A session that is kept goes on where it has stopped.
#[test]
fn a_client_that_comes_back_gets_the_rest() {
    for qos in QOS {
        let network = network(&[("mqtt.max_inflight", "4")], qos);
        let mut hearer = opts("to", V5).expiry(100).on(&network);
        hearer.line.block();
        hearer.send_subscribe(&[("r/#", SubscriptionOptions::with_qos(qos))], 0);
        hearer.line.allow(20_000);
        hearer.writable();
        let mut topics = take(&mut hearer, 10);
        assert!(topics.len() < RETAINED);
        hearer.hang_up();
        let mut hearer = opts("to", V5).expiry(100).resume().on(&network);
        topics.extend(take(&mut hearer, usize::MAX));
        topics.sort();
        topics.dedup();
        // Of QoS 0 the connection has taken with it what was in its outbox.
        let lost = if qos == Q0 { 200 } else { 0 };
        assert!(topics.len() + lost >= RETAINED, "{qos:?}: {}", topics.len());
    }
}

#[test]
fn unsubscribing_ends_the_sending() {
    let network = network(&[("mqtt.max_inflight", "4")], Q1);
    let mut hearer = opts("to", V5).on(&network);
    hearer.send_subscribe(&[("r/#", SubscriptionOptions::with_qos(Q1))], 0);
    let before = take(&mut hearer, 8).len();
    hearer.unsubscribe(&["r/#"]);
    let after = take(&mut hearer, usize::MAX).len();
    assert!((8..=8 + 4 + 16).contains(&(before + after)), "{before} and {after}");
}

/// A filter that matches nothing costs looks as well: a turn makes a bounded number of them.
#[test]
fn a_turn_looks_at_a_bounded_number_of_retained_messages() {
    let network = Network::new();
    for n in 0..40_000 {
        network.publish(&format!("{n}/a"), "x", 0, true);
    }
    network.publish("z/b", "last", 0, true);
    let mut hearer = opts("to", V5).on(&network);
    // SUBSCRIBE to "+/b", without what the harness does when the connection is woken.
    let subscribe = [0x82, 9, 0, 1, 0, 0, 3, b'+', b'/', b'b', 0];
    hearer.connection.receive(&network.engine, &mut network.turn(), &subscribe, None);
    let mut turns = 1;
    while hearer.line.take_wake() {
        turns += 1;
        let session = hearer.connection.session().unwrap().clone();
        network.engine.woken(&mut network.turn(), &session);
    }
    assert!(matches!(hearer.next(), Some(Received::Suback { .. })));
    hearer.expect_message("z/b", "last");
    assert!((3..=4).contains(&turns), "{turns} turns for 40,001 messages, 16,384 each");
}

/// Holds `room` messages, of which it lets retained ones fill half.
struct Narrow {
    room: usize,
    got: Mutex<Vec<(String, Vec<u8>)>>,
    awaiting: Mutex<Vec<Arc<Local>>>,
    lost: Mutex<usize>,
}

impl Narrow {
    fn new(room: usize) -> Arc<Narrow> {
        Arc::new(Narrow { room, got: Mutex::default(), awaiting: Mutex::default(), lost: Mutex::default() })
    }

    fn len(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

impl Sink for Narrow {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        if self.len() >= self.room {
            *self.lost.lock().unwrap() += 1;
            return false;
        }
        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
        self.got.lock().unwrap().push((topic, message.payload.to_vec()));
        true
    }

    fn room(&self, _bytes: usize) -> Room {
        if self.len() < self.room { Room::Free } else { Room::None }
    }

    fn has_room_to_walk(&self, _bytes: usize) -> bool {
        self.len() < self.room / 2
    }

    fn awaits_room(&self, local: &Arc<Local>) -> bool {
        self.awaiting.lock().unwrap().push(Arc::clone(local));
        true
    }

    fn wake(&self) {}
}

#[test]
fn the_host_gets_what_its_sink_has_room_for_and_the_rest_when_it_has_more() {
    let network = network(&[], Q1);
    let sink = Narrow::new(20);
    let options = SubscriptionOptions::with_qos(Q1);
    let _local = network.engine.subscribe_local(&mut network.turn(), "#", options, 0, sink.clone()).unwrap();
    let mut topics = Vec::new();
    let mut live = 0;
    loop {
        assert!(sink.len() <= 10, "half of the room is for live messages");
        for _ in 0..10 {
            network.publish(&format!("live/{live}"), "x", 1, false);
            live += 1;
        }
        topics.extend(std::mem::take(&mut *sink.got.lock().unwrap()).into_iter().map(|(topic, _)| topic));
        let awaiting = std::mem::take(&mut *sink.awaiting.lock().unwrap());
        if awaiting.is_empty() {
            break;
        }
        for local in awaiting {
            network.engine.walk_retained_local(&mut network.turn(), &local);
        }
    }
    let kept = topics.iter().filter(|topic| topic.starts_with("r/")).count();
    assert_eq!((kept, topics.len() - kept), (RETAINED, live));
    assert_eq!(*sink.lost.lock().unwrap(), 0);
}

/// Waits in the middle of a delivery until another message has overtaken it, or has had the time to.
#[derive(Default)]
struct Slow {
    overtaken: Mutex<bool>,
    told: Condvar,
    entered: AtomicBool,
}

impl Sink for Slow {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        if message.payload == b"1" {
            self.entered.store(true, Ordering::Release);
            let overtaken = self.overtaken.lock().unwrap();
            let wait = self.told.wait_timeout_while(overtaken, Duration::from_millis(100), |over| !*over);
            drop(wait.unwrap());
        }
        true
    }

    fn wake(&self) {}
}

/// Sees the order of two messages, and tells of the younger one.
struct Order {
    slow: Arc<Slow>,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl Sink for Order {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        self.seen.lock().unwrap().push(message.payload.to_vec());
        if message.payload == b"2" {
            *self.slow.overtaken.lock().unwrap() = true;
            self.slow.told.notify_all();
        }
        true
    }

    fn wake(&self) {}
}

/// Two publishers of one topic: what is retained in the end is what every subscriber got last.
#[test]
fn the_message_that_is_kept_is_the_one_that_subscribers_get_last() {
    let network = Network::new();
    let slow = Arc::new(Slow::default());
    let order = Arc::new(Order { slow: Arc::clone(&slow), seen: Mutex::default() });
    let options = SubscriptionOptions::default();
    // Both orders of the two sinks: the slow one is asked first in one of them.
    let sinks: [Arc<dyn Sink>; 3] = [slow.clone(), order.clone(), slow.clone()];
    let locals =
        sinks.map(|sink| network.engine.subscribe_local(&mut network.turn(), "t", options, 0, sink).unwrap());
    let engine = &network.engine;
    std::thread::scope(|scope| {
        let first = scope.spawn(move || retain(engine, "t", "1"));
        crate::deadline::until("the first message is on its way", || slow.entered.load(Ordering::Acquire));
        scope.spawn(move || retain(engine, "t", "2"));
        first.join().unwrap();
    });
    let kept = network.engine.retained_messages(network.now(), &TopicFilter::parse("t").unwrap());
    let seen = order.seen.lock().unwrap().clone();
    assert_eq!(seen.last().map(Vec::as_slice), Some(kept[0].payload()), "{seen:?}");
    drop(locals);
}

/// Several publishers update topics while a subscriber comes again and again: it never sees an older value after a newer
/// one.
#[test]
fn no_subscriber_sees_an_older_retained_message_after_a_newer_one() {
    const TOPICS: usize = 50;
    let network = Network::new();
    let (engine, done) = (&network.engine, AtomicBool::new(false));
    let done = &done;
    std::thread::scope(|scope| {
        let publisher = scope.spawn(move || {
            for round in 0..400 {
                for topic in 0..TOPICS {
                    retain(engine, &format!("t/{topic}"), &round.to_string());
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut rounds = 0;
        while !done.load(Ordering::Acquire) || rounds == 0 {
            rounds += 1;
            let mut newest: HashMap<String, u32> = HashMap::new();
            let mut hearer = opts("to", V5).on(&network);
            hearer.send_subscribe(&[("t/+", SubscriptionOptions::with_qos(Q1))], 0);
            for _ in 0..200 {
                match hearer.next() {
                    Some(Received::Publish(message)) => {
                        let value: u32 = message.text().parse().unwrap();
                        let last = newest.entry(message.topic.clone()).or_default();
                        assert!(*last <= value, "{}: {value} after {last}", message.topic);
                        *last = value;
                        hearer.acknowledge(&message);
                    }
                    Some(_) => {}
                    None => std::thread::yield_now(),
                }
            }
        }
        publisher.join().unwrap();
    });
    let mut late = opts("late", V5).on(&network);
    late.send_subscribe(&[("t/+", SubscriptionOptions::with_qos(Q1))], 0);
    assert_eq!(take(&mut late, usize::MAX).len(), TOPICS);
}

/// Publishes a newer message of a topic between the look into the store and the delivery of what was found.
struct Overtaken {
    engine: Arc<Engine>,
    seen: Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>,
    publisher: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sink for Overtaken {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        self.seen.0.lock().unwrap().push(message.payload.to_vec());
        self.seen.1.notify_all();
        true
    }

    fn has_room_to_walk(&self, _bytes: usize) -> bool {
        let mut publisher = self.publisher.lock().unwrap();
        if publisher.is_none() {
            let engine = Arc::clone(&self.engine);
            *publisher = Some(std::thread::spawn(move || retain(&engine, "t", "2")));
            let seen = self.seen.0.lock().unwrap();
            let wait =
                self.seen.1.wait_timeout_while(seen, Duration::from_millis(100), |seen| seen.is_empty());
            drop(wait.unwrap());
        }
        true
    }

    fn wake(&self) {}
}

#[test]
fn the_host_gets_no_older_retained_message_after_a_newer_one() {
    let settings = midge::config::Config::new();
    let parts = midge::engine::core::state::EngineParts {
        store: Arc::new(midge::storage::MemoryStore),
        alarm: Arc::new(Silent),
        seed: 1,
        started_unix: 0,
    };
    let engine = Arc::new(Engine::new(settings.settings(), parts));
    retain(&engine, "t", "1");
    let seen = Arc::new((Mutex::default(), Condvar::new()));
    let sink =
        Overtaken { engine: Arc::clone(&engine), seen: Arc::clone(&seen), publisher: Mutex::default() };
    let sink = Arc::new(sink);
    let options = SubscriptionOptions::default();
    let _local = engine.subscribe_local(&mut engine.turn(Time::ZERO), "t", options, 0, sink.clone()).unwrap();
    let publisher = sink.publisher.lock().unwrap().take();
    publisher.unwrap().join().unwrap();
    assert_eq!(*seen.0.lock().unwrap(), [b"1", b"2"]);
}

struct Silent;

impl midge::engine::core::timers::Alarm for Silent {
    fn set(&self, _at: Time) {}
}
