//! Idle connections over real sockets: bytes of heap and of resident memory of each, and the time to connect.
//!
//! `cargo bench --all-features --bench connections -- 19000`. The clients are in a process of their own; each needs a descriptor here
//! and one there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::Broker;
use socket2::{Domain, Socket, Type};

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/support/packets.rs"]
mod packets;
#[path = "../tests/support/resident.rs"]
mod resident;

use crate::resident::{resident, trim};

/// Clients that come and go before anything is measured.
const FIRST: usize = 100;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let count = words.iter().filter_map(|word| word.parse().ok()).next_back().unwrap_or(1000);
    if let Some(at) = words.iter().position(|word| word == "clients") {
        return clients(words[at + 1].parse().unwrap(), count);
    }
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    let broker = Broker::start(&config).unwrap();
    let address = broker.address("tcp").unwrap();
    Crowd::new(address, FIRST).leave();
    let closed = |count: usize| {
        while broker.stats().connections_closed < count as u64 {
            std::thread::yield_now();
        }
    };
    closed(FIRST);

    let (heap, resident, busy) = (counting::in_use(), resident(), busy());
    let crowd = Crowd::new(address, count);
    let busy = self::busy() - busy;
    assert_eq!(broker.stats().clients_connected, count as u64);
    let each = |bytes: isize| bytes / count as isize;
    println!("{count} idle connections");
    println!(
        "bytes each  {:6} of the heap, {} resident",
        each(counting::in_use() - heap),
        each(self::resident() - resident)
    );
    println!(
        "connect     {:6.1} us of the processor each, one after the other",
        busy as f64 / 1000.0 / count as f64
    );
    crowd.leave();
    closed(FIRST + count);
    println!(
        "left        {:6} bytes of the heap, {} resident",
        counting::in_use() - heap,
        self::resident() - resident
    );
    let start = Instant::now();
    trim();
    let took = start.elapsed();
    println!(
        "trimmed     {:6} bytes resident, in {:.1} ms",
        self::resident() - resident,
        took.as_secs_f64() * 1000.0
    );
}

/// Connects, says so, and waits until it may go.
fn clients(address: SocketAddr, count: usize) {
    let mut streams = Vec::with_capacity(count);
    let mut packet = Vec::new();
    for number in 0..count {
        packet.clear();
        packets::connect(Version::V311, &format!("device-{number:06}"), &mut packet);
        let mut stream = connect(number, address);
        stream.write_all(&packet).unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        streams.push(stream);
    }
    println!("connected");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// From one of several addresses: the system searches long for a free port among many.
fn connect(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 0, 0, 2 + (number / 5000) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// The process of the clients.
struct Crowd {
    process: Child,
    hold: ChildStdin,
}

impl Crowd {
    fn new(address: SocketAddr, count: usize) -> Crowd {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["clients", &address.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 10];
        process.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        let hold = process.stdin.take().unwrap();
        Crowd { process, hold }
    }

    fn leave(mut self) {
        drop(self.hold);
        assert!(self.process.wait().unwrap().success());
    }
}

/// Nanoseconds that the threads of this process have run.
fn busy() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let ran = tasks.map(|task| fs::read_to_string(task.path().join("schedstat")).unwrap());
    ran.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
