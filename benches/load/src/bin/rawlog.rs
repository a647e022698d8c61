//! The floor of a durable broker: appends every PUBLISH as it came to a pre-written file, flushes once a group, and
//! then acknowledges the group. A group is what came during the last flush.
//!
//! CONNECT, SUBSCRIBE and PINGREQ are answered, and nothing is delivered. Each group begins at a sector, behind
//! 32 bytes for what a log must say of it. At its end the file is written from its beginning again.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use clap::Parser;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

const SECTOR: u64 = 512;
const HEAD: usize = 32;

#[derive(Parser)]
#[command(version, about = "Append, flush, acknowledge: the floor for a durable MQTT broker")]
struct Args {
    /// Port on 127.0.0.1
    port: u16,
    /// The file, which is made and filled with zeros
    file: PathBuf,
    /// Its size in MiB
    #[arg(long, default_value_t = 64)]
    size: u64,
    /// Ends by itself after so many seconds
    #[arg(long, default_value_t = 3600)]
    max_seconds: u32,
}

/// What came since the last flush began.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    acks: Vec<(Rc<OwnedWriteHalf>, Vec<u8>)>,
}

#[derive(Default)]
struct Shared {
    group: RefCell<Group>,
    came: Notify,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    unsafe {
        libc::alarm(args.max_seconds);
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&args.file)?;
    for _ in 0..args.size {
        file.write_all(&[0; 1 << 20])?;
    }
    file.sync_all()?;
    let rt = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&rt, serve(args, Arc::new(file)))
}

async fn serve(args: Args, file: Arc<File>) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let shared = Rc::new(Shared::default());
    let committer = shared.clone();
    spawn_local(async move {
        if let Err(error) = commit(&committer, &file, args.size << 20).await {
            eprintln!("rawlog: {error}");
            std::process::exit(1);
        }
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = shared.clone();
        spawn_local(async move {
            let _ = connection(stream, &shared).await;
        });
    }
}

/// Writes and flushes group after group, and sends their acknowledgements.
async fn commit(shared: &Shared, file: &Arc<File>, size: u64) -> io::Result<()> {
    let mut at = 0;
    let mut spare = Vec::new();
    loop {
        if shared.group.borrow().bytes.is_empty() {
            shared.came.notified().await;
            continue;
        }
        let mut group = shared.group.take();
        shared.group.borrow_mut().bytes = spare;
        let length = (group.bytes.len() as u64).next_multiple_of(SECTOR);
        group.bytes.resize(length as usize, 0);
        if at + length > size {
            at = 0;
        }
        let (place, file) = (at, file.clone());
        at += length;
        let bytes = group.bytes;
        spare = spawn_blocking(move || append(&file, bytes, place)).await??;
        for (writer, acks) in group.acks {
            let _ = send(&writer, &acks).await;
        }
    }
}

fn append(file: &File, mut bytes: Vec<u8>, at: u64) -> io::Result<Vec<u8>> {
    file.write_all_at(&bytes, at)?;
    if unsafe { libc::fdatasync(file.as_raw_fd()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    bytes.clear();
    Ok(bytes)
}

async fn send(writer: &OwnedWriteHalf, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match writer.try_write(data) {
            Ok(n) => data = &data[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => writer.writable().await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The header's and the body's length of the frame at the start of `buf`: None while it is incomplete.
fn frame(buf: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for i in 0..4 {
        let b = *buf.get(1 + i)?;
        len |= ((b & 0x7f) as usize) << (7 * i);
        if b < 0x80 {
            return (buf.len() >= 2 + i + len).then_some((2 + i, len));
        }
    }
    None
}

async fn connection(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut rd, wr): (OwnedReadHalf, OwnedWriteHalf) = stream.into_split();
    let wr = Rc::new(wr);
    let mut buf = Vec::with_capacity(4096);
    loop {
        if rd.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
        let (mut at, mut acks) = (0, Vec::new());
        while let Some((head, len)) = frame(&buf[at..]) {
            let packet = &buf[at..at + head + len];
            let body = &packet[head..];
            match packet[0] >> 4 {
                1 => send(&wr, &[0x20, 2, 0, 0]).await?,
                3 => {
                    let topic = u16::from_be_bytes([body[0], body[1]]) as usize;
                    acks.extend_from_slice(&[0x40, 2, body[2 + topic], body[3 + topic]]);
                    let group = &mut shared.group.borrow_mut().bytes;
                    if group.is_empty() {
                        group.resize(HEAD, 0);
                    }
                    group.extend_from_slice(packet);
                }
                8 => send(&wr, &[0x90, 3, body[0], body[1], body[len - 1] & 3]).await?,
                12 => send(&wr, &[0xD0, 0]).await?,
                14 => return Ok(()),
                _ => {}
            }
            at += head + len;
        }
        buf.drain(..at);
        if !acks.is_empty() {
            shared.group.borrow_mut().acks.push((wr.clone(), acks));
            shared.came.notify_one();
        }
    }
}
