//! A session that ends after a message was routed to it, and before it is delivered.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::engine::core::state::Engine;
use midge::engine::parts::sink::{LocalMessage, Sink};
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::link::Cause;
use midge::time::Time;

use crate::harness::{ALL, Network, Q0, Q1, V5, opts};

/// How long the test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The host's subscription, to which a message comes first: it kicks a client.
#[derive(Default)]
struct Kicks {
    engine: OnceLock<Weak<Engine>>,
    /// Whether it was called, and the client was there.
    kicked: Mutex<Vec<bool>>,
}

impl Sink for Kicks {
    fn push(&self, _message: &LocalMessage<'_>) -> bool {
        let engine = self.engine.get().unwrap().upgrade().unwrap();
        let kicked = engine.kick(&mut engine.turn(Time::ZERO), "leaver");
        self.kicked.lock().unwrap().push(kicked);
        true
    }

    fn wake(&self) {}
}

fn kicks(network: &Network, filter: &str) -> Arc<Kicks> {
    let kicks = Arc::new(Kicks::default());
    kicks.engine.set(Arc::downgrade(&network.engine)).unwrap();
    let options = SubscriptionOptions::default();
    network.engine.subscribe_local(&mut network.turn(), filter, options, 0, kicks.clone()).unwrap();
    kicks
}

/// The message finds the session ended: it is dropped for it and counted, and goes to everybody else.
#[test]
fn a_message_to_a_session_that_has_just_ended_is_dropped_and_counted() {
    for version in ALL {
        for qos in 0..=2 {
            let network = Network::new();
            let kicks = kicks(&network, "t");
            let mut leaver = opts("leaver", version).on(&network);
            leaver.subscribe("t", Q1);
            let mut stays = opts("stays", version).on(&network);
            stays.subscribe("t", Q1);
            leaver.line.take();
            assert_eq!(network.publish("t", "x", qos, false), 3);
            assert_eq!(*kicks.kicked.lock().unwrap(), [true], "the host was not the first");
            stays.expect_message("t", "x");
            let stats = network.stats();
            assert_eq!((stats.messages_delivered, stats.messages_dropped()), (2, 1), "{version} {qos}");
            assert_eq!(stats.messages_dropped_session_ended, 1, "{version} {qos}");
            assert_eq!((stats.sessions, stats.messages_queued), (1, 0));
            assert_eq!(leaver.line.finished(), Some(Cause::Kicked));
            // Nobody is routed to it any more.
            assert_eq!(network.publish("t", "y", qos, false), 2);
            assert_eq!(network.stats().messages_dropped(), 1);
        }
    }
}

/// Only the connection has ended: the message waits.
#[test]
fn a_message_to_a_client_that_has_just_gone_waits_in_its_session() {
    for version in ALL {
        let network = Network::new();
        let kicks = kicks(&network, "t");
        let mut leaver = opts("leaver", version).persistent().on(&network);
        leaver.subscribe("t", Q1);
        assert_eq!(network.publish("t", "waits", 1, false), 2);
        assert_eq!(*kicks.kicked.lock().unwrap(), [true], "the host was not the first");
        assert_eq!((network.stats().messages_queued, network.stats().messages_dropped()), (1, 0));
        let mut again = opts("leaver", version).persistent().on(&network);
        assert_eq!(again.drain(), ["waits"]);
    }
}

/// Tells that the thread that publishes is on its way to the group.
struct ReportedFates(Mutex<Sender<()>>);

impl Sink for ReportedFates {
    fn push(&self, _message: &LocalMessage<'_>) -> bool {
        self.0.lock().unwrap().send(()).unwrap();
        true
    }

    fn wake(&self) {}
}

/// The number by which the system knows the calling thread.
fn thread_number() -> String {
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Waits until a thread of this process sleeps, and goes on sleeping: it waits for a lock.
fn until_asleep(thread: &str) {
    let since = Instant::now();
    let mut asleep = 0;
    while asleep < 100 {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        asleep = if state == Some('S') { asleep + 1 } else { 0 };
        assert!(since.elapsed() < PATIENCE, "the thread never waited for the lock: {state:?}");
        std::thread::yield_now();
    }
}

/// A member that ends after it was picked: another one gets the message, and nothing is counted as dropped.
///
/// Both members are busy, so that the first is picked, but only after the second was asked, whose lock the test holds.
#[test]
fn a_message_to_a_member_that_has_just_ended_goes_to_another() {
    let network = Network::new();
    let mut leaver = opts("leaver", V5).receive_maximum(1).on(&network);
    let mut stays = opts("stays", V5).receive_maximum(1).on(&network);
    for client in [&mut leaver, &mut stays] {
        client.subscribe("$share/g/t", Q1);
        client.subscribe("own", Q1);
    }
    network.publish("own", "fills the window", 1, false);
    let (told, hears): (_, Receiver<()>) = channel();
    let sink = Arc::new(ReportedFates(Mutex::new(told)));
    let options = SubscriptionOptions::with_qos(Q0);
    network.engine.subscribe_local(&mut network.turn(), "t", options, 0, sink).unwrap();
    let session = Arc::clone(stays.connection.session().unwrap());
    let asked = session.outbound.lock();
    let engine = Arc::clone(&network.engine);
    let (numbered, number) = channel();
    let publisher = std::thread::spawn(move || {
        numbered.send(thread_number()).unwrap();
        let mut publication = Publication::new(b"t", b"x", Q1, false, Time::ZERO);
        let topic = TopicName::parse("t").unwrap();
        engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, topic, &mut publication)
    });
    let number = number.recv_timeout(PATIENCE).unwrap();
    hears.recv_timeout(PATIENCE).expect("the message was not routed");
    until_asleep(&number);
    assert!(network.engine.kick(&mut network.turn(), "leaver"));
    drop(asked);
    assert_eq!(publisher.join().unwrap(), 2);
    let first = stays.expect_message("own", "fills the window");
    stays.acknowledge(&first);
    stays.expect_message("t", "x");
    let stats = network.stats();
    assert_eq!((stats.messages_dropped(), stats.messages_queued, stats.sessions), (0, 0, 1));
}

/// A SUBSCRIBE or UNSUBSCRIBE that is being handled when another thread ends the connection changes nothing.
///
/// Both threads wait for the lock that the test holds, who ends the connection before who handles the packet.
#[test]
fn a_packet_of_a_client_that_is_kicked_meanwhile_changes_no_subscription() {
    for filter in ["new", "old"] {
        let network = Network::new();
        let mut leaver = opts("leaver", V5).persistent().on(&network);
        leaver.subscribe("old", Q1);
        let session = Arc::clone(leaver.connection.session().unwrap());
        let mut packet = vec![if filter == "new" { 0x82 } else { 0xA2 }, 8, 0, 9, 0, 0, 3];
        packet.extend_from_slice(filter.as_bytes());
        if filter == "new" {
            packet.push(1);
            packet[1] += 1;
        }
        let held = session.control.lock();
        let (engine, mut connection) = (Arc::clone(&network.engine), leaver.connection);
        let kicks = waiting({
            let engine = Arc::clone(&engine);
            move || assert!(engine.kick(&mut engine.turn(Time::ZERO), "leaver"))
        });
        let handles = waiting(move || {
            connection.receive(&engine, &mut engine.turn(Time::ZERO), &packet, None);
        });
        drop(held);
        kicks.join().unwrap();
        handles.join().unwrap();
        assert_eq!(leaver.line.finished(), Some(Cause::Kicked));
        let subscribed: Vec<_> = network.engine.subscriptions().into_iter().map(|view| view.filter).collect();
        assert_eq!(subscribed, ["old"], "{filter}");
    }
}

/// Runs `body` on a thread of its own, and returns when that waits for a lock.
fn waiting(body: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    let (numbered, number) = channel();
    let thread = std::thread::spawn(move || {
        numbered.send(thread_number()).unwrap();
        body();
    });
    until_asleep(&number.recv_timeout(PATIENCE).unwrap());
    thread
}
