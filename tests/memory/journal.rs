//! What the console's journal keeps of clients with the longest names.

use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;
use midge::http::ConsoleJournal;
use midge::time::Time;

use crate::engine::{Nowhere, engine, lost, opened};
use crate::{alone, check, each, packets};

const NOW: Time = Time::ZERO;
const COUNT: usize = 2000;
const LONGEST: usize = 10_000;

fn journaled() -> (Arc<ConsoleJournal>, Engine) {
    let journal = ConsoleJournal::new(COUNT);
    (journal.clone(), engine(&[("mqtt.max_client_id_length", "65535")]).with_sink(journal))
}

/// A client with a long identifier comes, sends more, and goes.
fn round(engine: &Engine, number: usize, more: impl FnOnce(&str, &mut Vec<u8>)) {
    let mut bytes = Vec::new();
    packets::connect(Version::V5, &format!("{number}{}", "n".repeat(LONGEST)), &mut bytes);
    more(&"t".repeat(LONGEST), &mut bytes);
    let link = Arc::new(Nowhere::default());
    lost(engine, NOW, opened(engine, NOW, &link, &bytes));
}

#[test]
fn an_event_of_a_client_with_the_longest_name() {
    let _alone = alone();
    let (_journal, engine) = journaled();
    let subscribe = |filter: &str, bytes: &mut Vec<u8>| {
        packets::subscribe(Version::V5, &[filter.to_owned()], QoS::AtMostOnce, bytes);
    };
    round(&engine, 0, subscribe);
    // Each is three events, and a third of them stays.
    let (bytes, ()) = each(COUNT, || (0..COUNT).for_each(|number| round(&engine, number, subscribe)));
    check("journal_event", bytes);
}

#[test]
fn a_dropped_message_with_the_longest_topic() {
    let _alone = alone();
    let (journal, engine) = journaled();
    let publish = |topic: &str, bytes: &mut Vec<u8>| {
        packets::publish(Version::V5, topic, QoS::AtMostOnce, 0, false, bytes);
    };
    // The events of clients are there before.
    (0..COUNT).for_each(|number| round(&engine, number, |_, _| {}));
    let (bytes, ()) = each(COUNT, || {
        for number in 0..COUNT {
            round(&engine, number, publish);
            if number % 50 == 0 {
                journal.refill();
                engine.refresh_sinks();
            }
        }
    });
    check("journal_dropped_message", bytes);
}
