//! What a flow is to be: who publishes to whom, how much, how fast.

use serde_json::json;

use crate::args::{Common, Load};
use crate::sys::{self, NS};

/// What --flood lets be undelivered in all (so that a run can end), and for
/// each subscriber at least.
const FLOOD: u32 = 300_000;
const FLOOD_LEAST: u32 = 2000;

/// Which topics are published to, and how many subscribers each reaches.
pub struct Topics {
    pub names: Vec<Vec<u8>>,
    /// Deliveries due per message of each topic.
    pub matches: Vec<u32>,
    /// Messages published to each topic in the measured phase.
    pub published: Vec<u64>,
    /// Publisher i keeps to topic i, or picks one at random each time.
    pub random: bool,
}

/// Who publishes to whom.
pub struct Shape {
    pub publishers: usize,
    pub subscribers: usize,
    pub topics: Topics,
    /// Sequence numbers are followed per (publisher, subscriber): each
    /// subscriber gets every message of this many publishers. 0: not followed.
    pub flows_per_subscriber: usize,
}

/// The load, with its defaults resolved.
pub struct Plan {
    pub qos: u8,
    pub payload: usize,
    pub rate: f64,
    pub window: u32,
    pub outstanding: u32,
    pub burst: u32,
    pub seconds: f64,
    pub messages: Option<u64>,
    pub warmup: f64,
    pub drain_ns: u64,
    pub tick_ns: u64,
    pub coalesce_ns: u64,
    pub spin: bool,
}

impl Plan {
    /// `share` bounds what one publisher may have undelivered by default.
    pub fn new(c: &Common, l: &Load, shape: &Shape, share: u32) -> Plan {
        let matches = shape.topics.matches.iter().max().copied().unwrap_or(1);
        let receivers = matches.saturating_mul(shape.publishers as u32);
        let dflt = if l.flood {
            (FLOOD / receivers).max(FLOOD_LEAST)
        } else if c.qos == 0 {
            l.window.min(share)
        } else {
            (l.window * 4).min(share)
        };
        let outstanding = l.outstanding.unwrap_or(dflt).max(1);
        let most = if c.qos == 0 { outstanding } else { outstanding.min(l.window) };
        let auto = if l.rate > 0.0 { 1 } else { (most / 2).min(256) };
        let deliveries = most as u64 * receivers as u64;
        // So that no broker below 4 million deliveries a second runs out of messages meanwhile.
        let coalesce = if l.rate > 0.0 || deliveries < 400 { 0 } else { (deliveries / 4).min(1000) };
        Plan {
            qos: c.qos,
            payload: c.payload as usize,
            rate: l.rate,
            window: l.window,
            outstanding,
            burst: l.burst.unwrap_or(auto).clamp(1, most),
            // Bounded in time even where only a count was asked for.
            seconds: l.seconds.unwrap_or(if l.messages.is_some() { 3600.0 } else { 5.0 }),
            messages: l.messages,
            warmup: l.warmup,
            drain_ns: sys::secs(l.drain),
            tick_ns: l.tick_us.unwrap_or(1000).max(1) * 1000,
            coalesce_ns: l.coalesce_us.unwrap_or(if l.spin { 0 } else { coalesce }) * 1000,
            spin: l.spin,
        }
    }

    /// When message number `i` of a phase begun at `t0` is due.
    pub(super) fn due_at(&self, t0: u64, i: u64) -> u64 {
        let ns = (i as f64 * NS as f64 / self.rate) as u64;
        t0 + ns.div_ceil(self.tick_ns) * self.tick_ns
    }

    /// The number within the phase of the k-th message of publisher `p` of `n`:
    /// bursts go round robin.
    pub(super) fn number(&self, p: u64, n: u64, k: u64) -> u64 {
        let b = self.burst as u64;
        (k / b) * b * n + p * b + k % b
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "rate": self.rate,
            "window": self.window,
            "outstanding": self.outstanding,
            "burst": self.burst,
            "seconds": self.seconds,
            "messages": self.messages,
            "warmup": self.warmup,
            "coalesce_us": self.coalesce_ns / 1000,
            "spin": self.spin,
        })
    }
}
#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn every_number_of_the_schedule_is_used_once() {
        let plan = Plan {
            qos: 0,
            payload: 64,
            rate: 1000.0,
            window: 20,
            outstanding: 20,
            burst: 3,
            seconds: 1.0,
            messages: None,
            warmup: 0.0,
            drain_ns: 0,
            tick_ns: 100_000,
            coalesce_ns: 0,
            spin: false,
        };
        let n = 4;
        let mut seen = [false; 3 * 4 * 5];
        for p in 0..n {
            for k in 0..15 {
                let i = plan.number(p, n, k) as usize;
                assert_eq!(i as u64 / 3 % n, p); // what publish() assigns it to
                assert!(!std::mem::replace(&mut seen[i], true));
            }
        }
        assert!(seen.iter().all(|s| *s));
        assert_eq!(plan.due_at(7, 3), 7 + 3_000_000);
    }
}
