//! The running flow: what each publisher may send, and every delivery set against what was published.

use std::collections::HashSet;

use crate::mqtt::{self, Inflight, Message, Ver};
use crate::pool::{Handler, Pool};
use crate::report::Hist;
use crate::sys::{self, MS, now_ns};

use super::plan::{Plan, Shape};

/// Timestamp, publisher and sequence number.
pub const HEAD: usize = 16;
/// At most about this much goes into one write of a publisher.
const CHUNK: usize = 64 * 1024;
/// Skipped messages remembered, in case they come late.
const MISSING_MOST: usize = 4_000_000;

struct Publisher {
    next: u32,
    /// Oldest message not yet delivered to all; ring[seq & mask] is what it still lacks.
    head: u32,
    ring: Box<[u32]>,
    inflight: Inflight,
    /// Of the present phase: messages sent, to send at most, and (with --rate) due.
    sent: u64,
    quota: u64,
    due: u64,
    progress: u64,
    dirty: bool,
    dead: bool,
}

#[derive(Default)]
pub(super) struct Totals {
    pub(super) published: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) acked: u64,
    pub(super) repeats: u64,
    pub(super) out_of_order: u64,
    pub(super) dup_flagged: u64,
    pub(super) extra: u64,
    pub(super) stalls: u64,
    pub(super) bad: u64,
    pub(super) foreign: u64,
    pub(super) nacked: u64,
    pub(super) last_delivery: u64,
}

struct Prefix {
    start: usize,
    end: usize,
    pid_at: usize,
}

pub(super) struct Flow {
    ver: Ver,
    /// Tells this run's messages from an earlier one's that the broker still had.
    run: u16,
    pub(super) plan: Plan,
    pub(super) shape: Shape,
    pubs: Vec<Publisher>,
    pub(super) received: Vec<u64>,
    /// Per flow, the sequence number to come next; and those skipped.
    expect: Vec<u32>,
    missing: HashSet<u64>,
    pub(super) tot: Totals,
    pub(super) disconnects: u64,
    /// QoS 2 messages received whose PUBREL is to come.
    pub(super) unreleased: u64,
    dirty: Vec<u32>,
    arena: Vec<u8>,
    prefixes: Vec<Prefix>,
    filler: Vec<u8>,
    out: Vec<u8>,
    rng: u64,
    pub(super) measuring: bool,
    pub(super) latency: Hist,
    pub(super) lag: Hist,
    phase_t0: u64,
    pub(super) issued: u64,
}

impl Handler for Flow {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        match first & 0xf0 {
            mqtt::PUBLISH => match mqtt::message(first, body, self.ver) {
                Some(m) if i >= self.shape.publishers => {
                    match m.qos {
                        0 => {}
                        1 => mqtt::put_ack(reply, mqtt::PUBACK, m.pid),
                        _ => {
                            mqtt::put_ack(reply, mqtt::PUBREC, m.pid);
                            self.unreleased += 1;
                        }
                    }
                    self.delivery(i - self.shape.publishers, &m, now);
                }
                _ => self.tot.bad += 1,
            },
            0x60 => {
                mqtt::put_ack(reply, mqtt::PUBCOMP, mqtt::ack_pid(body));
                self.unreleased = self.unreleased.saturating_sub(1);
            }
            mqtt::PUBACK | mqtt::PUBREC | mqtt::PUBCOMP if i < self.shape.publishers => {
                self.tot.nacked += (mqtt::ack_reason(body) >= 0x80) as u64;
                let p = &mut self.pubs[i];
                if p.inflight.ack(first, body, reply) {
                    p.progress = now;
                    self.tot.acked += 1;
                    mark(&mut self.dirty, p, i);
                }
            }
            mqtt::PINGRESP | mqtt::DISCONNECT => {}
            _ => self.tot.bad += 1,
        }
    }

    fn closed(&mut self, i: usize) {
        self.disconnects += 1;
        if let Some(p) = self.pubs.get_mut(i) {
            p.dead = true;
        }
    }

    fn writable(&mut self, i: usize) {
        if let Some(p) = self.pubs.get_mut(i) {
            mark(&mut self.dirty, p, i);
        }
    }
}

#[inline]
fn mark(dirty: &mut Vec<u32>, p: &mut Publisher, i: usize) {
    if !p.dirty {
        p.dirty = true;
        dirty.push(i as u32);
    }
}

impl Flow {
    pub(super) fn new(ver: Ver, plan: Plan, shape: Shape) -> Flow {
        let ring = plan.outstanding.next_power_of_two() as usize;
        let mut arena = Vec::new();
        let prefixes = shape
            .topics
            .names
            .iter()
            .map(|t| {
                let start = arena.len();
                let pid_at = mqtt::put_publish_head(&mut arena, ver, t, plan.qos, false, plan.payload);
                Prefix { start, end: arena.len(), pid_at: pid_at.unwrap_or(0) }
            })
            .collect();
        Flow {
            ver,
            run: std::process::id() as u16,
            pubs: (0..shape.publishers)
                .map(|_| Publisher {
                    next: 0,
                    head: 0,
                    ring: vec![0; ring].into(),
                    inflight: Inflight::new(plan.window),
                    sent: 0,
                    quota: 0,
                    due: 0,
                    progress: 0,
                    dirty: false,
                    dead: false,
                })
                .collect(),
            received: vec![0; shape.subscribers],
            expect: vec![0; shape.subscribers * shape.flows_per_subscriber],
            missing: HashSet::new(),
            tot: Totals::default(),
            disconnects: 0,
            unreleased: 0,
            dirty: Vec::new(),
            arena,
            prefixes,
            filler: vec![b'x'; plan.payload - HEAD],
            out: Vec::with_capacity(2 * CHUNK),
            rng: 0x9E37_79B9_7F4A_7C15,
            measuring: false,
            latency: Hist::new(),
            lag: Hist::new(),
            phase_t0: 0,
            issued: 0,
            plan,
            shape,
        }
    }

    #[inline]
    fn delivery(&mut self, sub: usize, m: &Message, now: u64) {
        let Some(h) = m.payload.get(..HEAD) else {
            self.tot.bad += 1;
            return;
        };
        let ts = u64::from_le_bytes(h[..8].try_into().unwrap());
        let p = u16::from_le_bytes(h[8..10].try_into().unwrap()) as usize;
        let run = u16::from_le_bytes(h[10..12].try_into().unwrap());
        let seq = u32::from_le_bytes(h[12..].try_into().unwrap());
        if p >= self.pubs.len() || run != self.run {
            self.tot.foreign += 1;
            return;
        }
        let per_sub = self.shape.flows_per_subscriber;
        if per_sub == 0 {
            self.complete(p, seq, now);
        } else {
            let flow = sub * per_sub + p % per_sub;
            let first = self.expect[flow];
            let ahead = seq.wrapping_sub(first) as i32;
            if ahead < 0 {
                if !self.missing.remove(&missing_key(flow, seq)) {
                    if m.dup {
                        self.tot.dup_flagged += 1;
                    } else {
                        self.tot.repeats += 1;
                    }
                    return;
                }
                self.tot.out_of_order += 1;
            } else {
                // Ordered delivery: what is skipped is lost, unless it comes late after all.
                self.expect[flow] = seq.wrapping_add(1);
                for k in 0..ahead as u32 {
                    let skipped = first.wrapping_add(k);
                    if self.missing.len() < MISSING_MOST {
                        self.missing.insert(missing_key(flow, skipped));
                    }
                    self.complete(p, skipped, now);
                }
                self.complete(p, seq, now);
            }
        }
        self.received[sub] += 1;
        self.tot.delivered += 1;
        self.tot.last_delivery = now;
        if self.measuring {
            self.latency.record(now.saturating_sub(ts));
        }
    }

    /// One of the deliveries of message `seq` is settled (it came, or is known lost).
    #[inline]
    fn complete(&mut self, i: usize, seq: u32, now: u64) {
        let p = &mut self.pubs[i];
        p.progress = now;
        let mask = p.ring.len() as u32 - 1;
        let left = &mut p.ring[(seq & mask) as usize];
        if seq.wrapping_sub(p.head) >= p.next.wrapping_sub(p.head) || *left == 0 {
            // Already complete: one delivery too many, unless it had been given up.
            self.tot.extra += (self.shape.flows_per_subscriber == 0) as u64;
            return;
        }
        *left -= 1;
        if *left == 0 && seq == p.head {
            while p.head != p.next && p.ring[(p.head & mask) as usize] == 0 {
                p.head = p.head.wrapping_add(1);
            }
            mark(&mut self.dirty, p, i);
        }
    }

    /// When message number `i` of the phase is due.
    fn due_at(&self, i: u64) -> u64 {
        self.plan.due_at(self.phase_t0, i)
    }

    /// Sends what publisher `i` may send now. What makes it able to send more
    /// (an acknowledgement, a delivery, room in its socket) marks it dirty again.
    fn flush_one(&mut self, pool: &mut Pool, i: usize, now: u64) {
        if pool.backlogged(i) {
            return;
        }
        let all = self.pubs.len() as u64;
        let (plan, p, topics) = (&self.plan, &mut self.pubs[i], &mut self.shape.topics);
        let paced = plan.rate > 0.0;
        let mut n = p.quota - p.sent;
        if plan.qos > 0 {
            n = n.min((plan.window - p.inflight.count) as u64);
        }
        n = n.min((plan.outstanding - p.next.wrapping_sub(p.head)) as u64);
        if paced {
            n = n.min(p.due - p.sent);
        } else if n < plan.burst as u64 && n < p.quota - p.sent {
            return;
        }
        if p.dead || n == 0 {
            return;
        }
        if p.head == p.next {
            p.progress = now;
        }
        let mask = p.ring.len() as u32 - 1;
        let mut stamp = now_ns();
        for left in (0..n).rev() {
            if paced {
                stamp = plan.due_at(self.phase_t0, plan.number(i as u64, all, p.sent));
                if self.measuring {
                    self.lag.record(now.saturating_sub(stamp));
                }
            }
            let t = if topics.random { random_below(&mut self.rng, self.prefixes.len()) } else { i };
            let prefix = &self.prefixes[t];
            let at = self.out.len();
            self.out.extend_from_slice(&self.arena[prefix.start..prefix.end]);
            if plan.qos > 0 {
                let pid = p.inflight.take().to_be_bytes();
                self.out[at + prefix.pid_at..][..2].copy_from_slice(&pid);
            }
            self.out.extend_from_slice(&stamp.to_le_bytes());
            self.out.extend_from_slice(&(i as u16).to_le_bytes());
            self.out.extend_from_slice(&self.run.to_le_bytes());
            self.out.extend_from_slice(&p.next.to_le_bytes());
            self.out.extend_from_slice(&self.filler);
            p.ring[(p.next & mask) as usize] = topics.matches[t];
            p.next = p.next.wrapping_add(1);
            p.sent += 1;
            topics.published[t] += 1;
            self.tot.published += 1;
            self.tot.expected += topics.matches[t] as u64;
            if self.out.len() >= CHUNK || left == 0 {
                pool.send(i, &self.out);
                self.out.clear();
                if pool.backlogged(i) {
                    return;
                }
            }
        }
    }

    fn flush_dirty(&mut self, pool: &mut Pool, now: u64) {
        let mut todo = std::mem::take(&mut self.dirty);
        for i in todo.drain(..) {
            self.pubs[i as usize].dirty = false;
            self.flush_one(pool, i as usize, now);
        }
        self.dirty = todo; // keeps the allocation
    }

    /// Publishers none of whose messages moved for the drain time stop waiting
    /// for them: the broker has dropped them.
    fn give_up_stalled(&mut self, now: u64) {
        for (i, p) in self.pubs.iter_mut().enumerate() {
            if p.head != p.next && now.saturating_sub(p.progress) > self.plan.drain_ns {
                self.tot.stalls += 1;
                p.head = p.next;
                p.ring.fill(0);
                p.progress = now;
                mark(&mut self.dirty, p, i);
            }
        }
    }

    /// Publishes for `seconds`, or until every publisher has sent its share of `messages`.
    pub(super) fn publish(&mut self, pool: &mut Pool, seconds: f64, messages: Option<u64>) {
        let n = self.pubs.len() as u64;
        let paced = self.plan.rate > 0.0;
        for (i, p) in self.pubs.iter_mut().enumerate() {
            p.sent = 0;
            p.due = 0;
            p.quota = match messages {
                Some(m) if !paced => m / n + ((i as u64) < m % n) as u64,
                _ => u64::MAX, // paced: what becomes due is bounded
            };
            mark(&mut self.dirty, p, i);
        }
        let already = self.tot.published;
        let total = messages.unwrap_or(u64::MAX);
        let burst = self.plan.burst as u64;
        let mut now = now_ns();
        self.phase_t0 = now;
        self.issued = 0;
        let end = now + sys::secs(seconds);
        let mut next_check = now + 200 * MS;
        let mut polled = now;
        while now < end && self.tot.published - already < total && self.disconnects == 0 {
            while paced && self.issued < total && self.due_at(self.issued) <= now {
                let i = (self.issued / burst % n) as usize;
                self.pubs[i].due += 1;
                mark(&mut self.dirty, &mut self.pubs[i], i);
                self.issued += 1;
            }
            self.flush_dirty(pool, now);
            if now > next_check {
                next_check = now + 200 * MS;
                self.give_up_stalled(now);
            }
            let mut until = end.min(next_check);
            if paced && self.issued < total {
                until = until.min(self.due_at(self.issued));
            }
            let mut wait = 0;
            if !self.plan.spin && self.dirty.is_empty() {
                now = now_ns();
                let quiet = (polled + self.plan.coalesce_ns).min(until).saturating_sub(now);
                if quiet > 0 {
                    sys::sleep_ns(quiet);
                    now += quiet;
                }
                wait = until.saturating_sub(now);
            }
            polled = now;
            pool.poll(wait, self);
            now = now_ns();
        }
    }

    /// Waits until all that was published has arrived and every handshake is
    /// over, or nothing moved for the drain time. True when nothing is missing.
    pub(super) fn drain(&mut self, pool: &mut Pool) -> bool {
        let mut seen = (0, 0, 0);
        let mut moved = now_ns();
        loop {
            let t = &self.tot;
            let settled = (self.plan.qos == 0 || t.acked >= t.published) && self.unreleased == 0;
            if t.delivered >= t.expected && settled {
                // The broker still has the subscribers' last acknowledgements to read.
                pool.poll(2 * MS, self);
                return true;
            }
            // What was skipped over may come late, but not much.
            let hopeless = t.delivered + self.missing.len() as u64 >= t.expected && settled;
            let patience = if hopeless { self.plan.drain_ns.min(300 * MS) } else { self.plan.drain_ns };
            let now = now_ns();
            let at = (t.delivered, t.acked, self.unreleased);
            if at != seen {
                (seen, moved) = (at, now);
            } else if now - moved > patience || self.disconnects > 0 {
                return false;
            }
            pool.poll(if self.plan.spin { 0 } else { 50 * MS }, self);
        }
    }

    /// Between the warm-up and the measured phase: nothing is outstanding, and
    /// whatever got lost so far is forgotten.
    pub(super) fn reset(&mut self) {
        self.tot = Totals::default();
        self.missing.clear();
        self.received.fill(0);
        self.shape.topics.published.fill(0);
        for p in &mut self.pubs {
            p.head = p.next;
            p.ring.fill(0);
        }
        let per_sub = self.shape.flows_per_subscriber;
        for (at, e) in self.expect.iter_mut().enumerate() {
            // p2p: flow i is publisher i; fanin: publisher at % n; fanout: publisher 0.
            let p = if per_sub > 1 { at % per_sub } else { at % self.pubs.len() };
            *e = self.pubs[p].next;
        }
        self.latency.reset();
        self.lag.reset();
    }
}

fn missing_key(flow: usize, seq: u32) -> u64 {
    (flow as u64) << 32 | seq as u64
}

fn random_below(state: &mut u64, n: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (((*state >> 32) * n as u64) >> 32) as usize
}
