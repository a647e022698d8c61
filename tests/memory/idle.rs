//! What lies in the engine while nothing happens: connections, sessions, subscriptions, messages.

use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::time::Time;

use crate::engine::{Nowhere, engine, lost, opened, send};
use crate::{Form, alone, check, counting, each, packets};

const NOW: Time = Time::ZERO;
/// Just after tables have grown, which is their most expensive moment.
const COUNT: usize = 15_000;

/// A broker that has had a client.
fn used() -> (Engine, Arc<Nowhere>) {
    let (engine, link) = (engine(&[]), Arc::new(Nowhere::default()));
    let mut packets = Vec::new();
    packets::connect(Version::V311, "first", &mut packets);
    packets::subscribe(Version::V311, &["first".to_owned()], QoS::AtMostOnce, &mut packets);
    // The second time the topic's answer is kept.
    packets::publish(Version::V311, "first", QoS::AtLeastOnce, 1, false, &mut packets);
    packets::publish(Version::V311, "first", QoS::AtLeastOnce, 2, false, &mut packets);
    lost(&engine, NOW, opened(&engine, NOW, &link, &packets));
    (engine, link)
}

/// A persistent session of an absent client.
fn session(engine: &Engine, link: &Arc<Nowhere>, number: usize, filters: &[String]) {
    let mut packets = Vec::new();
    packets::connect_for(3600, &format!("device-{number:06}"), &mut packets);
    if !filters.is_empty() {
        packets::subscribe(Version::V5, filters, QoS::AtLeastOnce, &mut packets);
    }
    lost(engine, NOW, opened(engine, NOW, link, &packets));
}

/// The engine's part; `connection_tcp` is all of it.
#[test]
fn an_idle_connection_takes_few_bytes_of_the_engine() {
    let _alone = alone();
    let (engine, link) = used();
    let mut packets = Vec::new();
    let (bytes, connections) = each(COUNT, || {
        let mut connections: Vec<Connection> = Vec::with_capacity(COUNT);
        for number in 0..COUNT {
            packets.clear();
            packets::connect(Version::V311, &format!("device-{number:06}"), &mut packets);
            connections.push(opened(&engine, NOW, &link, &packets));
        }
        connections
    });
    assert_eq!(engine.snapshot().clients_connected, COUNT as u64);
    check("connection_engine", bytes);
    drop(connections);
}

#[test]
fn an_idle_session_takes_few_bytes() {
    let _alone = alone();
    for (name, subscribed) in [("session", false), ("session_subscribed", true)] {
        let (engine, link) = used();
        let (bytes, ()) = each(COUNT, || {
            for number in 0..COUNT {
                let filters = [format!("device/{number:06}/command")];
                session(&engine, &link, number, if subscribed { &filters } else { &[] });
            }
        });
        assert_eq!(engine.snapshot().sessions, COUNT as u64);
        check(name, bytes);
    }
}

/// In the router and in its session.
#[test]
fn a_subscription_takes_few_bytes() {
    let _alone = alone();
    let forms: [(&str, Form); 3] = [
        ("subscription_exact", |n| format!("device/{n:06}/command")),
        ("subscription_plus", |n| format!("device/{n:06}/+")),
        ("subscription_hash", |n| format!("device/{n:06}/#")),
    ];
    for (name, form) in forms {
        let (engine, link) = used();
        let mut packets = Vec::new();
        packets::connect(Version::V311, "s", &mut packets);
        let mut connection = opened(&engine, NOW, &link, &packets);
        let filters: Vec<[String; 1]> = (0..2 * COUNT).map(|n| [form(n)]).collect();
        let (bytes, ()) = each(filters.len(), || {
            for one in &filters {
                packets.clear();
                packets::subscribe(Version::V311, one, QoS::AtMostOnce, &mut packets);
                send(&engine, NOW, &mut connection, &packets);
            }
        });
        assert_eq!(engine.snapshot().subscriptions, filters.len() as u64);
        check(name, bytes);
    }
}

#[test]
fn a_retained_message_of_64_bytes_takes_few_more() {
    let _alone = alone();
    let (engine, link) = used();
    let mut packets = Vec::new();
    packets::connect(Version::V311, "p", &mut packets);
    let mut connection = opened(&engine, NOW, &link, &packets);
    let (bytes, ()) = each(COUNT, || {
        for number in 0..COUNT {
            packets.clear();
            let topic = format!("device/{number:06}/state");
            packets::publish(Version::V311, &topic, QoS::AtMostOnce, 0, true, &mut packets);
            send(&engine, NOW, &mut connection, &packets);
        }
    });
    assert_eq!(engine.snapshot().retained_messages, COUNT as u64);
    check("retained_message", bytes);
}

/// A message that waits for one client, and the place of one that waits for many.
#[test]
fn a_queued_message_of_64_bytes_takes_few_more() {
    let _alone = alone();
    for (name, clients, messages) in [("queued_message", 1, 900), ("queued_message_again", 100, 900)] {
        let (engine, link) = used();
        for number in 0..clients {
            session(&engine, &link, number, &["device/000001/state".to_owned()]);
        }
        let mut packets = Vec::new();
        packets::connect(Version::V311, "p", &mut packets);
        let mut connection = opened(&engine, NOW, &link, &packets);
        let before = counting::in_use();
        for _ in 0..messages {
            packets.clear();
            packets::publish(Version::V311, "device/000001/state", QoS::AtLeastOnce, 1, false, &mut packets);
            send(&engine, NOW, &mut connection, &packets);
        }
        let queued = clients * messages;
        assert_eq!(engine.snapshot().messages_queued, queued as u64);
        check(name, (counting::in_use() - before) / queued as isize);
    }
}
