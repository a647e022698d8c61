//! Shared subscriptions, `$share/group/...` and `$queue/...`.

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{ALL, Client, Inbox, Network, Q0, Q1, Q2, Received, V5, opts};

fn members<'n>(network: &'n Network, filter: &str, count: usize) -> Vec<Client<'n>> {
    (0..count)
        .map(|n| {
            let mut member = opts(&format!("m{n}"), ALL[n % 3]).on(network);
            member.subscribe(filter, Q2);
            member
        })
        .collect()
}

/// MQTT 5, section 4.8.2.
#[test]
fn one_member_of_each_group_gets_a_message() {
    for filter in ["$share/g/a/+", "$queue/a/+"] {
        let network = Network::new();
        let mut members = members(&network, filter, 3);
        let mut single = opts("single", V5).on(&network);
        single.subscribe("a/+", Q0);
        let mut other = opts("other", V5).on(&network);
        other.subscribe("$share/other/a/#", Q1);
        for n in 0..30 {
            assert_eq!(network.publish("a/x", &n.to_string(), n % 3, false), 3);
        }
        let mut shares: Vec<Vec<String>> = members.iter_mut().map(Client::drain).collect();
        assert!(shares.iter().all(|share| share.len() == 10), "{filter}: in turn");
        let mut all: Vec<u32> = shares.drain(..).flatten().map(|text| text.parse().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<_>>());
        assert_eq!(single.drain().len(), 30);
        assert_eq!(other.drain().len(), 30);
    }
}

#[test]
fn a_member_that_leaves_gets_no_more() {
    let network = Network::new();
    let mut members = members(&network, "$share/g/a", 3);
    members[0].unsubscribe(&["$share/g/a"]);
    members.remove(1).disconnect();
    for n in 0..6 {
        assert_eq!(network.publish("a", &n.to_string(), 0, false), 1);
    }
    members[0].expect_nothing();
    assert_eq!(members[1].drain().len(), 6);
    members.remove(1).disconnect();
    assert_eq!(network.publish("a", "", 0, false), 0);
    assert_eq!(network.stats().subscriptions, 0);
}

#[test]
fn connected_members_are_preferred() {
    let network = Network::new();
    let mut absent = opts("absent", V5).persistent().on(&network);
    absent.subscribe("$share/g/a", Q1);
    absent.hang_up();
    let mut present = opts("present", V5).persistent().on(&network);
    present.subscribe("$share/g/a", Q1);
    for _ in 0..4 {
        network.publish("a", "x", 1, false);
    }
    assert_eq!(present.drain().len(), 4);
    present.hang_up();
    // Nobody is there: the messages wait for somebody.
    for _ in 0..4 {
        network.publish("a", "x", 1, false);
    }
    let waiting: Vec<_> = network.engine.clients().iter().map(|client| client.queued).collect();
    assert_eq!(waiting.iter().sum::<usize>(), 4);
}

/// A client in a group and outside of it gets both.
/// [MQTT-3.3.4-5]
#[test]
fn a_shared_and_a_plain_subscription_are_two() {
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe_with("$share/g/t", SubscriptionOptions::with_qos(Q1), 1);
    client.subscribe_with("t", SubscriptionOptions::with_qos(Q0), 2);
    assert_eq!(network.publish("t", "x", 1, false), 2);
    let mut got = [client.expect_publish(), client.expect_publish()].map(|m| (m.identifiers(), m.qos));
    got.sort();
    assert_eq!(got, [(vec![1], Q1), (vec![2], Q0)]);
    client.expect_nothing();
}

#[test]
fn resubscribing_replaces_the_membership() {
    let network = Network::new();
    let mut members = members(&network, "$share/g/t", 2);
    members[0].subscribe("$share/g/t", Q0);
    assert_eq!(network.stats().subscriptions, 2);
    for _ in 0..4 {
        network.publish("t", "x", 2, false);
    }
    let first = [members[0].expect_publish(), members[0].expect_publish()];
    assert!(first.iter().all(|message| message.qos == Q0));
    assert_eq!(members[1].expect_publish().qos, Q2);
}

/// The payloads that a member gets, without an acknowledgement.
fn heard(client: &mut Client<'_>) -> Vec<String> {
    std::iter::from_fn(|| match client.next() {
        Some(Received::Publish(message)) => Some(message.text().to_owned()),
        None => None,
        other => panic!("expected PUBLISH: {other:?}"),
    })
    .collect()
}

/// What a worker took and did not finish is another's when its session ends (MQTT 5, section 4.8.2).
#[test]
fn unacknowledged_messages_go_to_another_member_when_the_session_ends() {
    for version in ALL {
        let network = Network::new();
        let mut first = opts("first", version).on(&network);
        first.subscribe("$share/g/t", Q1);
        for text in ["a", "b", "c"] {
            network.publish("t", text, 1, false);
        }
        let done = first.expect_publish();
        first.acknowledge(&done);
        assert_eq!(heard(&mut first), ["b", "c"]);
        let mut second = opts("second", version).on(&network);
        second.subscribe("$share/g/t", Q1);
        second.expect_nothing();
        first.hang_up();
        let again = [second.expect_message("t", "b"), second.expect_message("t", "c")];
        assert!(again.iter().all(|message| !message.dup && message.qos == Q1));
        again.iter().for_each(|message| second.acknowledge(message));
        second.expect_nothing();
        let stats = network.stats();
        assert_eq!((stats.messages_queued, stats.messages_dropped_session_ended), (0, 0));
    }
}

/// The session is still there: the messages wait for it, and are sent again with DUP.
#[test]
fn a_member_that_may_come_back_keeps_its_messages() {
    let network = Network::new();
    let mut first = opts("first", V5).resume().expiry(60).on(&network);
    first.subscribe("$share/g/t", Q1);
    network.publish("t", "a", 1, false);
    assert_eq!(heard(&mut first), ["a"]);
    first.hang_up();
    let mut second = opts("second", V5).on(&network);
    second.subscribe("$share/g/t", Q1);
    second.expect_nothing();
    let mut first = opts("first", V5).resume().expiry(60).on(&network);
    assert!(first.expect_message("t", "a").dup);
    // It goes again, and does not come back in time.
    first.hang_up();
    network.advance(61);
    assert!(!second.expect_message("t", "a").dup);
}

/// [MQTT-4.8.2-5]: a QoS 2 message that was sent is nobody else's; one that only waited is.
#[test]
fn a_qos_2_message_that_was_sent_goes_to_nobody_else() {
    let network = Network::new();
    let mut first = opts("first", V5).receive_maximum(1).on(&network);
    first.subscribe("$share/g/t", Q2);
    for text in ["sent", "waiting"] {
        network.publish("t", text, 2, false);
    }
    assert_eq!(heard(&mut first), ["sent"]);
    let mut second = opts("second", V5).on(&network);
    second.subscribe("$share/g/t", Q2);
    first.hang_up();
    assert_eq!(second.drain(), ["waiting"]);
    assert_eq!(network.stats().messages_dropped_session_ended, 0);
}

/// [MQTT-4.8.2-6]
#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let network = Network::new();
    let mut first = opts("first", V5).on(&network);
    first.subscribe("$share/g/t", Q2);
    network.publish("t", "one", 1, false);
    network.publish("t", "two", 2, false);
    let [one, two] = [first.expect_publish(), first.expect_publish()];
    let mut second = opts("second", V5).on(&network);
    second.subscribe("$share/g/t", Q2);
    first.send_refusal(AckKind::Puback, one.id, ReasonCode::UnspecifiedError);
    first.send_refusal(AckKind::Pubrec, two.id, ReasonCode::UnspecifiedError);
    first.hang_up();
    second.expect_nothing();
}

#[test]
fn messages_of_a_group_that_has_no_other_member_end_with_the_session() {
    let network = Network::new();
    let mut only = opts("only", V5).resume().expiry(10).on(&network);
    only.subscribe("$share/g/t", Q1);
    only.subscribe("plain", Q1);
    only.hang_up();
    for topic in ["t", "plain"] {
        network.publish(topic, "x", 1, false);
    }
    let mut other = opts("other", V5).on(&network);
    other.subscribe("$share/h/t", Q1);
    network.advance(11);
    other.expect_nothing();
    let stats = network.stats();
    assert_eq!((stats.messages_queued, stats.messages_dropped_session_ended), (0, 2));
}

/// When all members go, what they leave goes from one to the next and ends with the last.
#[test]
fn messages_are_handed_from_member_to_member() {
    let network = Network::new();
    let mut members = members(&network, "$share/g/t", 3);
    for n in 0..6 {
        network.publish("t", &n.to_string(), 1, false);
    }
    members.remove(0).hang_up();
    members.remove(0).hang_up();
    let mut all = members[0].drain();
    all.sort();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5"]);
    members.remove(0).hang_up();
    assert_eq!(network.stats().sessions, 0);
}

/// A member whose window is full does not get what another could have at once.
#[test]
fn a_busy_member_is_passed_over() {
    for version in ALL {
        let network = Network::with(&[("mqtt.max_inflight", "2")]);
        let mut slow = opts("slow", version).persistent().on(&network);
        slow.subscribe("$share/g/t", Q1);
        let mut quick = opts("quick", version).on(&network);
        quick.subscribe("$share/g/t", Q1);
        let mut absent = opts("absent", version).persistent().on(&network);
        absent.subscribe("$share/g/t", Q1);
        absent.hang_up();
        for n in 0..20 {
            network.publish("t", &n.to_string(), 1, false);
            quick.drain();
        }
        assert_eq!(heard(&mut slow).len(), 2);
        // All are busy: those that are there share what comes, the absent one gets nothing.
        for n in 0..6 {
            network.publish("t", &n.to_string(), 1, false);
        }
        let queued = |id: &str| {
            let clients = network.engine.clients();
            clients.iter().find(|client| client.client_id == id).unwrap().queued
        };
        assert_eq!((queued("slow"), queued("quick"), queued("absent")), (2, 2, 0), "{version}");
    }
}

/// A member that would lose the message, or an older one for it, comes last.
#[test]
fn a_full_member_is_passed_over() {
    for overflow in ["drop_newest", "drop_oldest", "disconnect"] {
        let settings = [("session.max_queued_messages", "3"), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        // It never acknowledges.
        let mut stuck = opts("stuck", V5).persistent().receive_maximum(1).on(&network);
        stuck.subscribe("$share/g/t", Q1);
        let mut away = opts("away", V5).persistent().on(&network);
        away.subscribe("$share/g/t", Q1);
        away.hang_up();
        // One is sent and three wait.
        for n in 0..4 {
            network.publish("t", &n.to_string(), 1, false);
        }
        let queued = |id: &str| network.engine.client(id).unwrap().queued;
        assert_eq!((queued("stuck"), queued("away")), (3, 0), "{overflow}");
        for n in 4..7 {
            network.publish("t", &n.to_string(), 1, false);
        }
        assert_eq!((queued("stuck"), queued("away")), (3, 3), "{overflow}");
        assert_eq!(network.stats().messages_dropped(), 0, "{overflow}");
        // One that has room is given all that comes.
        let mut quick = opts("quick", V5).on(&network);
        quick.subscribe("$share/g/t", Q1);
        for n in 7..107 {
            network.publish("t", &n.to_string(), 1, false);
            assert_eq!(quick.drain(), [n.to_string()], "{overflow}");
        }
        assert_eq!((queued("stuck"), queued("away")), (3, 3), "{overflow}");
        assert_eq!(network.stats().messages_dropped(), 0, "{overflow}");
        assert_eq!(heard(&mut stuck), ["0"], "{overflow}");
    }
}

/// Where all are full they take turns, and the policy of the queue says what is lost; it is counted.
#[test]
fn where_all_members_are_full_the_policy_decides() {
    for (overflow, kept) in [("drop_newest", ["1", "2"]), ("drop_oldest", ["6", "7"])] {
        let settings = [("session.max_queued_messages", "1"), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut members = ["a", "b"].map(|id| {
            let mut member = opts(id, V5).persistent().on(&network);
            member.subscribe("$share/g/t", Q1);
            member.hang_up();
            opts(id, V5).persistent().resume()
        });
        for n in 1..=7 {
            let before = network.stats().messages_dropped_queue_full;
            network.publish("t", &n.to_string(), 1, false);
            let lost = network.stats().messages_dropped_queue_full - before;
            assert_eq!(lost, u64::from(n > 2), "{overflow} {n}");
        }
        let mut all: Vec<String> =
            members.iter_mut().flat_map(|member| member.on(&network).drain()).collect();
        all.sort();
        assert_eq!(all, kept, "{overflow}");
    }
}

/// A queue of the host that is full comes last, too.
#[test]
fn a_full_queue_of_the_host_is_passed_over() {
    let network = Network::new();
    let options = SubscriptionOptions::with_qos(Q1);
    let inboxes = [Inbox::new(5), Inbox::new(1000)];
    for inbox in &inboxes {
        network.engine.subscribe_local(&mut network.turn(), "$share/g/t", options, 0, inbox.clone()).unwrap();
    }
    for n in 0..100 {
        network.publish("t", &n.to_string(), 1, false);
    }
    assert_eq!((inboxes[0].len(), inboxes[1].len()), (5, 95));
    assert_eq!(network.stats().messages_dropped(), 0);
}

/// A message that is too large for a member goes to one that takes it (MQTT 5, section 3.1.2.11.4).
#[test]
fn a_message_that_is_too_large_for_a_member_goes_to_another() {
    let network = Network::new();
    let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(20)).on(&network);
    small.subscribe("$share/g/t", Q0);
    let mut large = opts("large", V5).on(&network);
    large.subscribe("$share/g/t", Q0);
    for payload in ["x".repeat(14), "x".repeat(15)] {
        (0..4).for_each(|_| _ = network.publish("t", &payload, 0, false));
    }
    assert_eq!((small.drain().len(), large.drain().len()), (2, 6));
    large.disconnect();
    network.publish("t", &"x".repeat(15), 0, false);
    assert_eq!(network.stats().messages_dropped_packet_too_large, 1);
}
