//! Messages of 64 bytes over real sockets: a broker in this process, its clients in this thread.
//!
//! Each step waits until the broker has counted what was sent, so that it never finds more to read than one portion
//! of one client, and the number of its system calls is no matter of luck.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use midge::codec::frame::{Framing, split};
use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, CallbackSubscription, SubscribeOptions};
use midge::stats::Snapshot;

use crate::rows::{Row, Work, packets};

const BATCH: usize = 50;
const MANY: usize = 100;
const TOPIC: &str = "bench/1/data";
const VERSION: Version = Version::V311;

pub fn rows() -> Vec<Row> {
    use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};
    let row = |name, units, rounds, build| Row { name, units, rounds, threads: true, build };
    vec![
        row("tcp_qos0_batch", 50, 200, || Flow::build(Q0, BATCH, 1)),
        row("tcp_qos0_single", 1, 400, || Flow::build(Q0, 1, 1)),
        row("tcp_qos1_batch", 50, 200, || Flow::build(Q1, BATCH, 1)),
        row("tcp_qos1_single", 1, 400, || Flow::build(Q1, 1, 1)),
        row("tcp_qos2_batch", 50, 200, || Flow::build(Q2, BATCH, 1)),
        row("tcp_qos2_single", 1, 400, || Flow::build(Q2, 1, 1)),
        row("tcp_fanout_100_single", 100, 40, || Flow::build(Q0, 1, MANY)),
        row("tcp_fanin_100_single", 100, 40, FanIn::build),
        row("tcp_connect_and_leave", 1, 400, Coming::build),
    ]
}

/// A broker on a free port, how many connections it has been asked for and how many packets it has been sent.
struct Bed {
    broker: Broker,
    opened: u64,
    sent: u64,
}

impl Bed {
    fn new() -> Bed {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        config.set("sys.interval", "0").unwrap();
        Bed { broker: Broker::start(&config).unwrap(), opened: 0, sent: 0 }
    }

    fn client(&mut self, client_id: &str) -> Peer {
        let stream = TcpStream::connect(self.broker.address("tcp").unwrap()).unwrap();
        self.opened += 1;
        self.settle();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut peer = Peer { stream, received: vec![0; 64 * 1024], answers: Vec::new() };
        let mut packet = Vec::new();
        packets::connect(VERSION, client_id, &mut packet);
        peer.send(self, &packet, 1);
        peer.take(1);
        peer
    }

    fn subscriber(&mut self, client_id: &str, qos: QoS) -> Peer {
        let mut peer = self.client(client_id);
        let mut packet = Vec::new();
        packets::subscribe(VERSION, &[TOPIC.to_owned()], qos, &mut packet);
        peer.send(self, &packet, 1);
        peer.take(1);
        peer
    }

    /// Waits until the broker has counted everything that it has been asked for.
    fn settle(&self) {
        self.wait(|stats| stats.connections_accepted == self.opened && stats.packets_received == self.sent);
    }

    fn wait(&self, until: impl Fn(&Snapshot) -> bool) {
        while !until(&self.broker.stats()) {
            std::thread::yield_now();
        }
    }
}

/// A client. It allocates nothing in steady state.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    answers: Vec<u8>,
}

impl Peer {
    /// Sends so many packets in one portion.
    fn send(&mut self, bed: &mut Bed, portion: &[u8], packets: usize) {
        bed.sent += packets as u64;
        self.stream.write_all(portion).unwrap();
        bed.settle();
    }

    /// Receives so many packets.
    fn take(&mut self, packets: usize) {
        let (mut filled, mut whole, mut taken) = (0, 0, 0);
        while taken < packets {
            let count = self.stream.read(&mut self.received[filled..]).unwrap();
            assert!(count > 0, "the broker has closed the connection");
            filled += count;
            while let Ok(Framing::Complete(frame)) = split(&self.received[whole..filled], u32::MAX) {
                whole += frame.whole.len();
                taken += 1;
            }
        }
        assert_eq!((taken, whole), (packets, filled), "more came than was expected");
        self.answers.clear();
        packets::answer(VERSION, &self.received[..whole], &mut self.answers);
    }

    /// Sends the answers to what was taken last.
    fn answer(&mut self, bed: &mut Bed, packets: usize) {
        let answers = std::mem::take(&mut self.answers);
        self.send(bed, &answers, packets);
        self.answers = answers;
    }
}

/// One publisher.
struct Flow {
    bed: Bed,
    qos: QoS,
    batch: usize,
    publisher: Peer,
    subscribers: Vec<Peer>,
    portion: Vec<u8>,
}

impl Flow {
    fn build(qos: QoS, batch: usize, subscribers: usize) -> Box<dyn Work> {
        let mut bed = Bed::new();
        let publisher = bed.client("p");
        let subscribers = (0..subscribers).map(|n| bed.subscriber(&format!("s{n}"), qos)).collect();
        let mut portion = Vec::new();
        for id in 1..=batch {
            packets::publish(VERSION, TOPIC, qos, id, false, &mut portion);
        }
        Box::new(Flow { bed, qos, batch, publisher, subscribers, portion })
    }
}

impl Work for Flow {
    fn round(&mut self) {
        let Flow { bed, qos, batch, publisher, subscribers, portion } = self;
        publisher.send(bed, portion, *batch);
        subscribers.iter_mut().for_each(|peer| peer.take(*batch));
        if *qos > QoS::AtMostOnce {
            publisher.take(*batch);
        }
        if *qos == QoS::ExactlyOnce {
            for peer in subscribers.iter_mut() {
                peer.answer(bed, *batch);
                peer.take(*batch);
            }
            publisher.answer(bed, *batch);
            publisher.take(*batch);
        }
        if *qos > QoS::AtMostOnce {
            subscribers.iter_mut().for_each(|peer| peer.answer(bed, *batch));
        }
    }

    fn done(&self) -> u64 {
        self.bed.broker.stats().publish_sent
    }
}

/// Many publishers and one subscriber. All have sent a message when the broker looks: until then its thread is held in
/// a callback.
struct FanIn {
    bed: Bed,
    publishers: Vec<Peer>,
    subscriber: Peer,
    holder: Peer,
    /// 0: nobody is held, 1: the broker's thread is, 2: it may go on.
    gate: Arc<AtomicUsize>,
    _held: CallbackSubscription,
    hold: Vec<u8>,
    portion: Vec<u8>,
}

impl FanIn {
    fn build() -> Box<dyn Work> {
        let mut bed = Bed::new();
        let gate = Arc::new(AtomicUsize::new(0));
        let mut direct = SubscribeOptions::default();
        direct.direct = true;
        let inner = Arc::clone(&gate);
        let held = bed.broker.subscribe_with("hold", &direct, move |_| {
            inner.store(1, Ordering::SeqCst);
            // Without a system call, for those are counted.
            while inner.load(Ordering::SeqCst) != 2 {
                std::hint::spin_loop();
            }
            inner.store(0, Ordering::SeqCst);
        });
        let publishers = (0..MANY).map(|n| bed.client(&format!("p{n}"))).collect();
        let (subscriber, holder) = (bed.subscriber("s", QoS::AtMostOnce), bed.client("h"));
        let (mut hold, mut portion) = (Vec::new(), Vec::new());
        packets::publish(VERSION, "hold", QoS::AtMostOnce, 0, false, &mut hold);
        packets::publish(VERSION, TOPIC, QoS::AtMostOnce, 0, false, &mut portion);
        Box::new(FanIn { bed, publishers, subscriber, holder, gate, _held: held.unwrap(), hold, portion })
    }
}

impl Work for FanIn {
    fn round(&mut self) {
        self.holder.stream.write_all(&self.hold).unwrap();
        while self.gate.load(Ordering::SeqCst) != 1 {
            std::thread::yield_now();
        }
        for peer in &mut self.publishers {
            peer.stream.write_all(&self.portion).unwrap();
        }
        self.bed.sent += 1 + MANY as u64;
        self.gate.store(2, Ordering::SeqCst);
        self.subscriber.take(MANY);
        self.bed.settle();
    }

    fn done(&self) -> u64 {
        self.bed.broker.stats().publish_sent
    }
}

/// A client a round: CONNECT, CONNACK, DISCONNECT, closed.
struct Coming {
    bed: Bed,
    number: u64,
}

impl Coming {
    fn build() -> Box<dyn Work> {
        Box::new(Coming { bed: Bed::new(), number: 0 })
    }
}

impl Work for Coming {
    fn round(&mut self) {
        let mut peer = self.bed.client("c");
        let mut packet = Vec::new();
        packets::disconnect(VERSION, &mut packet);
        peer.send(&mut self.bed, &packet, 1);
        // The broker closes first.
        assert_eq!(peer.stream.read(&mut peer.received).unwrap(), 0);
        self.number += 1;
        self.bed.wait(|stats| stats.connections_closed == self.number);
    }

    fn done(&self) -> u64 {
        self.bed.broker.stats().connections_closed
    }
}
