//! What is written to connections: when, in how many calls, and from where.

use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use midge::engine::connection::state::Connection;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};

use crate::harness::{Network, Packets, Q0, Q1, V5, V311, opts};

/// Keeps the bytes of each call that writes, and where its slices lie.
#[derive(Default)]
struct Tally(Mutex<Vec<usize>>, Mutex<Vec<usize>>);

impl Tally {
    /// A client that is subscribed to `t`, with nothing written yet.
    fn on(network: &Network, client_id: &str) -> (Arc<Tally>, Connection) {
        let tally = Arc::new(Tally::default());
        let link = Arc::clone(&tally) as Arc<dyn Link>;
        let mut connection = Connection::new(&network.engine, &mut network.turn(), link, None);
        let hello = opts(client_id, V311).encode();
        connection.receive(&network.engine, &mut network.turn(), &hello, None);
        connection.receive(&network.engine, &mut network.turn(), &[0x82, 6, 0, 1, 0, 1, b't', 0], None);
        tally.0.lock().unwrap().clear();
        tally.1.lock().unwrap().clear();
        (tally, connection)
    }
}

impl Link for Tally {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        self.0.lock().unwrap().push(bytes);
        self.1.lock().unwrap().extend(buffers.iter().map(|buffer| buffer.as_ptr() as usize));
        Written::Bytes(bytes)
    }
    fn wake(&self) {}
    fn finish(&self, _last: LastBytes, _cause: Cause) {}
}

/// The packets of a large burst lie in memory once, however many are to be sent them.
#[test]
fn a_large_burst_is_shared_by_its_hearers() {
    for (sizes, shared) in [(3000, true), (2000, false)] {
        let network = Network::new();
        let payload = "x".repeat(sizes);
        let packets = (0..3).fold(Packets::default(), |all, _| all.publish(V311, "t", &payload, Q0, 0));
        let tallies: Vec<_> = ["first", "second"].map(|id| Tally::on(&network, id)).into();
        assert!(opts("a", V311).on(&network).send_bytes(&packets.0));
        let written: Vec<_> = tallies.iter().map(|(tally, _)| tally.1.lock().unwrap().clone()).collect();
        assert!(written.iter().all(|slices| slices.len() == 1), "{sizes}: {written:?}");
        assert_eq!(written[0] == written[1], shared, "{sizes}: {written:?}");
    }
}

/// What several turns put off goes in one write; what is large does not wait.
#[test]
fn what_is_put_off_is_written_together() {
    let network = Network::new();
    let (tally, _connection) = Tally::on(&network, "hearer");
    let mut later = Vec::new();
    let mut publish = |payload: &str| {
        let mut turn = network.turn();
        let topic = midge::codec::topic::TopicName::parse("t").unwrap();
        let publisher = midge::engine::parts::subscriber::Publisher::Host;
        let mut publication =
            midge::message::Publication::new(b"t", payload.as_bytes(), Q0, false, network.now());
        network.engine.publish(&mut turn, publisher, topic, &mut publication);
        turn.put_off(64, &mut later);
    };
    publish("one");
    publish("two");
    assert_eq!(*tally.0.lock().unwrap(), [0; 0]);
    publish(&"x".repeat(9000));
    assert_eq!(*tally.0.lock().unwrap(), [8 + 8 + 3 + 3 + 9000]);
    publish("three");
    let mut turn = network.turn();
    for session in later {
        network.engine.flush(&mut turn, &session, false);
    }
    assert_eq!(tally.0.lock().unwrap().len(), 2);
}

/// Who waits behind very many loses nothing that comes meanwhile: who adds to what waits writes it, or waits, too.
#[test]
fn what_is_put_off_for_very_many_is_written_when_more_comes() {
    let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut clients: Vec<_> = (0..3).map(|n| opts(&format!("hearer{n}"), V311).on(&network)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("all", Q0));
    clients[0].subscribe("own", Q0);
    let mut later = Vec::new();
    let mut publish = |topic: &'static str| {
        let payload = "x".repeat(40_000);
        let name = midge::codec::topic::TopicName::parse(topic).unwrap();
        let (topic, payload) = (topic.as_bytes(), payload.as_bytes());
        let mut publication = midge::message::Publication::new(topic, payload, Q0, false, network.now());
        let publisher = midge::engine::parts::subscriber::Publisher::Host;
        let mut turn = network.turn();
        network.engine.publish(&mut turn, publisher, name, &mut publication);
        turn.put_off(2, &mut later);
        turn.finish();
        later.len()
    };
    assert_eq!(publish("all"), 3);
    for _ in 0..3 {
        assert_eq!(publish("own"), 3);
    }
    assert_eq!(clients[0].drain().len(), 4);
    // Another that publishes to as many is to wait, too.
    assert_eq!(publish("all"), 6);
    assert_eq!(clients[1].drain().len(), 0);
    for session in later {
        network.engine.flush(&mut network.turn(), &session, false);
    }
    assert_eq!([clients[0].drain().len(), clients[1].drain().len()], [1, 2]);
    assert_eq!(network.stats().messages_dropped_outbox_full, 0);
}

/// Another thread may use every session meanwhile.
#[test]
fn no_lock_is_held_while_a_connection_is_written_to() {
    let network = Network::new();
    let mut hearer = opts("hearer", V5).on(&network);
    hearer.subscribe("t", Q1);
    let mut publisher = opts("publisher", V5).on(&network);
    let (engine, writes) = (Arc::clone(&network.engine), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&writes);
    hearer.line.probe(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let (engine, (done, other)) = (Arc::clone(&engine), mpsc::channel());
        thread::spawn(move || {
            // Each looks at the locks of both sessions, the router, or the retained messages.
            assert_eq!((engine.clients().len(), engine.subscriptions().len()), (2, 1));
            assert!(engine.queue("hearer", 1).is_some() && engine.retained_page(None, 1).is_empty());
            done.send(()).unwrap();
        });
        other.recv_timeout(Duration::from_secs(20)).expect("a lock is held across the write");
    });
    publisher.publish("t", "of a client", Q1);
    network.publish("t", "of the host", 1, false);
    assert_eq!(hearer.drain(), ["of a client", "of the host"]);
    assert!(writes.load(Ordering::Relaxed) >= 2);
}
