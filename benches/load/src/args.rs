//! The command line.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::client::Target;
use crate::meter::Meter;
use crate::mqtt::Ver;
use crate::sys;

/// Neutral MQTT load generator: measures what a broker spends per message.
///
/// Loopback only; every run is bounded and ends by itself. benches/README.md says what it prints.
#[derive(Parser)]
#[command(name = "midge-load", version)]
pub struct Cli {
    #[command(subcommand)]
    pub scenario: Scenario,
}

#[derive(Subcommand)]
pub enum Scenario {
    /// N pairs: publisher i -> topic i -> subscriber i
    P2p(P2p),
    /// N publishers -> one wildcard subscriber
    Fanin(Fanin),
    /// One publisher -> N subscribers of one topic
    Fanout(Fanout),
    /// A large table of exact, + and # filters; random topics with known matches
    Wild(Wild),
    /// Store R retained messages, then deliver a known part of them to wildcards
    Retain(Retain),
    /// C idle connections: connect rate, memory, ping, broadcast
    Conns(Conns),
    /// Connect, subscribe, publish, receive, disconnect, over and over
    Churn(Churn),
    /// p2p at a low open-loop rate, latency corrected for coordinated omission
    Latency(Latency),
    /// Messages queued for persistent sessions that are away, then drained
    Offline(Offline),
    /// Subscribers that stop reading, and later read on
    Stall(Stall),
    /// QoS 1 to persistent sessions, each publisher with one message in flight
    Lasting(Lasting),
}

/// How many of something: one at least.
fn count(s: &str) -> Result<usize, String> {
    match s.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(_) => Err("not a number".into()),
    }
}

#[derive(Args, Clone)]
pub struct Common {
    /// Broker address (loopback: 127/8 or localhost)
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    #[arg(long, default_value_t = 1883)]
    pub port: u16,
    /// Broker process(es) to account for, with their descendants
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<i32>,
    /// MQTT protocol level: 4 (3.1.1) or 5
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=5))]
    pub proto: u8,
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    /// Payload bytes (16 at least: timestamp, publisher, sequence)
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(16..=200_000_000))]
    pub payload: u64,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Count instructions and syscalls of the broker (null where unsupported)
    #[arg(long)]
    pub perf: bool,
    /// Free text carried into the output
    #[arg(long, default_value = "")]
    pub label: String,
    /// First level of the topics of p2p, fanin, fanout, latency and offline, so that two runs do not meet
    #[arg(long, default_value = "bench")]
    pub prefix: String,
    /// When all is set up, write a line to stderr and begin when one comes on stdin (flows, offline's drain, stall)
    #[arg(long)]
    pub sync: bool,
    /// Connects, or subscribing clients, in progress at a time
    #[arg(long, default_value_t = 64, value_parser = count)]
    pub concurrency: usize,
    /// Keep-alive in the CONNECT, seconds
    #[arg(long, default_value_t = 65535)]
    pub keepalive: u16,
    /// Give up a setup step in which nothing moves for this many seconds
    #[arg(long, default_value_t = 30.0)]
    pub patience: f64,
    /// End the whole run after this many seconds, whatever happens (status 4)
    #[arg(long, default_value_t = 600)]
    pub deadline: u32,
}

impl Common {
    pub fn ver(&self) -> Ver {
        if self.proto == 5 { Ver::V5 } else { Ver::V4 }
    }

    pub fn target(&self) -> Result<Target, String> {
        let ip: Ipv4Addr = match self.host.as_str() {
            "localhost" => Ipv4Addr::LOCALHOST,
            h => h.parse().map_err(|_| format!("--host {h}: not an IPv4 address"))?,
        };
        if !ip.is_loopback() {
            return Err(format!("--host {ip}: this tool speaks to loopback only"));
        }
        Ok(Target {
            addr: SocketAddrV4::new(ip, self.port),
            ver: self.ver(),
            keepalive: self.keepalive,
            concurrency: self.concurrency.max(1),
            patience_ns: sys::secs(self.patience),
        })
    }

    /// With --sync: says that all is set up, and waits to be told to begin.
    pub fn begin(&self) {
        if self.sync {
            eprintln!("ready");
            let mut line = String::new();
            // Whoever has closed stdin wants no waiting.
            let _ = std::io::stdin().read_line(&mut line);
        }
    }

    pub fn meter(&self) -> Result<Meter, String> {
        Meter::new(self.pid.clone(), self.perf)
    }

    /// Client ids are short and differ between runs.
    pub fn client_id(&self, role: &str, n: usize) -> String {
        format!("{role}{:x}-{n}", std::process::id())
    }

    pub fn params(&self) -> Value {
        json!({
            "label": self.label,
            "proto": self.proto,
            "qos": self.qos,
            "payload": self.payload,
            "port": self.port,
            "pid": self.pid,
        })
    }
}

/// How a flow of messages is offered and bounded.
#[derive(Args, Clone)]
pub struct Load {
    /// Length of the measured phase in seconds [default: 5, without --messages]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Messages to publish in the measured phase (ends it with --seconds, whichever is first)
    #[arg(long)]
    pub messages: Option<u64>,
    /// Messages published per second, all publishers together; 0: as fast as flow control permits
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Unacknowledged messages per publisher (QoS 1, 2)
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=32000))]
    pub window: u32,
    /// Messages per publisher not yet delivered to all their subscribers
    /// [default: the window at QoS 0, four times that above]
    #[arg(long)]
    pub outstanding: Option<u32>,
    /// Messages a publisher writes at once [default: 1 with --rate, else half of what it may have outstanding]
    #[arg(long)]
    pub burst: Option<u32>,
    /// Let 300,000 deliveries be outstanding (2000 a subscriber at least): TCP
    /// backpressure is the only flow control, and a broker that drops will drop
    #[arg(long)]
    pub flood: bool,
    /// Unmeasured seconds of the same load beforehand
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Seconds without progress after which missing messages count as lost
    #[arg(long, default_value_t = 3.0)]
    pub drain: f64,
    /// With --rate, sends are scheduled on multiples of this [default: 100 for latency, else 1000]
    #[arg(long)]
    pub tick_us: Option<u64>,
    /// Look at the sockets at most once in this many microseconds, so that reads and
    /// acknowledgements come in batches and the generator stays cheap; adds as much latency
    /// [default: 0 with --rate, else a quarter of the outstanding deliveries, at most 1000]
    #[arg(long)]
    pub coalesce_us: Option<u64>,
    /// Busy-wait instead of sleeping: steadier latency, all of one core
    #[arg(long)]
    pub spin: bool,
}

#[derive(Args)]
pub struct P2p {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    #[arg(short = 'n', long, default_value_t = 100, value_parser = count)]
    pub pairs: usize,
}

#[derive(Args)]
pub struct Fanin {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    #[arg(short = 'n', long, default_value_t = 100, value_parser = count)]
    pub publishers: usize,
}

#[derive(Args)]
pub struct Fanout {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = count)]
    pub subscribers: usize,
}

#[derive(Args)]
pub struct Latency {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    #[arg(short = 'n', long, default_value_t = 10, value_parser = count)]
    pub pairs: usize,
}

#[derive(Args)]
pub struct Wild {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: Load,
    /// Subscriptions installed, over all clients
    #[arg(short = 'm', long, default_value_t = 100_000, value_parser = count)]
    pub subscriptions: usize,
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..))]
    pub clients: u32,
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub publishers: usize,
    /// Mean number of subscribers a published topic matches
    #[arg(short = 'k', long, default_value_t = 5.0)]
    pub matches: f64,
    /// Shares of exact, + and # filters
    #[arg(long, default_value = "60,25,15", value_delimiter = ',', num_args = 1)]
    pub mix: Vec<f64>,
    /// Filters in one SUBSCRIBE
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub per_packet: usize,
    /// Distinct topics published to
    #[arg(long, default_value_t = 20_000, value_parser = count)]
    pub topics: usize,
}

#[derive(Args)]
pub struct Retain {
    #[command(flatten)]
    pub common: Common,
    /// Retained messages stored
    #[arg(short = 'r', long, default_value_t = 100_000)]
    pub retained: u64,
    /// Part of them that a subscriber's wildcards match (steps of 1/100)
    #[arg(long, default_value_t = 1.0)]
    pub fraction: f64,
    /// Clients that subscribe at once
    #[arg(short = 'n', long, default_value_t = 1, value_parser = count)]
    pub subscribers: usize,
    /// Unacknowledged messages of the publisher
    #[arg(long, default_value_t = 100)]
    pub window: u32,
    /// Seconds without progress after which missing messages count as lost
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Leave the retained messages in the broker
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args)]
pub struct Conns {
    #[command(flatten)]
    pub common: Common,
    /// Connections to hold
    #[arg(short = 'c', long, default_value_t = 10_000, value_parser = count)]
    pub connections: usize,
    /// Connects per second; 0: as fast as --concurrency permits
    #[arg(long, default_value_t = 0.0)]
    pub conn_rate: f64,
    /// Client processes [default: as many as the descriptor limit makes necessary]
    #[arg(long)]
    pub procs: Option<usize>,
    /// Connections per client source address
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub per_source: usize,
    /// Seconds to hold the connections idle, measured
    #[arg(long, default_value_t = 2.0)]
    pub hold: f64,
    /// One subscription on each connection, to a topic of its own
    #[arg(long)]
    pub subscribe: bool,
    /// A PINGREQ round over all connections
    #[arg(long)]
    pub ping: bool,
    /// Subscribe this many connections, spread evenly, to one topic and publish to it
    #[arg(long, default_value_t = 0)]
    pub broadcast: usize,
    /// Messages of the broadcast
    #[arg(long, default_value_t = 20)]
    pub broadcast_messages: u64,
}

#[derive(Args)]
pub struct Churn {
    #[command(flatten)]
    pub common: Common,
    /// Length of the measured phase in seconds [default: 5, without --messages]
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Cycles in the measured phase
    #[arg(long)]
    pub messages: Option<u64>,
    /// Cycles started per second; 0: as fast as --clients permits
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Cycles in progress at a time
    #[arg(short = 'n', long, default_value_t = 50, value_parser = count)]
    pub clients: usize,
    /// Unmeasured seconds of the same load beforehand
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
}

#[derive(Args)]
pub struct Offline {
    #[command(flatten)]
    pub common: Common,
    /// Clients with a persistent session
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = count)]
    pub clients: usize,
    /// Messages queued, over all clients
    #[arg(long, default_value_t = 100_000)]
    pub messages: u64,
    /// Unacknowledged messages of the publisher
    #[arg(long, default_value_t = 100)]
    pub window: u32,
    /// Seconds without progress after which missing messages count as lost
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
    /// Leave the sessions in the broker
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args)]
pub struct Lasting {
    #[command(flatten)]
    pub common: Common,
    /// Publishers, and as many subscribers
    #[arg(short = 'n', long, default_value_t = 16, value_parser = count)]
    pub publishers: usize,
    /// Length of the measured phase in seconds
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Messages at most
    #[arg(long, default_value_t = 1_000_000)]
    pub messages: u64,
    /// The subscribers are connected meanwhile
    #[arg(long)]
    pub present: bool,
    /// Expect no deliveries
    #[arg(long)]
    pub no_drain: bool,
    /// Seconds without progress after which missing messages count as lost
    #[arg(long, default_value_t = 5.0)]
    pub drain: f64,
}

#[derive(Args)]
pub struct Stall {
    #[command(flatten)]
    pub common: Common,
    #[arg(short = 'n', long, default_value_t = 1, value_parser = count)]
    pub clients: usize,
    /// What they subscribe to
    #[arg(long, default_value = "bench/#")]
    pub filter: String,
    /// How long they read nothing
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Receive buffer of their sockets in bytes (the kernel doubles it)
    #[arg(long, default_value_t = 4096)]
    pub rcvbuf: i32,
    /// Seconds without a message after which there are no more
    #[arg(long, default_value_t = 1.0)]
    pub drain: f64,
}
