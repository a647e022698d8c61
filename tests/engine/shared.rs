//! Shared subscriptions, `$share/group/...` and `$queue/...`.

use midge::codec::subscribe::SubscriptionOptions;

use crate::harness::{ALL, Client, Network, Q0, Q1, Q2, V5, opts};

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
