//! What every scenario does before and around its measured part: connect many
//! clients, subscribe them, publish in bulk through one of them.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::mqtt::{self, Inflight, Subscribe, Ver};
use crate::pool::{Handler, Pool};
use crate::report::Hist;
use crate::sys::{self, MS, NS, now_ns};

#[derive(Clone, Copy)]
pub struct Target {
    pub addr: SocketAddrV4,
    pub ver: Ver,
    pub keepalive: u16,
    /// Connects (or subscribing clients) in progress at a time.
    pub concurrency: usize,
    /// Gives up when nothing moves for this long.
    pub patience_ns: u64,
}

pub struct Identity {
    pub id: String,
    pub clean: bool,
    pub expiry: u32,
    pub src: Option<Ipv4Addr>,
    pub rcvbuf: Option<i32>,
}

impl Identity {
    pub fn clean(id: String) -> Identity {
        Identity { id, clean: true, expiry: 0, src: None, rcvbuf: None }
    }
}

pub struct Connected {
    pub ok: usize,
    pub session_present: usize,
    pub receive_max: u16,
    pub latency: Hist,
    pub error: Option<String>,
}

impl Connected {
    pub fn all(self, want: usize) -> Result<Connected, String> {
        match self.error {
            Some(e) => Err(format!("connected {} of {want}: {e}", self.ok)),
            None => Ok(self),
        }
    }
}

struct Connecting<'a, H> {
    base: usize,
    ver: Ver,
    began: Vec<u64>, // 0: connected
    pending: usize,
    res: Connected,
    inner: &'a mut H,
}

impl<H: Handler> Handler for Connecting<'_, H> {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        match i.checked_sub(self.base).map(|k| self.began[k]) {
            Some(t0) if t0 > 0 => {
                self.began[i - self.base] = 0;
                self.pending -= 1;
                match mqtt::connack(body, self.ver) {
                    Some(c) if first == mqtt::CONNACK && c.code == 0 => {
                        self.res.ok += 1;
                        self.res.session_present += c.session_present as usize;
                        self.res.receive_max = self.res.receive_max.min(c.receive_max);
                        self.res.latency.record(now - t0);
                    }
                    Some(c) => self.res.error = Some(format!("connection refused with code {}", c.code)),
                    None => self.res.error = Some(format!("answer 0x{first:02x} to CONNECT")),
                }
            }
            _ => self.inner.frame(i, first, body, now, reply),
        }
    }

    fn closed(&mut self, i: usize) {
        match i.checked_sub(self.base) {
            Some(k) if self.began[k] > 0 => {
                self.began[k] = 0;
                self.pending -= 1;
                self.res.error = Some("the broker closed a connection instead of CONNACK".into());
            }
            _ => self.inner.closed(i),
        }
    }

    fn writable(&mut self, i: usize) {
        self.inner.writable(i);
    }
}

/// Opens `n` connections with bounded concurrency, `per_s` of them a second at
/// most (0: no limit). They take the pool's next `n` places. Stops at the first
/// failure, and says how far it came.
pub fn connect_all<H: Handler>(
    pool: &mut Pool,
    t: &Target,
    n: usize,
    per_s: f64,
    who: impl Fn(usize) -> Identity,
    inner: &mut H,
) -> Connected {
    let mut h = Connecting {
        base: pool.len(),
        ver: t.ver,
        began: Vec::with_capacity(n),
        pending: 0,
        res: Connected { ok: 0, session_present: 0, receive_max: 65535, latency: Hist::new(), error: None },
        inner,
    };
    let start = now_ns();
    let mut moved = (0, start);
    let mut hello = Vec::new();
    while h.res.ok < n && h.res.error.is_none() {
        while h.began.len() < n && h.pending < t.concurrency {
            let k = h.began.len();
            let now = now_ns();
            if per_s > 0.0 && k as f64 * NS as f64 / per_s > (now - start) as f64 {
                break;
            }
            let id = who(k);
            let i = match sys::tcp_connect(t.addr, id.src, id.rcvbuf).and_then(|fd| pool.add(fd)) {
                Ok(i) => i,
                Err(e) => {
                    h.res.error = Some(format!("connect: {e}"));
                    break;
                }
            };
            debug_assert_eq!(i, h.base + k);
            hello.clear();
            mqtt::put_connect(&mut hello, t.ver, &id.id, id.clean, t.keepalive, id.expiry);
            pool.send(i, &hello);
            h.began.push(now);
            h.pending += 1;
        }
        let wait = if per_s > 0.0 { (NS as f64 / per_s) as u64 } else { 100 * MS };
        pool.poll(wait.min(100 * MS), &mut h);
        let now = now_ns();
        if h.res.ok != moved.0 {
            moved = (h.res.ok, now);
        } else if h.pending > 0 && now - moved.1 > t.patience_ns {
            h.res.error = Some(format!("no CONNACK for {} s", t.patience_ns / NS));
        }
    }
    h.res
}

struct Subscribing<'a, H> {
    base: usize,
    ver: Ver,
    qos: u8,
    acked: Vec<usize>, // connections whose last SUBSCRIBE was answered
    waiting: Vec<bool>,
    refused: usize,
    closed: usize,
    inner: &'a mut H,
}

impl<H: Handler> Handler for Subscribing<'_, H> {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        if first != mqtt::SUBACK || i < self.base || !self.waiting[i - self.base] {
            return self.inner.frame(i, first, body, now, reply);
        }
        let codes = mqtt::suback_codes(body, self.ver).unwrap_or(&[0x80]);
        self.refused += codes.iter().filter(|c| **c != self.qos).count();
        self.waiting[i - self.base] = false;
        self.acked.push(i);
    }

    fn closed(&mut self, i: usize) {
        self.closed += 1;
        self.inner.closed(i);
    }

    fn writable(&mut self, i: usize) {
        self.inner.writable(i);
    }
}

/// Subscribes connections `base .. base+n`, each with the packets `fill(k, seq,
/// packet)` makes for it until that leaves a packet empty; one SUBSCRIBE
/// awaited at a time per connection. Returns how many filters were granted.
pub fn subscribe_all<H: Handler>(
    pool: &mut Pool,
    t: &Target,
    (base, n): (usize, usize),
    qos: u8,
    mut fill: impl FnMut(usize, usize, &mut Subscribe),
    inner: &mut H,
) -> Result<usize, String> {
    let mut h = Subscribing {
        base,
        ver: t.ver,
        qos,
        acked: Vec::new(),
        waiting: vec![false; n],
        refused: 0,
        closed: 0,
        inner,
    };
    let mut packet = Subscribe::default();
    let mut bytes = Vec::new();
    let mut seq = vec![0usize; n];
    let (mut started, mut active, mut filters) = (0, 0usize, 0);
    let mut todo: Vec<usize> = Vec::new();
    let mut moved = now_ns();
    loop {
        while active + todo.len() < t.concurrency && started < n {
            todo.push(started);
            started += 1;
        }
        for k in todo.drain(..) {
            packet.start(t.ver, (seq[k] % 65535) as u16 + 1);
            fill(k, seq[k], &mut packet);
            seq[k] += 1;
            if packet.filters == 0 {
                continue;
            }
            filters += packet.filters;
            bytes.clear();
            packet.put(&mut bytes);
            h.waiting[k] = true;
            active += 1;
            pool.send(base + k, &bytes);
        }
        if active == 0 {
            if started < n {
                continue;
            }
            break;
        }
        pool.poll(100 * MS, &mut h);
        let now = now_ns();
        if h.closed > 0 {
            return Err("the broker closed a connection while subscribing".into());
        }
        if !h.acked.is_empty() {
            moved = now;
        } else if now - moved > t.patience_ns {
            return Err(format!("no SUBACK for {} s", t.patience_ns / NS));
        }
        active -= h.acked.len();
        todo.extend(h.acked.drain(..).map(|i| i - base));
    }
    match h.refused {
        0 => Ok(filters),
        r => Err(format!("{r} of {filters} filters refused or granted another QoS")),
    }
}

struct Bulk<'a, H> {
    conn: usize,
    inflight: Inflight,
    pong: bool,
    closed: bool,
    moved: bool,
    inner: &'a mut H,
}

impl<H: Handler> Handler for Bulk<'_, H> {
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        if i != self.conn {
            return self.inner.frame(i, first, body, now, reply);
        }
        self.moved = true;
        match first {
            mqtt::PINGRESP => self.pong = true,
            mqtt::DISCONNECT => {}
            _ => {
                self.inflight.ack(first, body, reply);
            }
        }
    }

    fn closed(&mut self, i: usize) {
        if i == self.conn {
            self.closed = true;
        } else {
            self.inner.closed(i);
        }
    }

    fn writable(&mut self, i: usize) {
        if i == self.conn {
            self.moved = true;
        } else {
            self.inner.writable(i);
        }
    }
}

pub struct BulkOpts {
    pub qos: u8,
    pub retain: bool,
    pub window: u32,
}

/// Publishes `n` messages as fast as the window (QoS 1, 2) or TCP (QoS 0)
/// permits, through connection `conn`, and returns when the broker has
/// acknowledged them all; at QoS 0 a PINGREQ behind the last one is the barrier.
pub fn bulk_publish<H: Handler>(
    pool: &mut Pool,
    t: &Target,
    conn: usize,
    o: &BulkOpts,
    n: u64,
    mut make: impl FnMut(u64, &mut Vec<u8>, &mut Vec<u8>),
    inner: &mut H,
) -> Result<(), String> {
    let window = o.window.min(32_000);
    let mut h =
        Bulk { conn, inflight: Inflight::new(window), pong: false, closed: false, moved: false, inner };
    let (mut topic, mut payload, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent = 0;
    let mut pinged = false;
    let mut moved = now_ns();
    loop {
        out.clear();
        while sent < n
            && out.len() < 64 * 1024
            && !pool.backlogged(conn)
            && (o.qos == 0 || h.inflight.count < window)
        {
            topic.clear();
            payload.clear();
            make(sent, &mut topic, &mut payload);
            let start = out.len();
            if let Some(at) = mqtt::put_publish_head(&mut out, t.ver, &topic, o.qos, o.retain, payload.len())
            {
                let pid = h.inflight.take().to_be_bytes();
                out[start + at..start + at + 2].copy_from_slice(&pid);
            }
            out.extend_from_slice(&payload);
            sent += 1;
        }
        if sent == n && !pinged && h.inflight.count == 0 {
            out.extend_from_slice(&mqtt::PINGREQ);
            pinged = true;
        }
        if !out.is_empty() {
            pool.send(conn, &out);
            h.moved = true;
        }
        let busy = o.qos == 0 && sent < n && !pool.backlogged(conn);
        pool.poll(if busy { 0 } else { 100 * MS }, &mut h);
        if h.pong {
            return Ok(());
        }
        if h.closed {
            return Err(format!("the broker closed the publisher after {sent} of {n} messages"));
        }
        let now = now_ns();
        if std::mem::take(&mut h.moved) {
            moved = now;
        } else if now - moved > t.patience_ns {
            return Err(format!("publishing stalled at {sent} of {n} messages"));
        }
    }
}
