//! The few system calls this tool needs, straight through libc.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;

pub const NS: u64 = 1_000_000_000;
pub const MS: u64 = 1_000_000;

/// CLOCK_MONOTONIC in nanoseconds: the clock stamped into payloads, the same
/// in every process of the machine.
#[inline]
pub fn now_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    ts.tv_sec as u64 * NS + ts.tv_nsec as u64
}

pub fn secs(s: f64) -> u64 {
    (s * NS as f64) as u64
}

pub fn sleep_ns(ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(ns));
}

fn cvt(r: libc::c_int) -> io::Result<libc::c_int> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}

fn setopt<T>(fd: RawFd, level: i32, name: i32, val: &T) -> io::Result<()> {
    cvt(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            val as *const T as *const libc::c_void,
            std::mem::size_of::<T>() as libc::socklen_t,
        )
    })
    .map(|_| ())
}

fn sockaddr(a: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: a.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// A blocking connect (over loopback the handshake ends inside the call, so it
/// does not sleep unless the accept queue is full); afterwards all I/O is done
/// with MSG_DONTWAIT. `src` spreads clients over 127/8 so that more than one
/// ephemeral port range is available. `rcvbuf` bounds what the peer can send to a reader
/// that does not read.
pub fn tcp_connect(dst: SocketAddrV4, src: Option<Ipv4Addr>, rcvbuf: Option<i32>) -> io::Result<RawFd> {
    let fd = cvt(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    let r = (|| {
        setopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)?;
        let patience = libc::timeval { tv_sec: 15, tv_usec: 0 };
        setopt(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience)?;
        if let Some(bytes) = rcvbuf {
            setopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes)?;
        }
        if let Some(ip) = src {
            setopt(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
            let a = sockaddr(SocketAddrV4::new(ip, 0));
            cvt(unsafe {
                libc::bind(fd, &a as *const _ as *const libc::sockaddr, std::mem::size_of_val(&a) as u32)
            })?;
        }
        let a = sockaddr(dst);
        cvt(unsafe {
            libc::connect(fd, &a as *const _ as *const libc::sockaddr, std::mem::size_of_val(&a) as u32)
        })?;
        Ok(())
    })();
    match r {
        Ok(()) => Ok(fd),
        Err(e) => {
            close(fd);
            Err(e)
        }
    }
}

/// The n-th client source address: 127.0.0.2 .. 127.0.255.254, last octet 1..254.
pub fn source_addr(n: usize) -> Ipv4Addr {
    let v = n % (256 * 254 - 1) + 1;
    Ipv4Addr::new(127, 0, (v / 254) as u8, (v % 254 + 1) as u8)
}

pub fn close(fd: RawFd) {
    unsafe { libc::close(fd) };
}

#[inline]
pub fn recv(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    let n = unsafe { libc::recv(fd, buf.as_mut_ptr() as *mut libc::c_void, buf.len(), libc::MSG_DONTWAIT) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

#[inline]
pub fn send(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    let n = unsafe {
        libc::send(
            fd,
            buf.as_ptr() as *const libc::c_void,
            buf.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

pub struct Epoll(RawFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Epoll)
    }

    fn ctl(&self, op: i32, fd: RawFd, token: u64, events: i32) -> io::Result<()> {
        let mut ev = libc::epoll_event { events: events as u32, u64: token };
        cvt(unsafe { libc::epoll_ctl(self.0, op, fd, &mut ev) }).map(|_| ())
    }

    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.ctl(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLIN)
    }

    pub fn set_write(&self, fd: RawFd, token: u64, write: bool) {
        let ev = if write { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        let _ = self.ctl(libc::EPOLL_CTL_MOD, fd, token, ev);
    }

    /// Nanosecond timeout through epoll_pwait2 (Linux 5.11).
    pub fn wait(&self, events: &mut [libc::epoll_event], timeout_ns: u64) -> usize {
        let ts = libc::timespec { tv_sec: (timeout_ns / NS) as i64, tv_nsec: (timeout_ns % NS) as i64 };
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0,
                events.as_mut_ptr(),
                events.len() as i32,
                &ts as *const libc::timespec,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        n.max(0) as usize // EINTR reads as "nothing ready"
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// Raises the soft descriptor limit to the hard one (and the hard one as far as
/// it is permitted, up to `want`); returns what holds afterwards.
pub fn raise_nofile(want: u64) -> u64 {
    unsafe {
        let mut r = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut r);
        if want > r.rlim_max {
            let up = libc::rlimit { rlim_cur: want, rlim_max: want };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &up) == 0 {
                return want;
            }
        }
        r.rlim_cur = r.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &r);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut r);
        r.rlim_cur
    }
}

/// CPU time of this process, user + system, in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * NS + ts.tv_nsec as u64
}

/// Wake-ups from epoll should not be rounded by the default 50 us timer slack.
pub fn tight_timers() {
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1u64, 0u64, 0u64, 0u64) };
}

/// A closed standard output (`midge-load ... | head`) ends the process quietly;
/// sockets are written with MSG_NOSIGNAL.
pub fn default_sigpipe() {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// The last resort that bounds every run: SIGALRM ends the process with status 4.
pub fn arm_deadline(seconds: u32) {
    extern "C" fn fire(_: libc::c_int) {
        let msg = b"midge-load: --deadline passed, giving up\n";
        unsafe {
            libc::write(2, msg.as_ptr() as *const libc::c_void, msg.len());
            libc::_exit(4);
        }
    }
    unsafe {
        libc::signal(libc::SIGALRM, fire as extern "C" fn(libc::c_int) as libc::sighandler_t);
        libc::alarm(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses() {
        assert_eq!(source_addr(0), Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(source_addr(252), Ipv4Addr::new(127, 0, 0, 254));
        assert_eq!(source_addr(253), Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(source_addr(256 * 254 - 2), Ipv4Addr::new(127, 0, 255, 254));
        assert_eq!(source_addr(256 * 254 - 1), Ipv4Addr::new(127, 0, 0, 2));
    }
}
