//! Random subscriptions against a plain list, through the router and through a cache, and under threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::codec::qos::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::topics::cache::MatchCache;
use crate::topics::matches::{Match, Matches, Readiness};
use crate::topics::router::Router;
use crate::topics::subscriber_set::Identity;

type Client = Arc<u32>;

impl Identity for Client {
    fn identity(&self) -> usize {
        Arc::as_ptr(self).addr()
    }
}

/// Maps whole filter and subscriber to QoS and identifier.
type Model = BTreeMap<(String, u32), (QoS, u32)>;

#[derive(Clone, Debug)]
enum Step {
    Subscribe { filter: String, client: usize, qos: QoS, identifier: u32 },
    Unsubscribe { filter: String, client: usize },
    UnsubscribeSome(usize),
    Find(String),
    ForgetStale,
}

const CLIENTS: usize = 6;

fn level() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "",
            "a",
            "b",
            "c",
            "$SYS",
            "$x",
            "a level of fif.",
            "a level of fif..",
            "a level of more than sixteen bytes",
            "another of more than sixteen bytes",
        ][..],
    )
}

fn topic() -> impl Strategy<Value = String> {
    vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |text| !text.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    let plain = (vec(level, 0..4), any::<bool>()).prop_map(|(mut levels, below)| {
        if below || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    });
    let prefix = select(&["", "", "", "", "$share/g/", "$share/h/", "$queue/"][..]);
    (prefix, prop_oneof![plain, topic()])
        .prop_map(|(prefix, filter)| format!("{prefix}{filter}"))
        .prop_filter("a filter has a text", |text| TopicFilter::parse(text).is_ok())
}

fn step() -> impl Strategy<Value = Step> {
    let qos = select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..]);
    prop_oneof![
        4 => (filter(), 0..CLIENTS, qos, 0..3_u32)
            .prop_map(|(filter, client, qos, identifier)| Step::Subscribe { filter, client, qos, identifier }),
        1 => (filter(), 0..CLIENTS).prop_map(|(filter, client)| Step::Unsubscribe { filter, client }),
        2 => any::<usize>().prop_map(Step::UnsubscribeSome),
        4 => topic().prop_map(Step::Find),
        1 => Just(Step::ForgetStale),
    ]
}

fn parse(filter: &str) -> TopicFilter<'_> {
    TopicFilter::parse(filter).unwrap()
}

fn name(topic: &str) -> TopicName<'_> {
    TopicName::parse(topic).unwrap()
}

fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

type Direct = Vec<(u32, QoS, u32)>;

fn sorted_direct(matches: &Matches<Client>) -> Direct {
    let mut direct: Direct =
        matches.direct.iter().map(|entry| (*entry.subscriber, entry.options.qos, entry.identifier)).collect();
    direct.sort_unstable();
    direct
}

/// Compares the matches of the router with those of the model.
fn check(model: &Model, topic: &str, matches: &Matches<Client>) {
    let hears = |filter: &str| parse(filter).matches(&name(topic));
    let (shared, plain): (Vec<_>, Vec<_>) = model
        .iter()
        .filter(|((filter, _), _)| hears(filter))
        .partition(|((filter, _), _)| parse(filter).group().is_some());

    let mut direct: Direct =
        plain.into_iter().map(|((_, client), (qos, identifier))| (*client, *qos, *identifier)).collect();
    direct.sort_unstable();
    assert_eq!(sorted_direct(matches), direct, "{topic}");
    let mut clients: Vec<u32> = matches.direct.iter().map(|entry| *entry.subscriber).collect();
    clients.dedup();
    let runs = clients.len();
    clients.sort_unstable();
    clients.dedup();
    assert_eq!(clients.len(), runs, "the matches of a subscriber are not adjacent");

    let mut groups: BTreeMap<&str, Direct> = BTreeMap::new();
    for ((filter, client), (qos, identifier)) in shared {
        groups.entry(filter).or_default().push((*client, *qos, *identifier));
    }
    let mut found: BTreeMap<&str, Direct> = BTreeMap::new();
    for shared in &matches.shared {
        // One pick per member picks each member once.
        let count = shared.group.len();
        let picks = (0..count).map(|_| shared.group.pick(|_| Readiness::Ready).unwrap());
        let mut picks: Direct =
            picks.map(|entry| (*entry.subscriber, entry.options.qos, entry.identifier)).collect();
        picks.sort_unstable();
        assert!(found.insert(shared.group.filter(), picks).is_none(), "a group matched twice");
    }
    assert_eq!(found, groups, "{topic}");
}

proptest! {
    #[test]
    fn router_and_cache_agree_with_a_list(steps in vec(step(), 0..150), capacity in select(&[0_usize, 4, 64][..])) {
        let clients: Vec<Client> = (0..CLIENTS as u32).map(Arc::new).collect();
        let router = Router::new();
        let mut cache = MatchCache::new(capacity);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Subscribe { filter, client, qos, identifier } => {
                    let client = &clients[client];
                    let done = router.subscribe(parse(&filter), client, options(qos), identifier);
                    assert_eq!(&*done.filter, &*filter);
                    let old = model.insert((filter, **client), (qos, identifier));
                    assert_eq!(done.replaced, old.is_some());
                }
                Step::Unsubscribe { filter, client } => {
                    let client = &clients[client];
                    let was_there = router.unsubscribe(parse(&filter), client);
                    assert_eq!(was_there, model.remove(&(filter, **client)).is_some());
                }
                Step::UnsubscribeSome(at) => {
                    let chosen = model.keys().nth(at % model.len().max(1)).cloned();
                    if let Some((filter, client)) = chosen {
                        assert!(router.unsubscribe(parse(&filter), &clients[client as usize]));
                        model.remove(&(filter, client));
                    }
                }
                Step::Find(topic) => {
                    let before = router.stamp(name(&topic));
                    check(&model, &topic, &router.matches(name(&topic)));
                    check(&model, &topic, &cache.find(&router, name(&topic)));
                    check(&model, &topic, &cache.find(&router, name(&topic)));
                    assert_eq!(router.stamp(name(&topic)), before);
                }
                Step::ForgetStale => cache.forget_stale(&router),
            }
            assert_eq!(router.len(), model.len());
            let dollar_sys = model.keys().any(|(filter, _)| parse(filter).filter().split('/').next() == Some("$SYS"));
            assert_eq!(router.has_dollar_sys(), dollar_sys);
        }

        let mut visited = Model::new();
        router.for_each(|filter, client, options, identifier| {
            let old = visited.insert((filter.to_owned(), **client), (options.qos, identifier));
            assert!(old.is_none(), "visited twice");
        });
        assert_eq!(visited, model);

        for (filter, client) in model.keys() {
            assert!(router.unsubscribe(parse(filter), &clients[*client as usize]));
        }
        assert!(router.is_empty() && router.is_bare());
        cache.forget_stale(&router);
        for client in &clients {
            assert_eq!(Arc::strong_count(client), 1, "something still holds a subscriber");
        }
    }
}

/// A subscription is replaced again and again with a growing identifier. A reader that learns the identifier after
/// `subscribe` returned never finds an older one.
#[test]
fn a_change_that_returned_is_seen_by_every_thread() {
    for (filter, topic) in [("a/b", "a/b"), ("a/+", "a/b"), ("+/b", "a/b"), ("#", "a/b")] {
        let router = Router::new();
        let returned = AtomicU32::new(0);
        let is_over = AtomicBool::new(false);
        let writer: Client = Arc::new(0);
        router.subscribe(parse(filter), &writer, options(QoS::AtMostOnce), 0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut cache = MatchCache::new(16);
                    let mut rounds = 0;
                    while !is_over.load(Ordering::Relaxed) || rounds == 0 {
                        let known = returned.load(Ordering::Acquire);
                        let matches = cache.find(&router, name(topic));
                        let [Match { identifier, .. }] = matches.direct[..] else { panic!("one match") };
                        assert!(identifier >= known, "{filter}: {identifier} < {known}");
                        rounds += 1;
                    }
                });
            }
            for identifier in 1..=20_000 {
                router.subscribe(parse(filter), &writer, options(QoS::AtMostOnce), identifier);
                returned.store(identifier, Ordering::Release);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

/// Threads subscribe and unsubscribe on the same filters; each always finds its own state.
#[test]
fn threads_that_come_and_go_find_themselves_and_leave_nothing() {
    const FILTERS: [&str; 6] = ["a/b", "a/+", "+/b", "a/b/#", "$share/g/a/b", "$share/g/a/#"];
    let router: Router<Client> = Router::new();
    thread::scope(|scope| {
        for number in 0..4 {
            let router = &router;
            scope.spawn(move || {
                let me: Client = Arc::new(number);
                let mut cache = MatchCache::new(16);
                for round in 0..3_000 {
                    let filter = parse(FILTERS[(round * 7 + number as usize) % FILTERS.len()]);
                    assert!(!router.subscribe(filter, &me, options(QoS::AtMostOnce), 0).replaced);
                    assert!(is_heard_by(&cache.find(router, name("a/b")), filter, &me));
                    assert!(router.unsubscribe(filter, &me));
                    assert!(!is_heard_by(&cache.find(router, name("a/b")), filter, &me));
                }
                cache.forget_stale(router);
            });
        }
    });
    assert!(router.is_empty() && router.is_bare());
    assert!(MatchCache::new(16).find(&router, name("a/b")).is_empty());
}

fn is_heard_by(matches: &Matches<Client>, filter: TopicFilter<'_>, client: &Client) -> bool {
    if filter.group().is_none() {
        return matches.direct.iter().any(|entry| entry.identity() == client.identity());
    }
    let mut group = matches.shared.iter().filter(|shared| **shared.group.filter() == *filter.as_str());
    group.any(|shared| shared.group.members().iter().any(|entry| entry.identity() == client.identity()))
}
