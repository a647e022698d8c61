//! Subscribers that stop reading for a while, and then take what the broker still has for them.

use serde_json::json;

use crate::args;
use crate::client::{Identity, connect_all, subscribe_all};
use crate::mqtt::{self, Subscribe, Ver};
use crate::pool::{Handler, Ignore, Pool};
use crate::report::Report;
use crate::sys::{self, MS, now_ns};

struct Late {
    ver: Ver,
    delivered: u64,
    dup_flagged: u64,
    bad: u64,
    closed: u64,
    last: u64,
}

impl Handler for Late {
    fn frame(&mut self, _: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        self.last = now;
        match first & 0xf0 {
            mqtt::PUBLISH => match mqtt::message(first, body, self.ver) {
                Some(m) => {
                    self.delivered += 1;
                    self.dup_flagged += m.dup as u64;
                    match m.qos {
                        0 => {}
                        1 => mqtt::put_ack(reply, mqtt::PUBACK, m.pid),
                        _ => mqtt::put_ack(reply, mqtt::PUBREC, m.pid),
                    }
                }
                None => self.bad += 1,
            },
            0x60 => mqtt::put_ack(reply, mqtt::PUBCOMP, mqtt::ack_pid(body)),
            mqtt::DISCONNECT => {}
            _ => self.bad += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

pub fn run(a: &args::Stall, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let target = c.target()?;
    let meter = c.meter()?;
    let n = a.clients;
    let who = |i: usize| Identity { rcvbuf: Some(a.rcvbuf), ..Identity::clean(c.client_id("d", i)) };
    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let mut none = Ignore::default();
    connect_all(&mut pool, &target, n, 0.0, who, &mut none).all(n)?;
    let fill = |_: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(a.filter.as_bytes(), c.qos);
        }
    };
    subscribe_all(&mut pool, &target, (0, n), c.qos, fill, &mut none)?;

    c.begin();
    let measured = meter.start();
    sys::sleep_ns(sys::secs(a.seconds));
    rep.phase("stalled", meter.stop(measured).json("second", a.seconds as u64, sys::secs(a.seconds), 0));

    let mut late = Late { ver: target.ver, delivered: 0, dup_flagged: 0, bad: 0, closed: 0, last: now_ns() };
    let measured = meter.start();
    while now_ns() < late.last + sys::secs(a.drain) && late.closed < n as u64 {
        pool.poll(50 * MS, &mut late);
    }
    let took = late.last.saturating_sub(measured.t0);
    rep.phase("drain", meter.stop(measured).json("delivery", late.delivered, took, 0));
    pool.goodbye();
    rep.extend(json!({
        "clients": n,
        "delivered": late.delivered,
        "dup_flagged": late.dup_flagged,
        "closed": late.closed,
    }));
    rep.check(late.bad == 0, || format!("{} unexpected or malformed packets", late.bad));
    rep.check(meter.alive(), || "the broker process is gone".into());
    Ok(())
}
