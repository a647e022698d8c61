//! The other end of [`Scramble`](super::layers::Scramble): a relay, so that clients need not know of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::layers::{BLOCK, scramble};

/// An address whose connections are carried on to `address` in scrambled records.
pub fn unscrambled(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        // For as long as the process lives: a test's thread ends before its clients' connections do.
        for client in listener.incoming().flatten() {
            relay(client, address);
        }
    });
    at
}

fn relay(client: TcpStream, address: SocketAddr) {
    let Ok(broker) = TcpStream::connect(address) else {
        return;
    };
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    let (from, to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    thread::spawn(move || carry(from, to, seal));
    thread::spawn(move || carry(broker, client, open));
}

/// Carries bytes until one side ends; the other side then ends in the same way.
fn carry(from: TcpStream, to: TcpStream, way: fn(&TcpStream, &TcpStream) -> io::Result<()>) {
    if way(&from, &to).is_ok() {
        let _gone = to.shutdown(Shutdown::Write);
        return;
    }
    for socket in [&from, &to] {
        let _gone = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        let _gone = socket.shutdown(Shutdown::Both);
    }
}

fn seal(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let (mut buffer, mut at) = ([0; 64 * BLOCK], 0);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut records = Vec::with_capacity(count + count / 64 + 2);
        for block in buffer[..count].chunks_mut(BLOCK) {
            records.extend_from_slice(&(block.len() as u16).to_be_bytes());
            scramble(block, at);
            at += block.len();
            records.extend_from_slice(block);
        }
        to.write_all(&records)?;
    }
}

fn open(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let (mut buffer, mut records, mut at) = ([0; 64 * BLOCK], Vec::new(), 0);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            assert!(records.is_empty(), "the broker's last record has no end: {records:?}");
            return Ok(());
        }
        records.extend_from_slice(&buffer[..count]);
        let (mut taken, mut opened) = (0, Vec::with_capacity(records.len()));
        while let [high, low, rest @ ..] = &records[taken..] {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            assert!(len <= BLOCK, "the broker sends a record of {len} bytes");
            let Some(record) = rest.get(..len) else { break };
            let start = opened.len();
            opened.extend_from_slice(record);
            scramble(&mut opened[start..], at);
            at += len;
            taken += 2 + len;
        }
        records.drain(..taken);
        to.write_all(&opened)?;
    }
}
