//! The same pairs as in `flow.rs`, whose rights are in 1,000 access rules.

use std::fmt::Write;
use std::sync::Arc;

use midge::access::rules::authority::RuleAuthority;
use midge::access::rules::file::parse;
use midge::access::rules::ruleset::RuleSet;
use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::config::SubscribeCheck;
use midge::engine::core::state::Engine;

use crate::rows::bed::Peer;
use crate::rows::engine::engine;
use crate::rows::{Row, Work, packets};

const VERSION: Version = Version::V311;
const QOS: QoS = QoS::AtMostOnce;
const BATCH: usize = 50;
const TOPIC: &str = "bench/1/data";

pub fn rows() -> Vec<Row> {
    let row = |name, units, rounds, build| Row { name, units, rounds, threads: false, build };
    vec![
        row("ruled_qos0_batch", 50, 200, || Ruled::build(SubscribeCheck::Covered, BATCH, &[TOPIC])),
        row("ruled_qos0_single", 1, 4000, || Ruled::build(SubscribeCheck::Covered, 1, &[TOPIC])),
        row("ruled_delivery_qos0_batch", 50, 200, || Ruled::build(SubscribeCheck::Delivery, BATCH, &[TOPIC])),
        row("ruled_delivery_qos0_single", 1, 4000, || Ruled::build(SubscribeCheck::Delivery, 1, &[TOPIC])),
        row("ruled_two_topics_qos0_batch", 50, 200, || {
            Ruled::build(SubscribeCheck::Covered, BATCH, &[TOPIC, "bench/2/data"])
        }),
    ]
}

/// 1,000 rules: of anonymous clients, of a user, and for everybody; the topics of the pairs are among the last.
fn thousand() -> RuleSet {
    let mut file = String::new();
    for number in (1..=400).rev() {
        writeln!(file, "topic readwrite bench/{number}/data").unwrap();
    }
    for number in 0..200 {
        writeln!(file, "pattern read +/{number}/%c/#").unwrap();
        writeln!(file, "pattern write devices/%c/{number}/+").unwrap();
    }
    file.push_str("user ann\n");
    for number in 0..200 {
        writeln!(file, "topic deny home/{number}/#").unwrap();
    }
    let rules = parse(file.as_bytes()).unwrap();
    assert_eq!(rules.len(), 1000);
    RuleSet::new(&rules)
}

/// One publisher and one subscriber.
struct Ruled {
    engine: Engine,
    publisher: Peer,
    _subscriber: Peer,
    portion: Vec<u8>,
}

impl Ruled {
    fn build(subscribe: SubscribeCheck, batch: usize, topics: &[&str]) -> Box<dyn Work> {
        let engine = engine(&[]).with_authority(Arc::new(RuleAuthority::new(thousand(), subscribe)));
        let filters: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let publisher = Peer::connected(&engine, VERSION, "p", false);
        let subscriber = Peer::connected(&engine, VERSION, "s", false).subscribed(&engine, &filters, QOS);
        let mut portion = Vec::new();
        for (id, topic) in (1..=batch).zip(topics.iter().cycle()) {
            packets::publish(VERSION, topic, QOS, id, false, &mut portion);
        }
        Box::new(Ruled { engine, publisher, _subscriber: subscriber, portion })
    }
}

impl Work for Ruled {
    fn round(&mut self) {
        self.publisher.send(&self.engine, &self.portion);
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().publish_sent
    }
}
