//! What one client makes the broker hold, against the setting that bounds it: the allocator counts, as the system's
//! allocator rounds. Each input is far beyond its bound.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::qos::QoS;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};
use midge::time::Time;
use std::sync::Mutex;

use crate::engine::{Nowhere, engine, lost, opened, send};
use crate::{Form, alone, counting, packets};

const NOW: Time = Time::ZERO;
const MIB: isize = 1024 * 1024;
/// Buffers of the turn, tables that have grown.
const BESIDE: isize = MIB / 8;

/// PUBLISH of MQTT 5.
fn publish(topic: &str, qos: QoS, retain: bool, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let packet_id = (qos > QoS::AtMostOnce).then(|| packets::id(1));
    let properties = Properties::from_encoded(properties).unwrap();
    let mut out = Vec::new();
    Publish { dup: false, qos, retain, topic, packet_id, properties, payload }.encode(Version::V5, &mut out);
    out
}

/// A publisher, whose topic is known to the broker already.
fn publisher(engine: &Engine, topic: &str) -> Connection {
    let mut connect = Vec::new();
    packets::connect(Version::V5, "publisher", &mut connect);
    let mut connection = opened(engine, NOW, &Arc::new(Nowhere::default()), &connect);
    (0..2)
        .for_each(|_| send(engine, NOW, &mut connection, &publish(topic, QoS::AtMostOnce, false, &[], b"")));
    connection
}

/// The packets of a client that comes for long and subscribes.
fn hearer(client_id: &str, topic: &str, qos: QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets::connect_for(3600, client_id, &mut bytes);
    packets::subscribe(Version::V5, &[topic.to_owned()], qos, &mut bytes);
    bytes
}

/// Compares the bytes that `act` leaves in use with a bound, of which they fill a part.
fn assert_bounded(what: &str, bound: isize, act: impl FnOnce()) {
    let before = counting::in_use();
    act();
    let held = counting::in_use() - before;
    println!("{what:28} {held:9} bytes of {bound}");
    assert!(held <= bound + BESIDE, "{what}: {held} bytes, the bound is {bound}");
    assert!(held >= bound / 3, "{what}: only {held} bytes, the bound is {bound}");
}

/// 2,000 identifiers are 8 KB for each message of 70 bytes.
#[test]
fn the_identifiers_of_a_delivery_count_as_bytes_of_the_queue_and_of_the_window() {
    let _alone = alone();
    for away in [true, false] {
        let settings = [("session.max_queued_bytes", "1MiB"), ("session.max_outbox_bytes", "64KiB")];
        let engine = engine(&settings);
        let link = Arc::new(Nowhere::default());
        let topic = ["a"; 11].join("/");
        let mut connection = opened(&engine, NOW, &link, &hearer("hearer", &topic, QoS::AtLeastOnce));
        for number in 1..2_000_u32 {
            let level = |at: u32| if number >> at & 1 == 1 { "+" } else { "a" };
            let filter = (0..11).map(level).collect::<Vec<_>>().join("/");
            let (mut requests, mut properties, mut out) = (Vec::new(), Vec::new(), Vec::new());
            let options = SubscriptionOptions::with_qos(QoS::AtLeastOnce);
            SubscriptionRequest { filter: &filter, options }.encode(&mut requests);
            PropertyWriter::new(&mut properties).subscription_identifier(number);
            let properties = Properties::from_encoded(&properties).unwrap();
            let subscribe = Subscribe::from_encoded(packets::id(1), properties, &requests).unwrap();
            Packet::Subscribe(subscribe).encode(Version::V5, &mut out);
            send(&engine, NOW, &mut connection, &out);
        }
        let mut publisher = publisher(&engine, &topic);
        let connection = match away {
            true => {
                lost(&engine, NOW, connection);
                None
            }
            false => Some(connection),
        };
        // The window and the queue have the same bound.
        let (what, bound) =
            if away { ("identifiers, away", MIB) } else { ("identifiers, no answer", 2 * MIB) };
        assert_bounded(what, bound, || {
            for _ in 0..900 {
                let packet = publish(&topic, QoS::AtLeastOnce, false, &[], &packets::PAYLOAD);
                send(&engine, NOW, &mut publisher, &packet);
            }
        });
        drop(connection);
    }
}

/// A client that acknowledges nothing.
#[test]
fn the_bytes_of_the_window_are_bounded() {
    let _alone = alone();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let settings = [("session.max_queued_bytes", "1MiB"), ("session.max_outbox_bytes", "64KiB")];
        let engine = engine(&settings);
        let link = Arc::new(Nowhere::default());
        let connection = opened(&engine, NOW, &link, &hearer("hearer", "t", qos));
        let mut publisher = publisher(&engine, "t");
        let payload = vec![7; 100_000];
        assert_bounded("window, and queue", 2 * MIB + 100_000, || {
            for _ in 0..500 {
                send(&engine, NOW, &mut publisher, &publish("t", QoS::AtLeastOnce, false, &[], &payload));
                if qos == QoS::ExactlyOnce {
                    send(&engine, NOW, &mut publisher, &publish("t", qos, false, &[], &payload));
                    send(&engine, NOW, &mut publisher, &[0x62, 2, 0, 1]);
                }
            }
        });
        // It stays with the session.
        lost(&engine, NOW, connection);
    }
}

/// Messages without payload: most of what waits is what each costs beside its bytes.
#[test]
fn the_place_of_a_waiting_message_counts_as_bytes_of_the_queue() {
    let _alone = alone();
    let settings = [("session.max_queued_bytes", "1MiB"), ("session.max_queued_messages", "unlimited")];
    let engine = engine(&settings);
    let link = Arc::new(Nowhere::default());
    lost(&engine, NOW, opened(&engine, NOW, &link, &hearer("hearer", "t", QoS::AtLeastOnce)));
    let mut publisher = publisher(&engine, "t");
    let packet = publish("t", QoS::AtLeastOnce, false, &[], b"");
    assert_bounded("small messages", MIB, || {
        (0..20_000).for_each(|_| send(&engine, NOW, &mut publisher, &packet));
    });
    assert!(engine.snapshot().messages_dropped_queue_full > 0);
}

/// Packets of 256 KB with 10 KB of payload: most of them are properties, which a client of MQTT 3 does not get.
#[test]
fn a_small_payload_does_not_keep_its_large_packet() {
    let _alone = alone();
    let engine = engine(&[("session.max_outbox_bytes", "1MiB")]);
    let link = Arc::new(Nowhere::default());
    let (mut packets, mut properties) = (Vec::new(), Vec::new());
    packets::connect(Version::V311, "slow", &mut packets);
    packets::subscribe(Version::V311, &["t".to_owned()], QoS::AtMostOnce, &mut packets);
    let slow = opened(&engine, NOW, &link, &packets);
    link.set_full(true);
    let mut publisher = publisher(&engine, "t");
    let value = "v".repeat(60_000);
    (0..4).for_each(|_| _ = PropertyWriter::new(&mut properties).user_property("k", &value));
    let packet = publish("t", QoS::AtMostOnce, false, &properties, &[7; 10_000]);
    assert_bounded("parts of large packets", MIB, || {
        for _ in 0..150 {
            let packet = Bytes::from(packet.clone());
            let progress = publisher.receive(&engine, &mut engine.turn(NOW), &packet, Some(&packet));
            assert_eq!(progress.consumed, packet.len());
        }
    });
    drop(slow);
}

/// A peer that takes nothing, and whose task still holds what is to be written in the end.
#[derive(Default)]
struct Stuck(Mutex<Vec<LastBytes>>);

impl Link for Stuck {
    fn write(&self, _buffers: &[IoSlice<'_>]) -> Written {
        Written::Blocked
    }

    fn wake(&self) {}

    fn finish(&self, last: LastBytes, _cause: Cause) {
        self.0.lock().unwrap().push(last);
    }
}

/// Each connection is taken over by the next one of its client.
#[test]
fn what_waits_for_connections_that_have_ended_is_bounded_for_all_together() {
    let _alone = alone();
    let engine = engine(&[("session.max_outbox_bytes", "64KiB")]);
    let link = Arc::new(Stuck::default());
    let mut publisher = publisher(&engine, "t");
    let packets = hearer("hearer", "t", QoS::AtMostOnce);
    let packet = publish("t", QoS::AtMostOnce, false, &[], &[7; 6_000]);
    let mut connections = Vec::with_capacity(200);
    assert_bounded("ended connections", MIB, || {
        for _ in 0..200 {
            let link = Arc::clone(&link) as Arc<dyn Link>;
            let mut connection = Connection::new(&engine, &mut engine.turn(NOW), link, None);
            send(&engine, NOW, &mut connection, &packets);
            (0..12).for_each(|_| send(&engine, NOW, &mut publisher, &packet));
            connections.push(connection);
        }
    });
}

/// The key, its place in the table, and what a message costs beside its payload.
#[test]
fn retained_bytes_are_those_that_are_held() {
    let _alone = alone();
    for (what, topic) in [("retained, short topics", ""), ("retained, long topics", "long/")] {
        let engine = engine(&[("retained.max_bytes", "1MiB")]);
        let mut publisher = publisher(&engine, "t");
        let topic = topic.repeat(100);
        assert_bounded(what, MIB, || {
            for number in 0..15_000 {
                let packet = publish(&format!("{topic}{number}"), QoS::AtMostOnce, true, &[], b"x");
                send(&engine, NOW, &mut publisher, &packet);
            }
        });
        assert!(engine.snapshot().messages_dropped_retained_full > 0);
    }
}

/// Long filters, filters of many levels, and shared ones: in the session and in the router.
#[test]
fn the_filters_of_a_client_are_bounded_in_bytes() {
    let _alone = alone();
    let forms: [(&str, Form); 6] = [
        ("long filters", |n| format!("{n}{}", "x".repeat(60_000))),
        ("deep filters", |n| format!("{n}{}", "/x".repeat(120))),
        ("short filters", |n| format!("{n}/+")),
        ("groups, long names", |n| format!("$share/g{n}{}/t", "x".repeat(2_000))),
        ("groups, long filters", |n| format!("$share/g{n}/{n}{}", "x".repeat(2_000))),
        ("groups, short", |n| format!("$share/g/{n}/+")),
    ];
    for (what, form) in forms {
        let settings = [
            ("mqtt.max_subscription_bytes_per_client", "1MiB"),
            ("mqtt.max_shared_subscriptions_per_client", "100000"),
        ];
        let engine = engine(&settings);
        let mut connect = Vec::new();
        packets::connect(Version::V5, "s", &mut connect);
        let mut connection = opened(&engine, NOW, &Arc::new(Nowhere::default()), &connect);
        assert_bounded(what, MIB, || {
            for number in 0..20_000 {
                let mut packet = Vec::new();
                packets::subscribe(Version::V5, &[form(number)], QoS::AtMostOnce, &mut packet);
                send(&engine, NOW, &mut connection, &packet);
                if (engine.snapshot().subscriptions as usize) < number {
                    break;
                }
            }
        });
        assert!(engine.snapshot().subscriptions < 20_000);
    }
}
