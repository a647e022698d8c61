//! Buffers that the host lends: it has them back on a thread that holds none of the broker's locks.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::topic::TopicName;
use midge::engine::core::state::Engine;
use midge::engine::parts::subscriber::Publisher;
use midge::message::{Publication, SHARE_FROM};
use midge::time::Time;

use crate::harness::{Network, V5, opts};
use crate::hooks::Toy;

type Place = Arc<OnceLock<Weak<Engine>>>;

/// A buffer whose release says whether another thread could retain messages meanwhile.
struct Lent {
    bytes: Vec<u8>,
    engine: Weak<Engine>,
    given: Sender<bool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let engine = self.engine.upgrade().unwrap();
        let (done, wait) = channel();
        std::thread::spawn(move || {
            publish(&engine, "t", b"from the free function");
            publish(&engine, "new", b"x");
            done.send(()).unwrap();
        });
        // With a lock held it would be never.
        self.given.send(wait.recv_timeout(Duration::from_secs(10)).is_ok()).unwrap();
    }
}

fn publish(engine: &Engine, topic: &str, payload: &[u8]) {
    let mut turn = engine.turn(Time::ZERO);
    let mut publication = Publication::new(topic.as_bytes(), payload, QoS::AtMostOnce, true, Time::ZERO);
    let name = TopicName::parse(topic).unwrap();
    engine.publish(&mut turn, Publisher::Host, name, &mut publication);
}

fn lend(network: &Network, topic: &str, given: &Sender<bool>) {
    let engine = Arc::downgrade(&network.engine);
    let lent = Lent { bytes: vec![b'x'; SHARE_FROM], engine, given: given.clone() };
    let lent = network.engine.host_buffers().share(lent);
    let mut turn = network.turn();
    let mut publication = Publication::new(topic.as_bytes(), &lent, QoS::AtMostOnce, true, turn.now);
    publication.host_payload = Some(&lent);
    let name = TopicName::parse(topic).unwrap();
    network.engine.publish(&mut turn, Publisher::Host, name, &mut publication);
}

/// A hook that publishes runs a turn in the client's turn, which still takes locks afterwards.
#[test]
fn a_replaced_message_is_given_back_without_a_lock_after_a_hook_that_publishes() {
    let place = Place::default();
    let in_hook = Arc::clone(&place);
    let toy = Toy::looks(move |edit| {
        if edit.topic() == "t" {
            publish(&in_hook.get().unwrap().upgrade().unwrap(), "hook", b"x");
        }
        true
    });
    let network = toy.network();
    place.set(Arc::downgrade(&network.engine)).unwrap();
    let (given, gave) = channel();
    let mut client = opts("a", V5).on(&network);
    for payload in ["replaces", ""] {
        lend(&network, "t", &given);
        assert!(gave.try_recv().is_err(), "it is retained");
        client.retain("t", payload, crate::harness::Q1);
        assert!(gave.try_recv().expect("it was given back"), "{payload:?}: under a lock");
    }
}
