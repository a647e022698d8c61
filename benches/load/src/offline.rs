//! Persistent sessions: messages queue up for clients that are away and are
//! drained when they return.

use std::io::Write;

use serde_json::json;

use crate::args;
use crate::client::{BulkOpts, Identity, bulk_publish, connect_all, subscribe_all};
use crate::flow::HEAD;
use crate::mqtt::{self, Subscribe, Ver};
use crate::pool::{Handler, Ignore, Pool};
use crate::report::Report;
use crate::sys::{self, MS, now_ns};

const EXPIRY_S: u32 = 3600;

/// Message j is the (j / n)-th of client j % n.
struct Drain {
    ver: Ver,
    base: usize,
    clients: u64,
    messages: u64,
    seen: Vec<u64>, // a bit per message
    next: Vec<u64>,
    delivered: u64,
    dup_flagged: u64,
    dup_unflagged: u64,
    out_of_order: u64,
    foreign: u64,
    unreleased: u64,
    closed: u64,
    last: u64,
}

impl Handler for Drain {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        if first & 0xf0 == 0x60 {
            self.unreleased = self.unreleased.saturating_sub(1);
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
            _ => {
                self.unreleased += 1;
                mqtt::put_ack(reply, mqtt::PUBREC, m.pid);
            }
        }
        self.last = now;
        let j = match m.payload.get(8..HEAD) {
            Some(b) => u64::from_le_bytes(b.try_into().unwrap()),
            None => u64::MAX,
        };
        let client = i as u64 - self.base as u64;
        if j >= self.messages || j % self.clients != client {
            self.foreign += 1;
            return;
        }
        let word = &mut self.seen[j as usize / 64];
        if *word >> (j % 64) & 1 == 1 {
            if m.dup {
                self.dup_flagged += 1;
            } else {
                self.dup_unflagged += 1;
            }
            return;
        }
        *word |= 1 << (j % 64);
        self.delivered += 1;
        let (seq, next) = (j / self.clients, &mut self.next[client as usize]);
        self.out_of_order += (seq < *next) as u64;
        *next = seq + 1;
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

pub fn run(a: &args::Offline, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let target = c.target()?;
    let meter = c.meter()?;
    let (n, qos) = (a.clients, c.qos.max(1));
    let payload = c.payload as usize;
    let limit = sys::raise_nofile(0);
    if (n + 32) as u64 > limit {
        return Err(format!("{n} connections need more descriptors than the limit of {limit}"));
    }
    let who = |clean: bool| {
        move |i: usize| Identity {
            id: c.client_id("o", i),
            clean,
            expiry: if clean { 0 } else { EXPIRY_S },
            src: None,
            rcvbuf: None,
        }
    };

    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let mut none = Ignore::default();
    let measured = meter.start();
    connect_all(&mut pool, &target, n, 0.0, who(false), &mut none).all(n)?;
    let fill = |k: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(format!("{}/off/{k}", c.prefix).as_bytes(), qos);
        }
    };
    subscribe_all(&mut pool, &target, (0, n), qos, fill, &mut none)?;
    pool.goodbye();
    let took = now_ns() - measured.t0;
    meter.settle(5.0);
    rep.phase("session", meter.stop(measured).json("session", n as u64, took, 0));

    connect_all(&mut pool, &target, 1, 0.0, |_| Identity::clean(c.client_id("p", 0)), &mut none).all(1)?;
    let opts = BulkOpts { qos, retain: false, window: a.window };
    let measured = meter.start();
    let make = |j: u64, t: &mut Vec<u8>, p: &mut Vec<u8>| {
        let _ = write!(t, "{}/off/{}", c.prefix, j % n as u64);
        p.extend_from_slice(&now_ns().to_le_bytes());
        p.extend_from_slice(&j.to_le_bytes());
        p.resize(payload, b'x');
    };
    bulk_publish(&mut pool, &target, 0, &opts, a.messages, make, &mut none)?;
    let took = now_ns() - measured.t0;
    meter.settle(2.0);
    rep.phase("enqueue", meter.stop(measured).json("message", a.messages, took, 0));

    let mut d = Drain {
        ver: target.ver,
        base: 1,
        clients: n as u64,
        messages: a.messages,
        seen: vec![0; a.messages as usize / 64 + 1],
        next: vec![0; n],
        delivered: 0,
        dup_flagged: 0,
        dup_unflagged: 0,
        out_of_order: 0,
        foreign: 0,
        unreleased: 0,
        closed: 0,
        last: 0,
    };
    // The broker may be started again meanwhile: nothing is connected.
    pool.send(0, &mqtt::BYE);
    pool.close(0);
    c.begin();
    let measured = meter.start();
    let back = connect_all(&mut pool, &target, n, 0.0, who(false), &mut d).all(n)?;
    let mut moved = ((0, 0), now_ns());
    while (d.delivered < a.messages || d.unreleased > 0) && d.closed == 0 {
        pool.poll(50 * MS, &mut d);
        let now = now_ns();
        let at = (d.delivered, d.unreleased);
        if at != moved.0 {
            moved = (at, now);
        } else if now - moved.1 > sys::secs(a.drain) {
            break;
        }
    }
    // Anything beyond what is due, and the last acknowledgements.
    let until = now_ns() + 20 * MS;
    while now_ns() < until {
        pool.poll(5 * MS, &mut d);
    }
    let took = d.last.saturating_sub(measured.t0);
    rep.phase("drain", meter.stop(measured).json("delivery", d.delivered, took, 0));
    let alive = meter.alive();
    pool.goodbye();

    if !a.keep && alive {
        meter.settle(5.0);
        connect_all(&mut pool, &target, n, 0.0, who(true), &mut none).all(n)?;
        pool.goodbye();
    }
    let lost = a.messages.saturating_sub(d.delivered);
    rep.extend(json!({
        "clients": n,
        "qos_used": qos,
        "expected": a.messages,
        "delivered": d.delivered,
        "lost": lost,
        "dup_flagged": d.dup_flagged,
        "dup_unflagged": d.dup_unflagged,
        "out_of_order": d.out_of_order,
        "sessions_resumed": back.session_present,
        "reconnect_us": back.latency.json(),
    }));
    rep.check(lost == 0, || format!("{lost} of {} queued messages missing", a.messages));
    rep.check(d.dup_unflagged == 0, || format!("{} duplicates without the DUP flag", d.dup_unflagged));
    rep.check(d.out_of_order == 0, || format!("{} messages out of order", d.out_of_order));
    rep.check(d.foreign == 0, || format!("{} messages for somebody else", d.foreign));
    rep.check(d.unreleased == 0, || format!("{} QoS 2 deliveries never released", d.unreleased));
    rep.check(d.closed == 0, || format!("{} connections closed by the broker", d.closed));
    rep.check(back.session_present == n, || format!("only {} of {n} sessions resumed", back.session_present));
    rep.check(alive, || "the broker process is gone".into());
    Ok(())
}
