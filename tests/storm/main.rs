//! Start, use and stop of brokers while everything happens at once: hooks, callbacks, kicks, take-overs, forks, queues that come
//! and go. After each round nothing is left, what was acknowledged was told, and the counters add up.
//!
//! `STORM_SECONDS` (3) says how long, `STORM_SEED` (1) which rounds: each round prints nothing unless it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests may"
)]
#![allow(unsafe_code, reason = "std cannot fork")]

mod crew;
mod ledger;
mod peer;
#[path = "../broker/process.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use midge::{Broker, Config, QueueOptions, SubscribeOptions};

use crate::crew::Threads;
use crate::ledger::Ledger;
use crate::process::{broker_threads, descriptors};

/// A round that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Random numbers that a seed repeats.
pub struct Dice(u64);

impl Dice {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }

    /// Dice for somebody else.
    pub fn another(&mut self) -> Dice {
        Dice::new(self.below(u64::MAX >> 12))
    }
}

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn a_storm_leaves_nothing_behind() {
    let seconds = Duration::from_secs(from_environment("STORM_SECONDS", 3));
    let first = from_environment("STORM_SEED", 1);
    let round = Arc::new(AtomicU64::new(first));
    watch(Arc::clone(&round));
    let begun = Instant::now();
    let mut acknowledged = 0;
    while begun.elapsed() < seconds {
        acknowledged += play(round.load(Ordering::Relaxed));
        round.fetch_add(1, Ordering::Relaxed);
    }
    let rounds = round.load(Ordering::Relaxed) - first;
    println!("{rounds} rounds from seed {first} on, {acknowledged} messages acknowledged and told");
    assert!(acknowledged > 0);
}

/// Ends the process with its threads' names if one round takes too long.
fn watch(round: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut last, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = round.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                eprintln!("round {now} hangs (STORM_SEED={now}); its threads:");
                for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
                    let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
                    eprintln!("  {} {}", read("comm").trim(), read("wchan").trim());
                }
                std::process::abort();
            }
        }
    });
}

/// One broker's life; the number of acknowledged messages.
fn play(seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let before = descriptors();
    let ledger = Arc::new(Ledger::default());
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    config.set("runtime.worker_threads", ["1", "2", "4"][dice.below(3) as usize]).unwrap();
    config.set("session.max_queued_messages", ["20", "1000"][dice.below(2) as usize]).unwrap();
    config.set("session.publisher_hold", "100ms").unwrap();
    config.set("hooks.max_waiting", "1000000").unwrap();
    let broker = Broker::builder(&config).hooks(ledger.hooks(dice.another())).start().unwrap();
    let broker = Arc::new(broker);
    let mut options = QueueOptions::default();
    options.capacity = Some(1_000_000);
    options.max_bytes = Some(1 << 30);
    let queue = broker.queue(&options).unwrap();
    let mut own = SubscribeOptions::default();
    own.qos = midge::QoS::ExactlyOnce;
    let heard = queue.subscribe("t/#", &own, 0).unwrap();
    let grace = Some(Duration::from_millis(dice.below(300)));
    let twice = dice.below(2) == 0;
    let stop = || broker.stop(grace).unwrap();
    let threads = Threads::new();
    std::thread::scope(|scope| {
        let mut crew = crew::hire(scope, &broker, &ledger, &threads, &mut dice);
        crew.push(scope.spawn(|| {
            threads.have_begun();
            ledger.hear(&queue);
        }));
        std::thread::sleep(Duration::from_millis(20 + dice.below(250)));
        ledger.stops();
        threads.alone(|| {
            let other = twice.then(|| scope.spawn(stop));
            stop();
            if let Some(other) = other {
                other.join().unwrap();
            }
        });
        ledger.stopped();
        for member in crew {
            member.join().unwrap_or_else(|_| panic!("round {seed} has failed (STORM_SEED={seed})"));
        }
    });
    drop(heard);
    let acknowledged = ledger.check(seed, &broker, &queue);
    drop(queue);
    drop(broker);
    ledger.check_buffers(seed);
    // The system forgets a thread a moment after it was joined.
    let since = Instant::now();
    while (broker_threads(), descriptors()) != (0, before) {
        let left = (broker_threads(), descriptors());
        assert!(
            since.elapsed() < PATIENCE,
            "STORM_SEED={seed}: {left:?} threads and descriptors, not (0, {before})"
        );
        std::thread::yield_now();
    }
    acknowledged
}
