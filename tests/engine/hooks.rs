//! Hooks of the host: what it decides, what it changes, what it is told.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use midge::codec::ack::AckKind;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::engine::access::edit::{Edit, EditError};
use midge::engine::access::hooks::{
    AccessRequest, Action, Answer, ConnectRequest, Decision, Host, Passage, Verdict, Wanted, defer,
};
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::event::Event;
use midge::session::link::Cause;
use midge::time::Time;

use crate::harness::{
    ALL, Client, Inbox, LastWill, Line, Network, Packets, Q0, Q1, Q2, Received, V5, V311, opts,
};

type Authenticate = dyn Fn(&ConnectRequest<'_>) -> Answer + Send + Sync;
type Authorize = dyn Fn(&AccessRequest<'_>) -> Answer + Send + Sync;
type OnPublish = dyn Fn(&mut Edit<'_>) -> Passage + Send + Sync;
type Tell = dyn Fn(&Event) + Send + Sync;

/// A host with the hooks that a test gives it. What it is told it writes down.
#[derive(Default)]
pub struct Toy {
    authenticate: Option<Box<Authenticate>>,
    authorize: Option<Box<Authorize>>,
    on_publish: Option<Box<OnPublish>>,
    tell: Option<Box<Tell>>,
    told: Mutex<Vec<String>>,
    /// Which notices it wants.
    wanted: Wanted,
}

impl Host for Toy {
    fn wanted(&self) -> Wanted {
        Wanted {
            authenticate: self.authenticate.is_some(),
            authorize: self.authorize.is_some(),
            on_publish: self.on_publish.is_some(),
            ..self.wanted
        }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        self.authenticate.as_ref().unwrap()(request)
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Answer {
        self.authorize.as_ref().unwrap()(request)
    }

    fn on_publish(&self, edit: &mut Edit<'_>) -> Passage {
        self.on_publish.as_ref().unwrap()(edit)
    }

    fn tell(&self, notice: &Event) {
        self.told.lock().unwrap().push(words(notice));
        if let Some(tell) = &self.tell {
            tell(notice);
        }
    }
}

impl Toy {
    fn authenticates<A: Into<Answer>>(f: impl Fn(&ConnectRequest<'_>) -> A + Send + Sync + 'static) -> Toy {
        Toy { authenticate: Some(Box::new(move |request| f(request).into())), ..Toy::default() }
    }

    pub fn authorizes<A: Into<Answer>>(f: impl Fn(&AccessRequest<'_>) -> A + Send + Sync + 'static) -> Toy {
        Toy { authorize: Some(Box::new(move |request| f(request).into())), ..Toy::default() }
    }

    pub fn looks(f: impl Fn(&mut Edit<'_>) -> bool + Send + Sync + 'static) -> Toy {
        let look = move |edit: &mut Edit<'_>| if f(edit) { Passage::Pass } else { Passage::Drop };
        Toy { on_publish: Some(Box::new(look)), ..Toy::default() }
    }

    fn told() -> Toy {
        Toy::wants(everything())
    }

    /// It is told of this.
    pub fn wants(wanted: Wanted) -> Toy {
        Toy { wanted, ..Toy::default() }
    }

    /// It is told of this, and calls `tell` with it.
    pub fn tells(wanted: Wanted, tell: impl Fn(&Event) + Send + Sync + 'static) -> Toy {
        Toy { tell: Some(Box::new(tell)), ..Toy::wants(wanted) }
    }

    /// The same, which also looks at messages.
    pub fn also_looks(self, f: impl Fn(&mut Edit<'_>) -> bool + Send + Sync + 'static) -> Toy {
        Toy { on_publish: Toy::looks(f).on_publish, ..self }
    }

    pub fn network(self) -> Network {
        Network::hosted_by(Arc::new(self), &[])
    }

    /// What it was told since the last call.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

pub fn everything() -> Wanted {
    Wanted {
        connected: true,
        disconnected: true,
        subscribed: true,
        unsubscribed: true,
        delivered: true,
        dropped: true,
        ..Wanted::default()
    }
}

fn words(notice: &Event) -> String {
    match notice {
        Event::Connected(n) => {
            format!("{} connected{}", n.client_id, if n.session_present { " again" } else { "" })
        }
        Event::Disconnected(n) => format!("{} disconnected: {:?}", n.client_id, n.cause),
        Event::Subscribed(n) => {
            format!("{} subscribed {} {}", n.client_id, n.filter, n.options.qos.as_u8())
        }
        Event::Unsubscribed(n) => format!("{} unsubscribed {}", n.client_id, n.filter),
        Event::Delivered(n) => format!("{} has {} {}", n.client_id, n.topic, n.qos.as_u8()),
        Event::Dropped(n) => {
            format!("{} misses {}: {}", n.client_id.as_deref().unwrap_or("the host"), n.topic, n.reason)
        }
        Event::Logged(line) => line.to_string(),
        other => panic!("{other:?}"),
    }
}

fn told(network_settings: &[(&str, &str)]) -> (Network, Arc<Toy>) {
    let toy = Arc::new(Toy::told());
    (Network::hosted_by(toy.clone(), network_settings), toy)
}

/// Decisions that a test makes.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<Decision>>>);

impl Desk {
    fn put(&self) -> Answer {
        let (decision, deferred) = defer();
        self.0.lock().unwrap().push(decision);
        deferred.into()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The oldest one.
    fn take(&self) -> Decision {
        self.0.lock().unwrap().remove(0)
    }
}

/// [MQTT-3.1.4-2], [MQTT3-3.1.4-1]: before anything is done for the client; [MQTT3-3.1.3-10] a password is any bytes.
#[test]
fn a_client_is_let_in_by_its_password() {
    let network = Toy::authenticates(|r| match (r.username, r.password) {
        (Some("alice"), Some(b"\0secret")) => Verdict::Allow,
        _ => Verdict::Deny,
    })
    .network();
    let reason = ReasonCode::BadUserNameOrPassword;
    for version in ALL {
        let alice = opts("a", version).username("alice");
        let client = alice.clone().password(b"\0secret").on(&network);
        assert_eq!(alice.clone().password(b"wrong").refused_by(&network), (Some(reason), reason));
        assert_eq!(alice.refused_by(&network), (Some(reason), reason));
        assert_eq!(opts("a", version).refused_by(&network), (Some(reason), reason));
        // Who is refused takes nobody's session over.
        assert_eq!((client.line.finished(), network.stats().sessions), (None, 1));
        client.hang_up();
    }
    let stats = network.stats();
    assert_eq!((stats.connections_refused, stats.takeovers), (9, 0));
    assert_eq!((stats.sessions, network.engine.timers_running()), (0, 0));
}

#[test]
fn the_host_sees_who_asks_and_may_say_why_not() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let network = Toy::authenticates({
        let seen = Arc::clone(&seen);
        move |r| {
            assert!(!format!("{r:?}").contains("word"));
            seen.lock().unwrap().push(format!(
                "{} {:?} {:?} {} {} {} {:?} {:?}",
                r.client_id,
                r.username,
                r.password,
                r.version,
                r.clean_start,
                r.keep_alive,
                r.address,
                r.listener
            ));
            match r.client_id {
                "banned" => Verdict::DenyWith(ReasonCode::Banned),
                "odd" => Verdict::DenyWith(ReasonCode::TopicAliasInvalid),
                "none" => Verdict::DenyWith(ReasonCode::Success),
                _ => panic!("for the test"),
            }
        }
    })
    .network();
    let banned = opts("banned", V5).username("u").password(b"word").keep_alive(7).resume();
    assert_eq!(banned.refused_by(&network).0, Some(ReasonCode::Banned));
    assert_eq!(opts("banned", V311).refused_by(&network).0, Some(ReasonCode::NotAuthorized));
    for id in ["odd", "none", "panic"] {
        // What CONNACK cannot say, what is no refusal, and a panic are all a refusal.
        assert_eq!(opts(id, V5).refused_by(&network).0, Some(ReasonCode::BadUserNameOrPassword));
    }
    let password = Some(b"word");
    assert_eq!(
        seen.lock().unwrap()[0],
        format!("banned {:?} {password:?} {V5} false 7 None None", Some("u"))
    );
    assert_eq!(network.stats().hooks_failed, 1);
}

/// What CONNECT says wrong is refused before the host is asked.
#[test]
fn a_connect_that_breaks_a_rule_is_not_asked_about() {
    let network = Toy::authenticates(|_| -> Verdict { panic!("it is asked") }).network();
    assert_eq!(opts("", V311).resume().refused_by(&network).0, Some(ReasonCode::ClientIdentifierNotValid));
    assert_eq!(network.stats().hooks_failed, 0);
}

fn may(request: &AccessRequest<'_>) -> Verdict {
    match request.topic.contains("secret") {
        true => Verdict::Deny,
        false => Verdict::Allow,
    }
}

/// [MQTT3-3.3.5-2], [MQTT3-3.3.5-2]
#[test]
fn a_message_that_is_not_allowed_is_acknowledged_as_its_version_can_say() {
    let network = Toy::authorizes(may).network();
    let inbox = Inbox::new(100);
    let options = SubscriptionOptions::default();
    network.engine.subscribe_local(&mut network.turn(), "#", options, 0, inbox.clone()).unwrap();
    for version in ALL {
        let mut client = opts("a", version).on(&network);
        let told = if version.is_v5() { ReasonCode::NotAuthorized } else { ReasonCode::Success };
        for qos in [Q1, Q2] {
            assert_eq!(client.publish("secret", "x", qos), told);
            assert_eq!(client.retain("secret", "x", qos), told);
        }
        client.send_publish("secret", "x", Q0, 0);
        assert_eq!(client.publish("open", "x", Q1), ReasonCode::Success);
        client.expect_nothing();
        client.hang_up();
    }
    let topics: Vec<_> = inbox.take().into_iter().map(|message| message.topic).collect();
    assert_eq!(topics, ["open"; 3]);
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_not_authorized, stats.retained_messages), (15, 0));
}

#[test]
fn a_filter_that_is_not_allowed_is_refused_and_the_others_are_not() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let network = Toy::authorizes({
        let asked = Arc::clone(&asked);
        move |request| {
            asked.lock().unwrap().push((request.topic.to_owned(), request.action, request.qos));
            may(request)
        }
    })
    .network();
    let one = SubscriptionOptions::with_qos(Q1);
    let filters = [("a", one), ("secret/#", one), ("$queue/", one), ("$share/g/secret", one), ("b", one)];
    for version in ALL {
        let mut client = opts("a", version).on(&network);
        let reasons = client.subscribe_all(&filters, 0);
        let expected = if version.is_v5() { [1, 0x87, 0x8F, 0x87, 1] } else { [1, 0x80, 0x80, 0x80, 1] };
        assert_eq!(reasons, expected);
        assert_eq!(network.stats().subscriptions, 2);
        client.hang_up();
    }
    let asked = asked.lock().unwrap();
    let topics: Vec<_> = asked.iter().map(|(topic, _, _)| topic.as_str()).collect();
    assert_eq!(topics, ["a", "secret/#", "$share/g/secret", "b"].repeat(3));
    assert!(asked.iter().all(|(_, action, qos)| *action == Action::Subscribe && *qos == Q1));
}

/// The Will is asked about with the CONNECT, not when nobody can be told any more.
#[test]
fn a_client_whose_will_is_not_allowed_is_not_let_in() {
    let network = Toy::authorizes(|request| {
        assert!(request.is_will && request.action == Action::Publish && request.retain);
        may(request)
    })
    .network();
    let with = |topic| opts("a", V5).will(LastWill::new(topic, "x").retained());
    let reason = ReasonCode::NotAuthorized;
    assert_eq!(with("secret").refused_by(&network), (Some(reason), reason));
    with("open").on(&network).hang_up();
    assert_eq!((network.stats().retained_messages, network.stats().connections_refused), (1, 1));
}

/// The name of a request by a Topic Alias is the topic.
#[test]
fn an_alias_does_not_hide_a_topic() {
    let network = Toy::authorizes(may).network();
    let mut client = opts("a", V5).on(&network);
    for topic in ["secret", ""] {
        let id = client.send_with(topic, b"x", Q1, false, |p| _ = p.topic_alias(1));
        assert_eq!(client.complete(Q1, id), ReasonCode::NotAuthorized);
    }
}

/// A duplicate of a QoS 2 message is acknowledged, and the host is not asked again.
#[test]
fn a_message_is_asked_about_once() {
    let asked = Arc::new(Mutex::new(0));
    let network = Toy::looks({
        let asked = Arc::clone(&asked);
        move |_| {
            *asked.lock().unwrap() += 1;
            true
        }
    })
    .network();
    let mut client = opts("a", V5).on(&network);
    for _ in 0..3 {
        client.send_publish("t", "x", Q2, 9);
        assert!(!client.expect_ack(AckKind::Pubrec, 9).is_error());
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

/// A message that the host changes stays within `mqtt.max_packet_size`; one that was larger gets no larger.
#[test]
fn a_change_is_bounded_as_a_packet_is() {
    let refused = |outcome: Result<(), EditError>| outcome.unwrap_err().to_string();
    let of = |len| format!("makes a packet of {len} bytes; mqtt.max_packet_size is 128");
    let toy = Toy::looks(move |edit| {
        // Fixed header 2, or 3 beyond 129 bytes, topic 3, property length 1: 128 bytes with a payload of 122.
        edit.set_payload([0; 122]).unwrap();
        assert_eq!(refused(edit.set_payload([0; 123])), format!("payload: {}", of(129)));
        edit.set_payload([0; 118]).unwrap();
        assert_eq!(
            refused(edit.set_message_expiry_interval(Some(9))),
            format!("message_expiry_interval: {}", of(129))
        );
        edit.set_payload([0; 117]).unwrap();
        edit.set_message_expiry_interval(Some(9)).unwrap();
        edit.set_message_expiry_interval(None).unwrap();
        // A User Property of two letters takes seven bytes.
        edit.set_payload([0; 116]).unwrap();
        assert_eq!(refused(edit.add_user_property("a", "b")), format!("user_properties: {}", of(129)));
        edit.set_payload([0; 115]).unwrap();
        edit.add_user_property("a", "b").unwrap();
        assert_eq!(refused(edit.set_topic("tt")), format!("topic: {}", of(129)));
        assert_eq!(refused(edit.set_qos(Q1)), format!("qos: {}", of(131)));
        let mut properties = edit.properties().raw().to_vec();
        PropertyWriter::new(&mut properties).content_type("");
        let properties = Properties::from_encoded(&properties).unwrap();
        assert_eq!(refused(edit.set_properties(properties)), format!("properties: {}", of(132)));
        true
    });
    let network = Network::hosted_by(Arc::new(toy), &[("mqtt.max_packet_size", "128B")]);
    let mut client = opts("a", V5).on(&network);
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("#", Q0);
    client.publish("t", "hi", Q0);
    let message = reader.expect_publish();
    assert_eq!((message.topic.as_str(), message.payload.len()), ("t", 115));
}

/// With its topic in place of the alias, the client's packet would be larger than it may be.
#[test]
fn a_message_that_was_larger_gets_no_larger_by_a_change() {
    let toy = Toy::looks(|edit| {
        let len = edit.payload().len();
        if len == 100 {
            assert!(edit.set_payload([1; 101]).is_err());
            edit.set_payload([1; 100]).unwrap();
        }
        edit.set_retain(len == 100).unwrap();
        true
    });
    let network = Network::hosted_by(Arc::new(toy), &[("mqtt.max_packet_size", "128B")]);
    let mut client = opts("a", V5).on(&network);
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("#", Q0);
    let topic = "t".repeat(50);
    client.send_with(&topic, b"", Q0, false, |p| _ = p.topic_alias(1));
    client.send_with("", &[0; 100], Q0, false, |p| _ = p.topic_alias(1));
    reader.expect_message(&topic, "");
    assert_eq!(reader.expect_publish().payload, [1; 100]);
    assert_eq!(network.stats().retained_messages, 1);
}

/// Neither the hearers nor the retained message of the topic that the client has named are concerned.
#[test]
fn a_message_goes_to_the_topic_that_the_host_gives_it() {
    let network = Toy::looks(|edit| {
        edit.set_topic("new").unwrap();
        true
    })
    .network();
    let mut of_old = opts("of old", V5).on(&network);
    of_old.subscribe("old", Q0);
    let mut of_new = opts("of new", V5).on(&network);
    of_new.subscribe("new", Q0);
    let mut client = opts("a", V5).will(LastWill::new("old", "will")).on(&network);
    assert_eq!(client.retain("old", "kept", Q1), ReasonCode::Success);
    of_new.expect_message("new", "kept");
    client.hang_up();
    of_new.expect_message("new", "will");
    of_old.expect_nothing();
    let mut late = opts("late", V5).on(&network);
    late.subscribe("#", Q0);
    late.expect_message("new", "kept");
    late.expect_nothing();
}

#[test]
fn a_user_property_holds_no_nul() {
    let network = Toy::looks(|edit| {
        for (name, value) in [("a\0", "b"), ("a", "\0b"), ("\0", "\0")] {
            assert!(edit.add_user_property(name, value).is_err(), "{name:?} {value:?}");
        }
        edit.add_user_property("a", "b").unwrap();
        true
    })
    .network();
    let mut client = opts("a", V5).on(&network);
    client.subscribe("t", Q0);
    client.publish("t", "x", Q0);
    let message = client.expect_publish();
    assert_eq!(message.properties().user_properties().collect::<Vec<_>>(), [("a", "b")]);
}

#[test]
fn the_host_changes_messages() {
    let network = Toy::looks(|edit| {
        assert_eq!((edit.client_id(), edit.username()), ("a", Some("alice")));
        assert!(edit.set_topic("a/#").is_err());
        let refused = edit.set_topic("$SYS/x").unwrap_err().to_string();
        assert_eq!(refused, "topic: \"$SYS/x\" is below $SYS, where only the broker publishes");
        assert!(edit.set_topic(&"x/".repeat(300)).is_err());
        let topic = format!("seen/{}", edit.topic());
        edit.set_topic(&topic).unwrap();
        assert_eq!(edit.topic(), topic);
        let payload = [edit.payload(), b"!"].concat();
        edit.set_payload(payload).unwrap();
        edit.set_qos(Q1).unwrap();
        edit.set_retain(true).unwrap();
        let mut properties = edit.properties().raw().to_vec();
        PropertyWriter::new(&mut properties).user_property("by", "the host");
        edit.set_properties(Properties::from_encoded(&properties).unwrap()).unwrap();
        edit.set_message_expiry_interval(Some(9)).unwrap();
        true
    })
    .network();
    for version in ALL {
        let mut client = opts("a", version).username("alice").on(&network);
        let mut reader = opts("reader", V5).on(&network);
        reader.subscribe_with(
            "#",
            SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::with_qos(Q2) },
            0,
        );
        reader.drain();
        // What is acknowledged is what the client sent.
        assert_eq!(client.publish("t", "hi", Q2), ReasonCode::Success);
        let message = reader.expect_message("seen/t", "hi!");
        assert_eq!((message.qos, message.retain), (Q1, true));
        let properties = message.properties();
        assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("by", "the host")]);
        assert_eq!(properties.message_expiry_interval(), Some(9));
        assert_eq!(network.stats().retained_messages, 1);
        client.hang_up();
        reader.hang_up();
    }
}

/// Properties of the received packet stay, apart from those that are the connection's.
#[test]
fn what_the_host_leaves_alone_is_passed_on_as_it_came() {
    let network = Toy::looks(|edit| {
        assert_eq!(edit.properties().content_type(), Some("text"));
        assert_eq!(edit.properties().topic_alias(), None);
        assert_eq!(edit.message_expiry_interval(), Some(5));
        if edit.payload() == b"louder" {
            edit.set_payload(*b"LOUDER").unwrap();
        }
        true
    })
    .network();
    let mut client = opts("a", V5).on(&network);
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("t", Q0);
    for (said, heard) in [("same", "same"), ("louder", "LOUDER")] {
        client.send_with("t", said.as_bytes(), Q0, false, |p| {
            p.content_type("text").topic_alias(3).message_expiry_interval(5).user_property("a", "b");
        });
        let message = reader.expect_message("t", heard);
        let properties = message.properties();
        assert_eq!(
            (properties.content_type(), properties.message_expiry_interval()),
            (Some("text"), Some(5))
        );
        assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("a", "b")]);
    }
}

/// Panics when it is dropped, unless a panic is under way.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// Also what a panic brings is harmless.
#[test]
fn the_host_drops_messages() {
    let network = Toy::looks(|edit| match edit.payload() {
        b"panic" => std::panic::panic_any(Grenade),
        payload => payload != b"drop",
    })
    .network();
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("#", Q0);
    for version in ALL {
        let mut client = opts("a", version).on(&network);
        for payload in ["drop", "panic", "pass"] {
            assert_eq!(client.publish("t", payload, Q2), ReasonCode::Success);
        }
        client.hang_up();
    }
    assert_eq!(reader.drain(), ["pass"; 3]);
    let stats = network.stats();
    assert_eq!((stats.messages_dropped_host, stats.hooks_failed), (6, 3));
    // The host's own messages pass.
    network.publish("t", "drop", 0, false);
    assert_eq!(reader.drain(), ["drop"]);
}

#[test]
fn the_host_changes_and_drops_wills() {
    let network = Toy::looks(|edit| {
        assert!(edit.is_will() && edit.username().is_none());
        if edit.payload() != b"drop" {
            edit.set_topic("gone").unwrap();
            let who = edit.client_id().to_owned();
            edit.set_payload(who).unwrap();
        }
        edit.payload() != b"drop"
    })
    .network();
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("#", Q0);
    opts("a", V5).will(LastWill::new("t", "keep")).on(&network).hang_up();
    opts("b", V5).will(LastWill::new("t", "drop")).on(&network).hang_up();
    // When its delay has passed, when the session ends, when the client comes again.
    opts("c", V5).expiry(100).will(LastWill::new("t", "keep").delay(10)).on(&network).hang_up();
    network.advance(11);
    let old = opts("d", V5).will(LastWill::new("t", "keep")).on(&network);
    opts("d", V5).on(&network).hang_up();
    old.hang_up();
    for who in ["a", "c", "d"] {
        reader.expect_message("gone", who);
    }
    reader.expect_nothing();
    assert_eq!((network.stats().wills_published, network.stats().messages_dropped_host), (4, 1));
}

#[test]
fn the_host_is_told_what_happens_in_its_order() {
    let (network, toy) = told(&[]);
    let mut a = opts("a", V5).expiry(100).on(&network);
    let mut b = opts("b", V311).on(&network);
    a.subscribe("t", Q2);
    a.subscribe("u", Q0);
    assert_eq!(toy.heard(), ["a connected", "b connected", "a subscribed t 2", "a subscribed u 0"]);
    b.publish("t", "x", Q2);
    assert!(toy.heard().is_empty(), "it is not acknowledged");
    assert_eq!(a.drain(), ["x"]);
    b.publish("t", "x", Q1);
    a.drain();
    b.publish("u", "x", Q1);
    assert_eq!(toy.heard(), ["a has t 2", "a has t 1", "a has u 0"]);
    a.drain();
    b.publish("nobody", "x", Q0);
    a.unsubscribe(&["u", "never"]);
    assert_eq!(toy.heard(), ["b misses nobody: no_subscriber", "a unsubscribed u"]);
    a.disconnect();
    assert_eq!(toy.heard(), ["a disconnected: Disconnected"]);
    opts("a", V5).resume().on(&network).hang_up();
    b.hang_up();
    let heard = ["a connected again", "a disconnected: ConnectionLost", "b disconnected: ConnectionLost"];
    assert_eq!(toy.heard(), heard);
}

#[test]
fn the_host_is_told_of_ends_that_are_not_the_client_s() {
    let (network, toy) = told(&[]);
    let silent = opts("silent", V5).keep_alive(10).on(&network);
    let old = opts("twice", V5).on(&network);
    let new = opts("twice", V311).on(&network);
    let mut wrong = opts("wrong", V5).on(&network);
    wrong.send_bytes(&[0xF0, 1, 2]);
    let kicked = opts("kicked", V5).on(&network);
    assert!(network.engine.kick(&mut network.turn(), "kicked"));
    network.advance(16);
    let last = opts("last", V5).on(&network);
    network.engine.stop(&mut network.turn());
    let mut ends = toy.heard();
    ends.retain(|words| words.contains(" disconnected"));
    // The last ones end in no order.
    ends[4..].sort();
    let expected = [
        "twice disconnected: SessionTakenOver",
        "wrong disconnected: Refused(ProtocolError)",
        "kicked disconnected: Kicked",
        "silent disconnected: KeepAliveTimeout",
        "last disconnected: ServerShuttingDown",
        "twice disconnected: ServerShuttingDown",
    ];
    assert_eq!(ends, expected);
    for client in [silent, old, new, kicked, last, wrong] {
        client.hang_up();
    }
    assert!(toy.heard().is_empty(), "each end is told once");
}

#[test]
fn the_host_is_told_of_every_dropped_message_as_it_is_counted() {
    let (network, toy) =
        told(&[("session.max_queued_messages", "2"), ("session.queue_overflow", "drop_oldest")]);
    let mut away = opts("away", V5).expiry(60).on(&network);
    away.subscribe("#", Q1);
    away.hang_up();
    for topic in ["a", "b", "c", "$SYS/x"] {
        let mut client = opts("client", V5).on(&network);
        client.publish(topic, "x", Q1);
        client.hang_up();
    }
    network.publish("d", "x", 0, false);
    let drops =
        |heard: Vec<String>| heard.into_iter().filter(|words| words.contains("misses")).collect::<Vec<_>>();
    let expected =
        ["away misses a: queue_full", "client misses $SYS/x: not_authorized", "away misses d: offline"];
    assert_eq!(drops(toy.heard()), expected);
    network.advance(61);
    assert_eq!(drops(toy.heard()), ["away misses b: session_ended", "away misses c: session_ended"]);
    assert_eq!(network.stats().messages_dropped(), 5);
    let inbox = Inbox::new(0);
    network
        .engine
        .subscribe_local(&mut network.turn(), "l", SubscriptionOptions::default(), 0, inbox)
        .unwrap();
    network.publish("l", "x", 0, false);
    let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(50)).on(&network);
    small.subscribe("s", Q1);
    network.publish("s", &"x".repeat(100), 1, false);
    let expected = ["the host misses l: local_queue_full", "small misses s: packet_too_large"];
    assert_eq!(drops(toy.heard()), expected);
}

/// An engine that its own hooks can reach.
#[derive(Clone, Default)]
struct Reach(Arc<OnceLock<Weak<Engine>>>);

impl Reach {
    fn network(&self, toy: Toy) -> (Network, Arc<Toy>) {
        let toy = Arc::new(toy);
        let network = Network::hosted_by(toy.clone(), &[]);
        self.0.set(Arc::downgrade(&network.engine)).unwrap();
        (network, toy)
    }

    fn publish(&self, topic: &str) -> usize {
        let engine = self.0.get().unwrap().upgrade().unwrap();
        let mut publication = Publication::new(topic.as_bytes(), b"by a hook", Q1, false, Time::ZERO);
        let name = TopicName::parse(topic).unwrap();
        engine.publish(&mut engine.turn(Time::ZERO), Publisher::Host, name, &mut publication)
    }

    /// Everything that a host may do, in the middle of a hook.
    fn do_all(&self) {
        let engine = self.0.get().unwrap().upgrade().unwrap();
        self.publish("hooks");
        let inbox = Inbox::new(10);
        let mut turn = engine.turn(Time::ZERO);
        let local =
            engine.subscribe_local(&mut turn, "hooks", SubscriptionOptions::default(), 0, inbox.clone());
        turn.finish();
        self.publish("hooks");
        engine.unsubscribe_local(&local.unwrap());
        assert_eq!(inbox.take().len(), 1);
        assert!(engine.clients().len() + engine.subscriptions().len() < 100);
        assert_eq!(engine.snapshot().hooks_failed, 0);
    }
}

/// No lock of the broker is held while a hook runs.
#[test]
fn a_hook_may_do_what_the_host_may() {
    let reach = Reach::default();
    let hook = |reach: &Reach| {
        let reach = reach.clone();
        move || reach.do_all()
    };
    let (authenticate, authorize, on_publish, tell) =
        (hook(&reach), hook(&reach), hook(&reach), hook(&reach));
    let (network, toy) = reach.network(Toy {
        authenticate: Some(Box::new(move |_| {
            authenticate();
            Verdict::Allow.into()
        })),
        authorize: Some(Box::new(move |_| {
            authorize();
            Verdict::Allow.into()
        })),
        on_publish: Some(Box::new(move |_| {
            on_publish();
            Passage::Pass
        })),
        // Not of what it does itself, for ever.
        tell: Some(Box::new(move |notice| {
            if !words(notice).contains("hooks") {
                tell()
            }
        })),
        wanted: everything(),
        ..Toy::default()
    });
    for version in ALL {
        let mut client = opts("a", version).will(LastWill::new("t", "x")).on(&network);
        client.subscribe("t", Q1);
        client.publish("t", "x", Q1);
        assert_eq!(client.drain(), ["x"]);
        client.unsubscribe(&["t"]);
        client.hang_up();
    }
    assert_eq!(network.stats().hooks_failed, 0);
    assert!(toy.heard().len() > 20);
}

/// The client about which the hook is asked is kicked, or taken over, by the hook.
#[test]
fn a_hook_may_end_the_connection_that_it_is_asked_about() {
    for taken_over in [false, true] {
        let reach = Reach::default();
        let end = {
            let reach = reach.clone();
            move |client_id: &str| {
                let engine = reach.0.get().unwrap().upgrade().unwrap();
                if taken_over {
                    let line = Arc::new(Line::default());
                    let mut turn = engine.turn(Time::ZERO);
                    let mut connection = Connection::new(&engine, &mut turn, line, None);
                    let progress =
                        connection.receive(&engine, &mut turn, &opts(client_id, V5).encode(), None);
                    assert!(progress.open && connection.session().is_some());
                } else {
                    assert!(engine.kick(&mut engine.turn(Time::ZERO), client_id));
                }
            }
        };
        let ends = end.clone();
        let (network, _toy) = reach.network(Toy {
            authorize: Some(Box::new(move |r| {
                if r.topic == "authorize" {
                    end(r.client_id);
                }
                Verdict::Allow.into()
            })),
            on_publish: Some(Box::new(move |edit| {
                if edit.topic() == "look" {
                    ends(edit.client_id());
                }
                Passage::Pass
            })),
            ..Toy::default()
        });
        let mut reader = opts("reader", V5).on(&network);
        reader.subscribe("#", Q0);
        for topic in ["authorize", "look"] {
            let mut client = opts("a", V5).on(&network);
            let packets = Packets::default().publish(V5, topic, "x", Q1, 1).publish(V5, "next", "x", Q1, 2);
            assert!(!client.send_bytes(&packets.0));
            let reason = match taken_over {
                false => ReasonCode::AdministrativeAction,
                true => ReasonCode::SessionTakenOver,
            };
            assert_eq!(client.next(), Some(Received::Disconnect(reason)));
            client.expect_nothing();
            client.hang_up();
        }
        let mut client = opts("a", V5).on(&network);
        client.send_subscribe(&[("authorize", SubscriptionOptions::default())], 0);
        client.hang_up();
        reader.expect_nothing();
        assert_eq!(network.stats().subscriptions, 1);
    }
}

/// A notice that causes another one is no recursion. A thread tells 64 beside its own, and leaves the others to the one
/// that ticks, which tells as many each time.
#[test]
fn notices_come_one_after_the_other() {
    let reach = Reach::default();
    let count = Arc::new(Mutex::new(0));
    let tell = {
        let (reach, count) = (reach.clone(), Arc::clone(&count));
        move |notice: &Event| {
            let mut count = count.try_lock().expect("a notice inside a notice");
            *count += 1;
            if *count < 200 && words(notice).contains("misses") {
                reach.publish("again");
            }
        }
    };
    let (network, toy) =
        reach.network(Toy { tell: Some(Box::new(tell)), wanted: everything(), ..Toy::default() });
    network.publish("first", "x", 0, false);
    assert_eq!(toy.heard().len(), 65);
    let now = network.turn().now;
    let mut ticks = 0;
    while network.engine.tick(now) == Some(now) {
        ticks += 1;
        assert_eq!(toy.heard().len(), 64);
    }
    assert_eq!((ticks, toy.heard().len()), (2, 200 - 65 - 2 * 64));
    assert_eq!(network.stats().hooks_failed, 0);
}

#[test]
fn a_notice_that_fails_costs_no_other() {
    let tell = |notice: &Event| assert!(!words(notice).contains("subscribed"), "for the test");
    let toy = Arc::new(Toy { tell: Some(Box::new(tell)), wanted: everything(), ..Toy::default() });
    let network = Network::hosted_by(toy.clone(), &[]);
    let mut client = opts("a", V5).on(&network);
    client.subscribe_all(&[("a", SubscriptionOptions::default()), ("b", SubscriptionOptions::default())], 0);
    client.hang_up();
    assert_eq!(toy.heard().len(), 4);
    assert_eq!(network.stats().hooks_failed, 2);
}

#[test]
fn notices_beyond_the_bound_are_lost_and_counted() {
    let toy = Arc::new(Toy::told());
    let network = Network::hosted_by(toy.clone(), &[("hooks.max_waiting", "3")]);
    let mut client = opts("a", V5).on(&network);
    client
        .subscribe_all(&["a", "b", "c", "d", "e"].map(|filter| (filter, SubscriptionOptions::default())), 0);
    assert_eq!(toy.heard().len(), 1 + 3);
    client.unsubscribe(&["a"]);
    assert_eq!((toy.heard().len(), network.stats().notices_lost), (1, 2));
}

/// A client waits while its CONNECT is decided.
#[test]
fn the_host_lets_a_client_in_later() {
    for version in ALL {
        let desk = Desk::default();
        let network = Toy::authenticates({
            let desk = desk.clone();
            move |_| desk.put()
        })
        .network();
        let mut slow = Client::open(&network, version);
        let packets = [opts("slow", version).encode(), vec![0xC0, 0]].concat();
        assert!(slow.send_bytes(&packets));
        let mut other = Client::open(&network, version);
        assert!(other.send_bytes(&opts("other", version).encode()));
        slow.expect_nothing();
        assert_eq!((network.stats().sessions, desk.len()), (0, 2));
        let first = desk.take();
        assert!(desk.take().resolve(Verdict::DenyWith(ReasonCode::Banned)));
        assert_eq!(other.refusal().1, ReasonCode::Banned);
        slow.expect_nothing();
        assert!(first.resolve(Verdict::Allow));
        assert!(matches!(slow.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
        assert_eq!(slow.next(), Some(Received::Pingresp));
        assert_eq!(desk.len(), 0, "it is asked once");
        assert_eq!(network.stats().packets_received, 3);
        slow.hang_up();
        other.hang_up();
        assert_eq!(network.engine.timers_running(), 0);
    }
}

/// The connection's packets wait in their order, and those of others do not.
#[test]
fn packets_wait_behind_one_that_is_decided_later() {
    let desk = Desk::default();
    let network = Toy::authorizes({
        let desk = desk.clone();
        move |request| match request.topic {
            "later" => desk.put(),
            _ => Verdict::Allow.into(),
        }
    })
    .network();
    let mut reader = opts("reader", V5).on(&network);
    reader.subscribe("#", Q0);
    for (n, verdict) in [Verdict::Allow, Verdict::Deny].into_iter().enumerate() {
        let mut client = opts("a", V5).on(&network);
        let before = network.stats();
        let packets = Packets::default()
            .publish(V5, "now", "1", Q1, 1)
            .publish(V5, "later", "2", Q2, 2)
            .publish(V5, "now", "3", Q1, 3);
        for byte in packets.0.chunks(1) {
            assert!(client.send_bytes(byte));
        }
        assert_eq!(client.expect_ack(AckKind::Puback, 1), ReasonCode::Success);
        client.expect_nothing();
        network.publish("others", "x", 0, false);
        reader.expect_message("now", "1");
        reader.expect_message("others", "x");
        assert_eq!(desk.len(), 1);
        assert!(desk.take().resolve(verdict));
        let told = [ReasonCode::Success, ReasonCode::NotAuthorized][n];
        assert_eq!(client.expect_ack(AckKind::Pubrec, 2), told);
        assert_eq!(client.expect_ack(AckKind::Puback, 3), ReasonCode::Success);
        if n == 0 {
            reader.expect_message("later", "2");
        }
        reader.expect_message("now", "3");
        reader.expect_nothing();
        let after = network.stats();
        assert_eq!(after.publish_received - before.publish_received, 3);
        assert_eq!(after.bytes_received - before.bytes_received, packets.0.len() as u64);
        client.disconnect_with_leftovers();
    }
    reader.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

#[test]
fn the_filters_of_one_packet_are_decided_together() {
    let desk = Desk::default();
    let network = Toy::authorizes({
        let desk = desk.clone();
        move |request| match request.topic {
            "now" => Verdict::Deny.into(),
            _ => desk.put(),
        }
    })
    .network();
    let mut client = opts("a", V5).on(&network);
    let one = SubscriptionOptions::with_qos(Q1);
    let id = client.send_subscribe(&[("a", one), ("now", one), ("b", one)], 0);
    assert_eq!(desk.len(), 2);
    assert!(desk.take().resolve(Verdict::Allow));
    client.expect_nothing();
    drop(desk.take());
    assert_eq!(client.next(), Some(Received::Suback { id, reasons: vec![1, 0x87, 0x87] }));
    assert_eq!((network.stats().subscriptions, desk.len()), (1, 0));
}

/// Silence denies. Meanwhile the client is not taken for silent: nobody reads what it sends.
#[test]
fn a_decision_that_is_not_made_in_time_is_a_denial() {
    let desk = Desk::default();
    let deciding = desk.clone();
    let toy = Toy::authorizes(move |_| deciding.put());
    let network = Network::hosted_by(Arc::new(toy), &[("hooks.deadline", "30s")]);
    let mut client = opts("a", V5).keep_alive(4).on(&network);
    client.send_publish("t", "x", Q1, 1);
    network.advance(29);
    client.expect_nothing();
    assert_eq!(client.line.finished(), None);
    network.advance(2);
    assert_eq!(client.expect_ack(AckKind::Puback, 1), ReasonCode::NotAuthorized);
    assert!(!desk.take().resolve(Verdict::Allow), "it is too late");
    assert_eq!(network.stats().hooks_failed, 1);
    // Now it counts again.
    network.advance(7);
    assert_eq!(client.line.finished(), Some(Cause::KeepAliveTimeout));
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

/// While the process was stopped, the host could not decide. It has one more second, each time.
#[test]
fn a_decision_is_not_overdue_because_the_process_was_stopped() {
    let desk = Desk::default();
    let deciding = desk.clone();
    let toy = Toy::authorizes(move |_| deciding.put());
    let network = Network::hosted_by(Arc::new(toy), &[("hooks.deadline", "30s")]);
    let mut client = opts("a", V5).on(&network);
    client.send_publish("t", "x", Q1, 1);
    network.sleep(40);
    assert!(desk.take().resolve(Verdict::Allow));
    assert_eq!(client.expect_ack(AckKind::Puback, 1), ReasonCode::NoMatchingSubscribers);
    client.send_publish("t", "x", Q1, 2);
    network.sleep(40);
    network.sleep(40);
    client.expect_nothing();
    network.advance(2);
    assert_eq!(client.expect_ack(AckKind::Puback, 2), ReasonCode::NotAuthorized);
    assert!(!desk.take().resolve(Verdict::Allow), "it is too late");
    assert_eq!(network.stats().hooks_failed, 1);
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

#[test]
fn a_connect_that_waits_for_the_host_has_the_time_of_a_connect() {
    let desk = Desk::default();
    let deciding = desk.clone();
    let toy = Toy::authenticates(move |_| deciding.put());
    let network =
        Network::hosted_by(Arc::new(toy), &[("hooks.deadline", "60s"), ("mqtt.connect_timeout", "3s")]);
    let mut client = Client::open(&network, V5);
    client.send_bytes(&opts("a", V5).encode());
    network.advance(4);
    assert_eq!(client.line.finished(), Some(Cause::ConnectTimeout));
    client.hang_up();
    assert!(!desk.take().resolve(Verdict::Allow));
    assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
}

/// The connection is gone, kicked or taken over; the broker has stopped.
#[test]
fn a_decision_that_nobody_waits_for_is_harmless() {
    let desk = Desk::default();
    let deciding = desk.clone();
    let network = Toy::authorizes(move |_| deciding.put()).network();
    let wait = |id| {
        let mut client = opts(id, V5).on(&network);
        client.send_publish("t", "x", Q1, 1);
        client
    };
    wait("gone").hang_up();
    assert!(!desk.take().resolve(Verdict::Allow));
    let mut kicked = wait("kicked");
    network.engine.kick(&mut network.turn(), "kicked");
    desk.take().resolve(Verdict::Allow);
    assert_eq!(kicked.next(), Some(Received::Disconnect(ReasonCode::AdministrativeAction)));
    kicked.expect_nothing();
    let mut old = wait("twice");
    let new = opts("twice", V5).on(&network);
    desk.take().resolve(Verdict::Allow);
    assert_eq!(old.next(), Some(Received::Disconnect(ReasonCode::SessionTakenOver)));
    old.expect_nothing();
    let last = wait("last");
    network.engine.stop(&mut network.turn());
    desk.take().resolve(Verdict::Allow);
    assert_eq!(network.stats().messages_published, 0);
    for client in [kicked, old, new, last] {
        client.hang_up();
    }
    drop(network);
}

/// A hook may decide before it says that it decides later.
#[test]
fn a_decision_may_be_made_at_once() {
    let network = Toy::authorizes(|_| {
        let (decision, deferred) = defer();
        decision.resolve(Verdict::DenyWith(ReasonCode::QuotaExceeded));
        deferred
    })
    .network();
    let mut client = opts("a", V5).on(&network);
    assert_eq!(client.publish("t", "x", Q1), ReasonCode::QuotaExceeded);
}
