//! Many connections on one epoll, one thread, one shared read buffer.
//!
//! A read fetches as much as the socket has, the frames are walked in place,
//! and whatever the handler answers on the same connection (acknowledgements)
//! leaves in a single write. A connection keeps memory of its own only while it
//! holds a part of a frame or unsent bytes.

use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use crate::mqtt;
use crate::sys::{self, Epoll, now_ns};

const READ_BUF: usize = 512 * 1024;

pub trait Handler {
    /// One whole frame from connection `i`; bytes put in `reply` go back on it.
    fn frame(&mut self, i: usize, first: u8, body: &[u8], now: u64, reply: &mut Vec<u8>);
    /// The peer closed (or broke) connection `i`.
    fn closed(&mut self, i: usize);
    /// Connection `i` had unsent bytes and has none any more.
    fn writable(&mut self, _i: usize) {}
}

/// For phases that expect nothing but what their own wrapper handles.
#[derive(Default)]
pub struct Ignore {
    pub closed: u64,
    pub frames: u64,
}

impl Handler for Ignore {
    fn frame(&mut self, _: usize, _: u8, _: &[u8], _: u64, _: &mut Vec<u8>) {
        self.frames += 1;
    }
    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

struct Conn {
    fd: RawFd, // -1: closed
    partial: Vec<u8>,
    out: Vec<u8>,
    out_pos: usize,
}

/// What the generator itself did, for judging batch sizes.
#[derive(Default, Clone, Copy)]
pub struct IoCounts {
    pub recvs: u64,
    pub sends: u64,
    pub waits: u64,
}

pub struct Pool {
    ep: Epoll,
    conns: Vec<Conn>,
    events: Vec<libc::epoll_event>,
    rbuf: Vec<u8>,
    reply: Vec<u8>,
    pub io: IoCounts,
}

impl Pool {
    pub fn new() -> io::Result<Pool> {
        Ok(Pool {
            ep: Epoll::new()?,
            conns: Vec::new(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
            rbuf: vec![0; READ_BUF],
            reply: Vec::with_capacity(64 * 1024),
            io: IoCounts::default(),
        })
    }

    pub fn len(&self) -> usize {
        self.conns.len()
    }

    pub fn is_open(&self, i: usize) -> bool {
        self.conns[i].fd >= 0
    }

    /// A place without a connection yet.
    pub fn vacant(&mut self) -> usize {
        self.conns.push(Conn { fd: -1, partial: Vec::new(), out: Vec::new(), out_pos: 0 });
        self.conns.len() - 1
    }

    /// Takes a connected socket; returns its index.
    pub fn add(&mut self, fd: RawFd) -> io::Result<usize> {
        let i = self.vacant();
        self.reopen(i, fd)?;
        Ok(i)
    }

    /// Puts a connected socket in a place that is vacant or was closed.
    pub fn reopen(&mut self, i: usize, fd: RawFd) -> io::Result<()> {
        debug_assert!(!self.is_open(i));
        self.ep.add(fd, i as u64)?;
        self.conns[i].fd = fd;
        Ok(())
    }

    pub fn close(&mut self, i: usize) {
        let c = &mut self.conns[i];
        if c.fd >= 0 {
            sys::close(c.fd);
            c.fd = -1;
        }
        c.partial = Vec::new();
        c.out = Vec::new();
        c.out_pos = 0;
    }

    pub fn close_all(&mut self) {
        for i in 0..self.conns.len() {
            self.close(i);
        }
        self.conns.clear();
    }

    /// DISCONNECT on every open connection, then closes them.
    pub fn goodbye(&mut self) {
        for i in 0..self.conns.len() {
            if self.is_open(i) {
                self.send(i, &mqtt::BYE);
            }
        }
        self.close_all();
    }

    #[inline]
    pub fn backlogged(&self, i: usize) -> bool {
        !self.conns[i].out.is_empty()
    }

    /// Writes now what the socket takes and keeps the rest for later. A broken
    /// connection shows at its next read.
    pub fn send(&mut self, i: usize, data: &[u8]) {
        let c = &mut self.conns[i];
        if c.fd < 0 {
            return;
        }
        if !c.out.is_empty() {
            c.out.extend_from_slice(data);
            return;
        }
        self.io.sends += 1;
        let n = match sys::send(c.fd, data) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(_) => return,
        };
        if n < data.len() {
            c.out.extend_from_slice(&data[n..]);
            c.out_pos = 0;
            self.ep.set_write(c.fd, i as u64, true);
        }
    }

    fn flush<H: Handler>(&mut self, i: usize, h: &mut H) {
        let c = &mut self.conns[i];
        if c.fd < 0 || c.out.is_empty() {
            return;
        }
        self.io.sends += 1;
        match sys::send(c.fd, &c.out[c.out_pos..]) {
            Ok(n) => c.out_pos += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => c.out_pos = c.out.len(),
        }
        if c.out_pos == c.out.len() {
            c.out.clear();
            c.out_pos = 0;
            self.ep.set_write(c.fd, i as u64, false);
            h.writable(i);
        }
    }

    /// Waits for readiness and handles all of it; returns the events seen.
    pub fn poll<H: Handler>(&mut self, timeout_ns: u64, h: &mut H) -> usize {
        let mut events = std::mem::take(&mut self.events);
        self.io.waits += 1;
        let n = self.ep.wait(&mut events, timeout_ns);
        for ev in &events[..n] {
            let i = ev.u64 as usize;
            if ev.events & !(libc::EPOLLOUT as u32) != 0 {
                self.read(i, h);
            }
            if ev.events & libc::EPOLLOUT as u32 != 0 {
                self.flush(i, h);
            }
        }
        self.events = events;
        n
    }

    fn read<H: Handler>(&mut self, i: usize, h: &mut H) {
        let c = &mut self.conns[i];
        if c.fd < 0 {
            return;
        }
        let have = c.partial.len();
        if have * 2 > self.rbuf.len() {
            self.rbuf.resize(self.rbuf.len() * 2, 0);
        }
        self.io.recvs += 1;
        let n = match sys::recv(c.fd, &mut self.rbuf[have..]) {
            Ok(0) => 0,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => 0,
        };
        if n == 0 {
            self.close(i);
            h.closed(i);
            return;
        }
        let now = now_ns();
        if have > 0 {
            self.rbuf[..have].copy_from_slice(&c.partial);
            c.partial.clear();
        }
        let buf = &self.rbuf[..have + n];
        let mut at = 0;
        loop {
            match mqtt::frame(&buf[at..]) {
                Ok(Some((head, body))) => {
                    let end = at + head + body;
                    h.frame(i, buf[at], &buf[at + head..end], now, &mut self.reply);
                    at = end;
                }
                Ok(None) => break,
                Err(_) => {
                    self.reply.clear();
                    self.close(i);
                    h.closed(i);
                    return;
                }
            }
        }
        if at < buf.len() {
            self.conns[i].partial.extend_from_slice(&buf[at..]);
        }
        if !self.reply.is_empty() {
            let reply = std::mem::take(&mut self.reply);
            self.send(i, &reply);
            self.reply = reply;
            self.reply.clear();
        }
    }
}
