//! Access rules of a file: who may publish and subscribe, what is delivered, and what happens when they change.

use std::sync::{Arc, Mutex};

use midge::access::rules::authority::RuleAuthority;
use midge::access::rules::file::parse;
use midge::access::rules::ruleset::RuleSet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::config::SubscribeCheck;
use midge::engine::access::authority::{Authority, Questions, Ruling};
use midge::engine::access::hooks::{Action, ConnectRequest, Verdict};
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::EventSink;
use midge::engine::parts::admission::Draft;
use midge::engine::view::explain::{Fate, Question};
use midge::session::event::{Event, Level};
use midge::stats::DropReason;
use midge::storage::Store;
use midge::time::Time;

use crate::harness::{
    ALL, Client, LastWill, LateStore, Network, Packets, Q0, Q1, QOS, Received, V5, V311, opts,
};

const NOT_AUTHORIZED: u8 = 0x87;

/// A broker whose clients have the rights of a file.
struct Ruled {
    network: Network,
    authority: Arc<RuleAuthority>,
}

fn rules(file: &str) -> RuleSet {
    RuleSet::new(&parse(file.as_bytes()).unwrap())
}

impl Ruled {
    fn by(file: &str, subscribe: SubscribeCheck) -> Ruled {
        Ruled::on(Network::new(), file, subscribe)
    }

    fn on(network: Network, file: &str, subscribe: SubscribeCheck) -> Ruled {
        let authority = Arc::new(RuleAuthority::new(rules(file), subscribe));
        let added = Arc::clone(&authority);
        Ruled { network: network.and(|engine| engine.with_authority(added)), authority }
    }

    /// Replaces the rules; how many subscriptions have ended.
    fn change(&self, file: &str) -> usize {
        self.authority.set(rules(file));
        self.network.engine.rights_changed(self.network.now())
    }

    fn dropped(&self) -> u64 {
        self.network.stats().messages_dropped_not_authorized
    }
}

fn try_to_subscribe(client: &mut Client<'_>, filter: &str) -> u8 {
    client.subscribe_with(filter, SubscriptionOptions::with_qos(Q1), 0)
}

#[test]
fn a_message_is_published_if_a_rule_allows_its_topic() {
    let ruled = Ruled::by("topic mine/#\nuser ann\ntopic write ann/+\n", SubscribeCheck::Covered);
    let denied = ReasonCode::NotAuthorized;
    for (version, qos) in ALL.into_iter().flat_map(|version| QOS.map(|qos| (version, qos))) {
        let before = ruled.dropped();
        let mut hearer = opts("hearer", version).on(&ruled.network);
        hearer.subscribe("mine/#", Q0);
        let mut other = opts("other", version).on(&ruled.network);
        // MQTT 3 cannot be told.
        let reason = if version.is_v5() && qos > Q0 { denied } else { ReasonCode::Success };
        assert_eq!(other.publish("yours/1", "no", qos), reason, "{version:?} {qos:?}");
        assert_eq!(other.publish("ann/1", "no", qos), reason);
        assert_eq!(other.publish("mine/1", "yes", qos), ReasonCode::Success);
        hearer.expect_message("mine/1", "yes");
        hearer.expect_nothing();
        let mut ann = opts("ann", version).username("ann").on(&ruled.network);
        assert!(!ann.publish("ann/1", "yes", qos).is_error());
        assert_eq!(ruled.dropped() - before, 2);
    }
}

/// Consecutive messages to one topic are asked about once.
#[test]
fn a_burst_is_published_or_each_of_its_messages_refused() {
    let ruled = Ruled::by("topic mine/#\n", SubscribeCheck::Covered);
    let mut hearer = opts("hearer", V311).on(&ruled.network);
    hearer.subscribe("mine/#", Q0);
    let mut publisher = opts("publisher", V311).on(&ruled.network);
    let burst = |topic: &str| {
        (0..10)
            .fold(Packets::default(), |all, number: u8| all.publish(V311, topic, &number.to_string(), Q0, 0))
    };
    publisher.send_bytes(&burst("mine/t").0);
    for number in 0..10 {
        hearer.expect_message("mine/t", &number.to_string());
    }
    publisher.send_bytes(&burst("yours/t").0);
    hearer.expect_nothing();
    assert_eq!((ruled.dropped(), ruled.network.stats().messages_published), (10, 10));
}

#[test]
fn a_will_is_asked_about_when_its_client_connects() {
    let ruled = Ruled::by("topic mine/#\n", SubscribeCheck::Covered);
    let refused = opts("a", V5).will(LastWill::new("yours/1", "w")).refused_by(&ruled.network);
    assert_eq!(refused.0, Some(ReasonCode::NotAuthorized));
    opts("a", V5).will(LastWill::new("mine/1", "w")).on(&ruled.network);
}

#[test]
fn a_filter_is_granted_if_every_topic_of_it_may_be_read() {
    let file = "topic read a/#\ntopic deny a/secret\ntopic write b\npattern read own/%c/+\n";
    let ruled = Ruled::by(file, SubscribeCheck::Covered);
    for version in ALL {
        let mut client = opts("c1", version).on(&ruled.network);
        let refused = if version.is_v5() { NOT_AUTHORIZED } else { 0x80 };
        for (filter, allowed) in [
            ("a/b", true),
            ("a/b/#", true),
            ("$share/g/a/b/+", true),
            ("own/c1/+", true),
            ("own/c1/x", true),
            ("a/secret", false),
            ("a/#", false),
            ("a/+", false),
            ("$share/g/a/+", false),
            ("own/+/x", false),
            ("own/c2/x", false),
            ("b", false),
            ("#", false),
        ] {
            let expected = if allowed { 1 } else { refused };
            assert_eq!(try_to_subscribe(&mut client, filter), expected, "{version:?} {filter}");
        }
    }
}

const OPEN: &str = "topic #\nuser hearer\ntopic readwrite open/#\ntopic deny open/not\n";

/// A client that has subscribed to everything, and may read what is `open`.
fn hearer<'n>(network: &'n Network, persistent: bool) -> Client<'n> {
    let hearer = opts("hearer", V5).username("hearer");
    let hearer = if persistent { hearer.persistent() } else { hearer };
    hearer.on(network)
}

#[test]
fn checked_at_delivery_a_client_gets_what_it_may_read() {
    let ruled = Ruled::by(OPEN, SubscribeCheck::Delivery);
    let network = &ruled.network;
    let mut publisher = opts("publisher", V5).on(network);
    publisher.retain("open/kept", "retained", Q1);
    publisher.retain("closed/kept", "retained", Q1);
    let mut hearer = hearer(network, false);
    hearer.subscribe("#", Q1);
    hearer.expect_message("open/kept", "retained");
    hearer.expect_nothing();
    for qos in QOS {
        publisher.publish("open/1", "yes", qos);
        publisher.publish("open/not", "no", qos);
        publisher.publish("closed/1", "no", qos);
        let message = hearer.expect_message("open/1", "yes");
        hearer.acknowledge(&message);
        hearer.expect_nothing();
    }
    // Consecutive messages of one topic.
    for (topic, comes) in [("open/burst", true), ("closed/burst", false)] {
        let burst = Packets::default().publish(V5, topic, "1", Q0, 0).publish(V5, topic, "2", Q0, 0);
        publisher.send_bytes(&burst.0);
        if comes {
            hearer.expect_message(topic, "1");
            hearer.expect_message(topic, "2");
        }
        hearer.expect_nothing();
    }
    // A message that nobody may have is one without a subscriber.
    assert_eq!(network.publish("closed/2", "no", 0, false), 0);
    assert_eq!(network.publish("open/2", "yes", 0, false), 1);
}

#[test]
fn checked_at_delivery_nothing_waits_for_a_client_that_it_may_not_read() {
    let store = Arc::new(LateStore::new(false));
    let network = Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>);
    let ruled = Ruled::on(network, OPEN, SubscribeCheck::Delivery);
    let mut away = hearer(&ruled.network, true);
    away.subscribe("#", Q1);
    away.hang_up();
    let mut publisher = opts("publisher", V5).on(&ruled.network);
    publisher.publish("closed/1", "no", Q1);
    publisher.publish("open/1", "yes", Q1);
    assert_eq!(ruled.network.stats().messages_queued, 1);
    let mut back = hearer(&ruled.network, true);
    back.expect_message("open/1", "yes");
    back.expect_nothing();
}

/// The member of a shared subscription that may read a message gets it.
#[test]
fn checked_at_delivery_a_group_gives_a_message_to_a_member_that_may_read_it() {
    let file = "topic #\nuser a\ntopic x/#\nuser b\ntopic y/#\n";
    let ruled = Ruled::by(file, SubscribeCheck::Delivery);
    let member = |name: &str| {
        let mut member = opts(name, V5).username(name).on(&ruled.network);
        member.subscribe("$share/g/#", Q0);
        member
    };
    let (mut a, mut b) = (member("a"), member("b"));
    for number in 0..4 {
        let text = number.to_string();
        assert_eq!(ruled.network.publish("x/1", &text, 0, false), 1);
        a.expect_message("x/1", &text);
        assert_eq!(ruled.network.publish("y/1", &text, 0, false), 1);
        b.expect_message("y/1", &text);
        assert_eq!(ruled.network.publish("z/1", &text, 0, false), 0);
    }
    a.expect_nothing();
    b.expect_nothing();
}

#[test]
fn an_explanation_says_that_a_client_may_not_read_a_message() {
    let ruled = Ruled::by(OPEN, SubscribeCheck::Delivery);
    let mut hearer = hearer(&ruled.network, false);
    hearer.subscribe("#", Q0);
    for (topic, fate) in [("open/1", Fate::Sent), ("closed/1", Fate::Dropped(DropReason::NotAuthorized))] {
        let message = Draft {
            topic: TopicName::parse(topic).unwrap(),
            qos: QoS::AtMostOnce,
            retain: false,
            payload_len: 0,
            properties_len: 0,
            expires: false,
            user_properties: 0,
        };
        let question = Question { message, publisher: None };
        let explained = ruled.network.engine.explain(ruled.network.now(), &question);
        assert_eq!(explained.receivers.iter().map(|one| one.fate).collect::<Vec<_>>(), [fate], "{topic}");
    }
}

#[test]
fn a_right_to_publish_that_is_lost_is_lost_with_the_next_message() {
    let ruled = Ruled::by("topic a\n", SubscribeCheck::Covered);
    let mut client = opts("c", V5).on(&ruled.network);
    assert!(!client.publish("a", "1", Q1).is_error());
    assert_eq!(ruled.change("topic b\n"), 0);
    assert_eq!(client.publish("a", "2", Q1), ReasonCode::NotAuthorized);
    assert!(!client.publish("b", "3", Q1).is_error());
}

#[test]
fn a_subscription_that_is_not_allowed_any_more_ends_and_others_do_not_notice() {
    for (setting, ends) in [("disconnect", true), ("unsubscribe", false)] {
        let network = Network::with(&[("access.lost_rights", setting)]);
        let file = "topic a/#\ntopic b/#\nuser ann\ntopic a/#\n";
        let ruled = Ruled::on(network, file, SubscribeCheck::Covered);
        let network = &ruled.network;
        let mut loser = opts("loser", V5).persistent().on(network);
        loser.subscribe("a/#", Q1);
        loser.subscribe("b/1", Q1);
        let mut ann = opts("ann", V5).username("ann").on(network);
        ann.subscribe("a/#", Q1);
        let mut absent = opts("absent", V5).persistent().on(network);
        absent.subscribe("a/1", Q1);
        absent.hang_up();
        assert_eq!(ruled.change("topic read b/#\nuser ann\ntopic a/#\n"), 2);
        assert_eq!(network.stats().subscriptions, 2);
        loser.poll();
        match ends {
            true => assert_eq!(loser.next(), Some(Received::Disconnect(ReasonCode::NotAuthorized))),
            false => loser.expect_nothing(),
        }
        assert_eq!(network.publish("a/1", "x", 1, false), 1);
        ann.expect_message("a/1", "x");
        assert_eq!(network.publish("b/1", "x", 1, false), 1);
        if ends {
            // The session is there, without the subscription.
            let (mut back, present) = opts("loser", V5).persistent().resume().join(network);
            assert!(present);
            back.expect_message("b/1", "x");
            back.expect_nothing();
        } else {
            loser.expect_message("b/1", "x");
        }
    }
}

#[test]
fn a_right_to_read_that_changes_holds_for_the_next_delivery() {
    let ruled = Ruled::by(OPEN, SubscribeCheck::Delivery);
    let mut hearer = hearer(&ruled.network, false);
    hearer.subscribe("#", Q0);
    let reached = |topic: &str| ruled.network.publish(topic, "x", 0, false);
    assert_eq!((reached("open/1"), reached("closed/1")), (1, 0));
    assert_eq!(ruled.change("user hearer\ntopic closed/#\n"), 0);
    assert_eq!((reached("open/1"), reached("closed/1")), (0, 1));
    hearer.expect_message("open/1", "x");
    hearer.expect_message("closed/1", "x");
}

/// Lets everybody in, so that sessions are their users'.
struct Porter;

impl Authority for Porter {
    fn name(&self) -> &str {
        "porter"
    }

    fn questions(&self) -> Questions {
        Questions { authenticate: true, ..Questions::default() }
    }

    fn authenticate(&self, _request: &ConnectRequest<'_>) -> Ruling {
        Verdict::Allow.into()
    }
}

/// The rights of a client that is away come back with its session.
#[test]
fn a_restored_session_has_the_rights_of_its_user() {
    let store = Arc::new(LateStore::new(false));
    let network = Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>);
    let network = network.and(|engine| engine.with_authority(Arc::new(Porter)));
    let ruled = Ruled::on(network, OPEN, SubscribeCheck::Delivery);
    let mut away = hearer(&ruled.network, true);
    away.subscribe("+/1", Q1);
    away.hang_up();
    let restarted = ruled.network.after_crash_and(&store, |engine| {
        engine.with_authority(Arc::new(Porter)).with_authority(ruled.authority.clone())
    });
    assert_eq!(restarted.publish("open/1", "x", 1, false), 1);
    assert_eq!(restarted.publish("closed/1", "x", 1, false), 0);
}

/// Which authority decides, and by which line.
#[test]
fn an_explanation_names_the_authority_and_the_line() {
    let ruled = Ruled::by("topic read a/#\ntopic deny a/secret\n", SubscribeCheck::Covered);
    for (action, topic, allowed, why) in [
        (Action::Subscribe, "a/b", true, "line 1"),
        (Action::Subscribe, "a/#", false, "it matches \"a/secret\", which line 2 denies"),
        (Action::Publish, "a/secret", false, "line 2"),
        (Action::Publish, "b", false, "no line allows it"),
    ] {
        let explained = ruled.network.engine.explain_access("c", None, action, topic);
        let (authority, reason) = (explained.authority.as_deref(), explained.why.as_deref());
        assert_eq!((explained.allowed, authority, reason), (Some(allowed), Some("acl_file"), Some(why)));
    }
    // Nobody decides.
    let explained = Network::new().engine.explain_access("c", None, Action::Publish, "a");
    assert_eq!((explained.allowed, explained.authority), (Some(true), None));
}

#[test]
fn the_log_names_the_line_that_refuses_a_filter() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let ruled = Ruled::by("topic read a/#\ntopic deny a/secret\n", SubscribeCheck::Covered);
    ruled.network.engine.watch(Arc::new(Lines(Arc::clone(&lines))));
    let mut client = opts("c", V5).on(&ruled.network);
    assert_eq!(try_to_subscribe(&mut client, "a/#"), NOT_AUTHORIZED);
    let expected = "client \"c\": may not subscribe to \"a/#\" (0x87) by acl_file: it matches \"a/secret\", which line 2 \
                    denies";
    assert_eq!(*lines.lock().unwrap(), [expected]);
}

/// Keeps the warnings of the log.
struct Lines(Arc<Mutex<Vec<String>>>);

impl EventSink for Lines {
    fn mask(&self) -> EventMask {
        EventMask::LOG
    }

    fn event(&self, _now: Time, event: &Event) {
        if let Event::Logged(line) = event
            && line.level == Level::Warn
        {
            self.0.lock().unwrap().push(line.text.to_string());
        }
    }
}
