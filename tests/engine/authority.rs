//! The chain of authorities: who is asked, whose answer holds, and taking a session over as a question.

use std::sync::{Arc, Mutex, Weak};

use midge::codec::auth::Auth;
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::access::authority::{Authority, Questions, Ruling, TakeOverRequest, abstain};
use midge::engine::access::chain::AccessDefault;
use midge::engine::access::hooks::{AccessRequest, ConnectRequest, Decision, Verdict, Wanted, defer};
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::session::event::Level;
use midge::session::link::Cause;
use midge::time::Time;

use crate::harness::{ALL, Client, LastWill, Line, Network, Opts, Q0, Q1, Received, V5, V31, V311, opts};
use crate::hooks::Toy;

const ALL_QUESTIONS: Questions =
    Questions { authenticate: true, authorize: true, take_over: true, receive: false, on_publish: false };
const TAKE_OVER: Questions =
    Questions { authenticate: false, authorize: false, take_over: true, receive: false, on_publish: false };

/// What the authorities of a test were asked, in order.
type Minutes = Arc<Mutex<Vec<String>>>;

/// An authority that answers by a function of the question in words: `authenticate ID`, `publish TOPIC`,
/// `subscribe FILTER`, `take over ID from NUMBER`.
struct Clerk {
    name: &'static str,
    questions: Questions,
    minutes: Minutes,
    answer: Box<dyn Fn(&str) -> Ruling + Send + Sync>,
}

impl Clerk {
    fn asked(&self, question: String) -> Ruling {
        self.minutes.lock().unwrap().push(format!("{}: {question}", self.name));
        (self.answer)(&question)
    }
}

impl Authority for Clerk {
    fn name(&self) -> &str {
        self.name
    }

    fn questions(&self) -> Questions {
        self.questions
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Ruling {
        let method = request.auth_method.map(|m| format!(" by {m} {}", request.auth_step));
        self.asked(format!("authenticate {}{}", request.client_id, method.unwrap_or_default()))
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Ruling {
        let action = if request.is_will { "leave".to_owned() } else { format!("{:?}", request.action) };
        self.asked(format!("{} {}", action.to_lowercase(), request.topic))
    }

    fn take_over(&self, request: &TakeOverRequest<'_>) -> Ruling {
        assert_ne!(request.connection, request.present);
        self.asked(format!("take over {} from {}", request.client_id, request.present))
    }
}

/// A broker whose chain a test puts together.
struct Office {
    network: Network,
    minutes: Minutes,
}

impl Office {
    fn new() -> Office {
        Office { network: Network::new(), minutes: Minutes::default() }
    }

    /// One more authority at the end of the chain.
    fn with(
        self,
        name: &'static str,
        questions: Questions,
        answer: impl Fn(&str) -> Ruling + Send + Sync + 'static,
    ) -> Office {
        let minutes = Arc::clone(&self.minutes);
        let clerk = Arc::new(Clerk { name, questions, minutes, answer: Box::new(answer) });
        Office { network: self.network.and(|engine| engine.with_authority(clerk)), ..self }
    }

    /// One that answers every question.
    fn and(self, name: &'static str, answer: impl Fn(&str) -> Ruling + Send + Sync + 'static) -> Office {
        self.with(name, ALL_QUESTIONS, answer)
    }

    /// What was asked since the last call.
    fn read(&self) -> Vec<String> {
        std::mem::take(&mut self.minutes.lock().unwrap())
    }
}

fn unheard() -> Decision {
    panic!("the decision is of no use")
}

fn says(verdict: Verdict) -> impl Fn(&str) -> Ruling + Send + Sync + 'static {
    move |_| verdict.clone().into()
}

fn abstains(_: &str) -> Ruling {
    Ruling::Abstain
}

/// Decisions that a test makes, by the question.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Vec<(String, Decision)>>>);

impl Desk {
    fn put(&self, question: &str) -> Ruling {
        let (decision, deferred) = defer();
        self.0.lock().unwrap().push((question.to_owned(), decision));
        Ruling::Later(deferred)
    }

    /// The only decision that is open about a question.
    fn take(&self, question: &str) -> Decision {
        let mut open = self.0.lock().unwrap();
        let found: Vec<_> = (0..open.len()).filter(|at| open[*at].0 == question).collect();
        assert_eq!(found.len(), 1, "{question}: {open:?}");
        open.remove(found[0]).1
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

/// Sends CONNECT and waits for nothing.
fn knock<'n>(network: &'n Network, who: &Opts) -> Client<'n> {
    let mut client = Client::open(network, who.version);
    assert!(client.send_bytes(&who.encode()));
    client
}

fn expect_connack(client: &mut Client<'_>, session_present: bool) {
    match client.next() {
        Some(Received::Connack { present, reason: ReasonCode::Success, .. }) => {
            assert_eq!(present, session_present);
        }
        other => panic!("expected CONNACK: {other:?}"),
    }
}

#[test]
fn the_first_that_does_not_abstain_decides() {
    let office = Office::new()
        .and("a", |question| match question {
            "publish a" => Verdict::Deny.into(),
            _ => Ruling::Abstain,
        })
        .and("b", |question| match question {
            "subscribe a" => Verdict::DenyWith(ReasonCode::QuotaExceeded).into(),
            "publish b" => Ruling::Abstain,
            _ => Verdict::Allow.into(),
        })
        .and("c", says(Verdict::Deny));
    let mut client = opts("x", V5).on(&office.network);
    assert_eq!(office.read(), ["a: authenticate x", "b: authenticate x"]);
    assert_eq!(client.publish("a", "", Q1), ReasonCode::NotAuthorized);
    assert_eq!(office.read(), ["a: publish a"]);
    assert_eq!(client.publish("b", "", Q1), ReasonCode::NotAuthorized);
    assert_eq!(office.read(), ["a: publish b", "b: publish b", "c: publish b"]);
    assert_eq!(client.publish("c", "", Q1), ReasonCode::NoMatchingSubscribers);
    assert_eq!(office.read(), ["a: publish c", "b: publish c"]);
    let options = SubscriptionOptions::default();
    assert_eq!(client.subscribe_with("a", options, 0), ReasonCode::QuotaExceeded.as_u8());
    assert_eq!(office.read(), ["a: subscribe a", "b: subscribe a"]);
}

#[test]
fn where_all_abstain_the_default_holds() {
    for version in ALL {
        let office = Office::new().and("a", abstains).and("b", abstains);
        let mut client = opts("x", version).will(LastWill::new("w", "")).on(&office.network);
        client.subscribe("t", Q0);
        client.publish("t", "heard", Q1);
        assert_eq!(client.drain(), ["heard"]);
        // The client is also taken over.
        opts("x", version).on(&office.network);
        assert_eq!(client.line.finished(), Some(Cause::SessionTakenOver));
        assert_eq!(office.read().len(), 12);
    }
}

#[test]
fn a_default_of_deny_denies_what_no_authority_allows() {
    let deny = |office: Office| Office {
        network: office.network.and(|engine| engine.with_access_default(AccessDefault::Deny)),
        ..office
    };
    for version in ALL {
        let reason = ReasonCode::BadUserNameOrPassword;
        for office in [deny(Office::new()), deny(Office::new().and("a", abstains))] {
            assert_eq!(opts("x", version).refused_by(&office.network), (Some(reason), reason));
        }
        let office = deny(Office::new()).and("a", |question| match question {
            "authenticate x" | "publish open" | "subscribe open" => Verdict::Allow.into(),
            _ => Ruling::Abstain,
        });
        let will = opts("x", version).will(LastWill::new("w", ""));
        let reason = ReasonCode::NotAuthorized;
        assert_eq!(will.refused_by(&office.network), (Some(reason), reason));
        let mut client = opts("x", version).on(&office.network);
        let one = SubscriptionOptions::with_qos(Q1);
        let refused = if version.is_v5() { 0x87 } else { 0x80 };
        assert_eq!(client.subscribe_all(&[("closed", one), ("open", one)], 0), [refused, 1]);
        client.publish("closed", "", Q1);
        client.publish("open", "heard", Q1);
        assert_eq!(client.drain(), ["heard"]);
        assert_eq!(office.network.stats().messages_dropped_not_authorized, 1);
        // [MQTT-3.1.4-3]: taking over is denied by an authority alone.
        opts("x", version).on(&office.network);
        assert_eq!(client.line.finished(), Some(Cause::SessionTakenOver));
    }
}

/// What the host has no hook for it leaves to the others.
#[test]
fn the_hooks_of_the_host_are_one_authority() {
    let host = Arc::new(Toy::authorizes(|request| match request.topic {
        "denied" => Verdict::Deny,
        _ => Verdict::Allow,
    }));
    let office = Office::new().and("before", |question| match question {
        "publish before" => Verdict::Deny.into(),
        _ => Ruling::Abstain,
    });
    let office = Office { network: office.network.and(|engine| engine.with_host(host)), ..office }
        .and("behind", says(Verdict::Deny));
    let reason = ReasonCode::BadUserNameOrPassword;
    assert_eq!(opts("x", V5).refused_by(&office.network), (Some(reason), reason));
    assert_eq!(office.read(), ["before: authenticate x", "behind: authenticate x"]);
    let office = Office::new().and("before", |question| match question {
        "publish before" => Verdict::Deny.into(),
        _ => Ruling::Abstain,
    });
    let host = Arc::new(Toy::authorizes(|request| match request.topic {
        "denied" => Verdict::Deny,
        _ => Verdict::Allow,
    }));
    let office = Office { network: office.network.and(|engine| engine.with_host(host)), ..office };
    let mut client = opts("x", V5).on(&office.network);
    for (topic, reason) in [
        ("before", ReasonCode::NotAuthorized),
        ("denied", ReasonCode::NotAuthorized),
        ("t", ReasonCode::NoMatchingSubscribers),
    ] {
        assert_eq!(client.publish(topic, "", Q1), reason);
    }
}

/// An authority is asked only what it says that it answers.
#[test]
fn nobody_is_asked_what_it_does_not_answer() {
    let office = Office::new().with("a", TAKE_OVER, says(Verdict::Allow));
    let mut client = opts("x", V5).will(LastWill::new("w", "")).on(&office.network);
    client.subscribe("t", Q0);
    client.publish("t", "", Q1);
    assert!(office.read().is_empty());
    // No connection, no question: also a session that waits is only resumed.
    let waiting = opts("y", V5).persistent();
    waiting.on(&office.network).hang_up();
    let (_client, present) = waiting.join(&office.network);
    assert!(present && office.read().is_empty());
    opts("", V5).on(&office.network);
    assert!(office.read().is_empty());
}

#[test]
fn an_authority_that_panics_denies() {
    let host = Arc::new(Toy::wants(Wanted { log: Some(Level::Error), ..Wanted::default() }));
    let office = Office::new().and("a", abstains).and("access list", |question| match question {
        "authenticate x" => Ruling::Abstain,
        _ => panic!("for the test"),
    });
    let told = Arc::clone(&host);
    let office = Office { network: office.network.and(|engine| engine.with_host(host)), ..office }
        .and("c", says(Verdict::Allow));
    let reason = ReasonCode::BadUserNameOrPassword;
    assert_eq!(opts("y", V5).refused_by(&office.network), (Some(reason), reason));
    assert_eq!(told.heard(), ["error: the access list authenticate has panicked, which denies"]);
    let mut client = opts("x", V5).on(&office.network);
    assert_eq!(client.publish("t", "", Q1), ReasonCode::NotAuthorized);
    let reason = ReasonCode::NotAuthorized;
    assert_eq!(opts("x", V5).refused_by(&office.network), (Some(reason), reason));
    assert_eq!(client.line.finished(), None);
    let asked = office.read();
    assert_eq!(asked.iter().filter(|line| line.starts_with("c:")).count(), 2, "{asked:?}");
    assert_eq!(office.network.stats().hooks_failed, 3);
}

#[test]
fn an_answer_that_comes_later_asks_nobody_again() {
    type Answers = fn(Decision) -> Option<Decision>;
    // By its verdict, by abstaining, by being dropped, and not at all before the deadline.
    let cases: [(Answers, ReasonCode, &[&str]); 4] = [
        (
            |decision| (!decision.resolve(Verdict::Allow)).then(unheard),
            ReasonCode::NoMatchingSubscribers,
            &[],
        ),
        (|decision| (!abstain(decision)).then(unheard), ReasonCode::QuotaExceeded, &["c: publish t"]),
        (|_| None, ReasonCode::NotAuthorized, &[]),
        (Some, ReasonCode::NotAuthorized, &[]),
    ];
    for (answer, reason, then) in cases {
        let desk = Desk::default();
        let later = desk.clone();
        let office = Office::new()
            .and("a", abstains)
            .and("b", move |question| match question {
                "publish t" => later.put(question),
                _ => Ruling::Abstain,
            })
            .and("c", |question| match question {
                "publish t" => Verdict::DenyWith(ReasonCode::QuotaExceeded).into(),
                _ => Ruling::Abstain,
            });
        let network = &office.network;
        let mut client = opts("x", V5).on(network);
        office.read();
        assert!(client.send_publish("t", "", Q1, 7));
        assert!(client.send_publish("behind", "", Q1, 8));
        assert_eq!(office.read(), ["a: publish t", "b: publish t"]);
        client.expect_nothing();
        let undecided = answer(desk.take("publish t"));
        if undecided.is_some() {
            network.advance(6); // hooks.deadline is 5 s.
        }
        let expect = |client: &mut Client<'_>, number, expected| match client.next() {
            Some(Received::Ack { id, reason, .. }) => assert_eq!((id, reason), (number, expected)),
            other => panic!("expected PUBACK: {other:?}"),
        };
        expect(&mut client, 7, reason);
        expect(&mut client, 8, ReasonCode::NoMatchingSubscribers);
        client.expect_nothing();
        let behind = ["a: publish behind", "b: publish behind", "c: publish behind"];
        assert_eq!(office.read(), [then, &behind[..]].concat());
        assert_eq!(network.stats().publish_received, 2);
        client.hang_up();
        assert_eq!(network.engine.timers_running(), 0);
    }
}

/// One after the other may answer later, to one question and to several of one packet.
#[test]
fn several_authorities_answer_later() {
    let (first, second) = (Desk::default(), Desk::default());
    let (one, other) = (first.clone(), second.clone());
    let office = Office::new()
        .and(
            "a",
            move |question| if question.starts_with("take") { Ruling::Abstain } else { one.put(question) },
        )
        .and("b", move |question| other.put(question));
    let network = &office.network;
    let mut client = knock(network, &opts("x", V5).will(LastWill::new("w", "")));
    assert!(abstain(first.take("authenticate x")));
    client.expect_nothing();
    assert!(second.take("authenticate x").resolve(Verdict::Allow));
    client.expect_nothing();
    assert!(first.take("leave w").resolve(Verdict::Allow));
    expect_connack(&mut client, false);
    assert_eq!(office.read(), ["a: authenticate x", "b: authenticate x", "a: leave w"]);
    assert!(first.is_empty() && second.is_empty());
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

/// Answers belong to their filter, whatever is asked before and in whatever order they come.
#[test]
fn the_answers_to_several_filters_are_not_mixed_up() {
    for leading in [0, 1, 2] {
        let (first, second) = (Desk::default(), Desk::default());
        let (one, other) = (first.clone(), second.clone());
        let mut office = Office::new();
        for _ in 0..leading {
            office = office.and("leading", abstains);
        }
        let office = office
            .and("a", move |question| match question {
                "subscribe b" | "subscribe d" => one.put(question),
                "subscribe a" => Verdict::DenyWith(ReasonCode::QuotaExceeded).into(),
                _ => Ruling::Abstain,
            })
            .and("b", move |question| match question {
                "subscribe c" | "subscribe d" => other.put(question),
                _ => Verdict::Allow.into(),
            });
        let network = &office.network;
        let mut client = opts("x", V5).on(network);
        office.read();
        let with = SubscriptionOptions::with_qos(Q1);
        let sent = client.send_subscribe(
            &[("a", with), ("$queue/", with), ("b", with), ("c", with), ("d", with), ("e", with)],
            0,
        );
        // All are asked at once.
        let asked: Vec<_> = office.read().into_iter().filter(|line| !line.starts_with("leading")).collect();
        let all = [
            "a: subscribe a",
            "a: subscribe b",
            "a: subscribe c",
            "b: subscribe c",
            "a: subscribe d",
            "a: subscribe e",
            "b: subscribe e",
        ];
        assert_eq!(asked, all);
        assert!(abstain(first.take("subscribe d")));
        assert!(second.take("subscribe c").resolve(Verdict::DenyWith(ReasonCode::QuotaExceeded)));
        client.expect_nothing();
        assert!(first.take("subscribe b").resolve(Verdict::Allow));
        client.expect_nothing();
        assert_eq!(office.read(), ["b: subscribe d"]);
        assert!(second.take("subscribe d").resolve(Verdict::Deny));
        let reasons = vec![0x97, 0x8F, 1, 0x97, 0x87, 1];
        assert_eq!(client.next(), Some(Received::Suback { id: sent, reasons }));
        assert!(office.read().is_empty());
        assert_eq!(network.stats().subscriptions, 2);
        client.hang_up();
        assert_eq!(network.engine.timers_running(), 0);
    }
}

/// Many filters, each answered later by its authority: what is kept is found again without a search through all.
#[test]
fn a_packet_of_many_filters_is_answered_later() {
    const FILTERS: usize = 20_000;
    let desk = Desk::default();
    let later = desk.clone();
    let network = Network::with(&[("mqtt.max_subscriptions_per_client", "20000")]);
    let office = Office { network, ..Office::new() };
    let office = office.and("a", abstains).and("b", move |question| match question {
        "authenticate x" => Ruling::Abstain,
        _ => later.put(question),
    });
    let network = &office.network;
    let mut client = opts("x", V5).on(network);
    let filters: Vec<_> = (0..FILTERS).map(|number| number.to_string()).collect();
    let filters: Vec<_> = filters.iter().map(|f| (f.as_str(), SubscriptionOptions::with_qos(Q1))).collect();
    let sent = client.send_subscribe(&filters, 0);
    let decisions = std::mem::take(&mut *desk.0.lock().unwrap());
    assert_eq!(decisions.len(), FILTERS);
    for (question, decision) in decisions {
        let number: usize = question.strip_prefix("subscribe ").unwrap().parse().unwrap();
        assert!(if number.is_multiple_of(3) { abstain(decision) } else { decision.resolve(Verdict::Deny) });
    }
    let expected =
        (0..FILTERS).map(|number: usize| if number.is_multiple_of(3) { 1 } else { 0x87 }).collect();
    assert_eq!(client.next(), Some(Received::Suback { id: sent, reasons: expected }));
    assert_eq!(office.read().len(), 2 + 2 * FILTERS);
}

fn auth(client: &mut Client<'_>, method: &str, reason: ReasonCode) {
    let mut properties = Vec::new();
    PropertyWriter::new(&mut properties).authentication_method(method).authentication_data(b"data");
    let properties = Properties::from_encoded(&properties).unwrap();
    client.send(&Packet::Auth(Auth { reason, properties }));
}

fn by(method: &str) -> Opts {
    opts("x", V5).with(|p| _ = p.authentication_method(method).authentication_data(b"data"))
}

/// The authority that has asked the client for more hears what it says; the others do not.
#[test]
fn an_exchange_stays_with_the_authority_that_began_it() {
    let office = Office::new()
        .and("a", |question| match question {
            "authenticate x by alpha 0" => Verdict::Continue(b"more".to_vec()).into(),
            "authenticate x by alpha 1" => Verdict::AllowWith(Vec::new()).into(),
            _ => Ruling::Abstain,
        })
        .and("b", |question| match question {
            "authenticate x by beta 0" | "authenticate x by beta 1" => {
                Verdict::Continue(b"more".to_vec()).into()
            }
            "authenticate x by beta 2" => Verdict::AllowWith(Vec::new()).into(),
            "authenticate x by gamma 0" => Verdict::Continue(b"more".to_vec()).into(),
            _ => Ruling::Abstain,
        })
        .and("c", says(Verdict::AllowWith(Vec::new())));
    let network = &office.network;
    let more = |client: &mut Client<'_>| {
        let next = client.next();
        assert!(matches!(next, Some(Received::Auth { reason: ReasonCode::ContinueAuthentication, .. })));
    };
    let mut client = knock(network, &by("beta"));
    more(&mut client);
    auth(&mut client, "beta", ReasonCode::ContinueAuthentication);
    more(&mut client);
    auth(&mut client, "beta", ReasonCode::ContinueAuthentication);
    expect_connack(&mut client, false);
    let [a, b] = ["a: authenticate x by beta 0", "b: authenticate x by beta 0"];
    assert_eq!(office.read(), [a, b, "b: authenticate x by beta 1", "b: authenticate x by beta 2"]);
    // The next exchange begins with the first.
    auth(&mut client, "beta", ReasonCode::ReAuthenticate);
    more(&mut client);
    assert_eq!(office.read(), [a, b]);
    client.hang_up();
    let mut client = knock(network, &by("alpha"));
    more(&mut client);
    auth(&mut client, "alpha", ReasonCode::ContinueAuthentication);
    expect_connack(&mut client, false);
    assert_eq!(office.read(), ["a: authenticate x by alpha 0", "a: authenticate x by alpha 1"]);
    client.hang_up();
    // If it abstains in the middle, nobody takes its place.
    let mut client = knock(network, &by("gamma"));
    more(&mut client);
    auth(&mut client, "gamma", ReasonCode::ContinueAuthentication);
    let reason = ReasonCode::BadAuthenticationMethod;
    assert_eq!(client.refusal(), (Some(reason), reason));
}

/// [MQTT-4.12.0-1]: whatever the default.
#[test]
fn a_method_that_no_authority_knows_is_refused() {
    for default in [AccessDefault::Allow, AccessDefault::Deny] {
        let office = Office::new().and("a", abstains).and("b", abstains);
        let network = office.network.and(|engine| engine.with_access_default(default));
        let reason = ReasonCode::BadAuthenticationMethod;
        assert_eq!(by("word").refused_by(&network), (Some(reason), reason));
    }
}

/// The number of a client's connection.
fn number(client: &Client<'_>) -> u64 {
    let session = client.connection.session().unwrap();
    session.control.lock().connected.as_deref().unwrap().number
}

fn expect_taken_over(mut client: Client<'_>) {
    if client.version.is_v5() {
        assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::SessionTakenOver)));
    }
    client.expect_nothing();
    assert_eq!(client.line.finished(), Some(Cause::SessionTakenOver));
    client.hang_up();
}

#[test]
fn taking_over_is_allowed() {
    for version in ALL {
        let office = Office::new().with("a", TAKE_OVER, says(Verdict::Allow));
        let old = opts("x", version).on(&office.network);
        let asked = format!("a: take over x from {}", number(&old));
        let new = opts("x", version).on(&office.network);
        assert_eq!(office.read(), [asked]);
        expect_taken_over(old);
        assert_eq!(office.network.stats().takeovers, 1);
        new.hang_up();
        assert_eq!((office.network.stats().sessions, office.network.engine.timers_running()), (0, 0));
    }
}

/// Who may not take over changes nothing for who is there.
#[test]
fn taking_over_is_denied() {
    let cases = [
        (Verdict::Deny, ReasonCode::NotAuthorized),
        (Verdict::DenyWith(ReasonCode::ServerBusy), ReasonCode::ServerBusy),
        (Verdict::DenyWith(ReasonCode::TopicAliasInvalid), ReasonCode::NotAuthorized),
        (Verdict::Continue(Vec::new()), ReasonCode::NotAuthorized),
    ];
    for (verdict, reason) in cases {
        let office = Office::new().with("a", TAKE_OVER, abstains).with("b", TAKE_OVER, says(verdict));
        let network = &office.network;
        for version in ALL {
            let who = opts("x", version).will(LastWill::new("will", "")).persistent();
            let mut old = who.on(network);
            old.subscribe("t", Q1);
            let told = match (version, reason) {
                (V5, _) | (_, ReasonCode::NotAuthorized) => reason,
                _ => ReasonCode::ServerUnavailable,
            };
            let newcomer = opts("x", version);
            assert_eq!(newcomer.refused_by(network), (Some(told), reason));
            network.publish("t", "still there", 1, false);
            assert_eq!(old.drain(), ["still there"]);
            old.disconnect();
            let (client, present) = opts("x", V5).resume().join(network);
            assert!(present);
            client.hang_up();
        }
        let stats = network.stats();
        assert_eq!((stats.takeovers, stats.wills_published, stats.connections_refused), (0, 0, 3));
    }
}

/// A broker whose authority answers to take-overs later.
fn later() -> (Office, Desk) {
    let desk = Desk::default();
    let put = desk.clone();
    (Office::new().with("a", TAKE_OVER, move |question| put.put(question)), desk)
}

fn question(from: &Client<'_>) -> String {
    format!("take over x from {}", number(from))
}

#[test]
fn the_old_connection_goes_on_until_the_answer_comes() {
    for version in ALL {
        for clean in [true, false] {
            let (office, desk) = later();
            let network = &office.network;
            let mut old = opts("x", version).persistent().on(network);
            old.subscribe("t", Q1);
            let asked = question(&old);
            let who = if clean { opts("x", version) } else { opts("x", version).persistent() };
            let mut new = knock(network, &who);
            new.expect_nothing();
            // What comes behind CONNECT waits with it.
            assert!(new.send_publish("t", "from the new one", Q0, 0));
            old.publish("t", "from the old one", Q1);
            network.publish("t", "from the host", 1, false);
            assert_eq!(old.drain(), ["from the old one", "from the host"]);
            assert_eq!((network.stats().takeovers, network.stats().sessions), (0, 1));
            assert!(desk.take(&asked).resolve(Verdict::Allow));
            old.expect_nothing();
            expect_connack(&mut new, !clean && version != V31);
            let heard: &[&str] = if clean { &[] } else { &["from the new one"] };
            assert_eq!(new.drain(), heard);
            assert_eq!(office.read(), [format!("a: {asked}")]);
            // The newcomer's task has taken it over.
            expect_taken_over(old);
            new.hang_up();
            assert_eq!(network.stats().takeovers, 1);
        }
    }
}

#[test]
fn taking_over_is_denied_later_and_by_the_deadline() {
    for late in [false, true] {
        let (office, desk) = later();
        let network = office.network;
        let mut old = opts("x", V5).on(&network);
        let mut new = knock(&network, &opts("x", V5));
        let decision = desk.take(&question(&old));
        match late {
            false => assert!(decision.resolve(Verdict::DenyWith(ReasonCode::ServerBusy))),
            true => {
                network.advance_millis(4999); // hooks.deadline is 5 s.
                new.expect_nothing();
                network.advance(1);
                assert!(!decision.resolve(Verdict::Allow));
            }
        }
        let reason = if late { ReasonCode::NotAuthorized } else { ReasonCode::ServerBusy };
        assert_eq!(new.refusal(), (Some(reason), reason));
        new.hang_up();
        assert_eq!(old.publish("t", "", Q1), ReasonCode::NoMatchingSubscribers);
        assert_eq!(old.line.finished(), None);
        old.hang_up();
        assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
    }
}

/// A question about a connection that is gone has no answer: there is nothing to take over.
#[test]
fn the_old_connection_ends_before_the_answer() {
    for verdict in [Verdict::Allow, Verdict::Deny] {
        for keeps in [true, false] {
            let (office, desk) = later();
            let network = &office.network;
            let who = if keeps { opts("x", V5).persistent() } else { opts("x", V5) };
            let old = who.on(network);
            let decision = desk.take(&{
                let asked = question(&old);
                let mut new = knock(network, &who);
                new.expect_nothing();
                new.hang_up();
                asked
            });
            // This newcomer has left: nobody wants its answer.
            assert!(!decision.resolve(verdict.clone()));
            let mut new = knock(network, &who);
            let decision = desk.take(&question(&old));
            old.hang_up();
            assert_eq!(network.stats().sessions, u64::from(keeps));
            new.expect_nothing();
            assert!(decision.resolve(verdict.clone()));
            expect_connack(&mut new, keeps);
            assert_eq!((network.stats().takeovers, network.stats().clients_connected), (0, 1));
            new.hang_up();
        }
    }
}

#[test]
fn the_newcomer_hangs_up_before_the_answer() {
    let (office, desk) = later();
    let network = &office.network;
    let mut old = opts("x", V5).on(network);
    let new = knock(network, &opts("x", V5));
    let decision = desk.take(&question(&old));
    new.hang_up();
    assert!(!decision.resolve(Verdict::Allow));
    old.expect_nothing();
    assert_eq!(old.publish("t", "", Q1), ReasonCode::NoMatchingSubscribers);
    old.hang_up();
    assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
}

/// An answer for one connection is none for another that has come meanwhile.
#[test]
fn two_newcomers_wait() {
    for (second, third) in [(Verdict::Allow, Verdict::Deny), (Verdict::Deny, Verdict::Allow)] {
        let (office, desk) = later();
        let network = &office.network;
        let old = opts("x", V5).on(network);
        let asked = question(&old);
        let mut one = knock(network, &opts("x", V5));
        let first = desk.take(&asked);
        let mut other = knock(network, &opts("x", V5));
        assert!(first.resolve(Verdict::Allow));
        expect_connack(&mut one, false);
        expect_taken_over(old);
        other.expect_nothing();
        let again = question(&one);
        assert!(desk.take(&asked).resolve(second.clone()));
        if second == Verdict::Deny {
            // It was not to take over from the first.
            other.poll();
        }
        other.expect_nothing();
        assert_eq!(one.publish("t", "", Q1), ReasonCode::NoMatchingSubscribers);
        assert!(desk.take(&again).resolve(third.clone()));
        if third == Verdict::Allow {
            expect_connack(&mut other, false);
            expect_taken_over(one);
            other.hang_up();
        } else {
            let reason = ReasonCode::NotAuthorized;
            assert_eq!(other.refusal(), (Some(reason), reason));
            assert_eq!(one.line.finished(), None);
            one.hang_up();
        }
        assert_eq!(office.read().len(), 3);
        assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
    }
}

/// A third that need not wait comes between.
#[test]
fn a_third_takes_over_while_one_waits() {
    let desk = Desk::default();
    let put = desk.clone();
    let calls = Mutex::new(0);
    let office = Office::new().with("a", TAKE_OVER, move |question| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        // The second that comes is let through.
        if *calls == 2 { Verdict::Allow.into() } else { put.put(question) }
    });
    let network = &office.network;
    let old = opts("x", V5).on(network);
    let asked = question(&old);
    let mut waiting = knock(network, &opts("x", V311));
    let third = opts("x", V5).on(network);
    expect_taken_over(old);
    assert!(desk.take(&asked).resolve(Verdict::Allow));
    waiting.expect_nothing();
    assert!(desk.take(&question(&third)).resolve(Verdict::Allow));
    expect_connack(&mut waiting, false);
    expect_taken_over(third);
    assert_eq!(network.stats().takeovers, 2);
}

/// Nothing is locked while an authority is asked: what it allows to end may be another connection by then.
#[test]
fn another_takes_over_while_the_authority_is_asked() {
    let engine: Arc<Mutex<Weak<Engine>>> = Arc::default();
    let third: Arc<Mutex<Vec<Arc<Line>>>> = Arc::default();
    let office = Office::new().with("a", TAKE_OVER, {
        let (engine, third) = (Arc::clone(&engine), Arc::clone(&third));
        move |_| {
            let engine = engine.lock().unwrap().upgrade();
            if let Some(engine) = engine.filter(|_| third.lock().unwrap().is_empty()) {
                let line = Arc::new(Line::default());
                third.lock().unwrap().push(Arc::clone(&line));
                let mut turn = engine.turn(Time::ZERO);
                let mut connection = Connection::new(&engine, &mut turn, line, None);
                connection.receive(&engine, &mut turn, &opts("x", V5).encode(), None);
            }
            Verdict::Allow.into()
        }
    });
    let network = &office.network;
    let old = opts("x", V5).on(network);
    let first = format!("a: {}", question(&old));
    *engine.lock().unwrap() = Arc::downgrade(&network.engine);
    let new = opts("x", V5).on(network);
    expect_taken_over(old);
    assert_eq!(third.lock().unwrap()[0].finished(), Some(Cause::SessionTakenOver));
    let asked = office.read();
    // By the newcomer, by the third, and by the newcomer again.
    assert_eq!((asked.len(), &asked[0], &asked[1]), (3, &first, &first));
    assert_ne!(asked[2], first);
    assert_eq!((network.stats().takeovers, network.stats().clients_connected), (2, 1));
    new.hang_up();
}

/// Who authenticates by a method waits for the answer, too, and is not asked for anything again.
#[test]
fn a_client_that_has_proved_who_it_is_takes_over_later() {
    let desk = Desk::default();
    let put = desk.clone();
    let office = Office::new().and("a", move |question| match question {
        "authenticate x by word 0" => Verdict::Continue(b"more".to_vec()).into(),
        "authenticate x by word 1" | "authenticate x by once 0" => Verdict::AllowWith(b"!".to_vec()).into(),
        "leave w" => put.put(question),
        _ if question.starts_with("take over") => put.put(question),
        _ => Ruling::Abstain,
    });
    let network = &office.network;
    for method in ["word", "once"] {
        let old = opts("x", V5).on(network);
        office.read();
        let mut new = knock(network, &by(method).will(LastWill::new("w", "")));
        let mut expected = vec![format!("a: authenticate x by {method} 0")];
        if method == "word" {
            assert!(matches!(new.next(), Some(Received::Auth { .. })));
            auth(&mut new, method, ReasonCode::ContinueAuthentication);
            expected.push("a: authenticate x by word 1".to_owned());
        }
        assert!(desk.take("leave w").resolve(Verdict::Allow));
        new.expect_nothing();
        assert_eq!(old.line.finished(), None);
        let asked = question(&old);
        assert!(desk.take(&asked).resolve(Verdict::Allow));
        expect_connack(&mut new, false);
        expected.extend(["a: leave w".to_owned(), format!("a: {asked}")]);
        assert_eq!(office.read(), expected);
        expect_taken_over(old);
        // It may authenticate again.
        auth(&mut new, method, ReasonCode::ReAuthenticate);
        assert!(matches!(new.next(), Some(Received::Auth { .. })));
        new.hang_up();
        assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
    }
}

/// A newcomer that waits when the broker stops is refused when it is answered.
#[test]
fn the_broker_stops_while_a_newcomer_waits() {
    let (office, desk) = later();
    let network = &office.network;
    let old = opts("x", V5).persistent().on(network);
    let mut new = knock(network, &opts("x", V5));
    let decision = desk.take(&question(&old));
    network.engine.stop(&mut network.turn());
    assert_eq!(old.line.finished(), Some(Cause::ServerShuttingDown));
    assert!(decision.resolve(Verdict::Allow));
    let reason = ReasonCode::ServerUnavailable;
    assert_eq!(new.refusal(), (Some(reason), reason));
}

#[test]
fn a_broker_without_authorities_takes_over_unasked() {
    for version in ALL {
        let network = Network::new();
        let old = opts("x", version).on(&network);
        opts("x", version).on(&network);
        assert_eq!(old.line.finished(), Some(Cause::SessionTakenOver));
    }
}
