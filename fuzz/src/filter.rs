//! Topic filters and the router, against rules written down a second time.

use std::collections::BTreeMap;
use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::{TopicFilter, TopicName};
use midge::topics::{Identity, MatchCache, Matches, Readiness, Router};

use super::input::Input;

#[derive(Clone, Debug)]
struct Client(Arc<u8>);

impl Identity for Client {
    fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Whole filter and client, to QoS and identifier.
type Model = BTreeMap<(String, u8), (QoS, u32)>;
type Found = Vec<(u8, QoS, u32)>;

const PIECES: [&str; 16] = [
    "a",
    "b",
    "/",
    "/",
    "/",
    "+",
    "#",
    "$",
    "$SYS",
    "$share/",
    "$queue/",
    "g",
    "",
    "\u{0}",
    "longer than a level ought to be",
    "é",
];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Target `filter`: texts are filters and names by the rules, filters match by the rules, and the router and its cache
/// find what a list finds.
pub fn filter(data: &[u8]) {
    let mut input = Input::new(data);
    let clients: Vec<Client> = (0..4).map(|number| Client(Arc::new(number))).collect();
    let router = Router::new();
    let mut cache = MatchCache::new(input.pick(&[0, 2, 64]));
    let mut model = Model::new();
    while !input.is_empty() {
        match input.below(5) {
            0 | 1 => {
                let (filter, client, qos) = (text(&mut input), input.pick(&[0, 1, 2, 3]), input.pick(&QOS));
                assert_eq!(TopicFilter::parse(&filter).is_ok(), is_filter(&filter), "{filter:?}");
                if let Ok(parsed) = TopicFilter::parse(&filter) {
                    let identifier = input.below(3) as u32;
                    let options = SubscriptionOptions::with_qos(qos);
                    let done = router.subscribe(parsed, &clients[client], options, identifier);
                    let old = model.insert((filter, client as u8), (qos, identifier));
                    assert_eq!(done.replaced, old.is_some());
                }
            }
            2 => {
                let at = usize::from(input.byte()) % model.len().max(1);
                if let Some((filter, client)) = model.keys().nth(at).cloned() {
                    let parsed = TopicFilter::parse(&filter).unwrap();
                    assert!(router.unsubscribe(parsed, &clients[usize::from(client)]));
                    assert!(!router.unsubscribe(parsed, &clients[usize::from(client)]));
                    model.remove(&(filter, client));
                }
            }
            3 => {
                let topic = text(&mut input);
                assert_eq!(TopicName::parse(&topic).is_ok(), is_name(&topic), "{topic:?}");
                if let Ok(name) = TopicName::parse(&topic) {
                    check(&model, name, &router.matches(name));
                    check(&model, name, &cache.find(&router, name));
                }
            }
            _ => cache.forget_stale(&router),
        }
        assert_eq!(router.len(), model.len());
    }
    for (filter, client) in model.keys() {
        assert!(router.unsubscribe(TopicFilter::parse(filter).unwrap(), &clients[usize::from(*client)]));
    }
    assert!(router.is_empty() && !router.has_dollar_sys());
    cache.forget_stale(&router);
    assert!(clients.iter().all(|client| Arc::strong_count(&client.0) == 1), "a subscriber is still held");
}

fn text(input: &mut Input<'_>) -> String {
    (0..input.below(8)).map(|_| input.pick(&PIECES)).collect()
}

fn check(model: &Model, name: TopicName<'_>, matches: &Matches<Client>) {
    let mut direct = Found::new();
    let mut groups: BTreeMap<String, Found> = BTreeMap::new();
    for ((whole, client), (qos, identifier)) in model {
        let (group, filter) = parts(whole);
        let heard = hears(filter, name.as_str());
        assert_eq!(TopicFilter::parse(whole).unwrap().matches(&name), heard, "{whole:?} {name}");
        if heard {
            let list = if group.is_some() { groups.entry(whole.clone()).or_default() } else { &mut direct };
            list.push((*client, *qos, *identifier));
        }
    }
    direct.sort_unstable();
    let mut found: Found =
        matches.direct.iter().map(|m| (*m.subscriber.0, m.options.qos, m.identifier)).collect();
    found.sort_unstable();
    assert_eq!(found, direct, "{name}");
    let mut runs: Vec<u8> = matches.direct.iter().map(|m| *m.subscriber.0).collect();
    runs.dedup();
    let count = runs.len();
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), count, "the matches of a subscriber are not adjacent");
    let found: BTreeMap<String, Found> = matches
        .shared
        .iter()
        .map(|shared| {
            // As many picks as there are members pick each once.
            let picks = (0..shared.group.len()).map(|_| shared.group.pick(|_| Readiness::Ready).unwrap());
            let mut picks: Found = picks.map(|m| (*m.subscriber.0, m.options.qos, m.identifier)).collect();
            picks.sort_unstable();
            (shared.group.filter().to_string(), picks)
        })
        .collect();
    assert_eq!(found.len(), matches.shared.len(), "a group matched twice");
    assert_eq!(found, groups, "{name}");
}

/// The share name and the filter proper.
fn parts(whole: &str) -> (Option<&str>, &str) {
    if let Some(filter) = whole.strip_prefix("$queue/") {
        return (Some("$queue"), filter);
    }
    match whole.strip_prefix("$share/") {
        Some(rest) => {
            let at = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..at]), rest.get(at + 1..).unwrap_or_default())
        }
        None => (None, whole),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\u{0}', '+', '#'])
}

fn is_filter(whole: &str) -> bool {
    let (group, filter) = parts(whole);
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, others) = levels.split_last().unwrap();
    let plain = |level: &str| !level.contains(['+', '#']);
    !filter.is_empty()
        && !whole.contains('\u{0}')
        && group.is_none_or(|group| !group.is_empty() && plain(group))
        && others.iter().all(|level| *level == "+" || plain(level))
        && (*last == "+" || *last == "#" || plain(last))
}

/// Whether a filter without a share prefix matches a name.
fn hears(filter: &str, name: &str) -> bool {
    fn levels(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => levels(filter, name),
            ([f, filter @ ..], [n, name @ ..]) => f == n && levels(filter, name),
            _ => false,
        }
    }
    let (filter, name): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), name.split('/').collect());
    let hidden = name[0].starts_with('$') && (filter[0] == "+" || filter[0] == "#");
    !hidden && levels(&filter, &name)
}
