//! Streams: what is published, what happens, and viewers that do not read.

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::PublishOptions;

use crate::client::{Client, address};
use crate::http::{Http, broker, console};

fn watch(broker: &midge::embed::Broker, path: &str) -> Http {
    let mut viewer = Http::admin(console(broker));
    viewer.send("GET", path, &[], b"");
    let (status, headers) = viewer.head();
    assert_eq!(status, 200);
    assert!(headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())));
    viewer
}

#[test]
fn a_viewer_sees_the_messages_of_its_filter() {
    let broker = broker(&[]);
    let mut viewer = watch(&broker, "/api/v1/live?filter=a/%2B");
    viewer.until(": watching");
    broker.publish("b", "not for this filter", &PublishOptions::default()).unwrap();
    broker.publish("a/1", b"\xff", &PublishOptions::default()).unwrap();
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.publish("a/2", "text".repeat(2000).as_bytes(), QoS::AtLeastOnce);
    let first = viewer.event("message");
    assert_eq!(
        (&first["topic"], &first["payload"]["text"], &first["client_id"]),
        (&"a/1".into(), &().into(), &().into())
    );
    let second = viewer.event("message");
    assert_eq!(
        (&second["topic"], &second["client_id"], &second["qos"]),
        (&"a/2".into(), &"c".into(), &1.into())
    );
    assert_eq!((&second["payload"]["bytes"], &second["payload"]["truncated"]), (&8000.into(), &true.into()));
    let mut http = Http::admin(console(&broker));
    assert_eq!(http.get("/api/v1/live?filter=a%23").code(), "bad_request");
    assert_eq!(http.get("/api/v1/live?filter=$share/g/a").code(), "bad_request");
    assert_eq!(Http::open(console(&broker)).get("/api/v1/live").status, 401);
}

#[test]
fn watching_is_no_subscribing() {
    let broker = broker(&[]);
    let mut viewer = watch(&broker, "/api/v1/live");
    viewer.until(": watching");
    let reached = broker.publish("t", "x", &PublishOptions::default()).unwrap();
    viewer.event("message");
    let stats = broker.stats();
    assert_eq!((reached, stats.subscriptions, stats.messages_dropped_no_subscriber), (0, 0, 1));
}

#[test]
fn a_viewer_that_does_not_read_misses_messages_and_slows_nobody() {
    let broker = broker(&[("console.max_live_messages", "10")]);
    let mut viewer = watch(&broker, "/api/v1/live");
    viewer.until(": watching");
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("t", QoS::AtLeastOnce);
    // More than the connection holds, and than the viewer's queue.
    let payload = vec![b'x'; 4096];
    for _ in 0..3000 {
        broker.publish("t", &payload, &PublishOptions::qos(QoS::AtMostOnce)).unwrap();
        client.message();
    }
    viewer.event("skipped");
}

#[test]
fn many_viewers_come_and_go() {
    let broker = broker(&[("console.max_connections", "200")]);
    let mut viewers: Vec<_> = (0..50).map(|_| watch(&broker, "/api/v1/live")).collect();
    let mut pulses: Vec<_> = (0..50).map(|_| watch(&broker, "/api/v1/events")).collect();
    viewers.iter_mut().for_each(|viewer| viewer.until(": watching"));
    pulses.iter_mut().for_each(|viewer| drop(viewer.event("stats")));
    drop(viewers.split_off(25));
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    for viewer in &mut viewers {
        assert_eq!(viewer.event("message")["topic"], "t");
    }
}

#[test]
fn the_tree_shows_what_is_published_while_it_is_watched() {
    let broker = broker(&[("console.max_topics", "3")]);
    broker.publish("kept", "before", &PublishOptions::default().retained()).unwrap();
    broker.publish("lost", "before", &PublishOptions::default()).unwrap();
    let mut http = Http::admin(console(&broker));
    let first = http.json("/api/v1/topics");
    assert_eq!((first["items"].as_array().unwrap().len(), &first["items"][0]["topic"]), (1, &"kept".into()));
    assert_eq!((&first["items"][0]["retained"], &first["items"][0]["messages"]), (&true.into(), &0.into()));
    for number in 0..5 {
        broker.publish("a/b", number.to_string(), &PublishOptions::default()).unwrap();
    }
    broker.publish("/x", "slash", &PublishOptions::default()).unwrap();
    let below = http.json("/api/v1/topics?parent=a");
    let leaf = &below["items"][0];
    assert_eq!(
        (&leaf["topic"], &leaf["messages"], &leaf["last"]["text"]),
        (&"a/b".into(), &5.into(), &"4".into())
    );
    broker.publish("one/too/many", "", &PublishOptions::default()).unwrap();
    let below = http.json("/api/v1/topics?parent=a");
    assert_eq!((&below["topics"], &below["left_out"]), (&3.into(), &1.into()));
    assert_eq!(http.json("/api/v1/topics?root=empty")["items"][0]["topic"], "/x");
    let page = http.json("/api/v1/topics?limit=1");
    assert_eq!((&page["truncated"], &page["items"][0]["level"]), (&true.into(), &"".into()));
    let rest = http.json("/api/v1/topics?after=a");
    assert_eq!((&rest["truncated"], &rest["items"][0]["level"]), (&false.into(), &"kept".into()));
}

#[test]
fn a_logout_ends_the_streams_of_its_login_and_no_others() {
    let broker = broker(&[]);
    let mut http = Http::log_in(console(&broker), "admin", "public");
    let mut other = Http::log_in(console(&broker), "admin", "public");
    let streams = |login: &Http| {
        ["/api/v1/live", "/api/v1/events"].map(|path| {
            let mut viewer = Http::open(console(&broker));
            viewer.headers = login.headers.clone();
            viewer.send("GET", path, &[], b"");
            assert_eq!(viewer.head().0, 200);
            viewer
        })
    };
    let ([mut live, mut pulse], [mut other_live, mut other_pulse]) = (streams(&http), streams(&other));
    live.until(": watching");
    other_live.until(": watching");
    assert_eq!(http.ask("POST", "/api/v1/logout", &[], b"").status, 204);
    // The last chunk is empty.
    while live.line_or_end().unwrap() != "0" {}
    while pulse.line_or_end().unwrap() != "0" {}
    broker.publish("t", "x", &PublishOptions::default()).unwrap();
    assert_eq!(other_live.event("message")["topic"], "t");
    other_pulse.event("stats");
    assert_eq!(other.get("/api/v1/session").status, 200);
}
