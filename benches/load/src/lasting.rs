//! QoS 1 to persistent sessions, each publisher with one message in flight: what an acknowledgement costs that stands
//! for something on stable storage. The subscribers are there, or away until all is published.

use serde_json::json;

use crate::args;
use crate::client::{Identity, connect_all, subscribe_all};
use crate::flow::HEAD;
use crate::mqtt::{self, Subscribe, Ver};
use crate::pool::{Handler, Ignore, Pool};
use crate::report::{Hist, Report};
use crate::sys::{self, MS, NS, now_ns};

const EXPIRY_S: u32 = 3600;

struct Lasting {
    ver: Ver,
    publishers: usize,
    /// A PUBLISH of each publisher without its last bytes, and when the present one was sent.
    packets: Vec<Vec<u8>>,
    sent_at: Vec<u64>,
    ready: Vec<usize>,
    published: u64,
    acked: u64,
    refused: u64,
    delivered: u64,
    repeated: u64,
    closed: u64,
    last: u64,
    latency: Hist,
}

impl Handler for Lasting {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        match first & 0xf0 {
            mqtt::PUBACK if i < self.publishers => {
                self.refused += (mqtt::ack_reason(body) >= 0x80) as u64;
                self.latency.record(now - self.sent_at[i]);
                self.acked += 1;
                self.ready.push(i);
            }
            mqtt::PUBLISH => {
                let Some(m) = mqtt::message(first, body, self.ver) else { return };
                mqtt::put_ack(reply, mqtt::PUBACK, m.pid);
                self.delivered += !m.dup as u64;
                self.repeated += m.dup as u64;
            }
            _ => return,
        }
        self.last = now;
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

impl Lasting {
    fn new(ver: Ver, publishers: usize, prefix: &str, payload: usize) -> Lasting {
        let packet = |i: usize| {
            let mut packet = Vec::new();
            let topic = format!("{prefix}/last/{i}");
            let at = mqtt::put_publish_head(&mut packet, ver, topic.as_bytes(), 1, false, payload);
            packet[at.unwrap_or(0)..][..2].copy_from_slice(&1u16.to_be_bytes());
            packet.resize(packet.len() + payload, b'x');
            packet
        };
        Lasting {
            ver,
            publishers,
            packets: (0..publishers).map(packet).collect(),
            sent_at: vec![0; publishers],
            ready: (0..publishers).collect(),
            published: 0,
            acked: 0,
            refused: 0,
            delivered: 0,
            repeated: 0,
            closed: 0,
            last: 0,
            latency: Hist::new(),
        }
    }

    /// Publishes for so long, or so much, and waits for the acknowledgements.
    fn publish(&mut self, pool: &mut Pool, seconds: f64, most: u64, patience: u64) {
        let end = now_ns() + sys::secs(seconds);
        let mut moved = (self.acked, now_ns());
        loop {
            let now = now_ns();
            if now < end {
                for i in std::mem::take(&mut self.ready) {
                    if self.published == most {
                        self.ready.push(i);
                        continue;
                    }
                    self.sent_at[i] = now_ns();
                    pool.send(i, &self.packets[i]);
                    self.published += 1;
                }
            }
            if self.acked == self.published || self.closed > 0 {
                return;
            }
            pool.poll(50 * MS, self);
            if self.acked != moved.0 {
                moved = (self.acked, now);
            } else if now - moved.1 > patience {
                return;
            }
        }
    }

    /// Waits for the deliveries, until nothing has moved for so long.
    fn drain(&mut self, pool: &mut Pool, patience: u64) {
        let mut moved = (self.delivered, now_ns());
        while self.delivered < self.published && self.closed == 0 {
            pool.poll(50 * MS, self);
            let now = now_ns();
            if self.delivered != moved.0 {
                moved = (self.delivered, now);
            } else if now - moved.1 > patience {
                return;
            }
        }
        // The last acknowledgements are to be read, too.
        pool.poll(20 * MS, self);
    }
}

pub fn run(a: &args::Lasting, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let target = c.target()?;
    let meter = c.meter()?;
    let n = a.publishers;
    let limit = sys::raise_nofile(0);
    if (3 * n + 32) as u64 > limit {
        return Err(format!("{} connections need more descriptors than the limit of {limit}", 3 * n));
    }
    let session = |i: usize| Identity {
        id: c.client_id("o", i),
        clean: false,
        expiry: EXPIRY_S,
        src: None,
        rcvbuf: None,
    };
    let mut none = Ignore::default();
    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let who = |i| Identity::clean(c.client_id("p", i));
    connect_all(&mut pool, &target, n, 0.0, who, &mut none).all(n)?;
    let mut away = Pool::new().map_err(|e| e.to_string())?;
    let subscribers = if a.present { &mut pool } else { &mut away };
    let base = subscribers.len();
    connect_all(subscribers, &target, n, 0.0, session, &mut none).all(n)?;
    let fill = |k: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(format!("{}/last/{k}", c.prefix).as_bytes(), 1);
        }
    };
    subscribe_all(subscribers, &target, (base, n), 1, fill, &mut none)?;
    away.goodbye();
    meter.settle(2.0);

    let mut h = Lasting::new(target.ver, n, &c.prefix, (c.payload as usize).max(HEAD));
    c.begin();
    let measured = meter.start();
    h.publish(&mut pool, a.seconds, a.messages, sys::secs(a.drain));
    let took = h.last.saturating_sub(measured.t0).max(1);
    if a.present && !a.no_drain {
        h.drain(&mut pool, sys::secs(a.drain));
    }
    rep.phase("publish", meter.stop(measured).json("message", h.acked, took, 0));
    // Who reads the process's own counters does it now.
    c.begin();
    if !a.present && !a.no_drain {
        let measured = meter.start();
        connect_all(&mut pool, &target, n, 0.0, session, &mut h).all(n)?;
        h.drain(&mut pool, sys::secs(a.drain));
        let took = h.last.saturating_sub(measured.t0).max(1);
        rep.phase("drain", meter.stop(measured).json("delivery", h.delivered, took, 0));
        c.begin();
    }
    rep.extend(json!({
        "publishers": n,
        "present": a.present,
        "published": h.published,
        "acked": h.acked,
        "delivered": h.delivered,
        "repeated": h.repeated,
        "msgs_per_s": h.acked as f64 * NS as f64 / took as f64,
        "ack_us": h.latency.json(),
    }));
    rep.check(h.acked == h.published, || format!("{} publishes never acknowledged", h.published - h.acked));
    rep.check(h.refused == 0, || format!("{} publishes refused", h.refused));
    let lost = h.published.saturating_sub(h.delivered);
    rep.check(a.no_drain || lost == 0, || format!("{lost} of {} deliveries missing", h.published));
    rep.check(h.closed == 0, || format!("{} connections closed by the broker", h.closed));
    rep.check(meter.alive(), || "the broker process is gone".into());
    pool.goodbye();
    Ok(())
}
