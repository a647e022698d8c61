//! What an idle connection takes of a broker with sockets: engine, task, and the runtime's part of a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::Broker;
use midge::stats::Snapshot;

use crate::{alone, budget, check, counting, deadline, packets};

const COUNT: usize = 1000;
/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients that have connected. Their own sockets take no memory of the process that the allocator sees.
fn connected(broker: &Broker, streams: &mut Vec<TcpStream>, count: usize) {
    let mut packet = Vec::with_capacity(100);
    for number in 0..count {
        packet.clear();
        packets::connect(Version::V311, &format!("device-{number:06}"), &mut packet);
        let mut stream = TcpStream::connect(broker.address("tcp").unwrap()).unwrap();
        stream.write_all(&packet).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        streams.push(stream);
    }
}

fn wait(broker: &Broker, until: impl Fn(&Snapshot) -> bool) {
    deadline::until("the broker has counted what was done", || until(&broker.stats()));
}

#[test]
fn an_idle_connection_takes_few_bytes_in_all() {
    let _alone = alone();
    let mut config = Config::new();
    config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
    config.set("sys.interval", "0").unwrap();
    let broker = Broker::start(&config).unwrap();
    let mut streams = Vec::with_capacity(COUNT);
    // The broker's thread has run, its tables have grown and shrunk.
    connected(&broker, &mut streams, 100);
    streams.clear();
    wait(&broker, |stats| stats.connections_closed == 100);
    let before = counting::in_use();
    connected(&broker, &mut streams, COUNT);
    check("connection_tcp", (counting::in_use() - before) / COUNT as isize);
    streams.clear();
    wait(&broker, |stats| stats.connections_closed == 100 + COUNT as u64);
    // What is left is what tables and the runtime keep. A connection is counted as closed a moment before the last of
    // it is freed.
    let patience = Instant::now() + PATIENCE;
    while counting::in_use() - before > budget("after_connections_tcp") && Instant::now() < patience {
        std::thread::yield_now();
    }
    check("after_connections_tcp", counting::in_use() - before);
}
