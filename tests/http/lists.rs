//! What the console shows and does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Hooks, Passage, PublishOptions, Verdict};

use crate::client::{Client, PATIENCE, address};
use crate::http::{Http, broker, broker_with, console, test_broker};
use crate::kit::Guest;

/// Everything that could do harm in a page, in a terminal or in JSON.
const HOSTILE: &str = "<script>alert('\"&')</script>\u{202e}\u{7f}\u{9b}%2f..\\ü\u{1F41D}";

/// A text as a part of an address.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn clients_are_searched_sorted_and_paged() {
    let broker = broker(&[]);
    let _clients: Vec<_> = ["c", "a", "b", "other"]
        .map(|id| Client::connect(address(&broker), id, Version::V5))
        .into_iter()
        .collect();
    let mut http = Http::admin(console(&broker));
    let mut ids = |query: &str| {
        let list = http.json(&format!("/api/v1/clients?{query}"));
        let items = list["items"].as_array().unwrap();
        let ids: Vec<_> = items.iter().map(|item| item["client_id"].as_str().unwrap().to_owned()).collect();
        (list["total"].as_u64().unwrap(), ids.join(" "))
    };
    assert_eq!(ids(""), (4, "a b c other".to_owned()));
    assert_eq!(ids("order=desc&limit=2"), (4, "other c".to_owned()));
    assert_eq!(ids("offset=3"), (4, "other".to_owned()));
    assert_eq!(ids("search=THE"), (1, "other".to_owned()));
    assert_eq!(ids("search=127.0.0.1&limit=0"), (4, String::new()));
    for wrong in ["sort=password", "limit=-1", "limit=1001", "order=x", "offset=a"] {
        assert_eq!(http.get(&format!("/api/v1/clients?{wrong}")).code(), "bad_request", "{wrong}");
    }
}

#[test]
fn clients_are_found_by_their_user_and_subscriptions_by_their_client() {
    let broker = broker(&[]);
    let mut client = Client::asking(address(&broker), "a", "Somebody", Version::V5);
    client.connack();
    client.subscribe("t", QoS::AtMostOnce);
    let _other = Client::connect(address(&broker), "b", Version::V5);
    let mut http = Http::admin(console(&broker));
    for (path, shown) in [("clients", "client_id"), ("sessions", "client_id"), ("subscriptions", "filter")] {
        let search = if shown == "filter" { "A" } else { "someBODY" };
        let list = http.json(&format!("/api/v1/{path}?search={search}"));
        let expected = if shown == "filter" { "t" } else { "a" };
        assert_eq!((&list["total"], &list["items"][0][shown]), (&1.into(), &expected.into()), "{path}");
        assert_eq!(http.json(&format!("/api/v1/{path}?search=nobody"))["total"], 0, "{path}");
    }
}

#[test]
fn all_retained_messages_are_listed_however_many_there_are() {
    let broker = broker(&[]);
    for number in 0..2100 {
        broker.publish(&format!("t/{number:04}"), "x", &PublishOptions::default().retained()).unwrap();
    }
    let mut http = Http::admin(console(&broker));
    let list = http.json("/api/v1/retained?offset=2099");
    assert_eq!((&list["total"], &list["items"][0]["topic"]), (&2100.into(), &"t/2099".into()));
    assert_eq!(http.json("/api/v1/retained?search=t/%2B&limit=0")["total"], 2100);
}

#[test]
fn a_topic_says_whether_it_is_retained_and_who_subscribes() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    http.json("/api/v1/topics");
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("heard", QoS::AtMostOnce);
    client.subscribe("$share/g/heard", QoS::AtMostOnce);
    broker.publish("heard", "x", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    broker.publish("kept", "x", &PublishOptions::default().retained()).unwrap();
    let topics = http.json("/api/v1/topics");
    let shown: Vec<_> = topics["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            serde_json::json!([
                item["topic"],
                item["qos"],
                item["retained"],
                item["subscribers"],
                item["messages"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [serde_json::json!(["heard", 1, false, 2, 1]), serde_json::json!(["kept", 0, true, 0, 1])]
    );
}

#[test]
fn settings_say_which_were_changed_and_hide_what_is_secret() {
    let broker = broker(&[("console.viewer_password", "secret"), ("mqtt.max_qos", "1")]);
    let settings = Http::admin(console(&broker)).json("/api/v1/settings");
    let shown = |key: &str| {
        let found = settings["items"].as_array().unwrap().iter().find(|setting| setting["key"] == key);
        found.map(|setting| {
            (setting["value"].as_str().unwrap().to_owned(), setting["changed"].as_bool().unwrap())
        })
    };
    let said = |value: &str, changed| Some((value.to_owned(), changed));
    assert_eq!(shown("mqtt.max_qos"), said("1", true));
    assert_eq!(shown("mqtt.retain"), said("true", false));
    assert_eq!(shown("console.viewer_password"), said("***", true));
    assert_eq!(shown("console.password"), said("", false), "there is none");
    assert_eq!(shown("listener.tcp.bind"), said("127.0.0.1:0", true));
}

#[test]
fn who_has_received_has_subscribed_even_if_nobody_looked_meanwhile() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("chat", QoS::AtMostOnce);
    broker.publish("chat", "x", &PublishOptions::default()).unwrap();
    client.message();
    drop(client);
    let begun = Instant::now();
    while broker.stats().subscriptions > 0 {
        assert!(begun.elapsed() < PATIENCE, "the subscription does not end");
    }
    let steps = Http::admin(console(&broker)).json("/api/v1/tutorial");
    let done: Vec<_> = steps["steps"].as_array().unwrap().iter().map(|step| step["done"].clone()).collect();
    assert_eq!(done, [true, false, true, false]);
}

#[test]
fn statistics_are_shown_with_their_kind_and_unit_and_counted_as_metrics() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    broker.publish("lost", "x", &PublishOptions::default()).unwrap();
    client.publish("lost", b"x", QoS::AtLeastOnce);
    client.expect("PUBACK", |packet| matches!(packet, midge::codec::packet::Packet::Puback(_)).then_some(()));
    let mut http = Http::admin(console(&broker));
    let overview = http.json("/api/v1/overview");
    let shown = |name: &str| {
        let all = overview["statistics"].as_array().unwrap();
        let found = all.iter().find(|statistic| statistic["name"] == name).unwrap();
        format!("{} {}", found["kind"].as_str().unwrap(), found["unit"].as_str().unwrap())
    };
    assert_eq!(shown("clients_connected"), "gauge ");
    assert_eq!(shown("messages_published"), "counter ");
    assert_eq!(shown("bytes_received"), "counter bytes");
    assert_eq!(shown("retained_bytes"), "gauge bytes");
    let metrics = http.get("/metrics");
    for line in [
        "midge_clients_connected 1",
        "midge_messages_published_total 2",
        "midge_messages_dropped_total{reason=\"no_subscriber\"} 2",
        "midge_messages_dropped_total{reason=\"offline\"} 0",
        "# TYPE midge_received_bytes counter",
        "# UNIT midge_received_bytes bytes",
        "# TYPE midge_clients_connected gauge",
    ] {
        assert!(metrics.text().lines().any(|one| one == line), "no {line:?} in {}", metrics.text());
    }
}

#[test]
fn a_client_is_shown_with_its_subscriptions_and_events_and_kicked() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), "a/b c", Version::V5);
    client.subscribe("x/+", QoS::AtLeastOnce);
    client.subscribe("a", QoS::AtLeastOnce);
    let mut http = Http::log_in(console(&broker), "admin", "public");
    let path = "/api/v1/clients/a%2Fb%20c";
    let details = http.json(path);
    let shown = &details["client"];
    assert_eq!((shown["protocol"].as_str(), shown["connected"].as_bool()), (Some("5.0"), Some(true)));
    assert_eq!(shown["address"], client.stream.local_addr().unwrap().to_string());
    let filters = details["subscriptions"].as_array().unwrap();
    assert_eq!(filters.iter().map(|one| &one["filter"]).collect::<Vec<_>>(), ["a", "x/+"]);
    let kinds = |details: &serde_json::Value| {
        let events = details["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&details), ["connected", "subscribed", "subscribed"]);
    assert_eq!(http.delete(path).status, 204);
    assert!(client.until_closed().contains(&0x98), "Administrative action");
    assert_eq!(http.delete(path).code(), "not_found");
    assert_eq!(http.get("/api/v1/clients/nobody").code(), "not_found");

    // The session has ended with the connection; why it went is still known, also when it comes back.
    let gone = http.json(path);
    assert!(gone["client"].is_null() && gone["subscriptions"].as_array().unwrap().is_empty(), "{gone}");
    assert_eq!(kinds(&gone), ["connected", "subscribed", "subscribed", "disconnected"]);
    let _again = Client::connect(address(&broker), "a/b c", Version::V5);
    let details = http.json(path);
    assert_eq!(kinds(&details), ["connected", "subscribed", "subscribed", "disconnected", "connected"]);
    let why = details["events"][3]["text"].as_str().unwrap();
    assert!(why.contains("administrator"), "{why}");
}

#[test]
fn a_session_is_looked_into_cleared_and_ended() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    let (session, queue) = ("/api/v1/sessions/a%2Fw", "/api/v1/sessions/a%2Fw/queue");
    for path in [session, queue] {
        assert_eq!(
            (http.get(path).code(), http.delete(path).code()),
            ("not_found".into(), "not_found".into())
        );
    }
    let guest = Guest { session_expiry: 60, ..Guest::named("a/w") };
    guest.connect(&broker).subscribe("t", QoS::AtLeastOnce);
    assert!(broker.wait_for_no_client("a/w", PATIENCE).unwrap());
    for payload in ["one", "two", "three"] {
        broker.publish("t", payload, &PublishOptions::qos(QoS::ExactlyOnce)).unwrap();
    }
    assert_eq!(http.json(session)["client"]["queued"], 3);
    let shown = http.json(&format!("{queue}?limit=2"));
    assert_eq!((&shown["total"], &shown["truncated"]), (&3.into(), &false.into()));
    let payloads = shown["items"].as_array().unwrap().iter().map(|one| &one["payload"]["text"]);
    assert_eq!(payloads.collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((&shown["items"][0]["qos"], &shown["items"][0]["topic"]), (&1.into(), &"t".into()));
    assert_eq!(http.get(&format!("{queue}?limit=1001")).code(), "bad_request");
    let cleared = http.delete(queue);
    assert_eq!((cleared.status, &cleared.json()["dropped"]), (200, &3.into()));
    assert_eq!(http.json(queue)["total"], 0);
    let drops = http.json("/api/v1/drops");
    let count = drops["by_reason"].as_array().unwrap().iter().find(|one| one["reason"] == "cleared").unwrap();
    assert_eq!(count["count"], 3);
    assert_eq!(http.delete(session).status, 204);
    assert_eq!(http.get(session).code(), "not_found");
    // Its events are still there.
    assert!(http.json("/api/v1/clients/a%2Fw")["client"].is_null());
    let mut client = Guest { session_expiry: 60, ..Guest::named("a/w") }.connect(&broker);
    assert_eq!(http.delete(session).status, 204);
    assert!(client.until_closed().contains(&0x98), "Administrative action");
    assert_eq!(broker.stats().sessions, 0);
}

/// A list has as many items as have room in a response, and says that some are missing.
#[test]
fn a_list_is_bounded_by_its_bytes() {
    let broker = broker(&[("mqtt.max_packet_size", "1MiB")]);
    // 60 KB of control characters, each of which JSON writes as six.
    for number in 0..70 {
        let topic = format!("{number:02}{}", "\u{1}".repeat(60_000));
        broker.publish(&topic, "x", &PublishOptions::default().retained()).unwrap();
    }
    let mut http = Http::admin(console(&broker));
    let mut seen = Vec::new();
    loop {
        let answer = http.get(&format!("/api/v1/retained?offset={}", seen.len()));
        assert!(answer.body.len() < 17 << 20, "{}", answer.body.len());
        let list = answer.json();
        let items = list["items"].as_array().unwrap();
        assert!(!items.is_empty());
        assert_eq!(list["total"], 70);
        seen.extend(items.iter().map(|item| item["topic"].as_str().unwrap()[..2].to_owned()));
        if list["truncated"] == false {
            break;
        }
    }
    assert_eq!(seen, (0..70).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

#[test]
fn a_refused_client_is_an_event() {
    let broker = broker(&[("mqtt.max_client_id_length", "23")]);
    let mut events = Http::admin(console(&broker));
    events.send("GET", "/api/v1/events", &[], b"");
    events.event("stats");
    let mut client = Client::raw(address(&broker));
    client.version = Version::V5;
    let name = "x".repeat(24);
    client.send_connect(&name, 0);
    let event = events.event("activity");
    assert_eq!((event["kind"].as_str(), event["client_id"].as_str()), (Some("refused"), Some(name.as_str())));
    assert!(
        event["text"]
            .as_str()
            .unwrap()
            .contains("the client identifier is longer than mqtt.max_client_id_length (0x85)"),
        "{event}"
    );
}

#[test]
fn hostile_names_and_payloads_come_back_as_they_are() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), HOSTILE, Version::V5);
    client.subscribe(HOSTILE, QoS::AtMostOnce);
    let mut http = Http::admin(console(&broker));
    http.json("/api/v1/topics");
    let body = serde_json::json!({"topic": HOSTILE, "payload": HOSTILE, "retain": true});
    let answer = http.post("/api/v1/publish", &body.to_string());
    assert_eq!(answer.json()["explanation"]["receivers"][0]["client_id"], HOSTILE);
    assert_eq!(client.message().payload, HOSTILE.as_bytes());
    let details = http.get(&format!("/api/v1/clients/{}", encoded(HOSTILE)));
    assert_eq!(details.json()["client"]["client_id"], HOSTILE);
    assert_eq!(details.header("content-type"), Some("application/json"));
    let query = format!("topic={}", encoded(HOSTILE));
    let retained = http.json(&format!("/api/v1/retained/message?{query}"));
    assert_eq!((&retained["topic"], &retained["payload"]["text"]), (&HOSTILE.into(), &HOSTILE.into()));
    let matching = http.json(&format!("/api/v1/subscriptions/match?{query}"));
    assert_eq!(matching["receivers"][0]["filters"][0]["filter"], HOSTILE);
    // The topic has a slash, so that it stands on two levels.
    let (parent, _) = HOSTILE.split_once('/').unwrap();
    let tree = http.json(&format!("/api/v1/topics?parent={}", encoded(parent)));
    assert_eq!((&tree["items"][0]["topic"], &tree["items"][0]["messages"]), (&HOSTILE.into(), &1.into()));
    assert_eq!(tree["items"][0]["last"]["text"], HOSTILE);
}

#[test]
fn retained_messages_are_listed_filtered_and_deleted() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for topic in ["a/b", "a/c", "b", "$hidden/x"] {
        let body = format!(r#"{{"topic":"{topic}","payload":"AP8=","encoding":"base64","retain":true}}"#);
        assert_eq!(http.post("/api/v1/publish", &body).json()["explanation"]["retained"], "stored");
    }
    let mut topics = |search: &str| {
        let list = http.json(&format!("/api/v1/retained?search={search}"));
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(topics(""), "$hidden/x a/b a/c b");
    assert_eq!(topics("a/%2B"), "a/b a/c");
    assert_eq!(topics("%23"), "a/b a/c b");
    assert_eq!(topics("B"), "a/b b");
    assert_eq!(http.get("/api/v1/retained?search=a%23").code(), "bad_request");
    let shown = http.json("/api/v1/retained/message?topic=a/b");
    assert_eq!((&shown["payload"]["text"], &shown["payload"]["base64"]), (&().into(), &"AP8=".into()));
    assert_eq!(http.delete("/api/v1/retained/message?topic=a/b").status, 204);
    assert_eq!(http.delete("/api/v1/retained/message?topic=a/b").code(), "not_found");
    assert_eq!(http.get("/api/v1/retained/message?topic=a/b").code(), "not_found");
    assert_eq!(http.get("/api/v1/retained/message?topic=%23").code(), "bad_request");
    assert_eq!(broker.stats().retained_messages, 3);
}

#[test]
fn a_message_is_published_with_everything_it_can_have() {
    let broker = test_broker(&[]);
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.subscribe("a", QoS::ExactlyOnce);
    let mut http = Http::admin(console(&broker));
    let body = r#"{"topic":"a","payload":"hi","qos":1,"retain":false,"expiry":60,"content_type":"text/plain",
        "response_topic":"r","correlation_data":"AQI=","user_properties":[["k","v"],["k","w"]]}"#;
    let explanation = http.post("/api/v1/publish", body).json()["explanation"].clone();
    assert_eq!(explanation["outcome"], "delivered");
    client.expect("PUBLISH", |packet| {
        let midge::codec::packet::Packet::Publish(publish) = packet else { return None };
        let p = &publish.properties;
        assert_eq!((publish.payload, publish.qos), (&b"hi"[..], QoS::AtLeastOnce));
        assert_eq!((p.content_type(), p.response_topic()), (Some("text/plain"), Some("r")));
        assert_eq!(p.correlation_data(), Some(&[1, 2][..]));
        assert_eq!(p.message_expiry_interval(), Some(60));
        assert_eq!(p.user_properties().collect::<Vec<_>>(), [("k", "v"), ("k", "w")]);
        Some(())
    });
    for wrong in [
        "",
        "{}",
        r#"{"topic":""}"#,
        r#"{"topic":"a/#"}"#,
        r#"{"topic":"a","qos":3}"#,
        r#"{"topic":"a","payload":"?","encoding":"base64"}"#,
        r#"{"topic":"a","payload":1}"#,
        r#"{"topic":"a","colour":"red"}"#,
        r#"{"topic":"$SYS/a"}"#,
        r#"{"topic":"a","response_topic":"+"}"#,
        r#"{"topic":"a","content_type":"\u0000"}"#,
    ] {
        let answer = http.post("/api/v1/publish", wrong);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{wrong}");
    }
}

#[test]
fn the_names_of_emqs_publish_are_taken_too() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("a", QoS::ExactlyOnce);
    let body = r#"{"topic":"a","payload":"hello","qos":1,"retain":false,"client_id":"mqttjs_ab9069449e"}"#;
    assert_eq!(Http::admin(console(&broker)).post("/api/v1/publish", body).status, 200);
    assert_eq!(client.message().payload, b"hello");
}

#[test]
fn a_message_that_does_not_arrive_is_explained_before_and_after() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let mut explain = |body: &str| http.post("/api/v1/explain", body).json();
    let nobody = explain(r#"{"topic":"chat","qos":1,"bytes":5}"#);
    assert_eq!(
        (&nobody["outcome"], nobody["receivers"].as_array().unwrap().len()),
        (&"no_subscriber".into(), 0)
    );

    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("chat", QoS::AtMostOnce);
    client.subscribe("#", QoS::AtLeastOnce);
    let sent = explain(r#"{"topic":"chat","qos":2,"bytes":5,"client_id":"c"}"#);
    let receiver = &sent["receivers"][0];
    assert_eq!(
        (&sent["outcome"], &receiver["outcome"], &receiver["qos"]),
        (&"delivered".into(), &"sent".into(), &1.into())
    );
    assert_eq!(receiver["filters"].as_array().unwrap().len(), 2);
    assert!(receiver["text"].as_str().unwrap().contains("QoS 2 is lowered to 1"), "{receiver}");
    let refused = explain(r#"{"topic":"$SYS/x"}"#);
    assert_eq!(refused["outcome"], "refused");
    assert_eq!([&nobody, &sent, &refused].map(|one| &one["not_asked"]), [&serde_json::json!([]); 3]);

    Client::connect(address(&broker), "p", Version::V311).publish("$lost/1", b"x", QoS::AtMostOnce);
    let mut events = Http::admin(console(&broker));
    events.send("GET", "/api/v1/events", &[], b"");
    events.event_with("stats", |stats| stats["messages_dropped_no_subscriber"] == 1);
    let drops = http.json("/api/v1/drops");
    let last = &drops["recent"][0];
    assert_eq!(
        (&last["reason"], &last["topic"], &last["client_id"]),
        (&"no_subscriber".into(), &"$lost/1".into(), &"p".into())
    );
    let counted =
        drops["by_reason"].as_array().unwrap().iter().find(|by| by["reason"] == "no_subscriber").unwrap();
    assert_eq!(counted["count"], 1);
}

#[test]
fn an_explanation_names_the_hooks_that_it_does_not_ask() {
    let asked = Arc::new(AtomicUsize::new(0));
    let [by_authorize, by_publish] = [Arc::clone(&asked), Arc::clone(&asked)];
    let hooks = Hooks::new()
        .authorize(move |_| {
            by_authorize.fetch_add(1, Ordering::SeqCst);
            Verdict::Allow
        })
        .on_publish(move |_| {
            by_publish.fetch_add(1, Ordering::SeqCst);
            Passage::Pass
        });
    let broker = broker_with(&hooks);
    let mut http = Http::admin(console(&broker));
    let explained = http.post("/api/v1/explain", r#"{"topic":"chat","client_id":"c"}"#).json();
    assert_eq!(explained["not_asked"], serde_json::json!(["authorize", "on_publish"]));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let published = http.post("/api/v1/publish", r#"{"topic":"chat"}"#).json();
    assert!(published["explanation"]["not_asked"].is_null(), "{published}");
}

#[test]
fn an_absent_clients_messages_are_explained() {
    let broker = broker(&[("session.max_queued_messages", "1")]);
    let mut client = Client::raw(address(&broker));
    client.version = Version::V311;
    let mut connect = Vec::new();
    midge::codec::connect::Connect {
        version: Version::V311,
        clean_start: false,
        keep_alive: 0,
        is_bridge: false,
        client_id: "away",
        will: None,
        username: Some("who"),
        password: None,
        properties: midge::codec::properties::Properties::EMPTY,
    }
    .encode(&mut connect);
    client.send(|_, out| out.extend_from_slice(&connect));
    client.subscribe("t", QoS::AtLeastOnce);
    let mut http = Http::admin(console(&broker));
    http.delete("/api/v1/clients/away");
    let mut publish = |qos: u8| {
        let answer = http.post("/api/v1/publish", &format!(r#"{{"topic":"t","qos":{qos}}}"#)).json();
        let receiver = answer["explanation"]["receivers"][0].clone();
        (receiver["outcome"].as_str().unwrap().to_owned(), receiver["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(publish(0), ("dropped".to_owned(), Some("offline".to_owned())));
    assert_eq!(publish(1), ("queued".to_owned(), None));
    assert_eq!(publish(1), ("dropped".to_owned(), Some("queue_full".to_owned())));
    let session = &http.json("/api/v1/sessions?sort=queued&order=desc")["items"][0];
    assert_eq!(
        (&session["connected"], &session["queued"], &session["session_expiry"]),
        (&false.into(), &1.into(), &().into())
    );
    let reasons: Vec<_> = http.json("/api/v1/drops")["recent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["reason"].clone())
        .collect();
    assert_eq!(reasons, ["queue_full", "offline"]);
}

#[test]
fn shared_subscriptions_are_explained_by_group() {
    let broker = broker(&[]);
    let mut a = Client::connect(address(&broker), "a", Version::V5);
    let mut b = Client::connect(address(&broker), "b", Version::V5);
    a.subscribe("$share/g/t/#", QoS::AtLeastOnce);
    b.subscribe("$share/g/t/#", QoS::AtLeastOnce);
    let mut http = Http::admin(console(&broker));
    let matching = http.json("/api/v1/subscriptions/match?topic=t/1");
    let receivers = matching["receivers"].as_array().unwrap();
    assert_eq!((receivers.len(), &receivers[0]["shared"]), (1, &"g".into()));
    let list = http.json("/api/v1/subscriptions?search=SHARE&sort=client_id&order=desc");
    assert_eq!(
        (&list["total"], &list["items"][0]["client_id"], &list["items"][0]["shared"]),
        (&2.into(), &"b".into(), &"g".into())
    );
}

#[test]
fn listeners_history_and_tutorial_are_there() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let steps = |http: &mut Http| {
        let steps = http.json("/api/v1/tutorial")["steps"].as_array().unwrap().clone();
        steps
            .iter()
            .filter(|step| step["done"] == true)
            .map(|s| s["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(steps(&mut http), "");
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("chat", QoS::AtMostOnce);
    assert_eq!(steps(&mut http), "subscribe");
    client.publish("chat", b"hello tao", QoS::AtMostOnce);
    client.message();
    assert_eq!(steps(&mut http), "subscribe publish received");
    client.publish("nobody", b"hello tao", QoS::AtLeastOnce);
    client.expect("PUBACK", |packet| matches!(packet, midge::codec::packet::Packet::Puback(_)).then_some(()));
    assert_eq!(steps(&mut http), "subscribe publish received lesson");
    let listener = &http.json("/api/v1/listeners")["items"][0];
    assert_eq!((&listener["name"], &listener["connections"]), (&"tcp".into(), &1.into()));
    assert_eq!(listener["address"], address(&broker).to_string());
    let history = http.json("/api/v1/history");
    let names = history["names"].as_array().unwrap().len();
    assert_eq!(history["points"][0].as_array().unwrap().len(), names + 1);
    let overview = http.json("/api/v1/overview");
    assert_eq!(
        (&overview["stats"]["clients_connected"], overview["statistics"].as_array().unwrap().len()),
        (&1.into(), names)
    );
    let _others = ["d", "e"].map(|id| Client::connect(address(&broker), id, Version::V5));
    assert_eq!(http.json("/api/v1/listeners")["items"][0]["connections"], 3);
}
