//! Retained messages: stored one by one, then delivered in bulk to wildcard
//! subscriptions that match a known part of them, then cleared.

use std::io::Write;

use serde_json::json;

use crate::args;
use crate::client::{BulkOpts, Identity, bulk_publish, connect_all, subscribe_all};
use crate::flow::HEAD;
use crate::mqtt::{self, Subscribe, Ver};
use crate::pool::{Handler, Ignore, Pool};
use crate::report::{Hist, Report};
use crate::sys::{self, MS, now_ns};

/// Topics ret/bX/tY lie in this many buckets, the unit of --fraction.
const BUCKETS: u64 = 100;

fn topic(i: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "ret/b{}/t{}", i % BUCKETS, i / BUCKETS);
}

struct Receiver {
    ver: Ver,
    base: usize,
    retained: u64,
    buckets: u64,
    seen: Vec<Vec<u64>>, // a bit per message, per subscriber
    delivered: u64,
    repeated: u64,
    foreign: u64,
    not_flagged: u64,
    closed: u64,
    last: u64,
    begun: u64,
    since_subscribe: Hist,
}

impl Handler for Receiver {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        if first & 0xf0 == 0x60 {
            mqtt::put_ack(reply, mqtt::PUBCOMP, mqtt::ack_pid(body));
            return;
        }
        if first & 0xf0 != mqtt::PUBLISH {
            return;
        }
        let Some(m) = mqtt::message(first, body, self.ver) else {
            self.foreign += 1;
            return;
        };
        match m.qos {
            0 => {}
            1 => mqtt::put_ack(reply, mqtt::PUBACK, m.pid),
            _ => mqtt::put_ack(reply, mqtt::PUBREC, m.pid),
        }
        self.last = now;
        let n = match m.payload.get(8..HEAD) {
            Some(b) => u64::from_le_bytes(b.try_into().unwrap()),
            None => u64::MAX,
        };
        if n >= self.retained || n % BUCKETS >= self.buckets || i < self.base {
            self.foreign += 1;
            return;
        }
        self.not_flagged += !m.retain as u64;
        let word = &mut self.seen[i - self.base][n as usize / 64];
        if *word >> (n % 64) & 1 == 1 {
            self.repeated += 1;
            return;
        }
        *word |= 1 << (n % 64);
        self.delivered += 1;
        self.since_subscribe.record(now - self.begun);
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

pub fn run(a: &args::Retain, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let target = c.target()?;
    let meter = c.meter()?;
    sys::raise_nofile(0);
    let buckets = ((a.fraction * BUCKETS as f64).round() as u64).clamp(1, BUCKETS);
    let each = (0..BUCKETS)
        .filter(|b| *b < buckets)
        .map(|b| a.retained / BUCKETS + (b < a.retained % BUCKETS) as u64)
        .sum::<u64>();
    let expected = each * a.subscribers as u64;
    let payload = c.payload as usize;

    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let mut none = Ignore::default();
    connect_all(&mut pool, &target, 1, 0.0, |_| Identity::clean(c.client_id("p", 0)), &mut none).all(1)?;
    let opts = BulkOpts { qos: c.qos, retain: true, window: a.window };
    let make = |i: u64, t: &mut Vec<u8>, p: &mut Vec<u8>| {
        topic(i, t);
        p.extend_from_slice(&now_ns().to_le_bytes());
        p.extend_from_slice(&i.to_le_bytes());
        p.resize(payload, b'x');
    };
    let measured = meter.start();
    bulk_publish(&mut pool, &target, 0, &opts, a.retained, make, &mut none)?;
    let took = now_ns() - measured.t0;
    meter.settle(2.0);
    rep.phase("store", meter.stop(measured).json("message", a.retained, took, 0));

    connect_all(&mut pool, &target, a.subscribers, 0.0, |i| Identity::clean(c.client_id("s", i)), &mut none)
        .all(a.subscribers)?;
    meter.settle(2.0);
    let measured = meter.start();
    let mut r = Receiver {
        ver: target.ver,
        base: 1,
        retained: a.retained,
        buckets,
        seen: vec![vec![0; a.retained as usize / 64 + 1]; a.subscribers],
        delivered: 0,
        repeated: 0,
        foreign: 0,
        not_flagged: 0,
        closed: 0,
        last: 0,
        begun: measured.t0,
        since_subscribe: Hist::new(),
    };
    let fill = |_: usize, seq: usize, p: &mut Subscribe| match (seq, buckets) {
        (0, BUCKETS) => p.add(b"ret/#", c.qos),
        (0, _) => {
            for b in 0..buckets {
                let tail = if b % 2 == 0 { "#" } else { "+" };
                p.add(format!("ret/b{b}/{tail}").as_bytes(), c.qos);
            }
        }
        _ => {}
    };
    subscribe_all(&mut pool, &target, (1, a.subscribers), c.qos, fill, &mut r)?;
    let mut moved = (r.delivered, now_ns());
    while r.delivered < expected && r.closed == 0 {
        pool.poll(50 * MS, &mut r);
        let now = now_ns();
        if r.delivered != moved.0 {
            moved = (r.delivered, now);
        } else if now - moved.1 > sys::secs(a.drain) {
            break;
        }
    }
    // Anything beyond what is due, and the last acknowledgements.
    let until = now_ns() + 20 * MS;
    while now_ns() < until {
        pool.poll(5 * MS, &mut r);
    }
    let took = r.last.saturating_sub(measured.t0);
    rep.phase("deliver", meter.stop(measured).json("delivery", r.delivered, took, 0));

    if !a.keep {
        let opts = BulkOpts { qos: c.qos, retain: true, window: a.window };
        let fetch = BulkOpts { qos: 0, ..opts };
        // The subscribers would get every clearing message.
        for i in 1..pool.len() {
            pool.send(i, &mqtt::BYE);
            pool.close(i);
        }
        meter.settle(2.0);
        let measured = meter.start();
        bulk_publish(&mut pool, &target, 0, &opts, a.retained, |i, t, _| topic(i, t), &mut none)?;
        let took = now_ns() - measured.t0;
        rep.phase("clear", meter.stop(measured).json("message", a.retained, took, 0));
        // Nothing may be left.
        let at = pool.len();
        let mut left = Ignore::default();
        connect_all(&mut pool, &target, 1, 0.0, |_| Identity::clean(c.client_id("z", 0)), &mut left)
            .all(1)?;
        let all = |_: usize, seq: usize, p: &mut Subscribe| {
            if seq == 0 {
                p.add(b"ret/#", 0);
            }
        };
        subscribe_all(&mut pool, &target, (at, 1), 0, all, &mut left)?;
        bulk_publish(&mut pool, &target, at, &fetch, 0, |_, _, _| {}, &mut left)?;
        rep.set("left_after_clear", left.frames);
        rep.check(left.frames == 0, || format!("{} retained messages left after clearing", left.frames));
    }
    let lost = expected.saturating_sub(r.delivered);
    rep.extend(json!({
        "retained": a.retained,
        "matching_each": each,
        "subscribers": a.subscribers,
        "expected": expected,
        "delivered": r.delivered,
        "lost": lost,
        "repeated": r.repeated,
        "since_subscribe_us": r.since_subscribe.json(),
    }));
    rep.check(lost == 0, || format!("{lost} of {expected} retained messages missing"));
    rep.check(r.repeated == 0, || format!("{} retained messages came twice", r.repeated));
    rep.check(r.foreign == 0, || format!("{} messages that were not asked for", r.foreign));
    rep.check(r.not_flagged == 0, || format!("{} messages without the retain flag", r.not_flagged));
    rep.check(r.closed == 0, || format!("{} connections closed by the broker", r.closed));
    rep.check(meter.alive(), || "the broker process is gone".into());
    pool.goodbye();
    Ok(())
}
