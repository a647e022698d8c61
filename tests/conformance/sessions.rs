//! Sessions, deliveries and their order, where the tests of the engine leave a statement without a test.

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::publish::Publish;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::session::link::Cause;

use crate::harness::{ALL, Client, LastWill, Network, Q0, Q1, Q2, Received, V5, id, opts};

/// [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-3.1.4-5], [MQTT3-3.2.0-1], [MQTT3-3.1.4-4]
#[test]
fn connack_comes_first_and_once() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q1);
        network.publish("t", "begun", 1, false);
        hearer.hang_up();
        network.publish("t", "waits", 1, false);
        // What waits does not overtake it, nor do answers to what came with CONNECT.
        let mut client = Client::open(&network, version);
        let mut bytes = opts("to", version).persistent().encode();
        bytes.extend([0xC0, 0]);
        client.send_bytes(&bytes);
        let all: Vec<_> = std::iter::from_fn(|| client.next()).collect();
        assert!(matches!(all[0], Received::Connack { reason: ReasonCode::Success, .. }), "{all:?}");
        assert_eq!(all.iter().filter(|packet| matches!(packet, Received::Connack { .. })).count(), 1);
        assert_eq!(all.len(), 4);
    }
}

/// [MQTT-3.1.3-5], [MQTT3-3.1.3-5], [MQTT-3.1.3-2], [MQTT3-3.1.3-2]: with the narrowest setting.
#[test]
fn client_identifiers_of_1_to_23_letters_and_digits_are_taken() {
    let network = Network::with(&[("mqtt.max_client_id_length", "23")]);
    let characters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in ALL {
        let mut clients = Vec::new();
        for at in 0..characters.len() {
            let length = 1 + at % 23;
            let name: String = characters.chars().cycle().skip(at).take(length).collect();
            clients.push(opts(&name, version).on(&network));
        }
        // Each has a session of its own.
        assert_eq!(network.stats().sessions, characters.len() as u64);
        assert!(clients.iter().all(|client| client.line.finished().is_none()));
        clients.into_iter().for_each(Client::disconnect);
    }
}

/// [MQTT-3.14.0-1]
#[test]
fn no_disconnect_is_sent_before_connack() {
    for version in ALL {
        let network = Network::with(&[("mqtt.connect_timeout", "5s")]);
        for bytes in [&[][..], &[0x10], &[0xC0, 0], &[0x10, 0], &[0x10, 0xFF, 0xFF, 0xFF, 0xFF], &[0xE0, 0]] {
            let mut client = Client::open(&network, version);
            client.send_bytes(bytes);
            network.advance(6);
            client.poll();
            assert!(client.line.finished().is_some());
            assert!(client.line.take().is_empty(), "{version} {bytes:02x?}");
        }
        // Nor behind a CONNACK that refuses, nor by a broker that stops.
        let network = Network::new();
        let mut refused = Client::open(&network, version);
        refused.send_bytes(&opts("a", version).will(LastWill::new("$SYS/x", "")).encode());
        refused.send_bytes(&[0xC0, 0]);
        assert!(matches!(refused.next(), Some(Received::Connack { reason, .. }) if reason.is_error()));
        refused.expect_nothing();
        let mut waiting = Client::open(&network, version);
        waiting.send_bytes(&[0x10]);
        network.engine.stop(&mut network.turn());
        waiting.expect_nothing();
        waiting.connection.lost(&network.engine, &mut network.turn(), Cause::ServerShuttingDown);
        waiting.expect_nothing();
    }
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.2-1]
#[test]
fn nothing_is_sent_behind_disconnect() {
    let network = Network::new();
    let endings = [
        |network: &Network, _: &mut Client<'_>| _ = network.engine.kick(&mut network.turn(), "a"),
        |_: &Network, client: &mut Client<'_>| _ = client.send_bytes(&[0x00, 0]),
        |network: &Network, _: &mut Client<'_>| network.advance(16),
    ];
    for end in endings {
        let mut client = opts("a", V5).persistent().keep_alive(10).on(&network);
        client.subscribe("t", Q1);
        end(&network, &mut client);
        network.publish("t", "late", 1, false);
        client.send_bytes(&[0xC0, 0]);
        assert!(matches!(client.next(), Some(Received::Disconnect(_))));
        client.expect_nothing();
        assert!(client.line.finished().is_some());
        client.hang_up();
        opts("a", V5).on(&network).disconnect();
    }
}

/// [MQTT-4.1.0-1], [MQTT3-4.1.0-1], [MQTT3-4.1.0-2]: no interval runs while the client is there.
#[test]
fn a_session_lasts_as_long_as_its_connection() {
    for version in ALL {
        for connect in [opts("a", version), opts("a", version).expiry(10)] {
            let network = Network::with(&[("session.max_expiry", "60s")]);
            let mut client = connect.on(&network);
            client.subscribe("t", Q1);
            network.advance(10 * 365 * 24 * 3600);
            network.publish("t", "x", 1, false);
            assert_eq!(client.drain(), ["x"], "{version}");
        }
    }
}

/// [MQTT-4.3.3-9]
#[test]
fn after_a_refusing_pubrec_the_identifier_is_a_new_message() {
    let network = Network::new();
    let mut hearer = opts("to", V5).on(&network);
    hearer.subscribe("t", Q0);
    let mut client = opts("from", V5).on(&network);
    let text = Properties::from_encoded(&[0x01, 1]).unwrap();
    for (payload, reason, heard) in
        [(&b"\xFF"[..], ReasonCode::PayloadFormatInvalid, false), (b"text", ReasonCode::Success, true)]
    {
        client.send(&Packet::Publish(Publish {
            dup: false,
            qos: Q2,
            retain: false,
            topic: "t",
            packet_id: Some(id(5)),
            properties: text,
            payload,
        }));
        assert_eq!(client.expect_ack(AckKind::Pubrec, 5), reason);
        assert_eq!(hearer.drain().len(), usize::from(heard));
    }
}

/// [MQTT-4.3.3-13], [MQTT-4.3.3-7]: in both directions.
#[test]
fn a_qos_2_handshake_goes_on_after_the_message_has_expired() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q2);
    let mut publisher = opts("from", V5).on(&network);
    let sent = publisher.send_with("t", b"x", Q2, false, |p| _ = p.message_expiry_interval(5));
    publisher.expect_ack(AckKind::Pubrec, sent);
    let message = hearer.expect_message("t", "x");
    hearer.hang_up();
    network.advance(60);
    publisher.send_ack(AckKind::Pubrel, sent);
    assert_eq!(publisher.expect_ack(AckKind::Pubcomp, sent), ReasonCode::Success);
    let mut hearer = opts("to", V5).persistent().on(&network);
    assert_eq!(hearer.expect_publish().id, message.id);
    hearer.send_ack(AckKind::Pubrec, message.id);
    assert_eq!(hearer.expect_ack(AckKind::Pubrel, message.id), ReasonCode::Success);
    hearer.send_ack(AckKind::Pubcomp, message.id);
    assert_eq!(network.engine.clients().iter().map(|client| client.inflight).sum::<usize>(), 0);
}

/// [MQTT-4.4.0-2]
#[test]
fn what_was_refused_is_not_sent_again() {
    let network = Network::new();
    let mut hearer = opts("to", V5).persistent().on(&network);
    hearer.subscribe("t", Q2);
    for (qos, kind) in [(1, AckKind::Puback), (2, AckKind::Pubrec)] {
        network.publish("t", "x", qos, false);
        let message = hearer.expect_publish();
        hearer.send_refusal(kind, message.id, ReasonCode::UnspecifiedError);
        hearer.expect_nothing();
    }
    hearer.hang_up();
    opts("to", V5).persistent().on(&network).expect_nothing();
}

/// [MQTT-4.6.0-4], [MQTT3-4.6.0-4]: those that come together as well. On the next connection each is sent once more.
#[test]
fn pubrels_are_in_the_order_of_pubrecs() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).persistent().on(&network);
        hearer.subscribe("t", Q2);
        for _ in 0..4 {
            network.publish("t", "x", 2, false);
        }
        let ids: Vec<u16> = (0..4).map(|_| hearer.expect_publish().id).collect();
        let order = [ids[2], ids[0], ids[3], ids[1]];
        // One by one, then again in one segment.
        for id in order {
            hearer.send_ack(AckKind::Pubrec, id);
        }
        let segment: Vec<u8> = order.iter().flat_map(|id| [0x50, 2, (id >> 8) as u8, *id as u8]).collect();
        hearer.send_bytes(&segment);
        for id in order.into_iter().chain(order) {
            hearer.expect_ack(AckKind::Pubrel, id);
        }
        hearer.expect_nothing();
        hearer.hang_up();
        let mut hearer = opts("to", version).persistent().on(&network);
        let mut again = Vec::new();
        while let Some(Received::Ack { kind: AckKind::Pubrel, id, .. }) = hearer.next() {
            again.push(id);
        }
        again.sort_unstable();
        assert_eq!(again, ids);
    }
}

/// [MQTT-3.3.4-10], [MQTT-4.9.0-3], [MQTT-3.3.4-9]
#[test]
fn a_full_window_delays_nothing_but_publish() {
    let network = Network::new();
    let mut client = opts("a", V5).receive_maximum(1).on(&network);
    client.subscribe("t", Q1);
    network.publish("t", "first", 1, false);
    network.publish("t", "second", 1, false);
    let first = client.expect_message("t", "first");
    client.send(&Packet::Pingreq);
    assert_eq!(client.next(), Some(Received::Pingresp));
    client.subscribe("u", Q1);
    assert_eq!(client.unsubscribe(&["u"]), [0]);
    assert_eq!(client.publish("v", "", Q2), ReasonCode::NoMatchingSubscribers);
    client.send_ack(AckKind::Pubrel, 99);
    client.expect_ack(AckKind::Pubcomp, 99);
    client.expect_nothing();
    client.acknowledge(&first);
    let second = client.expect_message("t", "second");
    client.acknowledge(&second);
    // A delivery of QoS 2 fills the window until PUBCOMP, and its PUBREL does not wait for that.
    client.subscribe("t", Q2);
    network.publish("t", "third", 2, false);
    network.publish("t", "fourth", 2, false);
    let third = client.expect_message("t", "third");
    client.send_ack(AckKind::Pubrec, third.id);
    client.expect_ack(AckKind::Pubrel, third.id);
    client.expect_nothing();
    client.send_ack(AckKind::Pubcomp, third.id);
    client.expect_message("t", "fourth");
}

/// [MQTT-3.8.4-4], [MQTT3-3.8.4-3]: what waits and what is on its way survives, and retained messages come again.
#[test]
fn replacing_a_subscription_loses_no_message() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_inflight", "1")]);
        let mut hearer = opts("to", version).on(&network);
        network.publish("t", "kept", 1, true);
        hearer.subscribe("t", Q1);
        for n in 1..=3 {
            network.publish("t", &n.to_string(), 1, false);
        }
        let first = hearer.expect_message("t", "kept");
        hearer.subscribe("t", Q2);
        network.publish("t", "4", 1, false);
        hearer.acknowledge(&first);
        let mut all = hearer.drain();
        all.sort();
        assert_eq!(all, ["1", "2", "3", "4", "kept"], "{version}");
    }
}

/// Two members, of which the first gets the message; the other hears what is left.
fn begin_shared(network: &Network) -> (Client<'_>, Client<'_>, crate::harness::Message) {
    let mut a = opts("a", V5).expiry(100).on(network);
    let mut b = opts("b", V5).expiry(100).on(network);
    a.subscribe("$share/g/t", Q2);
    b.subscribe("$share/g/t", Q2);
    network.publish("t", "x", 2, false);
    match (a.next(), b.next()) {
        (Some(Received::Publish(message)), None) => (a, b, message),
        (None, Some(Received::Publish(message))) => (b, a, message),
        other => panic!("one member gets it: {other:?}"),
    }
}

/// Whether the connection breaks before PUBREC or behind it.
/// [MQTT-4.8.2-4]
#[test]
fn a_shared_qos_2_delivery_is_completed_with_its_member() {
    for received in [false, true] {
        let network = Network::new();
        let (mut chosen, mut other, message) = begin_shared(&network);
        let name = if network.engine.clients().iter().any(|c| c.client_id == "a" && c.inflight == 1) {
            "a"
        } else {
            "b"
        };
        if received {
            chosen.send_ack(AckKind::Pubrec, message.id);
            chosen.expect_ack(AckKind::Pubrel, message.id);
        }
        chosen.hang_up();
        network.advance(50);
        other.expect_nothing();
        let mut chosen = opts(name, V5).resume().expiry(100).on(&network);
        if received {
            chosen.expect_ack(AckKind::Pubrel, message.id);
            chosen.send_ack(AckKind::Pubcomp, message.id);
        } else {
            let again = chosen.expect_message("t", "x");
            assert_eq!((again.id, again.dup), (message.id, true));
            chosen.acknowledge(&again);
        }
        chosen.expect_nothing();
        other.expect_nothing();
        assert!(network.engine.clients().iter().all(|client| client.inflight == 0));
    }
}

/// Before PUBREC or behind it; because the session expires, or because the client begins a new one.
/// [MQTT-4.8.2-5]
#[test]
fn a_shared_qos_2_delivery_ends_with_the_session_of_its_member() {
    for received in [false, true] {
        for expires in [false, true] {
            let network = Network::new();
            let (mut chosen, mut other, message) = begin_shared(&network);
            if received {
                chosen.send_ack(AckKind::Pubrec, message.id);
                chosen.expect_ack(AckKind::Pubrel, message.id);
            }
            chosen.hang_up();
            if expires {
                network.advance(101);
                assert_eq!(network.stats().sessions, 1);
            } else {
                let away = network.engine.clients().into_iter().find(|client| !client.connected).unwrap();
                opts(&away.client_id, V5).on(&network).expect_nothing();
            }
            other.expect_nothing();
        }
    }
}

/// [MQTT-4.8.2-6]
#[test]
fn what_a_member_refuses_goes_to_nobody_else() {
    let network = Network::new();
    let (mut chosen, mut other, message) = begin_shared(&network);
    chosen.send_refusal(AckKind::Pubrec, message.id, ReasonCode::QuotaExceeded);
    chosen.expect_nothing();
    other.expect_nothing();
    // QoS 1 alike.
    network.publish("t", "y", 1, false);
    network.publish("t", "z", 1, false);
    for member in [&mut chosen, &mut other] {
        let message = member.expect_publish();
        member.send_refusal(AckKind::Puback, message.id, ReasonCode::QuotaExceeded);
    }
    chosen.expect_nothing();
    other.expect_nothing();
}

/// [MQTT-4.3.2-1], [MQTT-4.3.2-2], [MQTT-4.3.3-1], [MQTT-4.3.3-2], [MQTT-2.2.1-4], [MQTT-4.3.2-3], [MQTT-4.3.3-3],
/// [MQTT-4.3.3-5], [MQTT-2.2.1-5], [MQTT3-2.3.1-4], [MQTT3-2.3.1-6], [MQTT3-4.3.2-1], [MQTT3-4.3.3-1]
#[test]
fn a_message_is_unacknowledged_until_its_handshake_is_complete() {
    for version in ALL {
        let network = Network::new();
        let mut hearer = opts("to", version).on(&network);
        hearer.subscribe("t", Q2);
        let unacknowledged = || network.engine.clients()[0].inflight;
        let mut seen = Vec::new();
        for n in 0..6 {
            network.publish("t", "x", 1 + n % 2, false);
            let message = hearer.expect_publish();
            assert_eq!((message.qos.as_u8(), message.dup), (1 + n % 2, false));
            assert!(message.id != 0 && !seen.contains(&message.id));
            seen.push(message.id);
        }
        assert_eq!(unacknowledged(), 6);
        for (n, id) in seen.into_iter().enumerate() {
            if n % 2 == 0 {
                hearer.send_ack(AckKind::Puback, id);
            } else {
                hearer.send_ack(AckKind::Pubrec, id);
                hearer.expect_ack(AckKind::Pubrel, id);
                assert_eq!(unacknowledged(), 6 - n);
                hearer.send_ack(AckKind::Pubcomp, id);
            }
            assert_eq!(unacknowledged(), 5 - n);
        }
    }
}

/// [MQTT-4.3.3-4]: with each reason code that PUBREC has, for what is on its way.
#[test]
fn a_pubrec_is_answered_by_pubrel_unless_it_refuses() {
    for code in [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        let network = Network::new();
        let mut hearer = opts("to", V5).persistent().on(&network);
        hearer.subscribe("t", Q2);
        network.publish("t", "x", 2, false);
        let message = hearer.expect_publish();
        let [high, low] = message.id.to_be_bytes();
        hearer.send_bytes(&[0x50, 3, high, low, code]);
        if code < 0x80 {
            assert_eq!(hearer.expect_ack(AckKind::Pubrel, message.id), ReasonCode::Success, "{code:#x}");
        }
        hearer.expect_nothing();
        assert_eq!(network.engine.clients()[0].inflight, usize::from(code < 0x80), "{code:#x}");
    }
}

/// [MQTT-4.5.0-1]: of all that have subscribed, here or not, by whatever filter; and of nobody else.
#[test]
fn a_message_is_added_to_the_session_of_every_subscriber() {
    for version in ALL {
        for qos in 1..=2 {
            let network = Network::new();
            let filters = ["t/x", "t/#", "+/x", "#", "t/x", "t/y", "x"];
            let names: Vec<String> = (0..14).map(|n| n.to_string()).collect();
            // Each filter twice: of one who is absent, and of one who is there.
            let mut there = Vec::new();
            for (n, name) in names.iter().enumerate() {
                let mut client = opts(name, version).persistent().on(&network);
                client.subscribe(filters[n / 2], Q2);
                match n % 2 {
                    0 => client.hang_up(),
                    _ => there.push(client),
                }
            }
            let mut publisher = opts("from", version).on(&network);
            assert!(!publisher.publish("t/x", "x", crate::harness::QOS[qos]).is_error());
            for (n, client) in there.iter_mut().enumerate() {
                assert_eq!(client.drain().len(), usize::from(n < 5), "{version}: {}", filters[n]);
            }
            for n in 0..7 {
                let mut client = opts(&names[2 * n], version).persistent().on(&network);
                assert_eq!(client.drain().len(), usize::from(n < 5), "{version}: absent, {}", filters[n]);
            }
        }
    }
}

/// [MQTT-3.3.4-1], [MQTT-2.2.1-5], [MQTT-4.3.2-4], [MQTT-4.3.3-8], [MQTT-4.3.3-11], [MQTT3-3.3.4-1], [MQTT3-2.3.1-6],
/// [MQTT3-4.3.2-2], [MQTT3-4.3.3-2]
#[test]
fn a_publish_is_answered_as_its_qos_demands() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        client.send_publish("t", "", Q0, 0);
        client.expect_nothing();
        for id in [1, 0x1234, 0xFFFF] {
            client.send_publish("t", "", Q1, id);
            client.expect_ack(AckKind::Puback, id);
            client.send_publish("t", "", Q2, id);
            client.expect_ack(AckKind::Pubrec, id);
            client.send_ack(AckKind::Pubrel, id);
            client.expect_ack(AckKind::Pubcomp, id);
            client.expect_nothing();
        }
    }
}

/// [MQTT-2.2.1-6], [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.10.4-4], [MQTT-3.10.4-5], [MQTT3-2.3.1-7],
/// [MQTT3-3.8.4-1], [MQTT3-3.8.4-2], [MQTT3-3.10.4-4], [MQTT3-3.10.4-5]
#[test]
fn suback_and_unsuback_have_the_identifiers_of_what_they_answer() {
    for version in ALL {
        let network = Network::new();
        let mut client = opts("a", version).on(&network);
        for number in [1_u16, 0x1234, 0xFFFF] {
            let [high, low] = number.to_be_bytes();
            let properties: &[u8] = if version == V5 { &[0] } else { &[] };
            let length = 6 + properties.len() as u8;
            client.send_bytes(&[&[0x82, length, high, low], properties, b"\0\x01t\x01"].concat());
            match client.next() {
                Some(Received::Suback { id, reasons }) => assert_eq!((id, reasons), (number, vec![1])),
                other => panic!("{other:?}"),
            }
            // Twice: there is nothing to delete the second time.
            for _ in 0..2 {
                client.send_bytes(&[&[0xA2, length - 1, high, low], properties, b"\0\x01t"].concat());
                match client.next() {
                    Some(Received::Unsuback { id, .. }) => assert_eq!(id, number),
                    other => panic!("{other:?}"),
                }
            }
            client.expect_nothing();
        }
    }
}

/// [MQTT-4.8.2-3], [MQTT-3.8.4-8]
#[test]
fn a_shared_subscription_respects_the_granted_qos() {
    let network = Network::new();
    let mut members = [opts("a", V5).on(&network), opts("b", V5).on(&network)];
    for (member, qos) in members.iter_mut().zip([Q0, Q1]) {
        member.subscribe_with("$share/g/t", SubscriptionOptions::with_qos(qos), 0);
    }
    for _ in 0..4 {
        network.publish("t", "x", 2, false);
    }
    for (member, qos) in members.iter_mut().zip([Q0, Q1]) {
        for _ in 0..2 {
            assert_eq!(member.expect_publish().qos, qos);
        }
        member.expect_nothing();
    }
}
