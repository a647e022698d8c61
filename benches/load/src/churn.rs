//! Short-lived clients: connect, subscribe, publish one, receive it, disconnect.

use serde_json::json;

use crate::args;
use crate::client::Target;
use crate::flow::HEAD;
use crate::mqtt::{self, Inflight, Subscribe};
use crate::pool::{Handler, Pool};
use crate::report::{Hist, Report};
use crate::sys::{self, MS, NS, now_ns};

/// Client source addresses in turn, so that ports in TIME_WAIT do not run out.
const SOURCES: u64 = 1000;
/// A run with more failures than this is stopped.
const MAX_FAILURES: u64 = 100;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    Connecting,
    Subscribing,
    /// Waits for its own message, and for the handshakes of both directions.
    Echo {
        received: bool,
        acked: bool,
        released: bool,
    },
}

struct Slot {
    state: State,
    cycle: u64,
    began: u64,
    inflight: Inflight,
}

struct Churn<'a> {
    target: Target,
    c: &'a args::Common,
    slots: Vec<Slot>,
    finished: Vec<usize>,
    next_cycle: u64,
    done: u64,
    failed: u64,
    first_failure: Option<String>,
    latency: Hist,
    last: u64,
    packet: Subscribe,
}

impl Churn<'_> {
    fn topic(cycle: u64) -> Vec<u8> {
        format!("churn/{cycle}/data").into_bytes()
    }

    fn fail(&mut self, i: usize, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
        self.slots[i].state = State::Idle;
        self.finished.push(i);
    }
}

impl Handler for Churn<'_> {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        let (ver, qos) = (self.target.ver, self.c.qos);
        let slot = &mut self.slots[i];
        match (slot.state, first & 0xf0) {
            (State::Connecting, mqtt::CONNACK) if body.get(1) == Some(&0) => {
                slot.state = State::Subscribing;
                self.packet.start(ver, 1);
                self.packet.add(&Self::topic(slot.cycle), qos);
                self.packet.put(reply);
            }
            (State::Connecting, mqtt::CONNACK) => {
                let code = body.get(1).copied().unwrap_or(0xff);
                self.fail(i, format!("connection refused with code {code}"))
            }
            (State::Subscribing, mqtt::SUBACK) if mqtt::suback_codes(body, ver) == Some(&[qos][..]) => {
                slot.state = State::Echo { received: false, acked: qos == 0, released: qos < 2 };
                let at = reply.len();
                let size = self.c.payload as usize;
                let topic = Self::topic(slot.cycle);
                if let Some(pid) = mqtt::put_publish_head(reply, ver, &topic, qos, false, size) {
                    let id = slot.inflight.take().to_be_bytes();
                    reply[at + pid..][..2].copy_from_slice(&id);
                }
                let body_at = reply.len();
                reply.extend_from_slice(&slot.cycle.to_le_bytes());
                reply.extend_from_slice(&[0; HEAD - 8]);
                reply.resize(body_at + size, b'x');
            }
            (State::Echo { mut received, mut acked, mut released }, kind) => {
                match kind {
                    mqtt::PUBLISH => {
                        let m = mqtt::message(first, body, ver);
                        let own = |p: &[u8]| p.get(..8) == Some(&slot.cycle.to_le_bytes()[..]);
                        match m {
                            Some(m) if own(m.payload) && !received => {
                                received = true;
                                match m.qos {
                                    0 => {}
                                    1 => mqtt::put_ack(reply, mqtt::PUBACK, m.pid),
                                    _ => mqtt::put_ack(reply, mqtt::PUBREC, m.pid),
                                }
                            }
                            _ => return self.fail(i, "a message that was not asked for".into()),
                        }
                    }
                    0x60 => {
                        released = true;
                        mqtt::put_ack(reply, mqtt::PUBCOMP, mqtt::ack_pid(body));
                    }
                    _ => acked |= slot.inflight.ack(first, body, reply),
                }
                slot.state = State::Echo { received, acked, released };
                if received && acked && released {
                    reply.extend_from_slice(&mqtt::BYE);
                    slot.state = State::Idle;
                    self.latency.record(now - slot.began);
                    self.done += 1;
                    self.last = now;
                    self.finished.push(i);
                }
            }
            (State::Idle, _) => {}
            _ => self.fail(i, format!("unexpected packet 0x{first:02x}")),
        }
    }

    fn closed(&mut self, i: usize) {
        if self.slots[i].state != State::Idle {
            self.fail(i, "the broker closed a connection".into());
        }
    }
}

impl Churn<'_> {
    fn begin(&mut self, pool: &mut Pool, i: usize, hello: &mut Vec<u8>) {
        let cycle = self.next_cycle;
        self.next_cycle += 1;
        let slot = &mut self.slots[i];
        slot.cycle = cycle;
        slot.began = now_ns();
        slot.inflight = Inflight::new(1);
        slot.state = State::Connecting;
        let src = sys::source_addr((cycle % SOURCES) as usize);
        match sys::tcp_connect(self.target.addr, Some(src), None) {
            Ok(fd) => {
                if let Err(e) = pool.reopen(i, fd) {
                    return self.fail(i, format!("epoll: {e}"));
                }
                hello.clear();
                let id = self.c.client_id("c", cycle as usize);
                mqtt::put_connect(hello, self.target.ver, &id, true, self.target.keepalive, 0);
                pool.send(i, hello);
            }
            Err(e) => self.fail(i, format!("connect: {e}")),
        }
    }

    /// Cycles for so long, or so many; then lets those begun come to their end.
    fn cycle(&mut self, pool: &mut Pool, seconds: f64, most: u64, rate: f64) {
        let t0 = now_ns();
        let end = t0 + sys::secs(seconds);
        let mut begun = 0;
        let mut free: Vec<usize> = (0..self.slots.len()).rev().collect();
        let mut hello = Vec::new();
        let mut moved = (self.done, t0);
        loop {
            let now = now_ns();
            let mut until = now + 100 * MS;
            let open = now < end && begun < most && self.failed <= MAX_FAILURES;
            while open && begun < most {
                let due = t0 + if rate > 0.0 { (begun as f64 * NS as f64 / rate) as u64 } else { 0 };
                if due > now {
                    until = until.min(due);
                    break;
                }
                let Some(i) = free.pop() else { break };
                self.begin(pool, i, &mut hello);
                begun += 1;
            }
            if !open && free.len() == self.slots.len() {
                return;
            }
            if self.finished.is_empty() {
                pool.poll(until.saturating_sub(now_ns()), self);
            }
            for i in self.finished.drain(..) {
                pool.close(i);
                free.push(i);
            }
            if self.done != moved.0 {
                moved = (self.done, now);
            } else if free.len() < self.slots.len() && now - moved.1 > self.target.patience_ns {
                self.failed += (self.slots.len() - free.len()) as u64;
                self.first_failure.get_or_insert("cycles stalled".into());
                return;
            }
        }
    }
}

pub fn run(a: &args::Churn, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let meter = c.meter()?;
    sys::raise_nofile(0);
    let slot = || Slot { state: State::Idle, cycle: 0, began: 0, inflight: Inflight::new(1) };
    let mut h = Churn {
        target: c.target()?,
        c,
        slots: (0..a.clients).map(|_| slot()).collect(),
        finished: Vec::new(),
        next_cycle: 0,
        done: 0,
        failed: 0,
        first_failure: None,
        latency: Hist::new(),
        last: 0,
        packet: Subscribe::default(),
    };
    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    for _ in 0..a.clients {
        pool.vacant();
    }
    h.cycle(&mut pool, a.warmup.max(0.1), u64::MAX, a.rate);
    if h.failed > 0 {
        return Err(h.first_failure.unwrap_or_default());
    }
    meter.settle(2.0);
    h.latency.reset();
    h.done = 0;
    let seconds = a.seconds.unwrap_or(if a.messages.is_some() { 3600.0 } else { 5.0 });
    let measured = meter.start();
    h.cycle(&mut pool, seconds, a.messages.unwrap_or(u64::MAX), a.rate);
    let took = h.last.saturating_sub(measured.t0);
    meter.settle(2.0);
    rep.phase("run", meter.stop(measured).json("cycle", h.done, took, 0));
    rep.extend(json!({
        "clients": a.clients,
        "cycles": h.done,
        "failed": h.failed,
        "cycles_per_s": crate::report::r2(h.done as f64 * NS as f64 / took.max(1) as f64),
        "latency_us": h.latency.json(),
    }));
    rep.check(h.failed == 0, || {
        format!("{} cycles failed: {}", h.failed, h.first_failure.unwrap_or_default())
    });
    rep.check(h.done > 0, || "no cycle came to its end".into());
    rep.check(meter.alive(), || "the broker process is gone".into());
    Ok(())
}
