//! An event that no sink wants is not made: it allocates nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::core::state::Engine;
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::{EventSink, Moment};
use midge::session::event::Event;
use midge::time::Time;

use crate::engine::{Nowhere, engine, lost, opened};
use crate::{alone, counting, packets};

const NOW: Time = Time::ZERO;
const ROUNDS: usize = 100;

/// Counts what it sees.
struct Counter {
    mask: EventMask,
    seen: AtomicUsize,
}

impl EventSink for Counter {
    fn mask(&self) -> EventMask {
        self.mask
    }

    fn event(&self, _now: Time, _event: &Event) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    fn moment(&self, _moment: &Moment<'_>) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// A client that comes, subscribes, hears itself, publishes what nobody hears, unsubscribes and goes; and one that is
/// refused.
fn round(engine: &Engine, link: &Arc<Nowhere>) {
    let (version, filters) = (Version::V5, ["heard".to_owned()]);
    let mut bytes = Vec::new();
    packets::connect(version, "client", &mut bytes);
    packets::subscribe(version, &filters, QoS::AtMostOnce, &mut bytes);
    packets::publish(version, "heard", QoS::AtMostOnce, 0, false, &mut bytes);
    packets::publish(version, "unheard", QoS::AtMostOnce, 0, false, &mut bytes);
    packets::unsubscribe(version, &filters, &mut bytes);
    let connection = opened(engine, NOW, link, &bytes);
    lost(engine, NOW, connection);
    bytes.clear();
    packets::connect(version, "client-with-a-name-of-more-than-23-bytes", &mut bytes);
    let refused = opened(engine, NOW, link, &bytes);
    lost(engine, NOW, refused);
}

/// Allocations of some rounds, and what the sink has seen.
fn cost(sink: Option<EventMask>) -> (usize, usize) {
    let mut engine = engine(&[("mqtt.max_client_id_length", "23")]);
    let counter = sink.map(|mask| Arc::new(Counter { mask, seen: AtomicUsize::new(0) }));
    if let Some(counter) = &counter {
        engine = engine.with_sink(counter.clone());
    }
    let link = Arc::new(Nowhere::default());
    (0..ROUNDS).for_each(|_| round(&engine, &link));
    let seen = |counter: &Arc<Counter>| counter.seen.swap(0, Ordering::Relaxed);
    counter.as_ref().map(seen);
    let before = counting::own();
    (0..ROUNDS).for_each(|_| round(&engine, &link));
    (counting::own() - before, counter.as_ref().map_or(0, seen))
}

#[test]
fn an_event_that_no_sink_wants_is_not_made() {
    let _alone = alone();
    let (without, _) = cost(None);
    assert_eq!(cost(Some(EventMask::NONE)), (without, 0));
    let kinds = [
        EventMask::CONNECTED,
        EventMask::DISCONNECTED,
        EventMask::REFUSED,
        EventMask::SUBSCRIBED,
        EventMask::UNSUBSCRIBED,
        EventMask::DELIVERED,
        EventMask::DROPPED,
    ];
    for kind in kinds {
        let (allocations, seen) = cost(Some(kind));
        assert_eq!(seen, ROUNDS, "{kind:?}");
        assert!(allocations > without, "{kind:?}: {allocations}, {without} without");
    }
    // What is seen in the middle of a turn is borrowed.
    for (kind, a_round) in [(EventMask::PUBLISHING, 2), (EventMask::PUBLISHED, 2), (EventMask::CHANGED, 5)] {
        assert_eq!(cost(Some(kind)), (without, a_round * ROUNDS), "{kind:?}");
    }
    // Connecting is logged, among others.
    assert!(cost(Some(EventMask::LOG)).1 > 5 * ROUNDS);
}
