//! In steady state a message from the host to a queue or a direct callback costs no allocation; a batch costs few.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use midge::config::Config;
use midge::embed::{Broker, Polled, PublishOptions, QueueOptions, SubscribeOptions};

#[path = "support/counting.rs"]
mod counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = counting::own();
    run();
    counting::own() - before
}

#[test]
fn a_message_within_the_process_costs_no_allocation() {
    const BATCHES: usize = 20;
    const EACH: usize = 500;
    let mut config = Config::new();
    config.set("listener.tcp.bind", "off").unwrap();
    let broker = Broker::start(&config).unwrap();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _queued = queue.subscribe("a/+", &SubscribeOptions::default(), 0).unwrap();
    let mut direct = SubscribeOptions::default();
    direct.direct = true;
    let _called =
        broker.subscribe_with("b", &direct, |message| assert_eq!(message.payload.len(), 64)).unwrap();
    let round = || {
        for _ in 0..EACH {
            broker.publish("a/b", [7; 64], &PublishOptions::default()).unwrap();
            broker.publish("b", [7; 64], &PublishOptions::default()).unwrap();
        }
        let Polled::Messages(batch) = queue.poll(EACH, Some(Duration::ZERO)) else {
            panic!("no messages");
        };
        assert_eq!(batch.len(), EACH);
    };
    // Both of the queue's arenas grow, and the topics are remembered.
    (0..4).for_each(|_| round());
    let counted = allocations(|| (0..BATCHES).for_each(|_| round()));
    assert_eq!(counted, 0, "{counted} allocations for {} messages", 2 * BATCHES * EACH);
}
