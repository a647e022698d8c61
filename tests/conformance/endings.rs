//! DISCONNECT from the broker, for whatever reason.

use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::properties::Property;
use midge::codec::reason::ReasonCode as R;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{Client, Network, Packets, Q0, Q1, Q2, V5, opts};

/// Settings, the reason that is told, and what ends the connection of client `a`.
type End = (&'static [(&'static str, &'static str)], R, fn(&Network, &mut Client<'_>));

fn subscribe(client: &mut Client<'_>, filter: &str, identifier: u32) {
    client.send_subscribe(&[(filter, SubscriptionOptions::default())], identifier);
}

/// What the broker disconnects a client for.
const ENDS: [End; 23] = [
    (&[], R::AdministrativeAction, |network, _| _ = network.engine.kick(&mut network.turn(), "a")),
    (&[], R::ServerShuttingDown, |network, _| network.engine.stop(&mut network.turn())),
    (&[], R::KeepAliveTimeout, |network, _| network.advance(16)),
    (&[], R::SessionTakenOver, |network, _| drop(opts("a", V5).persistent().on(network))),
    (&[], R::SessionTakenOver, |network, _| drop(opts("a", V5).on(network))),
    (&[], R::MalformedPacket, |_, client| _ = client.send_bytes(&[0xC0, 1, 0])),
    (&[], R::MalformedPacket, |_, client| _ = client.send_bytes(&[0xC0, 0xFF, 0xFF, 0xFF, 0xFF])),
    (&[], R::ProtocolError, |_, client| _ = client.send_bytes(&opts("a", V5).encode())),
    (&[], R::ProtocolError, |_, client| _ = client.send_bytes(&[0xD0, 0])),
    (&[], R::ProtocolError, |_, client| _ = client.send_disconnect(R::ServerBusy, Some(5))),
    (&[], R::TopicNameInvalid, |_, client| _ = client.send_publish("a/+", "", Q0, 0)),
    (&[], R::TopicAliasInvalid, |_, client| {
        client.send_with("t", b"", Q0, false, |p| _ = p.topic_alias(17));
    }),
    (&[], R::PayloadFormatInvalid, |_, client| {
        client.send_with("t", b"\xFF", Q0, false, |p| _ = p.payload_format_indicator(1));
    }),
    (&[("mqtt.receive_maximum", "1")], R::ReceiveMaximumExceeded, |_, client| {
        client.send_bytes(&Packets::default().publish(V5, "u", "", Q2, 1).publish(V5, "u", "", Q2, 2).0);
    }),
    (&[("mqtt.max_packet_size", "128B")], R::PacketTooLarge, |_, client| _ = client.send_bytes(&[0x30, 127])),
    // The SUBACK would be too large for the client.
    (&[], R::PacketTooLarge, |_, client| {
        client.send_subscribe(&[("x", SubscriptionOptions::default()); 300], 0);
    }),
    (&[("mqtt.max_qos", "1")], R::QosNotSupported, |_, client| _ = client.send_publish("t", "", Q2, 1)),
    (&[("mqtt.retain", "false")], R::RetainNotSupported, |_, client| {
        client.send_with("t", b"", Q0, true, |_| {});
    }),
    (&[("mqtt.shared_subscriptions", "false")], R::SharedSubscriptionsNotSupported, |_, client| {
        subscribe(client, "$share/g/t", 0);
    }),
    (&[("mqtt.wildcard_subscriptions", "false")], R::WildcardSubscriptionsNotSupported, |_, client| {
        subscribe(client, "a/#", 0);
    }),
    (&[("mqtt.subscription_identifiers", "false")], R::SubscriptionIdentifiersNotSupported, |_, client| {
        subscribe(client, "x", 1);
    }),
    (&[], R::ProtocolError, |_, client| {
        let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
        client.send_subscribe(&[("$share/g/t", options)], 0);
    }),
    (
        &[("session.max_queued_messages", "1"), ("session.queue_overflow", "disconnect")],
        R::QuotaExceeded,
        |network, client| {
            for _ in 0..5 {
                network.publish("t", "x", 1, false);
            }
            client.poll();
        },
    ),
];

/// The server has changed the client's Session Expiry Interval, and does not say so again.
/// [MQTT-3.14.2-2], [MQTT-3.14.2-1], [MQTT-3.14.2-4], [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.2-1]
#[test]
fn disconnect_is_the_last_packet_and_holds_a_reason_and_its_words_alone() {
    for problems in [false, true] {
        for (settings, expected, end) in ENDS {
            let settings = [settings, &[("session.max_expiry", "60s")]].concat();
            let network = Network::with(&settings);
            let connect = opts("a", V5).keep_alive(10).expiry(1000).receive_maximum(1);
            let connect = connect.with(|p| {
                p.request_problem_information(problems).maximum_packet_size(250);
            });
            let mut client = connect.on(&network);
            assert_eq!(client.told().session_expiry_interval(), Some(60));
            client.subscribe("t", Q1);
            end(&network, &mut client);
            // What comes now is for nobody.
            network.publish("t", "late", 1, false);
            client.send_bytes(&[0xC0, 0]);
            client.poll();
            let bytes = client.line.take();
            let mut rest = bytes.as_slice();
            let mut last = None;
            while let Framing::Complete(frame) = split(rest, u32::MAX).unwrap() {
                rest = &rest[frame.whole.len()..];
                assert!(last.is_none(), "{expected:?}: something is behind DISCONNECT");
                if let Packet::Disconnect(disconnect) = decode(frame, V5).unwrap() {
                    last = Some((disconnect.reason, disconnect.properties.iter().collect::<Vec<_>>()));
                }
            }
            assert!(rest.is_empty());
            let (reason, properties) = last.unwrap_or_else(|| panic!("{expected:?}: no DISCONNECT"));
            assert_eq!(reason, expected);
            let is_sentence = |property: &Property<'_>| matches!(property, Property::ReasonString(_));
            assert!(properties.iter().all(is_sentence), "{expected:?}: {properties:?}");
            assert!(problems || properties.is_empty(), "{expected:?}: {properties:?}");
            assert!(client.line.finished().is_some(), "{expected:?}: still open");
        }
    }
}
