//! Real threads at one engine: nothing blocks for ever, and what must hold holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::reason::ReasonCode;
use midge::codec::topic::TopicName;
use midge::config::Config;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::{Engine, EngineParts};
use midge::engine::core::timers::Alarm;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::link::{Cause, Link};
use midge::storage::{Change, LoadError, MemoryStore, Position, SessionChange, Store, StoreError};
use midge::time::{Time, WallTime};

use crate::deadline::{Deadline, until};
use crate::harness::{ALL, Dice, Inbox, LastWill, LateStore, Line, Packets, Q0, Q1, Q2, Received, V5, opts};

struct Silent;

impl Alarm for Silent {
    fn set(&self, _at: Time) {}
}

/// Gives a number to every record; another thread commits.
#[derive(Default)]
struct Numbers {
    recorded: AtomicU64,
    committed: AtomicU64,
}

impl Store for Numbers {
    fn is_kept(&self) -> bool {
        true
    }

    fn load(
        &self,
        _restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&self, _at: WallTime, _change: Change<'_>) -> Position {
        self.recorded.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn appended(&self) -> Position {
        self.recorded.load(Ordering::Acquire)
    }

    fn committed(&self) -> Position {
        self.committed.load(Ordering::Acquire)
    }
}

fn engine(settings: &[(&str, &str)]) -> Engine {
    engine_with(settings, Arc::new(MemoryStore))
}

fn engine_with(settings: &[(&str, &str)], store: Arc<dyn Store>) -> Engine {
    let mut config = Config::new();
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    let alarm = Arc::new(Silent);
    Engine::new(config.settings(), EngineParts { store, alarm, seed: 1, started_unix: 0 })
}

struct SetOnDrop<'f>(&'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The SUBSCRIBE or UNSUBSCRIBE packet 1 for one filter.
fn request(first: u8, v5: bool, filter: &str, options: Option<u8>) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(v5.then_some(0));
    body.extend([0, filter.len() as u8]);
    body.extend(filter.as_bytes());
    body.extend(options);
    let mut packet = vec![first, body.len() as u8];
    packet.extend(body);
    packet
}

/// One connection that does a few random things, with its own clock hand in the shared time.
fn visit(engine: &Engine, clock: &AtomicU64, dice: &mut Dice) {
    let now = || Time::from_millis(clock.fetch_add(dice_step(), Ordering::Relaxed));
    let version = ALL[dice.roll(3) as usize];
    let line = Arc::new(Line::default());
    let link = Arc::clone(&line) as Arc<dyn Link>;
    let mut connection = Connection::new(engine, &mut engine.turn(now()), link, None);
    let mut connect = opts(&format!("c{}", dice.roll(4)), version).keep_alive(dice.roll(3) as u16);
    if dice.roll(2) == 0 {
        connect = connect.resume().expiry(dice.roll(3) as u32);
    }
    if dice.roll(2) == 0 {
        connect = connect.will(LastWill::new("t/will", "w").qos(Q1).delay(dice.roll(2) as u32));
    }
    let mut input = connect.encode();
    for _ in 0..dice.roll(12) {
        let topic = format!("t/{}", dice.roll(3));
        let filter = ["t/#", "t/1", "$share/g/t/+", "+/2"][dice.roll(4) as usize];
        match dice.roll(6) {
            0 => input.extend(request(0x82, version == V5, filter, Some(dice.roll(3) as u8))),
            1 => input.extend(request(0xA2, version == V5, filter, None)),
            2 => input = Packets(input).publish(version, &topic, "0", Q0, 0).0,
            3 => input = Packets(input).publish(version, &topic, "1", Q1, 1 + dice.roll(9) as u16).0,
            4 => input = Packets(input).publish(version, &topic, "2", Q2, 1 + dice.roll(9) as u16).0,
            _ => input = Packets(input).packet(version, &Packet::Pingreq).0,
        }
        if dice.roll(3) == 0 {
            line.allow(dice.roll(40) as usize);
            let progress = connection.receive(engine, &mut engine.turn(now()), &input, None);
            input.drain(..progress.consumed);
            line.open();
            connection.writable(engine, &mut engine.turn(now()));
            acknowledge(engine, &line, &mut connection, version, now());
        }
    }
    if dice.roll(2) == 0 {
        let goodbye = Disconnect { reason: ReasonCode::Success, properties: Properties::EMPTY };
        Packet::Disconnect(goodbye).encode(version, &mut input);
    }
    connection.receive(engine, &mut engine.turn(now()), &input, None);
    connection.lost(engine, &mut engine.turn(now()), Cause::ConnectionLost);
}

fn dice_step() -> u64 {
    3
}

/// Acknowledges the first step of what has arrived whole.
fn acknowledge(
    engine: &Engine,
    line: &Line,
    connection: &mut Connection,
    version: midge::codec::version::Version,
    now: Time,
) {
    let bytes = line.take();
    let mut rest = &bytes[..];
    let mut answer = Vec::new();
    while let Some((packet, length)) = Received::split_off(rest, version) {
        rest = &rest[length..];
        if let Received::Publish(message) = packet
            && message.qos > Q0
        {
            let first = if message.qos == Q1 { 0x40 } else { 0x50 };
            answer.extend([first, 2, (message.id >> 8) as u8, message.id as u8]);
        }
    }
    // Another thread may be in the middle of writing.
    line.put_back(rest);
    connection.receive(engine, &mut engine.turn(now), &answer, None);
}

#[test]
fn threads_that_connect_publish_subscribe_and_tick_end_and_leave_nothing() {
    let engine = engine(&[("sys.interval", "1s"), ("session.max_queued_messages", "20")]);
    let clock = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a thread panics, or the scope would wait for ever.
        let finish = SetOnDrop(&done);
        let ticking = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                engine.tick(Time::from_millis(clock.load(Ordering::Relaxed)));
                engine.clients();
                engine.subscriptions();
                engine.kick(&mut engine.turn(Time::from_millis(clock.load(Ordering::Relaxed))), "c1");
                std::thread::yield_now();
            }
        });
        let hosting = scope.spawn(|| {
            for n in 0..1500u32 {
                let now = Time::from_millis(clock.load(Ordering::Relaxed));
                let inbox = Inbox::new(10_000);
                let filter = ["t/#", "$share/g/t/1"][n as usize % 2];
                let mut turn = engine.turn(now);
                let local = engine.subscribe_local(&mut turn, filter, Default::default(), 0, inbox).unwrap();
                turn.finish();
                let mut publication = Publication::new(b"t/1", b"host", Q1, n % 5 == 0, now);
                let topic = TopicName::parse("t/1").unwrap();
                engine.publish(&mut engine.turn(now), Publisher::Host, topic, &mut publication);
                engine.unsubscribe_local(&local);
            }
        });
        let visiting: Vec<_> = (0..3)
            .map(|seed| {
                let (engine, clock) = (&engine, &clock);
                scope.spawn(move || {
                    let mut dice = Dice(seed);
                    (0..1500).for_each(|_| visit(engine, clock, &mut dice));
                })
            })
            .collect();
        visiting.into_iter().for_each(|thread| thread.join().unwrap());
        hosting.join().unwrap();
        drop(finish);
        ticking.join().unwrap();
    });
    let stats = engine.snapshot();
    assert_eq!(stats.connections_accepted, 4500);
    assert_eq!(stats.connections_closed, 4500);
    assert_eq!(stats.clients_connected, 0);
    assert!(stats.sessions <= 4);
    assert!(stats.messages_published > 1500);
    // Every session that is left is resumed and ended; then there is nothing.
    let mut turn = engine.turn(Time::from_millis(clock.load(Ordering::Relaxed)));
    for n in 0..4 {
        let line = Arc::new(Line::default());
        let link = Arc::clone(&line) as Arc<dyn Link>;
        let mut connection = Connection::new(&engine, &mut turn, link, None);
        connection.receive(&engine, &mut turn, &opts(&format!("c{n}"), V5).encode(), None);
        connection.lost(&engine, &mut turn, Cause::Disconnected);
    }
    turn.finish();
    let stats = engine.snapshot();
    assert_eq!((stats.sessions, stats.subscriptions, stats.clients_connected), (0, 0, 0));
    assert_eq!(engine.timers_running(), 0);
}

/// Two publishers, one hearer whose line is now and then full: order per publisher holds, nothing is lost.
#[test]
fn a_hearer_of_several_threads_gets_everything_in_each_publishers_order() {
    const EACH: u32 = 5000;
    let engine = engine(&[("sys.interval", "0"), ("session.max_outbox_bytes", "64KiB")]);
    let line = Arc::new(Line::default());
    let link = Arc::clone(&line) as Arc<dyn Link>;
    let mut connection = Connection::new(&engine, &mut engine.turn(Time::ZERO), link, None);
    let mut input = opts("to", V5).encode();
    input.extend(request(0x82, true, "t/#", Some(1)));
    connection.receive(&engine, &mut engine.turn(Time::ZERO), &input, None);
    let running = AtomicU64::new(2);
    let over = AtomicBool::new(false);
    let mut heard = [0; 2];
    std::thread::scope(|scope| {
        for publisher in 0..2u32 {
            let (engine, running, over) = (&engine, &running, &over);
            scope.spawn(move || {
                for n in 0..EACH {
                    let topic = format!("t/{publisher}");
                    let payload = n.to_string();
                    let mut publication =
                        Publication::new(topic.as_bytes(), payload.as_bytes(), Q1, false, Time::ZERO);
                    let topic = TopicName::parse(&topic).unwrap();
                    // At most the window waits: else the bounded queue would rightly drop.
                    while engine.clients()[0].queued > 500 && !over.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, topic, &mut publication);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let _over = SetOnDrop(&over);
        let mut bytes = Vec::new();
        let mut dice = Dice(9);
        let mut deadline = Deadline::until("another message has come");
        while heard != [EACH; 2] {
            deadline.wait();
            line.allow(dice.roll(3000) as usize);
            connection.writable(&engine, &mut engine.turn(Time::ZERO));
            bytes.extend(line.take());
            let mut answer = Vec::new();
            let mut at = 0;
            while let Some((packet, length)) = Received::split_off(&bytes[at..], V5) {
                at += length;
                let Received::Publish(message) = packet else { continue };
                let publisher = usize::from(message.topic == "t/1");
                assert_eq!(message.text(), heard[publisher].to_string());
                heard[publisher] += 1;
                deadline = Deadline::until("another message has come");
                answer.extend([0x40, 2, (message.id >> 8) as u8, message.id as u8]);
            }
            bytes.drain(..at);
            connection.receive(&engine, &mut engine.turn(Time::ZERO), &answer, None);
            let stopped = running.load(Ordering::Acquire) == 0;
            let view = &engine.clients()[0];
            assert!(
                !(stopped && view.queued + view.inflight == 0 && bytes.is_empty() && heard != [EACH; 2]),
                "lost: {heard:?}"
            );
        }
    });
    assert_eq!(engine.snapshot().messages_dropped(), 0);
}

/// [MQTT-4.6.0-2]: whenever the store commits, acknowledgements come, all of them and in order.
#[test]
fn acknowledgements_of_a_store_that_commits_in_another_thread_come_in_order() {
    const COUNT: u16 = 20_000;
    let store = Arc::new(Numbers::default());
    let settings = [("sys.interval", "0"), ("mqtt.receive_maximum", "1024")];
    let engine = engine_with(&settings, Arc::clone(&store) as Arc<dyn Store>);
    let done = [AtomicBool::new(false), AtomicBool::new(false)];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.iter().all(|done| done.load(Ordering::Acquire)) {
                let number = store.recorded.load(Ordering::Acquire);
                // Each number is told once, as a store does that has nothing new to commit.
                if store.committed.swap(number, Ordering::AcqRel) != number {
                    engine.committed(&mut engine.turn(Time::ZERO), number);
                }
            }
        });
        for (name, done) in ["a", "b"].into_iter().zip(&done) {
            let engine = &engine;
            scope.spawn(move || {
                let _done = SetOnDrop(done);
                let line = Arc::new(Line::default());
                let link = Arc::clone(&line) as Arc<dyn Link>;
                let mut connection = Connection::new(engine, &mut engine.turn(Time::ZERO), link, None);
                let connect = opts(name, V5).persistent().encode();
                connection.receive(engine, &mut engine.turn(Time::ZERO), &connect, None);
                let mut bytes = Vec::new();
                let mut next = 1;
                for id in 1..=COUNT {
                    // A retained message is recorded; its removal, too, and every third is nothing to the store.
                    let packets = match id % 3 {
                        0 => Packets::default().publish(V5, "t", "", Q1, id),
                        step => {
                            let mut packets = Packets::default().publish(V5, "t", "x", Q1, id);
                            packets.0[0] |= 1;
                            packets.0.truncate(packets.0.len() - usize::from(step == 2));
                            packets.0[1] -= u8::from(step == 2);
                            packets
                        }
                    };
                    connection.receive(engine, &mut engine.turn(Time::ZERO), &packets.0, None);
                    until("some acknowledgements have come", || {
                        acknowledgements(&line, &mut bytes, &mut next);
                        u32::from(id) + 1 - u32::from(next) <= 500
                    });
                }
                until("the last acknowledgement has come", || {
                    acknowledgements(&line, &mut bytes, &mut next);
                    next > COUNT
                });
            });
        }
    });
}

/// Takes the acknowledgements that have arrived: each is of the identifier `next`.
fn acknowledgements(line: &Line, bytes: &mut Vec<u8>, next: &mut u16) {
    bytes.extend(line.take());
    let mut at = 0;
    while let Some((packet, length)) = Received::split_off(&bytes[at..], V5) {
        at += length;
        if let Received::Ack { id, .. } = packet {
            assert_eq!(id, *next);
            *next += 1;
        }
    }
    bytes.drain(..at);
}

/// What is published to a group is not lost although members come and go while it is: what they leave behind, sent or
/// waiting, is another's.
#[test]
fn a_group_loses_nothing_while_members_come_and_go() {
    const MESSAGES: u64 = 20_000;
    let settings = [("mqtt.max_inflight", "65535"), ("session.max_queued_messages", "unlimited")];
    let engine = engine(&settings);
    let join = |id: &str| {
        let line = Arc::new(Line::default());
        let link = Arc::clone(&line) as Arc<dyn Link>;
        let mut connection = Connection::new(&engine, &mut engine.turn(Time::ZERO), link, None);
        let mut input = opts(id, V5).encode();
        input.extend(request(0x82, true, "$share/g/t", Some(1)));
        connection.receive(&engine, &mut engine.turn(Time::ZERO), &input, None);
        (line, connection)
    };
    let (line, _stays) = join("stays");
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let finish = SetOnDrop(&done);
        let restless: Vec<_> = ["a", "b"]
            .map(|id| {
                let (join, done, engine) = (&join, &done, &engine);
                threads.spawn(move || {
                    while !done.load(Ordering::Acquire) {
                        let (_line, mut connection) = join(id);
                        connection.lost(engine, &mut engine.turn(Time::ZERO), Cause::ConnectionLost);
                    }
                })
            })
            .into();
        for n in 0..MESSAGES {
            let payload = n.to_string();
            let mut publication = Publication::new(b"t", payload.as_bytes(), Q1, false, Time::ZERO);
            let topic = TopicName::parse("t").unwrap();
            engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, topic, &mut publication);
        }
        drop(finish);
        restless.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let bytes = line.take();
    let mut rest = bytes.as_slice();
    let mut heard = std::collections::BTreeSet::new();
    while let Some((packet, length)) = Received::split_off(rest, V5) {
        rest = &rest[length..];
        if let Received::Publish(message) = packet {
            heard.insert(message.text().parse::<u64>().unwrap());
        }
    }
    let missing: Vec<u64> = (0..MESSAGES).filter(|n| !heard.contains(n)).collect();
    assert!(missing.is_empty(), "{} are missing: {missing:?}", missing.len());
}

/// The order of the changes of a session is the order of its messages, whoever publishes them, while another thread
/// commits: with what is recorded the next broker sends what this one has sent, in its order.
#[test]
fn changes_are_recorded_in_the_order_of_their_effects() {
    const EACH: u32 = 3_000;
    let store = Arc::new(LateStore::new(true));
    let settings = [("mqtt.max_inflight", "65535"), ("session.max_queued_messages", "unlimited")];
    let engine = engine_with(&settings, Arc::clone(&store) as Arc<dyn Store>);
    let line = Arc::new(Line::default());
    let link = Arc::clone(&line) as Arc<dyn Link>;
    let mut connection = Connection::new(&engine, &mut engine.turn(Time::ZERO), link, None);
    let mut input = opts("to", V5).persistent().encode();
    input.extend(request(0x82, true, "t", Some(2)));
    connection.receive(&engine, &mut engine.turn(Time::ZERO), &input, None);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let finish = SetOnDrop(&done);
        let committing = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let position = store.cut();
                engine.committed(&mut engine.turn(Time::ZERO), position);
            }
        });
        let publishing: Vec<_> = [("a", Q1), ("b", Q2)]
            .map(|(name, qos)| {
                let engine = &engine;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let payload = format!("{name}{n}");
                        let mut publication =
                            Publication::new(b"t", payload.as_bytes(), qos, false, Time::ZERO);
                        let topic = TopicName::parse("t").unwrap();
                        let mut turn = engine.turn(Time::ZERO);
                        engine.publish(&mut turn, Publisher::Host, topic, &mut publication);
                    }
                })
            })
            .into();
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
        drop(finish);
        committing.join().unwrap();
    });
    let position = store.cut();
    engine.committed(&mut engine.turn(Time::ZERO), position);
    let mut sent = Vec::new();
    let bytes = line.take();
    let mut rest = &bytes[..];
    while let Some((packet, length)) = Received::split_off(rest, V5) {
        rest = &rest[length..];
        if let Received::Publish(message) = packet {
            sent.push((message.id, message.text().to_owned()));
        }
    }
    let (mut queue, mut window) = (std::collections::VecDeque::new(), Vec::new());
    store.for_each(|_, change| match change {
        Change::Session { change: SessionChange::Queued(delivery), .. } => {
            queue.push_back(String::from_utf8(delivery.message.payload.to_vec()).unwrap());
        }
        Change::Session { change: SessionChange::Sent { packet_id }, .. } => {
            window.push((packet_id.get(), queue.pop_front().unwrap()));
        }
        _ => {}
    });
    assert_eq!(window.len(), 2 * EACH as usize);
    assert!(sent == window, "sent in another order than recorded");
    for name in ["a", "b"] {
        let own: Vec<&str> = sent.iter().filter_map(|(_, text)| text.strip_prefix(name)).collect();
        assert!(own.iter().enumerate().all(|(n, text)| *text == n.to_string()), "{name} is out of order");
    }
}
