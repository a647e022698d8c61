//! The log: lines that a host reads.

use std::sync::{Arc, Mutex};

use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::access::hooks::{
    AccessRequest, Answer, ConnectRequest, Deferred, Host, Verdict, Wanted, defer,
};
use midge::session::event::{Event, Level, LogLine};

use crate::harness::{ALL, Client, Network, Packets, Q0, Q1, V5, V311, opts};

/// A host that keeps the lines of its log. It lets nobody in who is called `bad`, panics for `panic`, never decides
/// about `slow`, and denies `unproven` behind a question.
struct Reader {
    level: Option<Level>,
    lines: Mutex<Vec<LogLine>>,
    undecided: Mutex<Vec<midge::engine::access::hooks::Decision>>,
}

impl Host for Reader {
    fn wanted(&self) -> Wanted {
        Wanted { authenticate: true, authorize: true, connected: true, log: self.level, ..Wanted::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        match request.client_id {
            "bad" => Verdict::Deny.into(),
            "panic" => panic!("for the test"),
            "unproven" if request.auth_step == 0 => Verdict::Continue(Vec::new()).into(),
            "unproven" => Verdict::Deny.into(),
            "slow" => {
                let (decision, deferred): (_, Deferred) = defer();
                self.undecided.lock().unwrap().push(decision);
                deferred.into()
            }
            _ => Answer::ALLOW,
        }
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Answer {
        if request.topic == "secret" { Verdict::Deny.into() } else { Answer::ALLOW }
    }

    fn tell(&self, notice: &Event) {
        match notice {
            Event::Logged(line) => self.lines.lock().unwrap().push(line.clone()),
            Event::Connected(arrival) => assert!(&*arrival.client_id != "stumbles", "for the test"),
            _ => {}
        }
    }
}

impl Reader {
    fn new(level: impl Into<Option<Level>>) -> Arc<Reader> {
        Arc::new(Reader { level: level.into(), lines: Mutex::default(), undecided: Mutex::default() })
    }

    /// The lines since the last call.
    fn read(&self) -> Vec<String> {
        self.lines.lock().unwrap().drain(..).map(|line| line.to_string()).collect()
    }
}

fn read_at(level: Level) -> (Network, Arc<Reader>) {
    let reader = Reader::new(level);
    (Network::hosted_by(reader.clone(), &[("session.max_queued_messages", "1")]), reader)
}

#[test]
fn clients_come_and_go() {
    let (network, reader) = read_at(Level::Info);
    for version in ALL {
        let client = opts("c", version).resume().on(&network);
        assert_eq!(reader.read(), [format!("info: client \"c\": has connected from this host by {version}")]);
        client.disconnect();
        assert_eq!(reader.read(), ["info: client \"c\": has disconnected"]);
        opts("c", version).on(&network).hang_up();
        assert_eq!(reader.read().pop().unwrap(), "info: client \"c\": the connection is lost");
    }
    let silent = opts("c", V5).keep_alive(10).on(&network);
    network.advance(20);
    assert_eq!(
        reader.read().pop().unwrap(),
        "info: client \"c\": disconnected: no packet for one and a half times the keep alive"
    );
    silent.hang_up();
    let old = opts("c", V5).persistent().on(&network);
    reader.read();
    let new = opts("c", V5).persistent().resume().on(&network);
    assert_eq!(
        reader.read(),
        [
            "info: client \"c\": taken over: another connection uses the same client identifier",
            "info: client \"c\": has connected from this host by 5.0, resumes its session"
        ]
    );
    old.hang_up();
    network.engine.kick(&mut network.turn(), "c");
    assert_eq!(reader.read(), ["info: client \"c\": kicked by the host"]);
    new.hang_up();
}

/// Whatever a client calls itself, a line is a line.
#[test]
fn what_clients_name_stands_in_quotes() {
    let (network, reader) = read_at(Level::Debug);
    let mut client = opts("a\n\"b", V5).on(&network);
    client.subscribe("x\u{1b}y", Q1);
    client.unsubscribe(&["x\u{1b}y"]);
    let lines = reader.read();
    assert_eq!(
        lines[2..],
        [
            "debug: client \"a\\n\\\"b\": has subscribed to \"x\\u{1b}y\" with QoS 1",
            "debug: client \"a\\n\\\"b\": has unsubscribed from \"x\\u{1b}y\""
        ]
    );
    assert!(lines[1].starts_with("info: client \"a\\n\\\"b\": has connected"));
    client.hang_up();
}

#[test]
fn refusals_and_broken_rules_are_warnings_and_name_the_client() {
    let (network, reader) = read_at(Level::Warn);
    opts("bad", V311).refused_by(&network);
    let mut client = opts("c", V5).on(&network);
    let options = SubscriptionOptions::default();
    assert_eq!(client.subscribe_with("secret", options, 0), ReasonCode::NotAuthorized.as_u8());
    assert!(!client.send_bytes(&[0, 0]));
    let mut garbage = Client::open(&network, V5);
    assert!(!garbage.send_bytes(b"GET / HTTP/1.1\r\n"));
    let mut late = Client::open(&network, V5);
    network.advance(11);
    // As its task does.
    let cause = late.line.finished().unwrap();
    late.connection.lost(&network.engine, &mut network.turn(), cause);
    assert_eq!(
        reader.read(),
        [
            "warn: connection 1 of client \"bad\" from this host is refused with 0x86 by hook: the authentication has failed",
            "warn: client \"c\": may not subscribe to \"secret\" (0x87)",
            "warn: client \"c\": disconnected with 0x81: the packet type is 0",
            "warn: connection 3 from this host is refused with 0x82: the first packet is not CONNECT",
            "warn: connection 4 from this host has ended: no CONNECT in time (mqtt.connect_timeout)",
        ]
    );
    garbage.hang_up();
    client.hang_up();
}

#[test]
fn a_client_that_has_answered_wrong_is_named() {
    let (network, reader) = read_at(Level::Warn);
    let mut client = Client::open(&network, V5);
    assert!(client.send_bytes(&opts("unproven", V5).with(|p| _ = p.authentication_method("m")).encode()));
    // AUTH with 0x18 and the method.
    assert!(!client.send_bytes(&[0xF0, 6, 0x18, 4, 0x15, 0, 1, b'm']));
    let line = "warn: connection 1 of client \"unproven\" from this host is refused with 0x87 by hook: the authentication has failed";
    assert_eq!(reader.read(), [line]);
    client.hang_up();
}

/// MQTT 3 clients are told nothing: the log says which limit has ended their connection.
#[test]
fn the_limit_that_ends_a_connection_is_named() {
    for version in ALL {
        let (network, reader) = read_at(Level::Warn);
        let too_large = "the packet is larger than the server allows (mqtt.max_packet_size)";
        let mut client = opts("c", version).on(&network);
        // PUBLISH of 2 MiB and a byte.
        assert!(!client.send_bytes(&[0x30, 0xFD, 0xFF, 0x7F]));
        assert_eq!(reader.read(), [format!("warn: client \"c\": disconnected with 0x95: {too_large}")]);
        client.hang_up();
        let mut client = Client::open(&network, version);
        assert!(!client.send_bytes(&[0x10, 0xFD, 0xFF, 0x7F]));
        let expected = format!("warn: connection 2 from this host is refused with 0x95: {too_large}");
        assert_eq!(reader.read(), [expected]);
        client.hang_up();
        let mut client = opts("c", version).on(&network);
        assert!(client.send_bytes(&[0x30, 0xFC, 0xFF, 0x7F]));
        assert!(reader.read().is_empty());
        client.hang_up();
    }
}

#[test]
fn hooks_that_fail_are_errors() {
    let (network, reader) = read_at(Level::Error);
    opts("panic", V5).refused_by(&network);
    opts("stumbles", V5).on(&network).hang_up();
    let mut slow = Client::open(&network, V5);
    slow.send_bytes(&opts("slow", V5).encode());
    network.advance(6);
    assert_eq!(
        reader.read(),
        [
            "error: the hook authenticate has panicked, which denies",
            "error: the hook on_connected has panicked",
            "error: a decision was not made within hooks.deadline, which denies"
        ]
    );
    slow.hang_up();
}

/// However many are dropped, there is one line at once, then one in ten seconds while it goes on.
#[test]
fn dropped_messages_are_summed_up() {
    let (network, reader) = read_at(Level::Warn);
    let mut away = opts("away", V5).persistent().on(&network);
    away.subscribe("t", Q1);
    away.hang_up();
    let publish = |count: usize| (0..count).for_each(|_| assert_eq!(network.publish("t", "x", 1, false), 1));
    publish(101);
    assert_eq!(reader.read(), ["warn: 1 message dropped: queue_full 1"]);
    network.advance(9);
    assert!(reader.read().is_empty());
    network.advance(2);
    assert_eq!(reader.read(), ["warn: 99 messages dropped: queue_full 99"]);
    publish(5);
    assert!(reader.read().is_empty());
    network.advance(10);
    assert_eq!(reader.read(), ["warn: 5 messages dropped: queue_full 5"]);
    // What nobody wants is no loss. The timer does not run for nothing.
    network.publish("nobody", "x", 0, false);
    network.advance(30);
    assert!(reader.read().is_empty());
    let timers = network.engine.timers_running();
    publish(1);
    assert_eq!(reader.read(), ["warn: 1 message dropped: queue_full 1"]);
    assert_eq!(network.engine.timers_running(), timers + 1);
    publish(2);
    network.engine.log_untold_drops(&mut network.turn());
    assert_eq!(reader.read(), ["warn: 2 messages dropped: queue_full 2"]);
}

/// What waits behind a full outbox is sent, or dropped, when a turn writes at its end.
#[test]
fn what_is_dropped_at_the_end_of_a_turn_is_told_with_it() {
    let reader = Reader::new(Level::Warn);
    let settings = [
        ("session.max_outbox_bytes", "64KiB"),
        ("mqtt.max_inflight", "1024"),
        ("session.publisher_hold", "0"),
    ];
    let network = Network::hosted_by(reader.clone(), &settings);
    let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(100)).on(&network);
    small.subscribe("t", Q1);
    let mut client = opts("c", V311).on(&network);
    let payload = "x".repeat(80);
    let packets = (1..=1000).fold(Packets::default(), |all, id| all.publish(V311, "t", &payload, Q1, id));
    assert!(client.send_bytes(&packets.publish(V311, "t", &"x".repeat(200), Q1, 1001).0));
    assert_eq!(reader.read(), ["warn: 1 message dropped: packet_too_large 1"]);
    assert_eq!(small.drain().len(), 1000);
}

#[test]
fn what_nobody_wanted_is_seen_by_who_looks_closely() {
    let (network, reader) = read_at(Level::Debug);
    network.publish("nobody", "x", 0, false);
    assert_eq!(reader.read(), ["debug: 1 message dropped: no_subscriber 1"]);
    let mut client = opts("c", V5).on(&network);
    reader.read();
    assert_eq!(client.publish("secret", "x", Q1), ReasonCode::NotAuthorized);
    network.advance(11);
    assert_eq!(reader.read(), ["warn: 1 message dropped: not_authorized 1"]);
    client.hang_up();
}

/// Nobody listens: no line is made, and no timer runs.
#[test]
fn no_log_is_no_work() {
    let reader = Reader::new(None);
    let network = Network::hosted_by(reader.clone(), &[]);
    let mut client = opts("c", V5).on(&network);
    client.send_publish("nobody", "x", Q0, 0);
    client.hang_up();
    network.engine.log(&mut network.turn(), Level::Error, None, || panic!("it is asked for"));
    assert!(reader.read().is_empty());
    assert_eq!(network.engine.timers_running(), 0);
}

#[test]
fn a_subscriber_for_which_publishers_no_longer_wait_is_named() {
    let reader = Reader::new(Level::Warn);
    let network = Network::hosted_by(reader.clone(), &[("session.max_queued_messages", "40")]);
    let mut late = opts("late", V5).receive_maximum(1).on(&network);
    late.subscribe("t", Q1);
    let mut publisher = opts("p", V5).on(&network);
    (1..=14).for_each(|id| _ = publisher.send_publish("t", "x", Q1, id));
    network.advance(2);
    let line = "warn: client \"late\": takes its messages too slowly, publishers no longer wait for it \
                (session.publisher_hold)";
    assert_eq!(reader.read(), [line]);
}
