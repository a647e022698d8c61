//! What a phase cost the broker, from outside: /proc of its process (and of its
//! descendants), beside what it cost this generator and what else the machine did.

use std::collections::HashMap;
use std::fs;

use serde_json::{Value, json};

use crate::perf::{Perf, PerfCounts};
use crate::report::{r2, r4};
use crate::sys::{self, MS, NS, now_ns};

/// One reading of the broker's CPU accounting.
#[derive(Default, Clone)]
struct Cpu {
    user_ticks: u64,
    sys_ticks: u64,
    /// Nanoseconds on CPU of each live thread (schedstat): finer than ticks.
    threads: HashMap<i32, u64>,
    voluntary: u64,
    involuntary: u64,
}

/// Machine-wide ticks from /proc/stat.
#[derive(Default, Clone, Copy)]
struct Host {
    busy: u64,
    steal: u64,
}

#[derive(Default, Clone, Copy)]
pub struct Memory {
    pub rss_kb: u64,
    pub pss_kb: u64,
    pub anon_kb: u64,
    pub hwm_kb: u64,
}

#[derive(Clone)]
pub struct Meter {
    roots: Vec<i32>,
    perf: bool,
    hz: u64,
}

pub struct Running {
    pids: Vec<i32>,
    mem: Memory,
    perf: Option<Perf>,
    cpu: Cpu,
    host: Host,
    own_ns: u64,
    pub t0: u64,
}

/// The difference over a phase.
pub struct Cost {
    pub known: bool,
    pub wall_ns: u64,
    pub cpu_ns: u64,
    from_sched: bool,
    user_ticks: u64,
    sys_ticks: u64,
    hz: u64,
    voluntary: u64,
    involuntary: u64,
    threads: usize,
    before: Memory,
    pub after: Memory,
    perf: Option<PerfCounts>,
    pub own_ns: u64,
    host_busy_ns: u64,
    host_steal_ns: u64,
}

impl Meter {
    pub fn new(roots: Vec<i32>, perf: bool) -> Result<Meter, String> {
        for p in &roots {
            if stat_fields(*p).is_none() {
                return Err(format!("--pid {p}: no such process"));
            }
        }
        Ok(Meter { roots, perf, hz: unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64 })
    }

    pub fn start(&self) -> Running {
        let pids = tree(&self.roots);
        let mem = memory(&pids);
        let perf = self.perf.then(|| {
            let tids: Vec<i32> = pids.iter().flat_map(|p| tids(*p)).collect();
            Perf::start(&tids)
        });
        Running { mem, perf, host: host(), own_ns: sys::own_cpu_ns(), cpu: cpu(&pids), t0: now_ns(), pids }
    }

    pub fn stop(&self, r: Running) -> Cost {
        let perf = r.perf.as_ref().map(Perf::read);
        let t1 = now_ns();
        let now = cpu(&r.pids);
        let own_ns = sys::own_cpu_ns() - r.own_ns;
        let host = host();
        drop(r.perf);
        let after = memory(&r.pids);

        let ticks = (now.user_ticks + now.sys_ticks).saturating_sub(r.cpu.user_ticks + r.cpu.sys_ticks);
        // A thread that ended took its nanoseconds along: then only the ticks are whole.
        let whole = !now.threads.is_empty() && r.cpu.threads.keys().all(|t| now.threads.contains_key(t));
        let sched: u64 = now
            .threads
            .iter()
            .map(|(t, ns)| ns.saturating_sub(r.cpu.threads.get(t).copied().unwrap_or(0)))
            .sum();
        Cost {
            known: !r.pids.is_empty(),
            wall_ns: t1 - r.t0,
            cpu_ns: if whole { sched } else { ticks * NS / self.hz },
            from_sched: whole,
            user_ticks: now.user_ticks.saturating_sub(r.cpu.user_ticks),
            sys_ticks: now.sys_ticks.saturating_sub(r.cpu.sys_ticks),
            hz: self.hz,
            voluntary: now.voluntary.saturating_sub(r.cpu.voluntary),
            involuntary: now.involuntary.saturating_sub(r.cpu.involuntary),
            threads: now.threads.len(),
            before: r.mem,
            after,
            perf,
            own_ns,
            host_busy_ns: (host.busy - r.host.busy) * NS / self.hz,
            host_steal_ns: (host.steal - r.host.steal) * NS / self.hz,
        }
    }

    pub fn alive(&self) -> bool {
        self.roots.iter().all(|p| stat_fields(*p).is_some_and(|s| s.0 != b'Z'))
    }

    /// Waits (a bounded time) until the broker uses no CPU to speak of: it has
    /// dealt with what was sent or closed.
    pub fn settle(&self, max_s: f64) {
        let end = now_ns() + sys::secs(max_s);
        let mut calm = 0;
        let mut last: Option<u64> = None;
        while now_ns() < end && calm < 3 {
            let c: u64 = cpu(&tree(&self.roots)).threads.values().sum();
            calm = match last {
                Some(l) if c.saturating_sub(l) < MS => calm + 1,
                _ => 0,
            };
            last = Some(c);
            sys::sleep_ns(30 * MS);
        }
    }
}

impl Cost {
    /// The uniform description of a phase: `ops` operations of the kind `op`
    /// that took `elapsed_ns`. `helpers_ns` is CPU of generator processes other
    /// than this one.
    pub fn json(&self, op: &str, ops: u64, elapsed_ns: u64, helpers_ns: u64) -> Value {
        let n = ops.max(1) as f64;
        let s = |ns: u64| ns as f64 / NS as f64;
        let ticks = |t: u64| t as f64 / self.hz as f64;
        let own = self.own_ns + helpers_ns;
        let mut v = json!({
            "op": op,
            "ops": ops,
            "elapsed_s": r4(s(elapsed_ns)),
            "ops_per_s": r2(ops as f64 / s(elapsed_ns).max(1e-9)),
        });
        let o = v.as_object_mut().unwrap();
        if self.known {
            let other = self.host_busy_ns as f64 - (self.cpu_ns + own) as f64;
            let per = |c: Option<u64>| json!(c.map(|c| r2(c as f64 / n)));
            let fields = json!({
                "cpu_us_per_op": r4(self.cpu_ns as f64 / 1e3 / n),
                "cpu_s": r4(s(self.cpu_ns)),
                "cpu_user_s": r2(ticks(self.user_ticks)),
                "cpu_sys_s": r2(ticks(self.sys_ticks)),
                "cpu_source": if self.from_sched { "schedstat" } else { "stat" },
                "cpu_pct": r2(100.0 * self.cpu_ns as f64 / self.wall_ns as f64),
                "vol_ctxt": self.voluntary,
                "vol_ctxt_per_op": r4(self.voluntary as f64 / n),
                "invol_ctxt": self.involuntary,
                "threads": self.threads,
                "rss_kb_start": self.before.rss_kb,
                "rss_kb": self.after.rss_kb,
                "pss_kb": self.after.pss_kb,
                "rss_peak_kb": self.after.hwm_kb,
                "anon_kb": self.after.anon_kb,
                "anon_bytes_per_op": r2((self.after.anon_kb as f64 - self.before.anon_kb as f64) * 1024.0 / n),
                "rss_bytes_per_op": r2((self.after.rss_kb as f64 - self.before.rss_kb as f64) * 1024.0 / n),
                "perf": self.perf.map(|p| json!({
                    "instructions_user_per_op": per(p.instructions_user),
                    "instructions_kernel_per_op": per(p.instructions_kernel),
                    "syscalls": p.syscalls,
                    "syscalls_per_op": json!(p.syscalls.map(|c| r4(c as f64 / n))),
                })),
                "other_cpu_pct": r2(100.0 * other.max(0.0) / self.wall_ns as f64),
            });
            o.extend(fields.as_object().unwrap().clone());
        }
        o.insert("load_cpu_us_per_op".into(), json!(r4(own as f64 / 1e3 / n)));
        o.insert("load_cpu_s".into(), json!(r4(s(own))));
        o.insert("steal_pct".into(), json!(r2(100.0 * self.host_steal_ns as f64 / self.wall_ns as f64)));
        v
    }
}

/// State and the fields after it of /proc/PID/stat: (state, ppid, utime, stime).
fn stat_fields(pid: i32) -> Option<(u8, i32, u64, u64)> {
    let s = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let f: Vec<&str> = s[s.rfind(')')? + 2..].split(' ').collect();
    Some((
        f.first()?.as_bytes()[0],
        f.get(1)?.parse().ok()?,
        f.get(11)?.parse().ok()?,
        f.get(12)?.parse().ok()?,
    ))
}

fn numbers_in(dir: &str) -> Vec<i32> {
    fs::read_dir(dir)
        .map(|d| d.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default()
}

fn tids(pid: i32) -> Vec<i32> {
    numbers_in(&format!("/proc/{pid}/task"))
}

/// The given processes and all their descendants.
fn tree(roots: &[i32]) -> Vec<i32> {
    if roots.is_empty() {
        return Vec::new();
    }
    let parents: Vec<(i32, i32)> =
        numbers_in("/proc").into_iter().filter_map(|p| Some((p, stat_fields(p)?.1))).collect();
    let mut all = roots.to_vec();
    let mut at = 0;
    while at < all.len() {
        for (p, parent) in &parents {
            if *parent == all[at] && !all.contains(p) {
                all.push(*p);
            }
        }
        at += 1;
    }
    all
}

fn cpu(pids: &[i32]) -> Cpu {
    let mut c = Cpu::default();
    for &pid in pids {
        if let Some((_, _, u, s)) = stat_fields(pid) {
            c.user_ticks += u;
            c.sys_ticks += s;
        }
        for tid in tids(pid) {
            let at = format!("/proc/{pid}/task/{tid}");
            if let Some(ns) = fs::read_to_string(format!("{at}/schedstat"))
                .ok()
                .and_then(|s| s.split(' ').next()?.parse().ok())
            {
                c.threads.insert(tid, ns);
            }
            let status = fs::read_to_string(format!("{at}/status")).unwrap_or_default();
            c.voluntary += field(&status, "voluntary_ctxt_switches:");
            c.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        }
    }
    c
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|l| l.strip_prefix(name))
        .and_then(|v| v.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn memory(pids: &[i32]) -> Memory {
    let mut m = Memory::default();
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        m.rss_kb += field(&status, "VmRSS:");
        m.hwm_kb += field(&status, "VmHWM:");
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        m.pss_kb += field(&rollup, "Pss:");
        m.anon_kb += field(&rollup, "Anonymous:");
    }
    m
}

fn host() -> Host {
    let s = fs::read_to_string("/proc/stat").unwrap_or_default();
    let f: Vec<u64> = s
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|v| v.parse().ok())
        .collect();
    let at = |i: usize| f.get(i).copied().unwrap_or(0);
    Host { busy: at(0) + at(1) + at(2) + at(5) + at(6), steal: at(7) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The processor time of this process.
    fn own_cpu_ns() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` outlives the call, which writes it.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[test]
    fn measures_this_process() {
        let me = std::process::id() as i32;
        let m = Meter::new(vec![me], false).unwrap();
        let r = m.start();
        // However busy the machine is: what counts is the time that this process has had.
        let end = own_cpu_ns() + 60 * MS;
        while own_cpu_ns() < end {}
        let c = m.stop(r);
        assert!(c.cpu_ns > 20 * MS, "{}", c.cpu_ns);
        assert!(c.after.rss_kb > 100 && c.after.pss_kb > 0);
        assert!(Meter::new(vec![0x7fff_fff0], false).is_err());
    }
}
