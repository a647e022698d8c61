//! What `perf stat -p PID -e instructions:u,instructions:k,raw_syscalls:sys_enter`
//! counts, through perf_event_open itself: no process to start, and the counters
//! are read at exactly the ends of the phase. A counter this machine lacks is None.

use std::fs;
use std::os::fd::RawFd;

use crate::sys;

/// perf_event_attr as far as PERF_ATTR_SIZE_VER0.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    config1: u64,
}

const HARDWARE: u32 = 0;
const TRACEPOINT: u32 = 2;
const INSTRUCTIONS: u64 = 1;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_USER: u64 = 1 << 4;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const TIMES: u64 = 3; // time enabled and time running, to scale a multiplexed counter

fn open(kind: u32, config: u64, flags: u64, tid: i32) -> Option<RawFd> {
    let attr = Attr {
        kind,
        size: std::mem::size_of::<Attr>() as u32,
        config,
        read_format: TIMES,
        flags: flags | INHERIT,
        ..Default::default()
    };
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, tid, -1, -1, 0) };
    (fd >= 0).then_some(fd as RawFd)
}

fn tracepoint(name: &str) -> Option<u64> {
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}/events/{name}/id")).ok())
        .and_then(|s| s.trim().parse().ok())
}

/// One event over all threads of the broker.
struct Counter(Vec<RawFd>);

impl Counter {
    fn open(tids: &[i32], kind: u32, config: u64, flags: u64) -> Option<Counter> {
        let mut c = Counter(Vec::new());
        for &tid in tids {
            c.0.push(open(kind, config, flags, tid)?);
        }
        (!c.0.is_empty()).then_some(c)
    }

    fn read(&self) -> u64 {
        let mut sum = 0;
        for &fd in &self.0 {
            let mut v = [0u64; 3];
            let n = unsafe { libc::read(fd, v.as_mut_ptr() as *mut libc::c_void, 24) };
            if n == 24 && v[2] > 0 {
                sum += (v[0] as u128 * v[1] as u128 / v[2] as u128) as u64;
            }
        }
        sum
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.iter().for_each(|fd| sys::close(*fd));
    }
}

/// Counting since it was made.
pub struct Perf {
    user: Option<Counter>,
    kernel: Option<Counter>,
    syscalls: Option<Counter>,
}

#[derive(Clone, Copy)]
pub struct PerfCounts {
    pub instructions_user: Option<u64>,
    pub instructions_kernel: Option<u64>,
    pub syscalls: Option<u64>,
}

impl Perf {
    pub fn start(tids: &[i32]) -> Perf {
        Perf {
            user: Counter::open(tids, HARDWARE, INSTRUCTIONS, EXCLUDE_KERNEL),
            kernel: Counter::open(tids, HARDWARE, INSTRUCTIONS, EXCLUDE_USER),
            syscalls: tracepoint("raw_syscalls/sys_enter")
                .and_then(|id| Counter::open(tids, TRACEPOINT, id, 0)),
        }
    }

    pub fn read(&self) -> PerfCounts {
        let get = |c: &Option<Counter>| c.as_ref().map(Counter::read);
        PerfCounts {
            instructions_user: get(&self.user),
            instructions_kernel: get(&self.kernel),
            syscalls: get(&self.syscalls),
        }
    }
}
