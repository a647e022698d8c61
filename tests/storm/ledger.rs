//! What was promised and what was told, to be compared when the broker has stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use midge::hooks::{Answer, Passage, Verdict};
use midge::{Broker, Hooks, Polled, Queue};

use crate::Dice;

#[derive(Default)]
pub struct Ledger {
    /// Payloads that the broker has acknowledged to those who published them.
    acknowledged: Mutex<Vec<Vec<u8>>>,
    /// How often each payload was told to the queue.
    heard: Mutex<HashMap<Vec<u8>, u32>>,
    connected: AtomicU64,
    disconnected: AtomicU64,
    dropped: AtomicU64,
    pub lent: Arc<AtomicU64>,
    pub given_back: Arc<AtomicU64>,
    stops: AtomicBool,
    has_stopped: AtomicBool,
    late: AtomicU64,
}

/// A lent payload that counts when it is given back.
pub struct Lent {
    bytes: Vec<u8>,
    given_back: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.given_back.fetch_add(1, SeqCst);
    }
}

/// What a hook or a callback costs: 50 us.
pub fn work() {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_micros(50) {
        std::hint::spin_loop();
    }
}

impl Ledger {
    /// Hooks that note what they are told, each with its own work.
    pub fn hooks(self: &Arc<Self>, mut dice: Dice) -> Hooks {
        let noted = |count: fn(&Ledger) -> &AtomicU64| {
            let ledger = Arc::clone(self);
            move || {
                if ledger.has_stopped.load(SeqCst) {
                    ledger.late.fetch_add(1, SeqCst);
                }
                count(&ledger).fetch_add(1, SeqCst);
            }
        };
        let mut hooks = Hooks::new();
        let connected = noted(|ledger| &ledger.connected);
        let disconnected = noted(|ledger| &ledger.disconnected);
        let dropped = noted(|ledger| &ledger.dropped);
        hooks = hooks.on_connected(move |_| connected()).on_disconnected(move |_| disconnected());
        hooks = hooks.on_dropped(move |_| dropped());
        if dice.below(2) == 0 {
            hooks = hooks.authenticate(|_| -> Answer {
                work();
                Verdict::Allow.into()
            });
        }
        if dice.below(2) == 0 {
            hooks = hooks.authorize(|_| -> Answer {
                work();
                Verdict::Allow.into()
            });
        }
        if dice.below(2) == 0 {
            hooks = hooks.on_publish(|_| {
                work();
                Passage::Pass
            });
        }
        hooks
    }

    pub fn lend(&self, bytes: Vec<u8>) -> Lent {
        self.lent.fetch_add(1, SeqCst);
        Lent { bytes, given_back: Arc::clone(&self.given_back) }
    }

    pub fn was_acknowledged(&self, payload: &[u8]) {
        self.acknowledged.lock().unwrap().push(payload.to_vec());
    }

    /// Notes a payload of the program itself, which the broker has taken. What it takes while it stops may not be told.
    pub fn was_taken(&self, payload: &[u8]) {
        if !self.stops.load(SeqCst) {
            self.was_acknowledged(payload);
        }
    }

    /// Takes what the queue has, until it is closed.
    pub fn hear(&self, queue: &Queue) {
        loop {
            match queue.poll(1000, Some(Duration::from_secs(60))) {
                Polled::Messages(batch) => {
                    let mut heard = self.heard.lock().unwrap();
                    for message in batch.iter() {
                        *heard
                            .entry(message.payload.get(..KEY).unwrap_or(message.payload).to_vec())
                            .or_default() += 1;
                    }
                }
                Polled::Closed => return,
                other => panic!("the queue is not closed: {other:?}"),
            }
        }
    }

    /// Notes that a stop begins.
    pub fn stops(&self) {
        self.stops.store(true, SeqCst);
    }

    /// Notes that a stop has returned: no hook is called any more.
    pub fn stopped(&self) {
        self.has_stopped.store(true, SeqCst);
    }

    pub fn check(&self, seed: u64, broker: &Broker, queue: &Queue) -> usize {
        let acknowledged = self.acknowledged.lock().unwrap();
        let heard = self.heard.lock().unwrap();
        assert_eq!(queue.dropped(), 0, "STORM_SEED={seed}");
        for payload in &*acknowledged {
            let times = heard.get(payload).copied().unwrap_or(0);
            let text = String::from_utf8_lossy(payload);
            assert_eq!(times, 1, "STORM_SEED={seed}: {text} was acknowledged and told so often");
        }
        let twice = heard.iter().find(|(_, times)| **times != 1);
        assert!(twice.is_none(), "STORM_SEED={seed}: told {twice:?} times");
        assert_eq!(self.late.load(SeqCst), 0, "STORM_SEED={seed}: notices after the stop");
        let stats = broker.stats();
        let clients = broker.clients();
        assert_eq!(stats.clients_connected, 0, "STORM_SEED={seed}");
        assert_eq!(stats.sessions, clients.len() as u64, "STORM_SEED={seed}");
        assert_eq!(stats.subscriptions, broker.subscriptions().len() as u64, "STORM_SEED={seed}");
        let queued: usize = clients.iter().map(|client| client.queued).sum();
        assert_eq!(stats.messages_queued, queued as u64, "STORM_SEED={seed}");
        assert_eq!(stats.notices_lost, 0, "STORM_SEED={seed}");
        assert_eq!(stats.hooks_failed, 0, "STORM_SEED={seed}");
        assert_eq!(
            self.connected.load(SeqCst),
            self.disconnected.load(SeqCst),
            "STORM_SEED={seed}: comings, goings"
        );
        assert_eq!(
            self.dropped.load(SeqCst),
            stats.messages_dropped(),
            "STORM_SEED={seed}: drops told, counted"
        );
        acknowledged.len()
    }

    pub fn check_buffers(&self, seed: u64) {
        assert_eq!(
            self.lent.load(SeqCst),
            self.given_back.load(SeqCst),
            "STORM_SEED={seed}: lent, given back"
        );
    }
}

/// Bytes of a payload that tell it apart from the others.
pub const KEY: usize = 16;
