//! What was needed for a moment is given back.

use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::time::Time;

use crate::engine::{Nowhere, engine, lost, opened, send};
use crate::{alone, check, counting, packets};

const NOW: Time = Time::ZERO;
const SUBSCRIBERS: usize = 200;
const MESSAGES: usize = 2000;

struct Crowd {
    engine: Engine,
    link: Arc<Nowhere>,
    subscribers: Vec<Connection>,
    publisher: Connection,
}

impl Crowd {
    fn new(qos: QoS) -> Crowd {
        let (engine, link) = (engine(&[]), Arc::new(Nowhere::default()));
        let connected = |name: String| {
            let mut packets = Vec::new();
            packets::connect(Version::V311, &name, &mut packets);
            packets::subscribe(Version::V311, &["burst".to_owned()], qos, &mut packets);
            opened(&engine, NOW, &link, &packets)
        };
        let subscribers = (0..SUBSCRIBERS).map(|number| connected(format!("s{number}"))).collect();
        let mut packets = Vec::new();
        packets::connect(Version::V311, "p", &mut packets);
        let publisher = opened(&engine, NOW, &Arc::new(Nowhere::default()), &packets);
        Crowd { engine, link, subscribers, publisher }
    }

    /// Messages for all subscribers.
    fn publish(&mut self, qos: QoS, messages: usize) {
        let mut packets = Vec::new();
        for number in 1..=messages {
            packets.clear();
            packets::publish(Version::V311, "burst", qos, number, false, &mut packets);
            send(&self.engine, NOW, &mut self.publisher, &packets);
        }
    }

    /// Everybody's connection takes bytes again.
    fn open(&self) {
        self.link.set_full(false);
        for connection in &self.subscribers {
            connection.writable(&self.engine, &mut self.engine.turn(NOW));
        }
    }
}

/// What the turns keep for their next use, which is bounded.
#[test]
fn outboxes_are_freed_when_they_are_empty() {
    let _alone = alone();
    let mut crowd = Crowd::new(QoS::AtMostOnce);
    crowd.publish(QoS::AtMostOnce, 10);
    let before = counting::in_use();
    crowd.link.set_full(true);
    crowd.publish(QoS::AtMostOnce, MESSAGES);
    let full = counting::in_use() - before;
    assert!(full > (SUBSCRIBERS * MESSAGES * packets::PAYLOAD.len()) as isize, "{full} bytes wait");
    crowd.open();
    check("after_blocked_outboxes", counting::in_use() - before);
    assert_eq!(crowd.engine.snapshot().publish_sent, (SUBSCRIBERS * (10 + MESSAGES)) as u64);
}

#[test]
fn memory_is_given_back_after_a_burst() {
    let _alone = alone();
    let mut crowd = Crowd::new(QoS::AtLeastOnce);
    crowd.publish(QoS::AtLeastOnce, 10);
    for connection in std::mem::take(&mut crowd.subscribers) {
        lost(&crowd.engine, NOW, connection);
    }
    let before = counting::in_use();
    // Clients that come, subscribe, leave acknowledgements owed and a backlog behind, and go.
    let mut packets = Vec::new();
    let clients: Vec<Connection> = (0..5 * SUBSCRIBERS)
        .map(|number| {
            packets.clear();
            packets::connect(Version::V311, &format!("client-{number}"), &mut packets);
            let own = [format!("own/{number}"), format!("own/{number}/+"), "burst".to_owned()];
            packets::subscribe(Version::V311, &own, QoS::AtLeastOnce, &mut packets);
            opened(&crowd.engine, NOW, &crowd.link, &packets)
        })
        .collect();
    crowd.link.set_full(true);
    crowd.publish(QoS::AtLeastOnce, MESSAGES);
    let full = counting::in_use() - before;
    assert!(full > (5 * SUBSCRIBERS * MESSAGES * 16) as isize, "{full} bytes wait");
    for connection in clients {
        lost(&crowd.engine, NOW, connection);
    }
    // What the turns remember of who heard a topic.
    crowd.publish(QoS::AtMostOnce, 1);
    check("after_burst", counting::in_use() - before);
    assert_eq!(crowd.engine.snapshot().sessions, 1);
}

/// Messages that come together, and that many keep, are kept once, as those that come one by one are.
#[test]
fn messages_that_come_together_are_kept_once() {
    const TOGETHER: usize = 50;
    let _alone = alone();
    let (engine, link) = (engine(&[("session.queue_qos0", "true")]), Arc::new(Nowhere::default()));
    for number in 0..SUBSCRIBERS {
        let mut packets = Vec::new();
        packets::connect_for(3600, &format!("s{number}"), &mut packets);
        packets::subscribe(Version::V5, &["burst".to_owned()], QoS::AtMostOnce, &mut packets);
        lost(&engine, NOW, opened(&engine, NOW, &link, &packets));
    }
    let mut packets = Vec::new();
    packets::connect(Version::V5, "p", &mut packets);
    let mut publisher = opened(&engine, NOW, &link, &packets);
    packets.clear();
    (0..TOGETHER).for_each(|_| {
        packets::publish(Version::V5, "burst", QoS::AtMostOnce, 0, false, &mut packets);
    });
    let before = counting::in_use();
    send(&engine, NOW, &mut publisher, &packets);
    let kept = counting::in_use() - before;
    assert_eq!(engine.snapshot().messages_queued, (SUBSCRIBERS * TOGETHER) as u64);
    assert!(kept < (SUBSCRIBERS * TOGETHER * packets::PAYLOAD.len()) as isize, "{kept} bytes");
}
