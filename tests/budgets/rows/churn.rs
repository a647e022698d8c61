//! Clients that come and go, subscribe and unsubscribe; retained messages that are stored and delivered.

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;

use crate::rows::bed::Peer;
use crate::rows::engine::engine;
use crate::rows::{Row, Work, packets};

const VERSION: Version = Version::V311;
const BATCH: usize = 50;
const ROUNDS: usize = 100;
/// As many as there are rounds in all.
const KNOWN: usize = BATCH * ROUNDS * 2;

pub fn rows() -> Vec<Row> {
    let row =
        |name, units: usize, rounds, build| Row { name, units: units as u64, rounds, threads: false, build };
    vec![
        row("subscribe_exact", BATCH, ROUNDS, || Subscribing::build("device/", "/command", false)),
        row("subscribe_wildcard", BATCH, ROUNDS, || Subscribing::build("device/", "/+", false)),
        row("unsubscribe_exact", BATCH, ROUNDS, || Subscribing::build("device/", "/command", true)),
        row("unsubscribe_wildcard", BATCH, ROUNDS, || Subscribing::build("device/", "/+", true)),
        row("connect_and_leave", 1, 1000, || Coming::build(false)),
        row("connect_subscribe_publish_leave", 1, 1000, || Coming::build(true)),
        row("retained_store", BATCH, ROUNDS, Retaining::build),
        row("retained_deliver", BATCH, ROUNDS, Recalling::build),
    ]
}

/// A client subscribes to, or unsubscribes from, 50 more filters a round, one packet each.
struct Subscribing {
    engine: Engine,
    peer: Peer,
    portions: std::vec::IntoIter<Vec<u8>>,
    leaves: bool,
}

impl Subscribing {
    fn build(before: &str, after: &str, leaves: bool) -> Box<dyn Work> {
        let engine = engine(&[]);
        let mut peer = Peer::connected(&engine, VERSION, "s", false);
        let filters: Vec<[String; 1]> = (0..KNOWN).map(|n| [format!("{before}{n:06}{after}")]).collect();
        let mut portions = Vec::new();
        for some in filters.chunks(BATCH) {
            let (mut come, mut go) = (Vec::new(), Vec::new());
            for one in some {
                packets::subscribe(VERSION, one, QoS::AtMostOnce, &mut come);
                packets::unsubscribe(VERSION, one, &mut go);
            }
            if leaves {
                peer.send(&engine, &come);
            }
            portions.push(if leaves { go } else { come });
        }
        Box::new(Subscribing { engine, peer, portions: portions.into_iter(), leaves })
    }
}

impl Work for Subscribing {
    fn round(&mut self) {
        let portion = self.portions.next().unwrap();
        self.peer.send(&self.engine, &portion);
    }

    fn done(&self) -> u64 {
        let held = self.engine.snapshot().subscriptions;
        if self.leaves { KNOWN as u64 - held } else { held }
    }
}

/// A client a round: CONNECT and DISCONNECT; between them, if it is `busy`, SUBSCRIBE, and PUBLISH to itself.
struct Coming {
    engine: Engine,
    busy: bool,
    number: usize,
}

impl Coming {
    fn build(busy: bool) -> Box<dyn Work> {
        Box::new(Coming { engine: engine(&[]), busy, number: 0 })
    }
}

impl Work for Coming {
    fn round(&mut self) {
        self.number += 1;
        let client_id = format!("client-{:06}", self.number);
        let mut packet = Vec::new();
        packets::connect(VERSION, &client_id, &mut packet);
        let mut peer = Peer::new(&self.engine, VERSION, false);
        peer.send(&self.engine, &packet);
        if self.busy {
            let topic = format!("bench/{}/data", self.number);
            peer = peer.subscribed(&self.engine, std::slice::from_ref(&topic), QoS::AtMostOnce);
            packet.clear();
            packets::publish(VERSION, &topic, QoS::AtMostOnce, 0, false, &mut packet);
            peer.send(&self.engine, &packet);
        }
        packet.clear();
        packets::disconnect(VERSION, &mut packet);
        peer.send(&self.engine, &packet);
        peer.lost(&self.engine);
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().connections_closed
    }
}

/// The topics' number of retained messages, 50 more a round.
struct Retaining {
    engine: Engine,
    peer: Peer,
    portions: std::vec::IntoIter<Vec<u8>>,
}

impl Retaining {
    fn new() -> Retaining {
        let engine = engine(&[]);
        let peer = Peer::connected(&engine, VERSION, "p", false);
        let portion = |round: usize| {
            let mut portion = Vec::new();
            for n in round * BATCH..(round + 1) * BATCH {
                let topic = format!("retained/{round}/{n}/state");
                packets::publish(VERSION, &topic, QoS::AtMostOnce, 0, true, &mut portion);
            }
            portion
        };
        let portions: Vec<_> = (0..KNOWN / BATCH).map(portion).collect();
        Retaining { engine, peer, portions: portions.into_iter() }
    }

    fn build() -> Box<dyn Work> {
        Box::new(Retaining::new())
    }
}

impl Work for Retaining {
    fn round(&mut self) {
        let portion = self.portions.next().unwrap();
        self.peer.send(&self.engine, &portion);
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().retained_messages
    }
}

/// A client subscribes to a filter that matches 50 of 10,000 retained messages, another one each round.
struct Recalling {
    kept: Retaining,
    round: usize,
}

impl Recalling {
    fn build() -> Box<dyn Work> {
        let mut kept = Retaining::new();
        for _ in 0..KNOWN / BATCH {
            kept.round();
        }
        Box::new(Recalling { kept, round: 0 })
    }
}

impl Work for Recalling {
    fn round(&mut self) {
        let mut packet = Vec::new();
        let filter = format!("retained/{}/+/state", self.round);
        packets::subscribe(VERSION, &[filter], QoS::AtMostOnce, &mut packet);
        self.kept.peer.send(&self.kept.engine, &packet);
        self.round += 1;
    }

    fn done(&self) -> u64 {
        self.kept.engine.snapshot().publish_sent
    }
}
