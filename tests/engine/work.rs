//! A turn does a bounded amount of work; what is left of its packets is done in later turns.

use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{Network, Packets, Q0, Q1, Received, V5, opts};

/// The work of a turn, as `WORK_PER_TURN` of the engine.
const WORK: usize = 16_384;

/// Sends packets and does what the connection's task does; in how many turns they were handled.
fn turns(client: &mut crate::harness::Client<'_>, packets: &[u8]) -> usize {
    let engine = &client.network.engine;
    let mut turns = 1;
    let mut progress = client.connection.receive(engine, &mut client.network.turn(), packets, None);
    let mut handled = progress.consumed;
    while handled < packets.len() {
        assert!(progress.waiting && progress.open);
        assert_eq!(client.connection.awaits_host(), Some(false), "the packets may be handed over again");
        assert!(client.line.take_wake(), "the task is told that packets are left");
        progress = client.connection.receive(engine, &mut client.network.turn(), &packets[handled..], None);
        handled += progress.consumed;
        turns += 1;
    }
    assert!(!progress.waiting);
    assert_eq!(client.connection.awaits_host(), None);
    turns
}

/// Messages of one topic, of QoS 0 in a burst or one by one, and of QoS 1.
#[test]
fn messages_that_many_get_are_handled_in_several_turns() {
    for (qos, identifier) in [(Q0, 5), (Q1, 0)] {
        let network = Network::new();
        let mut hearers: Vec<_> = (0..100).map(|n| opts(&format!("h{n}"), V5).on(&network)).collect();
        for hearer in &mut hearers {
            hearer.subscribe_with("t", SubscriptionOptions::with_qos(Q1), identifier);
        }
        let mut publisher = opts("p", V5).on(&network);
        let packets = (1..=1000).fold(Packets::default(), |all, id| {
            all.publish(V5, "t", "x", qos, if qos == Q0 { 0 } else { id })
        });
        let turns = turns(&mut publisher, &packets.0);
        let least = 1000 * 100 / WORK;
        assert!((least..=2 * least + 2).contains(&turns), "{qos:?}: {turns} turns");
        assert_eq!(network.stats().messages_published, 1000);
        for hearer in &mut hearers {
            let mut got = 0;
            while let Some(Received::Publish(message)) = hearer.next() {
                hearer.acknowledge(&message);
                got += 1;
            }
            assert_eq!(got, 1000, "{qos:?}");
        }
    }
}

/// Groups of one client, each of which gets every message.
#[test]
fn messages_of_many_shared_subscriptions_are_handled_in_several_turns() {
    for qos in [Q0, Q1] {
        let network = Network::new();
        let mut hearer = opts("h", V5).on(&network);
        for n in 0..1000 {
            hearer.subscribe(&format!("$share/{n}/t"), Q0);
        }
        let mut publisher = opts("p", V5).on(&network);
        let packets = (1..=100).fold(Packets::default(), |all, id| {
            all.publish(V5, "t", "x", qos, if qos == Q0 { 0 } else { id })
        });
        let turns = turns(&mut publisher, &packets.0);
        // A delivery is charged for the match and for the look at the member.
        let least = 100 * 1000 / WORK;
        assert!((least..=3 * least + 2).contains(&turns), "{qos:?}: {turns} turns");
        assert_eq!(hearer.drain().len(), 100 * 1000);
    }
}

/// Few subscribers cost no more than the input: it is handled in one turn.
#[test]
fn messages_that_few_get_are_handled_in_one_turn() {
    let network = Network::new();
    let mut hearers: Vec<_> = (0..4).map(|n| opts(&format!("h{n}"), V5).on(&network)).collect();
    hearers.iter_mut().for_each(|hearer| hearer.subscribe("t", Q0));
    let mut publisher = opts("p", V5).on(&network);
    let packets = (0..3000).fold(Packets::default(), |all, _| all.publish(V5, "t", "x", Q0, 0));
    assert_eq!(turns(&mut publisher, &packets.0), 1);
    assert!(hearers.iter_mut().all(|hearer| hearer.drain().len() == 3000));
}
