//! The host program publishes and takes messages of 64 bytes from a queue.

use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::topic::TopicName;
use midge::config::Config;
use midge::embed::{
    Broker, Polled, PublishOptions, Queue, QueueOptions, QueueSubscription, SubscribeOptions,
};
use midge::engine::core::state::Engine;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::time::Time;

use crate::rows::bed::Peer;
use crate::rows::engine::engine;
use crate::rows::{Row, Work, broker, packets};

const BATCH: u64 = 50;

pub fn rows() -> Vec<Row> {
    let row = |name, units, rounds, build| Row { name, units, rounds, threads: false, build };
    vec![
        row("host_to_queue", BATCH, 200, HostQueue::build),
        row("host_to_client_qos0", 1, 4000, HostClient::build),
    ]
}

/// From the host to a queue of its own, which is polled after each batch.
struct HostQueue {
    queue: Queue,
    _subscription: QueueSubscription,
    taken: u64,
    broker: Broker,
}

impl HostQueue {
    fn build() -> Box<dyn Work> {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        let broker = Broker::start(&config).unwrap();
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        let subscription = queue.subscribe("bench/1/data", &SubscribeOptions::default(), 0).unwrap();
        Box::new(HostQueue { queue, _subscription: subscription, taken: 0, broker })
    }
}

impl Work for HostQueue {
    fn round(&mut self) {
        let options = PublishOptions::default();
        let batch = broker(|| {
            for _ in 0..BATCH {
                self.broker.publish("bench/1/data", packets::PAYLOAD, &options).unwrap();
            }
            match self.queue.poll(BATCH as usize, Some(Duration::ZERO)) {
                Polled::Messages(batch) => batch.len(),
                _ => 0,
            }
        });
        self.taken += batch as u64;
    }

    fn done(&self) -> u64 {
        self.taken
    }
}

/// From the host to a client, one message a turn.
struct HostClient {
    engine: Engine,
    _client: Peer,
}

impl HostClient {
    fn build() -> Box<dyn Work> {
        let engine = engine(&[]);
        let client = Peer::connected(&engine, midge::codec::version::Version::V311, "s", false);
        let client = client.subscribed(&engine, &["bench/1/data".to_owned()], QoS::AtMostOnce);
        Box::new(HostClient { engine, _client: client })
    }
}

impl Work for HostClient {
    fn round(&mut self) {
        let topic = "bench/1/data";
        broker(|| {
            let mut publication =
                Publication::new(topic.as_bytes(), &packets::PAYLOAD, QoS::AtMostOnce, false, Time::ZERO);
            let name = TopicName::parse(topic).unwrap();
            self.engine.publish(&mut self.engine.turn(Time::ZERO), Publisher::Host, name, &mut publication)
        });
    }

    fn done(&self) -> u64 {
        self.engine.snapshot().publish_sent
    }
}
