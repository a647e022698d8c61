//! CONNECT and its answer.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Admission, Cause, Link, Written};
use midge::time::Time;

use crate::harness::{
    ALL, Client, Inbox, LastWill, Line, Network, Packets, Q0, Q2, Received, V5, V31, V311, opts,
};

/// [MQTT-3.1.4-4], [MQTT3-3.2.2-1], [MQTT3-3.1.4-3]: even where there is one.
#[test]
fn a_clean_start_never_has_a_session_present() {
    for version in ALL {
        let network = Network::new();
        for stored in [false, true] {
            if stored {
                opts("a", version).persistent().on(&network).disconnect();
            }
            assert_eq!(network.stats().sessions, u64::from(stored));
            let (client, present) = opts("a", version).join(&network);
            assert!(!present, "{version}"); // [MQTT-3.2.2-2]
            client.disconnect();
        }
    }
}

/// [MQTT3-3.1.2-4], [MQTT3-3.2.2-2], [MQTT3-3.2.2-3]
#[test]
fn a_session_that_was_kept_is_present() {
    for version in ALL {
        let network = Network::new();
        let (client, present) = opts("a", version).persistent().join(&network);
        assert!(!present, "{version}");
        client.disconnect();
        // [MQTT-3.2.2-3]; MQTT 3.1 has no such flag.
        let (_client, present) = opts("a", version).persistent().join(&network);
        assert_eq!(present, version > V31, "{version}");
    }
}

#[test]
fn an_empty_client_identifier_is_refused_or_replaced() {
    let invalid = ReasonCode::ClientIdentifierNotValid;
    let network = Network::new();
    // MQTT 3.1 demands 1 to 23 characters.
    assert_eq!(opts("", V31).refused_by(&network), (Some(invalid), invalid));
    assert_eq!(opts("", V311).resume().refused_by(&network), (Some(invalid), invalid)); // [MQTT3-3.1.3-8]
    let _anonymous = opts("", V311).on(&network); // [MQTT3-3.1.3-6]
    let clients = [opts("", V5).on(&network), opts("", V5).resume().on(&network)];
    // [MQTT-3.1.3-7], [MQTT-3.2.2-16]: the client is told; no two get the same.
    let ids: Vec<_> = clients.iter().map(|c| c.told().assigned_client_identifier().unwrap()).collect();
    assert_ne!(ids[0], ids[1]);
    let known: Vec<_> = network.engine.clients().into_iter().map(|client| client.client_id).collect();
    assert_eq!(known.len(), 3);
    assert!(ids.iter().all(|id| known.iter().any(|known| known == id)));
}

/// [MQTT-3.1.3-7]
#[test]
fn an_assigned_client_identifier_resumes_its_session() {
    let network = Network::new();
    let client = opts("", V5).expiry(100).on(&network);
    let id = client.told().assigned_client_identifier().unwrap().to_owned();
    client.hang_up();
    let (client, present) = opts(&id, V5).persistent().join(&network);
    assert!(present);
    assert_eq!(client.told().assigned_client_identifier(), None);
}

/// [MQTT3-3.1.3-9]
#[test]
fn empty_client_identifiers_can_be_forbidden() {
    let network = Network::with(&[("mqtt.allow_empty_client_id", "false")]);
    for version in ALL {
        let (told, _) = opts("", version).refused_by(&network);
        assert_eq!(told, Some(ReasonCode::ClientIdentifierNotValid), "{version}");
    }
}

/// [MQTT-3.1.3-8], [MQTT3-3.1.3-9]
#[test]
fn a_long_client_identifier_is_refused() {
    let network = Network::with(&[("mqtt.max_client_id_length", "30")]);
    for version in ALL {
        opts(&"x".repeat(30), version).on(&network).disconnect();
        let (told, _) = opts(&"x".repeat(31), version).refused_by(&network);
        assert_eq!(told, Some(ReasonCode::ClientIdentifierNotValid), "{version}");
    }
}

#[test]
fn one_session_too_many_is_refused() {
    for version in ALL {
        let network = Network::with(&[("session.max_sessions", "1")]);
        let first = opts("a", version).on(&network);
        let expected = if version == V5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerUnavailable };
        let refusal = opts("b", version).refused_by(&network);
        assert_eq!(refusal, (Some(expected), ReasonCode::QuotaExceeded), "{version}");
        first.disconnect();
        opts("b", version).on(&network);
    }
}

#[test]
fn what_the_server_cannot_do_is_refused_with_the_will() {
    let network = Network::with(&[("mqtt.max_qos", "1"), ("mqtt.retain", "false")]);
    let will = LastWill::new("w", "");
    let cases = [
        (will.clone().qos(Q2), ReasonCode::QosNotSupported),
        (will.retained(), ReasonCode::RetainNotSupported), // [MQTT-3.2.2-13]
    ];
    for (will, reason) in cases {
        let (told, cause) = opts("a", V5).will(will).refused_by(&network);
        assert_eq!((told, cause), (Some(reason), reason));
    }
    let client = opts("a", V5).on(&network);
    assert_eq!(client.told().maximum_qos(), Some(QoS::AtLeastOnce));
    assert_eq!(client.told().retain_available(), Some(false));
}

#[test]
fn an_unknown_authentication_method_is_refused() {
    let network = Network::new();
    let reason = ReasonCode::BadAuthenticationMethod;
    let refusal = opts("a", V5).with(|p| _ = p.authentication_method("SCRAM")).refused_by(&network);
    assert_eq!(refusal, (Some(reason), reason)); // [MQTT-4.12.0-1]
}

#[test]
fn auth_without_a_method_in_connect_is_a_protocol_error() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    assert!(!client.send_bytes(&[0xF0, 0])); // [MQTT-4.12.0-7]
    client.expect_refused(ReasonCode::ProtocolError);
}

/// [MQTT-3.1.2-2]: an unknown protocol level is answered in the shape that the client may understand.
#[test]
fn an_unknown_protocol_level_is_told() {
    let network = Network::new();
    for (level, version) in [(0, V311), (2, V311), (6, V5), (0x7F, V5), (0x83, V311), (0x85, V5)] {
        let mut bytes = opts("a", V311).encode();
        bytes[8] = level;
        let mut client = Client::open(&network, version);
        assert!(!client.send_bytes(&bytes));
        let reason = ReasonCode::UnsupportedProtocolVersion;
        assert_eq!(client.refusal(), (Some(reason), reason), "level {level}");
    }
}

/// [MQTT-3.1.2-1]: another protocol's name is closed without an answer.
/// [MQTT3-3.1.2-1]
#[test]
fn an_unknown_protocol_name_is_closed() {
    let network = Network::new();
    let mut bytes = opts("a", V311).encode();
    bytes[7] = b'X';
    let mut client = Client::open(&network, V311);
    assert!(!client.send_bytes(&bytes));
    assert_eq!(client.refusal(), (None, ReasonCode::UnsupportedProtocolVersion));
}

/// [MQTT-3.1.4-1], [MQTT3-3.1.4-1]: MQTT 3.1.1 closes on a malformed CONNECT, MQTT 5 may say why.
/// [MQTT3-3.1.2-14]
#[test]
fn a_malformed_connect_is_closed() {
    for version in ALL {
        let network = Network::new();
        let mut bytes = opts("a", version).encode();
        let flags = if version == V31 { 11 } else { 9 };
        bytes[flags] |= 0x1C; // A will of QoS 3 [MQTT-3.1.2-12].
        let mut client = Client::open(&network, version);
        assert!(!client.send_bytes(&bytes));
        let told = (version == V5).then_some(ReasonCode::MalformedPacket);
        assert_eq!(client.refusal(), (told, ReasonCode::MalformedPacket), "{version}");
    }
}

/// [MQTT-1.5.5-1] is a rule of MQTT 5 alone.
#[test]
fn a_remaining_length_with_a_needless_byte_is_malformed_in_mqtt_5() {
    for version in ALL {
        let network = Network::new();
        let mut bytes = opts("a", version).encode();
        bytes.splice(1..2, [bytes[1] | 0x80, 0]);
        let mut client = Client::open(&network, version);
        assert_eq!(client.send_bytes(&bytes), version != V5, "{version}");
        if version != V5 {
            client.send_bytes(&[0xC0, 0x80, 0]);
            assert!(matches!(client.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
            assert_eq!(client.next(), Some(Received::Pingresp));
        }
    }
}

/// A will topic with a wildcard, or none, is a packet that breaks a rule: MQTT 3 has no return code for it.
/// [MQTT-4.7.0-1], [MQTT-4.7.3-1], [MQTT3-4.7.1-1], [MQTT3-4.7.3-1]
#[test]
fn a_will_topic_with_a_wildcard_is_refused() {
    for version in ALL {
        for bad in ["w/+", "w/#", "+/w", "#/w", "w+w", "w#w", ""] {
            let network = Network::new();
            let good = opts("a", version).will(LastWill::new("w/w", "x")).encode();
            let at = good.windows(3).position(|part| part == b"w/w").unwrap();
            let mut bytes = good.clone();
            bytes.splice(at..at + 3, bad.bytes());
            bytes[at - 1] = bad.len() as u8;
            bytes[1] -= 3 - bad.len() as u8;
            let mut client = Client::open(&network, version);
            assert!(!client.send_bytes(&bytes), "{version} {bad:?}");
            let told = (version == V5).then_some(ReasonCode::TopicNameInvalid);
            assert_eq!(client.refusal(), (told, ReasonCode::TopicNameInvalid), "{version} {bad:?}");
        }
    }
}

/// [MQTT-3.1.0-1], [MQTT3-3.1.0-1]
#[test]
fn the_first_packet_is_connect() {
    for version in ALL {
        let others = (0..16_u8).filter(|kind| *kind != 1).map(|kind| vec![kind << 4, 0]);
        for packet in others.chain([vec![0x30, 3, 0, 1, b'a'], vec![0x82]]) {
            let network = Network::new();
            let mut client = Client::open(&network, version);
            assert!(!client.send_bytes(&packet));
            assert_eq!(client.refusal(), (None, ReasonCode::ProtocolError), "{version} {packet:02x?}");
        }
    }
}

/// [MQTT-3.1.0-2], [MQTT3-3.1.0-2], [MQTT3-4.8.0-1]
#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        assert!(!client.send_bytes(&opts("a", version).encode()));
        client.expect_refused(ReasonCode::ProtocolError);
        // Whatever is wrong with it: DISCONNECT cannot say that a version is not spoken.
        let mut client = opts("b", version).on(&network);
        assert!(!client.send_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a"));
        client.expect_refused(ReasonCode::ProtocolError);
    }
}

/// [MQTT-4.13.1-1], [MQTT3-4.8.0-1]
#[test]
fn packets_that_only_a_server_sends_are_a_protocol_error() {
    let packets: [&[u8]; 3] = [&[0x20, 2, 0, 0], &[0x90, 3, 0, 1, 0], &[0xD0, 0]];
    for version in [V31, V311] {
        for packet in packets {
            let network = Network::new();
            let mut client = opts("a", version).on(&network);
            assert!(!client.send_bytes(packet));
            client.expect_refused(ReasonCode::ProtocolError);
        }
    }
    for packet in [&[0x20, 3, 0, 0, 0][..], &[0x90, 4, 0, 1, 0, 0], &[0xB0, 4, 0, 1, 0, 0], &[0xD0, 0]] {
        let network = Network::new();
        let mut client = opts("a", V5).on(&network);
        assert!(!client.send_bytes(packet));
        client.expect_refused(ReasonCode::ProtocolError);
    }
}

/// The story that the project starts from: paho's `connect` and `publish` in one go.
#[test]
fn a_publish_right_behind_connect_is_taken() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("chat", Q0);
        let bytes = opts("a", version).encode();
        let packets = Packets(bytes).publish(version, "chat", "hello tao", Q0, 0);
        let mut client = Client::open(&network, version);
        assert!(client.send_bytes(&packets.0));
        assert!(matches!(client.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
        hearer.expect_message("chat", "hello tao");
    }
}

/// [MQTT3-3.1.4-5]
#[test]
fn packets_behind_a_refused_connect_are_not_taken() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_client_id_length", "23")]);
        let mut hearer = opts("hearer", V311).on(&network);
        hearer.subscribe("chat", Q0);
        let long = opts(&"x".repeat(24), version).encode();
        // One that CONNACK refuses, and one that is refused without.
        let mut wrong = opts("a", version).encode();
        *wrong.last_mut().unwrap() = 0xFF;
        for connect in [long, wrong] {
            let packets = Packets(connect).publish(version, "chat", "x", Q0, 0);
            let mut client = Client::open(&network, version);
            assert!(!client.send_bytes(&packets.0), "{version}");
            // Nor in a later portion.
            assert!(!client.send_publish("chat", "x", Q0, 0), "{version}");
            hearer.expect_nothing();
        }
        assert_eq!(network.stats().sessions, 1, "{version}");
    }
}

#[test]
fn the_server_tells_its_limits_to_mqtt_5() {
    let settings = [
        ("mqtt.receive_maximum", "7"),
        ("mqtt.max_packet_size", "4KiB"),
        ("mqtt.topic_alias_maximum", "3"),
        ("mqtt.keep_alive_max", "60s"),
        ("mqtt.wildcard_subscriptions", "false"),
        ("mqtt.shared_subscriptions", "false"),
        ("mqtt.subscription_identifiers", "false"),
        ("session.max_expiry", "100s"),
    ];
    let network = Network::with(&settings);
    let client = opts("a", V5).expiry(1000).on(&network);
    let told = client.told();
    assert_eq!(told.receive_maximum(), Some(7));
    assert_eq!(told.maximum_packet_size(), Some(4096));
    assert_eq!(told.topic_alias_maximum(), Some(3));
    assert_eq!(told.server_keep_alive(), Some(60)); // [MQTT-3.2.2-21]
    assert_eq!(told.wildcard_subscription_available(), Some(false));
    assert_eq!(told.shared_subscription_available(), Some(false));
    assert_eq!(told.subscription_identifier_available(), Some(false));
    assert_eq!(told.session_expiry_interval(), Some(100));
    drop(opts("b", V311).on(&network));
}

/// [MQTT-3.1.2-28]
#[test]
fn response_information_is_for_those_who_ask() {
    let asked = |network: &Network, wanted: Option<bool>| {
        let connect = opts("a", V5).with(|p| {
            if let Some(wanted) = wanted {
                p.request_response_information(wanted);
            }
        });
        connect.on(network).told().response_information().map(str::to_owned)
    };
    let network = Network::with(&[("mqtt.response_information", "replies/é")]);
    assert_eq!(asked(&network, Some(true)).as_deref(), Some("replies/é"));
    assert_eq!(asked(&network, Some(false)), None);
    assert_eq!(asked(&network, None), None);
    assert_eq!(asked(&Network::new(), Some(true)), None);
}

/// Client identifiers are UTF-8 without U+0000, and nothing else is forbidden [MQTT-3.1.3-4], [MQTT-3.1.3-5].
#[test]
fn every_legal_character_may_be_in_a_client_identifier() {
    for version in ALL {
        let network = Network::new();
        for c in
            ('\u{1}'..=char::MAX).step_by(61).chain('\u{1}'..='\u{FF}').chain("+#/$\u{FEFF}\u{FFFF}".chars())
        {
            let (client, present) = opts(&c.to_string(), version).join(&network);
            assert!(!present);
            assert_eq!(network.engine.clients().pop().unwrap().client_id, c.to_string(), "{version}");
            client.disconnect();
        }
        let all: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
        opts(&all[..23], version).on(&network).disconnect();
        opts(&all, version).on(&network).disconnect();
    }
}

/// [MQTT-3.2.2-15]: a packet above the Maximum Packet Size is refused by its header.
#[test]
fn a_packet_that_is_too_large_ends_the_connection() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_packet_size", "128B")]);
        let mut client = opts("a", version).on(&network);
        // 128 bytes are not above it.
        let length = if version == V5 { 122 } else { 123 };
        assert!(client.send_publish("t", &"x".repeat(length), Q0, 0));
        assert_eq!(network.stats().bytes_received as usize, opts("a", version).encode().len() + 128);
        assert!(!client.send_bytes(&[0x30, 127]));
        client.expect_refused(ReasonCode::PacketTooLarge);
    }
}

#[test]
fn a_connect_that_is_too_large_is_closed() {
    let network = Network::with(&[("mqtt.max_packet_size", "128B")]);
    let mut client = Client::open(&network, V5);
    assert!(!client.send_bytes(&opts(&"x".repeat(200), V5).encode()));
    assert_eq!(client.refusal(), (None, ReasonCode::PacketTooLarge));
}

#[test]
fn a_connection_without_connect_is_closed_in_time() {
    let network = Network::with(&[("mqtt.connect_timeout", "5s")]);
    let silent = Client::open(&network, V5);
    let mut half = Client::open(&network, V5);
    half.send_bytes(&opts("a", V5).encode()[..5]);
    let joined = opts("b", V5).on(&network);
    network.advance(4);
    assert_eq!(silent.line.finished(), None);
    network.advance(2);
    assert_eq!(silent.line.finished(), Some(Cause::ConnectTimeout));
    assert_eq!(half.line.finished(), Some(Cause::ConnectTimeout));
    assert_eq!(joined.line.finished(), None);
    assert_eq!(network.stats().connections_refused, 2);
}

#[test]
fn a_connection_that_goes_before_connect_leaves_nothing() {
    let network = Network::new();
    Client::open(&network, V5).hang_up();
    assert_eq!(network.stats().connections_closed, 1);
    network.advance(3600);
    assert_eq!(network.stats().connections_refused, 0);
}

/// [MQTT3-3.12.4-1]
#[test]
fn pingreq_is_answered() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.send(&Packet::Pingreq);
        assert_eq!(client.next(), Some(Received::Pingresp)); // [MQTT-3.12.4-1]
    }
}

#[test]
fn the_host_can_disconnect_a_client() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).persistent().on(&network);
        assert!(network.engine.kick(&mut network.turn(), "a"));
        if version == V5 {
            assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::AdministrativeAction)));
        }
        client.expect_nothing();
        assert_eq!(client.line.finished(), Some(Cause::Kicked));
        assert!(!network.engine.kick(&mut network.turn(), "a"));
        assert!(!network.engine.kick(&mut network.turn(), "nobody"));
        client.hang_up();
        let (_client, present) = opts("a", version).persistent().join(&network);
        assert_eq!(present, version != V31);
    }
}

/// A connection that the broker has ended is not heard any more, however fast its client sends.
#[test]
fn packets_of_a_connection_that_the_broker_has_ended_are_not_taken() {
    for version in ALL {
        for ending in [
            |network: &Network| _ = network.engine.kick(&mut network.turn(), "a"),
            |network: &Network| network.advance(16),
            |network: &Network| network.engine.stop(&mut network.turn()),
        ] {
            let network = Network::new();
            let inbox = Inbox::new(9);
            let options = Default::default();
            network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap();
            let mut client = opts("a", version).keep_alive(10).on(&network);
            ending(&network);
            client.send_subscribe(&[("x", options)], 0);
            assert!(!client.send_publish("t", "late", Q0, 0));
            assert!(!client.send_disconnect(ReasonCode::Success, None));
            assert!(inbox.take().is_empty());
            assert_eq!(network.stats().subscriptions, 1);
            client.hang_up();
        }
    }
}

#[test]
fn stopping_tells_clients_and_keeps_their_wills() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("hearer", version).on(&network);
        hearer.subscribe("will", Q0);
        let mut client = opts("a", version).will(LastWill::new("will", "gone")).on(&network);
        network.engine.stop(&mut network.turn());
        for client in [&mut client, &mut hearer] {
            if version == V5 {
                assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::ServerShuttingDown)));
            }
            client.expect_nothing();
            assert_eq!(client.line.finished(), Some(Cause::ServerShuttingDown));
        }
    }
}

#[test]
fn a_broker_that_has_stopped_takes_no_clients() {
    for version in ALL {
        for resumed in [false, true] {
            let network = Network::new();
            let connect = if resumed { opts("a", version).persistent() } else { opts("a", version) };
            connect.on(&network).disconnect();
            network.engine.stop(&mut network.turn());
            let reason = ReasonCode::ServerUnavailable;
            assert_eq!(connect.refused_by(&network), (Some(reason), reason));
            assert_eq!(network.stats().sessions, u64::from(resumed));
        }
    }
}

#[test]
fn clients_are_shown() {
    let network = Network::new();
    let mut client = opts("a", V5).username("tao").keep_alive(30).expiry(60).on(&network);
    client.subscribe("x", Q0);
    client.publish("x", "1", Q0);
    client.expect_message("x", "1");
    let views = network.engine.clients();
    let [view] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((view.client_id.as_str(), view.username.as_deref()), ("a", Some("tao")));
    assert_eq!((view.connected, view.version, view.keep_alive), (true, V5, 30));
    assert_eq!((view.session_expiry, view.subscriptions, view.clean_start), (60, 1, true));
    assert_eq!((view.received_messages, view.sent_messages), (1, 1));
    client.hang_up();
    let view = network.engine.clients().remove(0);
    assert_eq!((view.connected, view.username, view.version), (false, None, Version::V5));
}

#[test]
fn bytes_after_the_end_are_not_taken() {
    let network = Network::new();
    let mut hearer = opts("hearer", V5).on(&network);
    hearer.subscribe("t", Q0);
    let mut client = opts("a", V5).on(&network);
    let packets = Packets(vec![0xE0, 0]).publish(V5, "t", "late", Q0, 0);
    assert!(!client.send_bytes(&packets.0));
    assert!(!client.send_publish("t", "later", Q0, 0));
    hearer.expect_nothing();
    let Client { mut connection, .. } = client;
    assert!(connection.session().is_none());
    Connection::lost(&mut connection, &network.engine, &mut network.turn(), Cause::ConnectionLost);
}

/// A line whose client sends its CONNECT just when the broker asks whether there is something to read.
struct LastMoment {
    line: Line,
    at: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Link for LastMoment {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        self.line.write(buffers)
    }

    fn has_unread(&self) -> bool {
        let at = self.at.lock().unwrap().take();
        at.into_iter().for_each(|at| at());
        false
    }

    fn admit(&self, takes_over: bool) -> Admission {
        self.line.admit(takes_over)
    }

    fn expire(&self, cause: Cause) -> bool {
        self.line.expire(cause)
    }

    fn is_over(&self) -> bool {
        self.line.is_over()
    }

    fn wake(&self) {
        self.line.wake();
    }

    fn finish(&self, last: LastBytes, cause: Cause) {
        self.line.finish(last, cause);
    }
}

/// The timer has been handed out when CONNECT cancels it.
#[test]
fn a_client_that_is_let_in_at_its_deadline_stays() {
    let network = Network::with(&[("mqtt.connect_timeout", "5s")]);
    let link = Arc::new(LastMoment { line: Line::default(), at: Mutex::default() });
    let connection = Connection::new(&network.engine, &mut network.turn(), link.clone(), None);
    let connection = Arc::new(Mutex::new(connection));
    let (engine, its) = (Arc::downgrade(&network.engine), Arc::clone(&connection));
    *link.at.lock().unwrap() = Some(Box::new(move || {
        let engine = engine.upgrade().unwrap();
        let mut turn = engine.turn(Time::ZERO);
        assert!(its.lock().unwrap().receive(&engine, &mut turn, &opts("a", V5).encode(), None).open);
    }));
    network.advance(10);
    assert!(link.at.lock().unwrap().is_none(), "the deadline has passed");
    assert_eq!(link.line.finished(), None, "CONNACK has said that the client is let in");
    assert_eq!((network.stats().clients_connected, network.stats().connections_refused), (1, 0));
    connection.lock().unwrap().lost(&network.engine, &mut network.turn(), Cause::ConnectionLost);
}

/// A connection whose deadline has passed before its CONNECT is handled gets no CONNACK that lets it in.
#[test]
fn a_client_whose_deadline_has_passed_is_not_let_in() {
    let network = Network::with(&[("mqtt.connect_timeout", "5s")]);
    for version in ALL {
        let before = network.stats().connections_refused;
        let mut client = Client::open(&network, version);
        network.advance(10);
        assert_eq!(client.line.finished(), Some(Cause::ConnectTimeout));
        assert!(!client.send_bytes(&opts("a", version).encode()));
        client.expect_nothing();
        client.hang_up();
        assert_eq!(network.stats().connections_refused, before + 1);
    }
    assert_eq!((network.stats().clients_connected, network.stats().sessions), (0, 0));
}

fn splitmix(x: u64) -> u64 {
    let z = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of which [`splitmix`] is `z`.
fn unmixed(z: u64) -> u64 {
    // The inverse modulo 2^64, of which each step doubles the bits that are right.
    let inverse = |a: u64| (0..6).fold(a, |x, _| x.wrapping_mul(2_u64.wrapping_sub(a.wrapping_mul(x))));
    let z = z ^ (z >> 31) ^ (z >> 62);
    let z = z.wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
    let z = z ^ (z >> 27) ^ (z >> 54);
    let z = z.wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
    let z = z ^ (z >> 30) ^ (z >> 60);
    z.wrapping_mul(inverse(0x9e37_79b9_7f4a_7c15))
}

/// A stranger who has been assigned an identifier computes no other from it: not by the mixing of a counter, and not as its
/// neighbour.
#[test]
fn an_assigned_identifier_does_not_tell_the_next() {
    assert_eq!(unmixed(splitmix(0x0123_4567_89ab_cdef)), 0x0123_4567_89ab_cdef);
    let network = Network::new();
    let clients = [(); 8].map(|()| opts("", V5).on(&network));
    let numbers = clients.each_ref().map(|client| {
        let told = client.told();
        let id = told.assigned_client_identifier().unwrap().strip_prefix("midge-").unwrap();
        assert_eq!(id.len(), 16);
        u64::from_str_radix(id, 16).unwrap()
    });
    for pair in numbers.windows(2) {
        let counter = unmixed(pair[0]);
        for step in 0..=1000 {
            assert_ne!(pair[1], splitmix(counter.wrapping_add(step)));
            assert_ne!(pair[1], pair[0].wrapping_add(step));
        }
    }
}
