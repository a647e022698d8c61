//! Persistent sessions of absent clients, each with one subscription, in an engine without sockets: bytes of each, and
//! the time to create them, to route to one of them, and to let all of them expire.
//!
//! `cargo bench --all-features --bench sessions -- 1300000`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench"
)]

use std::mem::size_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::engine::core::timers::Timer;
use midge::session::inbound::Inbound;
use midge::session::outbound::Outbound;
use midge::session::state::{Control, Session};
use midge::session::subscriptions::Held;
use midge::time::Time;

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/support/engine.rs"]
mod engine;
#[path = "../tests/support/packets.rs"]
mod packets;
#[path = "../tests/support/resident.rs"]
mod resident;

use crate::engine::{Nowhere, engine, lost, opened, send};
use crate::resident::{resident, trim};

const NOW: Time = Time::ZERO;
/// Seconds until the sessions expire.
const EXPIRY: u32 = 3600;
/// Messages that are routed.
const MESSAGES: usize = 200_000;
const BATCH: usize = 50;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let count: usize = numbers.next_back().unwrap_or(100_000);
    let (engine, link) = (engine(&[("session.max_sessions", "100000000")]), Arc::new(Nowhere::default()));
    // What there is but once.
    let mut publisher = publisher(&engine, &link);
    let before = Memory::now();

    let took = timed(|| create(&engine, &link, count));
    assert_eq!(engine.snapshot().sessions, count as u64 + 1); // and the publisher
    let each = Memory::now().minus(&before).over(count);
    println!("{count} sessions with one subscription each");
    println!(
        "bytes each      {:8.0} asked for, {:.0} with the allocator's part, {:.0} resident",
        each.0, each.1, each.2
    );
    println!("create          {:8.0} ns each, {:.2} s in all", nanos(took, count), took.as_secs_f64());
    sizes();

    // QoS 0 is matched, and dropped because the client is away; QoS 1 waits for it.
    for (qos, fate) in [(QoS::AtMostOnce, "dropped"), (QoS::AtLeastOnce, "queued")] {
        let portions = portions(count, qos);
        let took = timed(|| portions.iter().for_each(|portion| send(&engine, NOW, &mut publisher, portion)));
        println!("route, {fate:8} {:8.0} ns each, to {MESSAGES} random topics", nanos(took, MESSAGES));
    }
    assert_eq!(engine.snapshot().messages_queued, MESSAGES as u64);

    let took = timed(|| _ = engine.tick(NOW.plus_secs(u64::from(EXPIRY) + 1)));
    // The publisher's, too: its Keep Alive is over.
    assert_eq!((engine.snapshot().sessions, engine.snapshot().subscriptions), (0, 0));
    println!("expire          {:8.0} ns each, {:.2} s in all", nanos(took, count), took.as_secs_f64());
    let left = Memory::now().minus(&before);
    println!("left            {:8} bytes asked for, {} resident", left.asked_for, left.resident);
    let start = Instant::now();
    trim();
    let took = start.elapsed();
    println!(
        "trimmed         {:8} bytes resident, in {:.1} ms",
        Memory::now().minus(&before).resident,
        took.as_secs_f64() * 1000.0
    );
}

fn publisher(engine: &Engine, link: &Arc<Nowhere>) -> Connection {
    let mut packets = Vec::new();
    packets::connect(Version::V311, "publisher", &mut packets);
    opened(engine, NOW, link, &packets)
}

fn create(engine: &Engine, link: &Arc<Nowhere>, count: usize) {
    let mut packets = Vec::new();
    for number in 0..count {
        packets.clear();
        packets::connect_for(EXPIRY, &format!("device-{number:07}"), &mut packets);
        packets::subscribe(Version::V5, &[topic(number)], QoS::AtLeastOnce, &mut packets);
        lost(engine, NOW, opened(engine, NOW, link, &packets));
    }
}

fn topic(number: usize) -> String {
    format!("device/{number:07}/command")
}

/// PUBLISH packets to random ones of the topics.
fn portions(count: usize, qos: QoS) -> Vec<Vec<u8>> {
    let mut number = 1u64;
    let mut random = || {
        // A full cycle of 2^64; the high bits are good.
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) as usize % count
    };
    let mut portion = || {
        let mut portion = Vec::new();
        for id in 1..=BATCH {
            packets::publish(Version::V311, &topic(random()), qos, id, false, &mut portion);
        }
        portion
    };
    (0..MESSAGES / BATCH).map(|_| portion()).collect()
}

/// Where the bytes are, as far as the types tell.
fn sizes() {
    let arc = 2 * size_of::<usize>();
    let parts = [
        ("session, shared", arc + size_of::<Session>()),
        ("  its receiving half", size_of::<Inbound>()),
        ("  its control", size_of::<Control>()),
        ("  its sending half", size_of::<Outbound>()),
        ("a subscription in it", size_of::<Held>()),
        ("a timer", size_of::<Timer>()),
    ];
    for (name, bytes) in parts {
        println!("  {name:24} {bytes:4} bytes");
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn nanos(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count as f64
}

/// Bytes in use.
struct Memory {
    asked_for: isize,
    in_use: isize,
    resident: isize,
}

impl Memory {
    fn now() -> Memory {
        Memory { asked_for: counting::asked_for(), in_use: counting::in_use(), resident: resident() }
    }

    fn minus(&self, other: &Memory) -> Memory {
        Memory {
            asked_for: self.asked_for - other.asked_for,
            in_use: self.in_use - other.in_use,
            resident: self.resident - other.resident,
        }
    }

    fn over(&self, count: usize) -> (f64, f64, f64) {
        let each = |bytes: isize| bytes as f64 / count as f64;
        (each(self.asked_for), each(self.in_use), each(self.resident))
    }
}
