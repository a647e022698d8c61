//! Random topics among many, so that no remembered match helps: whom a message concerns is computed each time.

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;

use crate::rows::bed::Peer;
use crate::rows::engine::engine;
use crate::rows::{Row, Work, packets};

const BATCH: usize = 50;
/// Rounds until topics are published again: more than a turn remembers.
const ROUNDS: usize = 80;
const TOPICS: usize = BATCH * ROUNDS;

pub fn rows() -> Vec<Row> {
    let row = |name, units, build| Row { name, units, rounds: ROUNDS, threads: false, build };
    vec![
        row("random_topic_exact", BATCH as u64, Random::exact),
        row("random_topic_5_wildcards", 5 * BATCH as u64, Random::wild),
    ]
}

struct Random {
    engine: Engine,
    publisher: Peer,
    _subscribers: Vec<Peer>,
    portions: Vec<Vec<u8>>,
    next: usize,
}

impl Random {
    /// 40,000 filters without wildcards, one of which matches.
    fn exact() -> Box<dyn Work> {
        let topic = |n: usize| format!("bench/{n:05}/data");
        let filters: Vec<String> = (0..10 * TOPICS).map(topic).collect();
        Random::among(&[filters], |n| topic(10 * n))
    }

    /// 14,000 filters of five clients, of which each topic matches one: three without wildcards, one with + and one
    /// with #.
    fn wild() -> Box<dyn Work> {
        let device = |n: usize| format!("w/r{}/s{}/b{}/d{}", n % 8, n / 8 % 2, n / 16 % 8, n / 128);
        let topic = |n: usize| format!("{}/k{}", device(n / 4), n % 4);
        let exact: Vec<String> = (0..TOPICS).map(topic).collect();
        let plus = (0..TOPICS / 4).map(|n| device(n) + "/+").collect();
        let hash = (0..TOPICS / 4).map(|n| device(n) + "/#").collect();
        Random::among(&[exact.clone(), exact.clone(), exact, plus, hash], topic)
    }

    fn among(filters: &[Vec<String>], topic: impl Fn(usize) -> String) -> Box<dyn Work> {
        let engine = engine(&[]);
        let version = Version::V311;
        let subscribers = (filters.iter().enumerate())
            .map(|(n, filters)| {
                let peer = Peer::connected(&engine, version, &format!("s{n}"), false);
                peer.subscribed(&engine, filters, QoS::AtMostOnce)
            })
            .collect();
        // Every number once, in an order without a pattern.
        let mut numbers = (0..TOPICS).map(|n| (n * 1_103 + 12_345) % TOPICS);
        let portion = |_| {
            let mut portion = Vec::new();
            for number in numbers.by_ref().take(BATCH) {
                packets::publish(version, &topic(number), QoS::AtMostOnce, 0, false, &mut portion);
            }
            portion
        };
        let portions = (0..ROUNDS).map(portion).collect();
        let publisher = Peer::connected(&engine, version, "p", false);
        Box::new(Random { engine, publisher, _subscribers: subscribers, portions, next: 0 })
    }
}

impl Work for Random {
    fn round(&mut self) {
        self.publisher.send(&self.engine, &self.portions[self.next % ROUNDS]);
        self.next += 1;
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().publish_sent
    }
}
