//! The physical-limit yardstick: a tokio (current_thread) relay that knows just
//! enough MQTT to be wired up, then moves bytes.
//!
//! CONNECT, SUBSCRIBE and PINGREQ are answered. The first PUBLISH on a
//! connection pairs it, by its topic, with the connections subscribed at that
//! moment; from there on nothing is parsed:
//!
//! * one subscriber (p2p): bytes are copied both ways, so that at QoS 1 and 2 the
//!   subscriber's own acknowledgements reach the publisher;
//! * many subscribers (fanout, QoS 0): every chunk read is written to each of them;
//! * a wildcard subscriber shared by many publishers (fanin, QoS 0): lengths are
//!   walked so that chunks end at frame boundaries, and copied otherwise.
//!
//! One read and one write per readiness: what a tokio/epoll broker cannot go below.
//! Not a broker: it keeps no state, routes by first topic only, loses nothing and
//! promises nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};

#[derive(Parser)]
#[command(version, about = "Raw byte relay: the floor for a tokio/epoll MQTT broker")]
struct Args {
    /// Port on 127.0.0.1
    port: u16,
    /// Bytes read at once
    #[arg(long, default_value_t = 64 * 1024)]
    buffer: usize,
    /// Independent processes sharing the port (SO_REUSEPORT): for holding more
    /// connections than one process may; they do not relay to each other
    #[arg(long, default_value_t = 1)]
    procs: usize,
    /// Ends by itself after so many seconds
    #[arg(long, default_value_t = 3600)]
    max_seconds: u32,
    #[arg(long, hide = true)]
    child: bool,
}

/// The writing side of a connection. The lock keeps chunks of several
/// publishers apart while one waits for room; uncontended it costs nothing.
type Writer = Rc<Mutex<OwnedWriteHalf>>;

struct Subscriber {
    writer: Writer,
    filters: RefCell<Vec<Vec<u8>>>,
    /// The publisher paired with it, once there is exactly one.
    back: RefCell<Option<Writer>>,
}

#[derive(Default)]
struct Routes {
    exact: HashMap<Vec<u8>, Vec<Rc<Subscriber>>>,
    wild: Vec<(Vec<u8>, Rc<Subscriber>)>,
}

type Shared = Rc<RefCell<Routes>>;

fn is_wild(filter: &[u8]) -> bool {
    filter.iter().any(|b| matches!(b, b'+' | b'#'))
}

impl Routes {
    fn add(&mut self, filter: &[u8], s: &Rc<Subscriber>) {
        s.filters.borrow_mut().push(filter.to_vec());
        if is_wild(filter) {
            self.wild.push((filter.to_vec(), s.clone()));
        } else {
            self.exact.entry(filter.to_vec()).or_default().push(s.clone());
        }
    }

    fn forget(&mut self, s: &Rc<Subscriber>) {
        for filter in s.filters.take() {
            if is_wild(&filter) {
                self.wild.retain(|(_, x)| !Rc::ptr_eq(x, s));
            } else if let Some(l) = self.exact.get_mut(&filter) {
                l.retain(|x| !Rc::ptr_eq(x, s));
                if l.is_empty() {
                    self.exact.remove(&filter);
                }
            }
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    unsafe {
        let mut r = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut r);
        r.rlim_cur = r.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &r);
        libc::alarm(args.max_seconds);
        if args.child {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0u64, 0u64, 0u64);
        }
    }
    if args.procs > 1 && !args.child {
        let children: Vec<_> = (0..args.procs)
            .map(|_| {
                std::process::Command::new(std::env::current_exe()?)
                    .args(std::env::args().skip(1))
                    .arg("--child")
                    .spawn()
            })
            .collect::<io::Result<_>>()?;
        for mut c in children {
            c.wait()?;
        }
        return Ok(());
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&rt, serve(args))
}

async fn serve(args: Args) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    if args.child {
        socket.set_reuseport(true)?;
    }
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)))?;
    let listener: TcpListener = socket.listen(4096)?;
    let routes = Shared::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (routes, size) = (routes.clone(), args.buffer);
                spawn_local(async move {
                    let _ = stream.set_nodelay(true);
                    let (rd, wr) = stream.into_split();
                    let me = Rc::new(Subscriber {
                        writer: Rc::new(Mutex::new(wr)),
                        filters: RefCell::default(),
                        back: RefCell::new(None),
                    });
                    let _ = connection(rd, &me, &routes, size).await;
                    routes.borrow_mut().forget(&me);
                });
            }
            // Out of descriptors: leave the rest in the queue for a while.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

async fn write(w: &Writer, mut data: &[u8]) -> io::Result<()> {
    let w = w.lock().await;
    while !data.is_empty() {
        match w.try_write(data) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => w.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Length of the frame at the start of `buf`: None while its header is incomplete.
fn frame_len(buf: &[u8]) -> Option<usize> {
    let mut len = 0;
    for i in 0..4 {
        let b = *buf.get(1 + i)?;
        len |= ((b & 0x7f) as usize) << (7 * i);
        if b < 0x80 {
            return Some(2 + i + len);
        }
    }
    Some(usize::MAX)
}

fn body_of(frame: &[u8]) -> &[u8] {
    let at = 2 + frame[1..].iter().position(|b| *b < 0x80).unwrap_or(0);
    &frame[at..]
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

async fn connection(
    mut rd: OwnedReadHalf,
    me: &Rc<Subscriber>,
    routes: &Shared,
    size: usize,
) -> io::Result<()> {
    // An idle connection holds no buffer worth mentioning.
    let mut buf = Vec::with_capacity(512);
    let mut v5 = false;
    loop {
        if rd.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
        let back = me.back.borrow().clone();
        if let Some(back) = back {
            // A subscriber paired with one publisher: its bytes go there.
            write(&back, &buf).await?;
            return pump(&mut rd, Vec::new(), size, &[back]).await;
        }
        let mut at = 0;
        while let Some(len) = frame_len(&buf[at..]).filter(|n| buf.len() - at >= *n) {
            let frame = &buf[at..at + len];
            let body = body_of(frame);
            match frame[0] >> 4 {
                1 => {
                    v5 = body.get(6) == Some(&5);
                    let ok: &[u8] = if v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
                    write(&me.writer, ok).await?;
                }
                8 => subscribe(body, v5, me, routes).await?,
                12 => write(&me.writer, &[0xD0, 0]).await?,
                14 => return Ok(()),
                3 => {
                    buf.drain(..at);
                    return publish(rd, buf, size, me, routes).await;
                }
                _ => {}
            }
            at += len;
        }
        buf.drain(..at);
        if buf.is_empty() && buf.capacity() > 512 {
            buf = Vec::with_capacity(512);
        }
    }
}

async fn subscribe(body: &[u8], v5: bool, me: &Rc<Subscriber>, routes: &Shared) -> io::Result<()> {
    let mut ack = body.get(..2).ok_or_else(invalid)?.to_vec();
    let mut at = 2;
    if v5 {
        at += 1 + *body.get(2).ok_or_else(invalid)? as usize; // no long properties here
        ack.push(0);
    }
    while at < body.len() {
        let n = u16::from_be_bytes([body[at], *body.get(at + 1).ok_or_else(invalid)?]) as usize;
        let filter = body.get(at + 2..at + 2 + n).ok_or_else(invalid)?;
        ack.push(*body.get(at + 2 + n).ok_or_else(invalid)? & 3);
        at += 3 + n;
        routes.borrow_mut().add(filter, me);
    }
    let mut out = vec![0x90];
    let mut n = ack.len();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(&ack);
    write(&me.writer, &out).await
}

fn matches(filter: &[u8], topic: &[u8]) -> bool {
    let (mut f, mut t) = (filter.split(|b| *b == b'/'), topic.split(|b| *b == b'/'));
    loop {
        match (f.next(), t.next()) {
            (Some(b"#"), _) => return true,
            (Some(b"+"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// A connection whose first PUBLISH is at the start of `buf`.
async fn publish(
    mut rd: OwnedReadHalf,
    buf: Vec<u8>,
    size: usize,
    me: &Rc<Subscriber>,
    routes: &Shared,
) -> io::Result<()> {
    let body = body_of(&buf);
    let n = u16::from_be_bytes([body[0], body[1]]) as usize;
    let topic = &body[2..2 + n];
    let (exact, wild): (Vec<_>, Vec<_>) = {
        let r = routes.borrow();
        (
            r.exact.get(topic).cloned().unwrap_or_default(),
            r.wild.iter().filter(|(f, _)| matches(f, topic)).map(|(_, s)| s.clone()).collect(),
        )
    };
    let targets: Vec<Writer> = exact.iter().chain(&wild).map(|s| s.writer.clone()).collect();
    if let ([only], []) = (&exact[..], &wild[..]) {
        *only.back.borrow_mut() = Some(me.writer.clone());
    }
    if wild.is_empty() {
        pump(&mut rd, buf, size, &targets).await
    } else {
        pump_frames(&mut rd, buf, size, &targets).await
    }
}

/// Copies chunks as they come.
async fn pump(rd: &mut OwnedReadHalf, first: Vec<u8>, size: usize, to: &[Writer]) -> io::Result<()> {
    for w in to {
        write(w, &first).await?;
    }
    let mut buf = vec![0; size];
    loop {
        let n = rd.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        for w in to {
            write(w, &buf[..n]).await?;
        }
    }
}

/// Copies whole frames only, since other publishers write to the same targets.
async fn pump_frames(rd: &mut OwnedReadHalf, mut buf: Vec<u8>, size: usize, to: &[Writer]) -> io::Result<()> {
    let mut have = buf.len();
    buf.resize(size.max(have), 0);
    loop {
        let mut end = 0;
        while let Some(len) = frame_len(&buf[end..have]).filter(|n| have - end >= *n) {
            end += len;
        }
        for w in to {
            write(w, &buf[..end]).await?;
        }
        buf.copy_within(end..have, 0);
        have -= end;
        if have == buf.len() {
            buf.resize(have * 2, 0);
        }
        let n = rd.read(&mut buf[have..]).await?;
        if n == 0 {
            return Ok(());
        }
        have += n;
    }
}
