//! A session that ends while a message is on its way to it: after it was found, before it was given the message.

use std::sync::{Arc, Weak};
use std::thread;

use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::core::state::Engine;
use midge::engine::parts::sink::{LocalMessage, Sink};
use midge::session::delivery::ReportedFates;

use crate::harness::{ALL, Network, Packets, Q0, Q1, V5, opts};

/// Ends clients' connections when a message is pushed to it: the subscribers of that message are known by then.
struct Reaper {
    engine: Weak<Engine>,
    victims: Vec<String>,
}

impl Reaper {
    /// Subscribes to `t`.
    fn of(network: &Network, victims: &[&str]) {
        let victims = victims.iter().map(|id| (*id).to_owned()).collect();
        let reaper = Arc::new(Reaper { engine: Arc::downgrade(&network.engine), victims });
        let options = SubscriptionOptions::with_qos(Q1);
        network.engine.subscribe_local(&mut network.turn(), "t", options, 0, reaper).unwrap();
    }
}

impl Sink for Reaper {
    fn push(&self, _message: &LocalMessage<'_>) -> bool {
        let engine = self.engine.upgrade().unwrap();
        let now = midge::time::Time::ZERO;
        let kick = || self.victims.iter().for_each(|id| _ = engine.kick(&mut engine.turn(now), id));
        thread::scope(|scope| scope.spawn(kick).join().unwrap());
        true
    }

    fn wake(&self) {}
}

/// Who subscribed first is given a message first.
#[test]
fn a_message_for_a_session_that_has_just_ended_is_dropped_and_counted() {
    for version in ALL {
        for qos in [0, 1, 2] {
            let network = Network::new();
            let mut early = opts("early", version).on(&network);
            early.subscribe("t", Q1);
            Reaper::of(&network, &["early", "late", "stays"]);
            let mut late = opts("late", version).on(&network);
            late.subscribe("t", Q1);
            let mut stays = opts("stays", version).persistent().on(&network);
            stays.subscribe("t", Q1);
            assert_eq!(network.publish("t", "x", qos, false), 4);
            let stats = network.stats();
            assert_eq!((stats.sessions, stats.clients_connected), (1, 0));
            // The persistent session has not ended: it waits for its client, with what is to be queued for it.
            let offline = u64::from(qos == 0);
            assert_eq!((stats.messages_dropped_session_ended, stats.messages_dropped_offline), (1, offline));
            assert_eq!(stats.messages_dropped(), 1 + offline);
            assert_eq!(stats.messages_queued, 1 - offline);
            // The early client and the host have it.
            assert_eq!(stats.messages_delivered, 2);
            early.expect_message("t", "x");
        }
    }
}

/// In the midst of a burst: who was given it at once has it, who is given it one by one has what came before.
#[test]
fn a_session_that_ends_within_a_burst_has_what_it_was_given() {
    let network = Network::new();
    let mut clients = ["at once", "first", "last"].map(|id| opts(id, V5).on(&network));
    clients[0].subscribe("t", Q0);
    clients[1].subscribe_with("t", SubscriptionOptions::default(), 7);
    Reaper::of(&network, &["at once", "first", "last"]);
    clients[2].subscribe_with("t", SubscriptionOptions::default(), 7);
    let mut publisher = opts("publisher", V5).on(&network);
    let packets =
        ["1", "2", "3"].iter().fold(Packets::default(), |all, text| all.publish(V5, "t", text, Q0, 0));
    assert!(publisher.send_bytes(&packets.0));
    for (client, count) in clients.iter_mut().zip([3, 1, 0]) {
        for text in &["1", "2", "3"][..count] {
            client.expect_message("t", text);
        }
        assert!(matches!(client.next(), Some(crate::harness::Received::Disconnect(_))));
        client.expect_nothing();
    }
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_session_ended, stats.messages_dropped()), (2 + 3, 5));
    assert_eq!(stats.messages_delivered, 3 + 1 + 3);
    assert_eq!((stats.sessions, stats.messages_queued), (1, 0));
}

/// A member that was picked, and whose session ended before the message came to it, hands its turn to the next one.
#[test]
fn a_message_for_a_member_whose_session_has_just_ended_goes_to_another() {
    for version in ALL {
        let network = Network::new();
        let mut members = ["picked", "other"].map(|id| opts(id, version).persistent().on(&network));
        members.iter_mut().for_each(|member| member.subscribe("$share/g/t", Q1));
        let [picked, other] = members;
        let session = Arc::clone(picked.connection.session().unwrap());
        picked.hang_up();
        other.hang_up();
        // As far as the end of a session has come when the member was picked before it left the group.
        session.outbound.lock().end(ReportedFates::default());
        assert_eq!(network.publish("t", "x", 1, false), 1);
        let stats = network.stats();
        assert_eq!((stats.messages_queued, stats.messages_dropped()), (1, 0));
        assert_eq!(opts("other", version).persistent().on(&network).drain(), ["x"]);
    }
}

/// The same for a session that is no member of a group, of whose end its messages learn.
#[test]
fn nothing_waits_for_a_session_that_has_ended() {
    for version in ALL {
        let network = Network::with(&[("session.queue_qos0", "true")]);
        let mut hearer = opts("hearer", version).persistent().on(&network);
        hearer.subscribe("t", Q1);
        let session = Arc::clone(hearer.connection.session().unwrap());
        hearer.hang_up();
        session.outbound.lock().end(ReportedFates::default());
        network.publish("t", "x", 0, false);
        network.publish("t", "x", 1, false);
        let packets = Packets::default().publish(version, "t", "1", Q0, 0).publish(version, "t", "2", Q0, 0);
        assert!(opts("publisher", version).on(&network).send_bytes(&packets.0));
        let stats = network.stats();
        assert_eq!((stats.messages_queued, session.outbound.lock().queue_len()), (0, 0));
        assert_eq!((stats.messages_dropped_session_ended, stats.messages_dropped()), (4, 4));
    }
}
