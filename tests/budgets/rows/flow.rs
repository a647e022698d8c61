//! Messages of 64 bytes from clients to clients, to topics that are published again and again.

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;

use crate::rows::bed::Peer;
use crate::rows::engine::engine;
use crate::rows::{Row, Work, packets};

const BATCH: usize = 50;
const TOPIC: &str = "bench/1/data";

pub fn rows() -> Vec<Row> {
    use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};
    let row = |name, units, rounds, build| Row { name, units, rounds, threads: false, build };
    vec![
        row("pair_qos0_batch", 50, 200, || Flow::pair(Version::V311, Q0, BATCH, TOPIC)),
        row("pair_qos0_single", 1, 4000, || Flow::pair(Version::V311, Q0, 1, TOPIC)),
        row("pair_qos1_batch", 50, 100, || Flow::pair(Version::V311, Q1, BATCH, TOPIC)),
        row("pair_qos1_single", 1, 2000, || Flow::pair(Version::V311, Q1, 1, TOPIC)),
        row("pair_qos2_batch", 50, 100, || Flow::pair(Version::V311, Q2, BATCH, TOPIC)),
        row("pair_qos2_single", 1, 2000, || Flow::pair(Version::V311, Q2, 1, TOPIC)),
        row("pair_v5_qos0_batch", 50, 200, || Flow::pair(Version::V5, Q0, BATCH, TOPIC)),
        row("pair_v5_qos1_batch", 50, 100, || Flow::pair(Version::V5, Q1, BATCH, TOPIC)),
        row("wildcard_qos0_batch", 50, 200, || Flow::pair(Version::V311, Q0, BATCH, "bench/+/#")),
        row("two_topics_qos0_batch", 50, 200, || Flow::by_turns(1)),
        row("two_topics_fanout_1000_qos0_batch", 50_000, 2, || Flow::by_turns(1000)),
        row("fanout_1000_qos0_batch", 50_000, 2, || Flow::to_one_topic(1, 1000, BATCH)),
        row("fanout_1000_qos0_single", 1000, 40, || Flow::to_one_topic(1, 1000, 1)),
        row("fanin_100_qos0_batch", 5000, 4, || Flow::to_one_topic(100, 1, BATCH)),
        row("fanin_100_qos0_single", 100, 40, || Flow::to_one_topic(100, 1, 1)),
    ]
}

struct Flow {
    engine: Engine,
    publishers: Vec<Peer>,
    subscribers: Vec<Peer>,
    /// What each publisher sends in one round.
    portion: Vec<u8>,
    answers: bool,
}

impl Flow {
    /// One publisher, one subscriber, so many messages in a portion.
    fn pair(version: Version, qos: QoS, batch: usize, filter: &str) -> Box<dyn Work> {
        Flow::between(version, qos, (1, 1), batch, filter, &[TOPIC])
    }

    /// One publisher that goes from topic to topic: no message is of the topic of the one before.
    fn by_turns(subscribers: usize) -> Box<dyn Work> {
        let topics = [TOPIC, "bench/2/data"];
        Flow::between(Version::V311, QoS::AtMostOnce, (1, subscribers), BATCH, "bench/+/data", &topics)
    }

    /// All to one topic, with QoS 0.
    fn to_one_topic(publishers: usize, subscribers: usize, batch: usize) -> Box<dyn Work> {
        Flow::between(Version::V311, QoS::AtMostOnce, (publishers, subscribers), batch, TOPIC, &[TOPIC])
    }

    fn between(
        version: Version,
        qos: QoS,
        (publishers, subscribers): (usize, usize),
        batch: usize,
        filter: &str,
        topics: &[&str],
    ) -> Box<dyn Work> {
        let engine = engine(&[]);
        let answers = qos > QoS::AtMostOnce;
        let filters = [filter.to_owned()];
        let publishers =
            (0..publishers).map(|n| Peer::connected(&engine, version, &format!("p{n}"), answers)).collect();
        let subscribers = (0..subscribers)
            .map(|n| Peer::connected(&engine, version, &format!("s{n}"), answers))
            .map(|peer| peer.subscribed(&engine, &filters, qos))
            .collect();
        let mut portion = Vec::new();
        for (id, topic) in (1..=batch).zip(topics.iter().cycle()) {
            packets::publish(version, topic, qos, id, false, &mut portion);
        }
        Box::new(Flow { engine, publishers, subscribers, portion, answers })
    }
}

impl Work for Flow {
    fn round(&mut self) {
        for peer in &mut self.publishers {
            peer.send(&self.engine, &self.portion);
        }
        // Until every handshake is over: subscribers answer first.
        while self.answers {
            let everybody = self.subscribers.iter_mut().chain(&mut self.publishers);
            if everybody.filter_map(|peer| peer.answer(&self.engine).then_some(())).count() == 0 {
                break;
            }
        }
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().publish_sent
    }
}
