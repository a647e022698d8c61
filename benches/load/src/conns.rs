//! Very many idle connections, held by as many client processes as the
//! descriptor limit makes necessary. The parent measures and gives the orders;
//! each worker holds a contiguous part of the connections.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::args;
use crate::client::{BulkOpts, Identity, Target, bulk_publish, connect_all, subscribe_all};
use crate::flow::HEAD;
use crate::mqtt::{self, Subscribe};
use crate::pool::{Handler, Ignore, Pool};
use crate::report::{Hist, Report, r2};
use crate::sys::{self, MS, now_ns};

const BROADCAST: &[u8] = b"bench/broadcast";
/// Descriptors a process needs for itself.
const SPARE_FDS: u64 = 64;

// ---- worker ---------------------------------------------------------------

struct Part {
    /// Numbers of its connections, over all workers.
    first: usize,
    n: usize,
    target: Target,
    qos: u8,
    sources: usize,
    pace: f64,
    tag: u32,
}

struct Idle {
    target: Target,
    pongs: u64,
    received: u64,
    bad: u64,
    closed: u64,
    last: u64,
    latency: Hist,
}

impl Handler for Idle {
    fn frame(&mut self, _: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>) {
        match first & 0xf0 {
            mqtt::PINGRESP => self.pongs += 1,
            mqtt::PUBLISH => {
                let Some(m) = mqtt::message(first, body, self.target.ver) else {
                    self.bad += 1;
                    return;
                };
                match m.qos {
                    0 => {}
                    1 => mqtt::put_ack(reply, mqtt::PUBACK, m.pid),
                    _ => mqtt::put_ack(reply, mqtt::PUBREC, m.pid),
                }
                if let (true, Some(ts)) = (m.topic == BROADCAST, m.payload.get(..8)) {
                    self.received += 1;
                    self.latency.record(now.saturating_sub(u64::from_le_bytes(ts.try_into().unwrap())));
                } else {
                    self.bad += 1;
                }
            }
            0x60 => mqtt::put_ack(reply, mqtt::PUBCOMP, mqtt::ack_pid(body)),
            _ => self.bad += 1,
        }
        self.last = now;
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

/// Polls until `count` reaches `want` or nothing moves for the target's patience.
fn wait_for(pool: &mut Pool, h: &mut Idle, want: u64, count: fn(&Idle) -> u64) {
    let mut moved = (count(h), now_ns());
    while count(h) < want {
        pool.poll(50 * MS, h);
        let now = now_ns();
        if count(h) != moved.0 {
            moved = (count(h), now);
        } else if now - moved.1 > h.target.patience_ns {
            return;
        }
    }
}

/// DISCONNECT on every connection, a few at a time, each closed when the broker
/// has closed it: a million unread DISCONNECTs would fill the kernel's TCP memory.
/// A broker that does not close them is not waited for.
fn part_gently(pool: &mut Pool, h: &mut Idle) {
    let (mut sent, before, mut next) = (0, h.closed, 0);
    let mut moved = (before, now_ns());
    while next < pool.len() || h.closed - before < sent {
        while next < pool.len() && sent - (h.closed - before) < h.target.concurrency as u64 {
            if pool.is_open(next) {
                pool.send(next, &mqtt::BYE);
                sent += 1;
            }
            next += 1;
        }
        pool.poll(50 * MS, h);
        let now = now_ns();
        if h.closed != moved.0 {
            moved = (h.closed, now);
        } else if now - moved.1 > 2 * sys::NS {
            break;
        }
    }
    pool.goodbye();
}

fn worker(part: Part, orders: UnixStream) -> Result<(), String> {
    let err = |e: std::io::Error| e.to_string();
    let mut pool = Pool::new().map_err(err)?;
    let mut h =
        Idle { target: part.target, pongs: 0, received: 0, bad: 0, closed: 0, last: 0, latency: Hist::new() };
    let mut answers = orders.try_clone().map_err(err)?;
    for line in BufReader::new(orders).lines() {
        let line = line.map_err(err)?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
        let cpu = sys::own_cpu_ns();
        let mut answer = match words[0] {
            "connect" => {
                let who = |k: usize| Identity {
                    id: format!("i{:x}-{}", part.tag, part.first + k),
                    clean: true,
                    expiry: 0,
                    src: Some(sys::source_addr((part.first + k) % part.sources)),
                    rcvbuf: None,
                };
                let c = connect_all(&mut pool, &part.target, part.n, part.pace, who, &mut h);
                json!({ "n": c.ok, "error": c.error, "latency": c.latency.pairs() })
            }
            "subscribe" => {
                // Every connection its own topic, or every `step`-th the broadcast.
                let step = number(1);
                let fill = |k: usize, seq: usize, p: &mut Subscribe| {
                    let at = (part.first + k) as u64;
                    if seq > 0 {
                    } else if step == 0 {
                        p.add(format!("idle/{at}").as_bytes(), part.qos);
                    } else if at.is_multiple_of(step) {
                        p.add(BROADCAST, part.qos);
                    }
                };
                let open = pool.len();
                let r = subscribe_all(&mut pool, &part.target, (0, open), part.qos, fill, &mut h);
                json!({ "n": r.as_ref().unwrap_or(&0), "error": r.err() })
            }
            "ping" => {
                h.pongs = 0;
                let mut sent = 0;
                for i in 0..pool.len() {
                    if pool.is_open(i) {
                        pool.send(i, &mqtt::PINGREQ);
                        sent += 1;
                    }
                    // Answers are read along the way, a few at a time.
                    if sent > h.pongs + part.target.concurrency as u64 {
                        pool.poll(100 * MS, &mut h);
                    }
                }
                wait_for(&mut pool, &mut h, sent, |h| h.pongs);
                json!({ "n": h.pongs, "error": (h.pongs != sent).then(|| format!("{} of {sent} pings answered", h.pongs)) })
            }
            "receive" => {
                h.received = 0;
                wait_for(&mut pool, &mut h, number(1), |h| h.received);
                pool.poll(20 * MS, &mut h);
                json!({ "n": h.received, "error": null, "latency": h.latency.pairs() })
            }
            "check" => {
                // A broker that gave connections up has closed them by now.
                while pool.poll(0, &mut h) > 0 {}
                let lost = (h.closed + h.bad > 0).then(|| {
                    format!("{} connections closed by the broker, {} stray packets", h.closed, h.bad)
                });
                json!({ "n": pool.len() as u64 - h.closed, "error": lost })
            }
            "close" => {
                let n = pool.len();
                part_gently(&mut pool, &mut h);
                json!({ "n": n, "error": null })
            }
            other => return Err(format!("order {other}")),
        };
        answer["cpu_ns"] = json!(sys::own_cpu_ns() - cpu);
        answer["last"] = json!(h.last);
        writeln!(answers, "{answer}").map_err(err)?;
    }
    Ok(())
}

// ---- parent ---------------------------------------------------------------

struct Worker {
    pid: libc::pid_t,
    orders: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Worker {
    /// Forks (this process has one thread) a child that serves `part`.
    fn start(part: Part, siblings: &[Worker]) -> Result<Worker, String> {
        let (mine, theirs) = UnixStream::pair().map_err(|e| e.to_string())?;
        let parent = std::process::id();
        match unsafe { libc::fork() } {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => {
                drop(mine);
                for s in siblings {
                    sys::close(std::os::fd::AsRawFd::as_raw_fd(&s.orders));
                    sys::close(std::os::fd::AsRawFd::as_raw_fd(s.answers.get_ref()));
                }
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0u64, 0u64, 0u64) };
                if std::os::unix::process::parent_id() != parent {
                    unsafe { libc::_exit(3) };
                }
                let status = match worker(part, theirs) {
                    Ok(()) => 0,
                    Err(e) => {
                        eprintln!("midge-load worker: {e}");
                        3
                    }
                };
                unsafe { libc::_exit(status) }
            }
            pid => Ok(Worker {
                pid,
                orders: mine.try_clone().map_err(|e| e.to_string())?,
                answers: BufReader::new(mine),
            }),
        }
    }
}

/// The workers' answers to one order, added up.
struct Answer {
    n: u64,
    each: Vec<u64>,
    cpu_ns: u64,
    last: u64,
    errors: Vec<String>,
    latency: Hist,
}

struct Crew(Vec<Worker>);

impl Crew {
    fn order(&mut self, what: &str) -> Result<(), String> {
        for w in &mut self.0 {
            writeln!(w.orders, "{what}").map_err(|e| format!("worker: {e}"))?;
        }
        Ok(())
    }

    fn answers(&mut self) -> Result<Answer, String> {
        let mut a = Answer { n: 0, each: vec![], cpu_ns: 0, last: 0, errors: vec![], latency: Hist::new() };
        for w in &mut self.0 {
            let mut line = String::new();
            w.answers.read_line(&mut line).map_err(|e| e.to_string())?;
            let v: Value = serde_json::from_str(&line).map_err(|_| "a worker died".to_string())?;
            let n = v["n"].as_u64().unwrap_or(0);
            a.n += n;
            a.each.push(n);
            a.cpu_ns += v["cpu_ns"].as_u64().unwrap_or(0);
            a.last = a.last.max(v["last"].as_u64().unwrap_or(0));
            a.errors.extend(v["error"].as_str().map(String::from));
            a.latency.add_pairs(&v["latency"]);
        }
        Ok(a)
    }

    fn ask(&mut self, what: &str) -> Result<Answer, String> {
        self.order(what)?;
        self.answers()
    }

    fn dismiss(self) {
        let pids: Vec<_> = self.0.iter().map(|w| w.pid).collect();
        drop(self.0); // end of file ends them
        for p in pids {
            unsafe { libc::waitpid(p, std::ptr::null_mut(), 0) };
        }
    }
}

/// Kernel memory of the whole machine: both ends of every connection are in it.
fn slab_kb() -> i64 {
    let s = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    s.lines().find_map(|l| l.strip_prefix("Slab:")?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

pub fn run(a: &args::Conns, rep: &mut Report) -> Result<(), String> {
    let c = &a.common;
    let target = c.target()?;
    let total = a.connections;
    let limit = sys::raise_nofile(total as u64 + SPARE_FDS);
    let per_proc = limit.saturating_sub(SPARE_FDS).max(1) as usize;
    let procs = a.procs.unwrap_or(0).max(total.div_ceil(per_proc)).max(1);
    let mut crew = Crew(Vec::new());
    for w in 0..procs {
        let (first, end) = (total * w / procs, total * (w + 1) / procs);
        let part = Part {
            first,
            n: end - first,
            target: Target { concurrency: (target.concurrency / procs).max(1), ..target },
            qos: c.qos,
            sources: total.div_ceil(a.per_source.max(1)),
            pace: a.conn_rate / procs as f64,
            tag: std::process::id(),
        };
        crew.0.push(Worker::start(part, &crew.0)?);
    }
    let meter = c.meter()?;
    rep.extend(json!({
        "connections": total,
        "client_processes": procs,
        "client_nofile_limit": limit,
        "client_addresses": total.div_ceil(a.per_source.max(1)),
    }));
    let r = phases(a, &target, &mut crew, &meter, rep);
    crew.dismiss();
    r?;
    rep.check(meter.alive(), || "the broker process is gone".into());
    Ok(())
}

fn phases(
    a: &args::Conns,
    target: &Target,
    crew: &mut Crew,
    meter: &crate::meter::Meter,
    rep: &mut Report,
) -> Result<(), String> {
    let total = a.connections as u64;
    let slab = slab_kb();
    let measured = meter.start();
    let got = crew.ask("connect")?;
    let took = now_ns() - measured.t0;
    meter.settle(5.0);
    let mut v = meter.stop(measured).json("connect", got.n, took, got.cpu_ns);
    let both_ends = (slab_kb() - slab) as f64 * 1024.0 / got.n.max(1) as f64;
    v["host_slab_bytes_per_op"] = json!(r2(both_ends));
    rep.phase("connect", v);
    rep.set("connected", got.n);
    rep.set("connect_us", got.latency.json());
    rep.check(got.n == total, || format!("connected {} of {total}: {}", got.n, got.errors.join("; ")));
    let whole = got.n == total;

    if a.hold > 0.0 {
        let measured = meter.start();
        sys::sleep_ns(sys::secs(a.hold));
        let took = now_ns() - measured.t0;
        rep.phase("idle", meter.stop(measured).json("connection", got.n, took, 0));
    }
    if a.subscribe && whole {
        step(crew, meter, rep, "subscribe", "filter", total)?;
    }
    if a.ping && whole {
        step(crew, meter, rep, "ping", "ping", total)?;
    }
    if a.broadcast > 0 && whole {
        broadcast(a, target, crew, meter, rep)?;
    }
    if whole {
        let seen = crew.ask("check")?;
        rep.set("still_connected", seen.n);
        rep.check(seen.errors.is_empty(), || seen.errors.join("; "));
    }
    let measured = meter.start();
    let gone = crew.ask("close")?;
    meter.settle(30.0);
    let took = now_ns() - measured.t0;
    rep.phase("close", meter.stop(measured).json("close", gone.n, took, gone.cpu_ns));
    Ok(())
}

/// One order to all connections, measured.
fn step(
    crew: &mut Crew,
    meter: &crate::meter::Meter,
    rep: &mut Report,
    order: &str,
    op: &str,
    want: u64,
) -> Result<(), String> {
    let measured = meter.start();
    let got = crew.ask(order)?;
    let took = now_ns() - measured.t0;
    rep.phase(order, meter.stop(measured).json(op, got.n, took, got.cpu_ns));
    rep.check(got.n == want && got.errors.is_empty(), || {
        format!("{order}: {} of {want} {}", got.n, got.errors.join("; "))
    });
    Ok(())
}

fn broadcast(
    a: &args::Conns,
    target: &Target,
    crew: &mut Crew,
    meter: &crate::meter::Meter,
    rep: &mut Report,
) -> Result<(), String> {
    let c = &a.common;
    let step = (a.connections / a.broadcast.min(a.connections)).max(1);
    let subs = crew.ask(&format!("subscribe {step}"))?;
    if !subs.errors.is_empty() {
        return Err(format!("broadcast: {}", subs.errors.join("; ")));
    }
    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let mut none = Ignore::default();
    connect_all(&mut pool, target, 1, 0.0, |_| Identity::clean(c.client_id("b", 0)), &mut none).all(1)?;
    meter.settle(2.0);

    let (m, size) = (a.broadcast_messages, c.payload as usize);
    let measured = meter.start();
    for (w, n) in crew.0.iter_mut().zip(&subs.each) {
        writeln!(w.orders, "receive {}", n * m).map_err(|e| e.to_string())?;
    }
    let opts = BulkOpts { qos: c.qos, retain: false, window: 20 };
    let make = |_: u64, t: &mut Vec<u8>, p: &mut Vec<u8>| {
        t.extend_from_slice(BROADCAST);
        p.extend_from_slice(&now_ns().to_le_bytes());
        p.resize(size.max(HEAD), b'x');
    };
    bulk_publish(&mut pool, target, 0, &opts, m, make, &mut none)?;
    let got = crew.answers()?;
    let took = got.last.saturating_sub(measured.t0);
    rep.phase("broadcast", meter.stop(measured).json("delivery", got.n, took, got.cpu_ns));
    rep.extend(json!({
        "broadcast_subscribers": subs.n,
        "broadcast_expected": subs.n * m,
        "broadcast_delivered": got.n,
        "broadcast_latency_us": got.latency.json(),
    }));
    rep.check(got.n == subs.n * m, || format!("broadcast: {} of {} delivered", got.n, subs.n * m));
    pool.goodbye();
    Ok(())
}
