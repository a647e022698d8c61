//! The order of the lists: by every name that they may be sorted by, both ways, and page by page.

use std::cmp::Ordering;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{PublishOptions, SubscribeOptions};
use midge::testing::TestBroker;
use serde_json::Value;

use crate::client::Client;
use crate::http::{Http, console, test_broker};
use crate::kit::{Guest, PATIENCE, ping, secs};

/// A list and what its order depends on.
struct Listed<'l> {
    path: &'l str,
    /// The names that it may be sorted by.
    keys: &'l [&'l str],
    /// What orders equals.
    ties: &'l [&'l str],
}

impl Listed<'_> {
    /// Fails unless the list is in the order of each key, rising and falling, whole and in pages. Two keys that order
    /// alike would not show that one is taken for the other; those of `alike` may.
    fn check(&self, http: &mut Http, alike: &[&str]) {
        let mut orders: Vec<(&str, Vec<String>)> = Vec::new();
        let all = self.items(http, "");
        assert!(all.len() > 4, "too few to have an order: {all:?}");
        for key in self.keys {
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| {
                let names = std::iter::once(key).chain(self.ties);
                names.map(|name| compare(name, a, b)).find(|order| order.is_ne()).unwrap()
            });
            let rising: Vec<_> = sorted.iter().map(|item| self.name(item)).collect();
            let falling: Vec<_> = rising.iter().rev().cloned().collect();
            for (order, expected) in [("", &rising), ("&order=asc", &rising), ("&order=desc", &falling)] {
                let query = format!("sort={key}{order}");
                assert_eq!(&self.names(http, &query), expected, "{}?{query}", self.path);
                let pages = (0..all.len()).step_by(2);
                let pages: Vec<_> =
                    pages.flat_map(|at| self.names(http, &format!("{query}&limit=2&offset={at}"))).collect();
                assert_eq!(&pages, expected, "{}?{query}, two at a time", self.path);
            }
            if !alike.contains(key) {
                let same = orders.iter().find(|(_, known)| *known == rising).map(|(known, _)| *known);
                assert_eq!(same, None, "{key} orders alike: {rising:?}");
                orders.push((key, rising));
            }
        }
        let first = format!("sort={}", self.keys[0]);
        assert_eq!(self.names(http, ""), self.names(http, &first), "the usual order");
    }

    fn items(&self, http: &mut Http, query: &str) -> Vec<Value> {
        http.json(&format!("/api/v1/{}?{query}", self.path))["items"].as_array().unwrap().clone()
    }

    fn names(&self, http: &mut Http, query: &str) -> Vec<String> {
        self.items(http, query).iter().map(|item| self.name(item)).collect()
    }

    /// What tells an item from all others.
    fn name(&self, item: &Value) -> String {
        self.ties.iter().map(|tie| item[tie].as_str().unwrap_or("the host")).collect::<Vec<_>>().join(" of ")
    }
}

/// The order of two items by a name: what is absent comes first, and what never ends last.
fn compare(name: &str, a: &Value, b: &Value) -> Ordering {
    let number = |item: &Value| match name {
        "bytes" => item["payload"]["bytes"].as_i64(),
        "session_expiry" | "expires_in" => Some(item[name].as_i64().unwrap_or(i64::MAX)),
        "address" => item[name].as_str().map(|text| text.rsplit_once(':').unwrap().1.parse().unwrap()),
        _ => item[name].as_bool().map(i64::from).or_else(|| item[name].as_i64()),
    };
    number(a).cmp(&number(b)).then_with(|| a[name].as_str().cmp(&b[name].as_str()))
}

/// What a client has done before the list is looked at.
struct Story<'s> {
    guest: Guest<'s>,
    subscriptions: usize,
    publishes: usize,
    /// Messages to it of QoS 0 and 1, none of which it acknowledges.
    gets: (usize, usize),
}

impl Story<'_> {
    /// Plays it; the client reads nothing and acknowledges nothing.
    fn play(&self, broker: &TestBroker) -> Client {
        let mut client = self.guest.connect(broker);
        client.subscribe(&self.own(), QoS::AtLeastOnce);
        (1..self.subscriptions).for_each(|number| client.subscribe(&format!("{number}"), QoS::AtMostOnce));
        (0..self.publishes).for_each(|_| client.publish("of clients", b"x", QoS::AtMostOnce));
        ping(&mut client);
        client
    }

    fn own(&self) -> String {
        format!("to/{}", self.guest.client_id)
    }

    fn give(&self, broker: &TestBroker) {
        let (unsure, sure) = self.gets;
        for qos in
            std::iter::repeat_n(QoS::AtMostOnce, unsure).chain(std::iter::repeat_n(QoS::AtLeastOnce, sure))
        {
            broker.publish(&self.own(), "x", &PublishOptions::qos(qos)).unwrap();
        }
    }
}

#[test]
fn clients_and_sessions_are_sorted_by_every_name_both_ways() {
    let broker = test_broker(&[]);
    let guest = |client_id, username, version, clean_start, keep_alive| Guest {
        username,
        version,
        clean_start,
        keep_alive,
        ..Guest::named(client_id)
    };
    let (v31, v311, v5) = (Version::V31, Version::V311, Version::V5);
    let lasting = |guest: Guest<'static>, session_expiry, most| Guest {
        session_expiry,
        receive_maximum: Some(most),
        ..guest
    };
    let stories = [
        (lasting(guest("c", None, v5, true, 10), 50, 3), 1, 4, (0, 4)),
        (lasting(guest("a", Some("z"), v5, true, 60), 100, 1), 2, 0, (4, 4)),
        (guest("e", Some("m"), v311, false, 10), 2, 3, (0, 4)),
        (guest("b", Some("m"), v311, false, 0), 5, 2, (4, 2)),
        (guest("d", Some("b"), v31, true, 30), 3, 1, (1, 0)),
        (lasting(guest("f", Some("c"), v5, true, 20), 1000, 9), 4, 1, (0, 2)),
    ];
    let stories = stories.map(|(guest, subscriptions, publishes, gets)| Story {
        guest,
        subscriptions,
        publishes,
        gets,
    });
    let mut clients = Vec::new();
    for story in &stories {
        clients.push(story.play(&broker));
        broker.advance(secs(1)).unwrap();
    }
    drop(clients.pop());
    assert!(broker.wait_for_no_client("f", PATIENCE).unwrap());
    stories.iter().for_each(|story| story.give(&broker));

    let mut http = Http::admin(console(&broker));
    let keys = [
        "client_id",
        "username",
        "address",
        "connected",
        "connected_at",
        "protocol",
        "clean_start",
        "keep_alive",
        "session_expiry",
        "subscriptions",
        "queued",
        "inflight",
        "received_messages",
        "sent_messages",
    ];
    // The system chooses the ports.
    Listed { path: "sessions", keys: &keys, ties: &["client_id"] }.check(&mut http, &["address"]);
    let alike = ["address", "connected"];
    Listed { path: "clients", keys: &keys, ties: &["client_id"] }.check(&mut http, &alike);
    // The pages of the sessions filter by that.
    for (filter, expected) in [("true", 5), ("false", 1), ("", 6)] {
        let list = http.json(&format!("/api/v1/sessions?connected={filter}"));
        assert_eq!(list["total"], expected, "{filter}");
        let items = list["items"].as_array().unwrap();
        assert!(filter.is_empty() || items.iter().all(|item| item["connected"] == (filter == "true")));
    }
    assert_eq!(http.get("/api/v1/sessions?connected=1").code(), "bad_request");
    // The one that is away has a session and is no client.
    let total = |http: &mut Http, path: &str| http.json(&format!("/api/v1/{path}"))["total"].clone();
    assert_eq!((total(&mut http, "sessions"), total(&mut http, "clients")), (6.into(), 5.into()));
}

#[test]
fn retained_messages_are_sorted_by_every_name_both_ways() {
    let broker = test_broker(&[]);
    let messages = [
        ("c", 3, 2, Some(900)),
        ("a", 5, 1, None),
        ("e", 4, 0, Some(100)),
        ("b", 3, 0, Some(500)),
        ("d", 1, 1, None),
    ];
    for (topic, bytes, qos, expiry) in messages {
        let mut options = PublishOptions::qos(QoS::from_u8(qos).unwrap()).retained();
        options.message_expiry_interval = expiry;
        broker.publish(topic, "x".repeat(bytes), &options).unwrap();
        broker.advance(secs(1)).unwrap();
    }
    let keys = ["topic", "bytes", "qos", "stored_at", "expires_in"];
    let list = Listed { path: "retained", keys: &keys, ties: &["topic"] };
    // What the order is by is not only there, but right.
    let mut http = Http::admin(console(&broker));
    let shown: Vec<_> =
        list.items(&mut http, "sort=stored_at").iter().map(|item| item["qos"].clone()).collect();
    assert_eq!(shown, [2, 1, 0, 0, 1]);
    let shown = list.items(&mut http, "")[4]["stored_at"].as_u64().unwrap();
    assert_eq!(shown - list.items(&mut http, "")[2]["stored_at"].as_u64().unwrap(), 2000);
    list.check(&mut http, &[]);
}

#[test]
fn subscriptions_are_sorted_by_every_name_both_ways() {
    let broker = test_broker(&[]);
    let mut x = Guest::named("x").connect(&broker);
    let mut y = Guest::named("y").connect(&broker);
    x.subscribe("c", QoS::AtMostOnce);
    x.subscribe("a", QoS::ExactlyOnce);
    y.subscribe("a", QoS::AtMostOnce);
    y.subscribe("b", QoS::AtLeastOnce);
    let mut options = SubscribeOptions::default();
    options.qos = QoS::ExactlyOnce;
    let _host = broker.subscribe("b", &options).unwrap();
    let list = Listed {
        path: "subscriptions",
        keys: &["filter", "client_id", "qos"],
        ties: &["filter", "client_id"],
    };
    list.check(&mut Http::admin(console(&broker)), &[]);
}

#[test]
fn listeners_are_searched_and_sorted_by_every_name_both_ways() {
    let names = ["tcp", "b", "d", "a", "c"];
    let keys = names.map(|name| format!("listener.{name}.bind"));
    let settings: Vec<_> = keys.iter().map(|key| (key.as_str(), "127.0.0.1:0")).collect();
    let broker = test_broker(&settings);
    let connect = |name: &str| Client::connect(broker.address(name).unwrap(), "", Version::V311);
    let _clients: Vec<_> = ["c", "c", "c", "a", "a", "tcp", "d"].map(connect).into_iter().collect();
    let mut http = Http::admin(console(&broker));
    let list = Listed { path: "listeners", keys: &["name", "address", "connections"], ties: &["name"] };
    // The system chooses the ports.
    list.check(&mut http, &["address"]);
    assert_eq!(list.names(&mut http, "search=C"), ["c", "tcp"]);
    assert_eq!(http.get("/api/v1/listeners?sort=port").code(), "bad_request");
}

#[test]
fn topics_keep_their_order_from_page_to_page() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    http.json("/api/v1/topics");
    for topic in ["b", "a/z", "\u{e4}", "B", "a/x", "c", "a", "a/y/deep"] {
        broker.publish(topic, "x", &PublishOptions::default()).unwrap();
    }
    for (asked, expected) in [
        ("", &["B", "a", "b", "c", "\u{e4}"][..]),
        ("parent=a&", &["a/x", "a/y", "a/z"]),
        ("search=a&", &["a", "a/x", "a/y/deep", "a/z"]),
    ] {
        let mut page = |query: &str| {
            let page = http.json(&format!("/api/v1/topics?{asked}{query}"));
            let items = page["items"].as_array().unwrap().clone();
            let topics: Vec<_> =
                items.iter().map(|item| item["topic"].as_str().unwrap().to_owned()).collect();
            let last = items.last().map(|item| item["level"].as_str().unwrap().to_owned());
            (topics, last, page["truncated"].as_bool().unwrap(), page["total"].as_u64().unwrap())
        };
        let whole = page("");
        assert_eq!(whole.0, expected, "{asked}");
        assert!(!whole.2, "{asked}: nothing more is to come");
        for limit in 1..=expected.len() {
            let (mut by_offset, mut by_cursor) = (Vec::new(), Vec::new());
            let mut more = true;
            while more {
                let (topics, _, truncated, total) =
                    page(&format!("limit={limit}&offset={}", by_offset.len()));
                assert!(!topics.is_empty(), "{asked}, {limit} at a time: more is said to come");
                assert_eq!(total, expected.len() as u64, "{asked}");
                by_offset.extend(topics);
                more = truncated;
            }
            assert_eq!(by_offset, whole.0, "{asked}, {limit} at a time by their number");
            if asked.starts_with("search") {
                continue;
            }
            // The first page has no cursor: the empty level would be one.
            let (topics, mut last, mut more, _) = page(&format!("limit={limit}"));
            by_cursor.extend(topics);
            while more {
                let (topics, end, truncated, total) =
                    page(&format!("limit={limit}&after={}", crate::lists::encoded(&last.unwrap())));
                assert!(!topics.is_empty(), "{asked}, {limit} at a time: more is said to come");
                assert_eq!(total, expected.len() as u64, "{asked}");
                by_cursor.extend(topics);
                (last, more) = (end, truncated);
            }
            assert_eq!(by_cursor, whole.0, "{asked}, {limit} at a time by the last one");
        }
    }
}
