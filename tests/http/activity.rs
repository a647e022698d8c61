//! What the console tells of clients as it happens: each kind of event in words, and exactly how many were missed.

use std::time::Instant;

use midge::codec::packet_id::PacketId;
use midge::codec::properties::Properties;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::{Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
use midge::codec::version::Version;
use midge::embed::PublishOptions;

use crate::client::{Client, PATIENCE, address};
use crate::http::{Http, broker, console, test_broker};
use crate::kit::{Guest, secs};

fn events(broker: &midge::embed::Broker) -> Http {
    let mut viewer = Http::admin(console(broker));
    viewer.send("GET", "/api/v1/events", &[], b"");
    assert_eq!(viewer.head().0, 200);
    viewer
}

#[test]
fn a_viewer_is_told_exactly_how_many_events_it_has_missed() {
    const COUNT: usize = 1000;
    let broker = broker(&[("console.events", "100")]);
    let mut viewer = events(&broker);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    assert_eq!(viewer.event("activity")["kind"], "connected");
    // More at once than the broker remembers.
    let mut filters = Vec::new();
    for number in 0..COUNT {
        let filter = format!("f/{number}");
        let options = SubscriptionOptions::with_qos(QoS::AtMostOnce);
        SubscriptionRequest { filter: &filter, options }.encode(&mut filters);
    }
    let packet = Subscribe::from_encoded(PacketId::MIN, Properties::EMPTY, &filters).unwrap();
    client.send(|version, out| packet.encode(version, out));
    let (mut next, mut skipped, begun) = (0, 0, Instant::now());
    while next < COUNT {
        let (kind, event) = viewer.any_event();
        match kind.as_str() {
            "skipped" => {
                let count = event["count"].as_u64().unwrap() as usize;
                assert!(count > 0, "nothing was missed, and that is told");
                next += count;
                skipped += count;
            }
            "activity" => {
                assert_eq!(event["text"], format!("Subscribed to f/{next} with maximum QoS 0."));
                next += 1;
            }
            _ => {}
        }
        assert!(begun.elapsed() < PATIENCE, "{next} of {COUNT} events came, {skipped} of them as skipped");
    }
    assert_eq!(next, COUNT, "more were missed than there were");
    assert!(skipped > 0, "the broker remembers a hundred and has told {COUNT}");
}

#[test]
fn a_viewer_begins_with_the_last_twenty_events() {
    let broker = broker(&[]);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    (0..30).for_each(|number| client.subscribe(&format!("f/{number}"), QoS::AtMostOnce));
    let mut viewer = events(&broker);
    for number in 10..30 {
        let text = format!("Subscribed to f/{number} with maximum QoS 0.");
        assert_eq!(viewer.event("activity")["text"], text);
    }
}

#[test]
fn a_viewer_is_told_exactly_how_many_messages_it_has_missed() {
    const COUNT: usize = 3000;
    let broker = broker(&[("console.max_live_messages", "10")]);
    let mut viewer = Http::admin(console(&broker));
    viewer.send("GET", "/api/v1/live", &[], b"");
    viewer.until(": watching");
    // More than the connection holds, and than the viewer's queue.
    for number in 0..COUNT {
        broker.publish("t", format!("{number:04096}"), &PublishOptions::default()).unwrap();
    }
    let (mut seen, mut missed, mut last, begun) = (0, 0, None, Instant::now());
    while seen + missed < COUNT {
        let (kind, event) = viewer.any_event();
        match kind.as_str() {
            "skipped" => missed += event["count"].as_u64().unwrap() as usize,
            kind => {
                assert_eq!(kind, "message");
                let number: usize = event["payload"]["text"].as_str().unwrap().parse().unwrap();
                assert!(last < Some(number), "{number} comes behind {last:?}");
                last = Some(number);
                seen += 1;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "of {COUNT} messages {seen} were shown and {missed} skipped");
    }
    assert_eq!((seen + missed, missed > 0), (COUNT, true), "{seen} and {missed}");
}

#[test]
fn a_live_message_is_shown_as_it_was_published() {
    let broker = broker(&[]);
    let mut viewer = Http::admin(console(&broker));
    viewer.send("GET", "/api/v1/live", &[], b"");
    viewer.until(": watching");
    let mut options = PublishOptions::qos(QoS::ExactlyOnce).retained();
    options.payload_is_text = true;
    options.content_type = Some("text/plain".to_owned());
    options.response_topic = Some("r".to_owned());
    options.correlation_data = Some(vec![1, 2]);
    options.user_properties = vec![("k".to_owned(), "v".to_owned())];
    broker.publish("t", "x", &options).unwrap();
    options.user_properties = vec![("k".to_owned(), "v".repeat(5000))];
    options.retain = false;
    broker.publish("t", "x", &options).unwrap();
    // A name of one letter, the lengths and the identifier take six bytes.
    for len in [4090, 4091] {
        let mut alone = PublishOptions::default();
        alone.user_properties = vec![("k".to_owned(), "v".repeat(len))];
        broker.publish("t", "x", &alone).unwrap();
    }
    let message = viewer.event("message");
    assert_eq!((&message["qos"], &message["retain"]), (&2.into(), &true.into()));
    let properties = serde_json::json!({"payload_format": 1, "content_type": "text/plain", "response_topic": "r",
        "correlation_data": "AQI=", "user_properties": [["k", "v"]]});
    assert_eq!(message["properties"], properties);
    let message = viewer.event("message");
    assert_eq!(message["retain"], false);
    assert_eq!(message["properties"], serde_json::json!({}), "longer ones are left out");
    let longest = serde_json::json!({"user_properties": [["k", "v".repeat(4090)]]});
    assert_eq!(viewer.event("message")["properties"], longest, "4096 bytes are shown");
    assert_eq!(viewer.event("message")["properties"], serde_json::json!({}), "and none of 4097");
}

/// What has happened to a client: kind and text of each event.
fn happened(http: &mut Http, client_id: &str) -> Vec<(String, String)> {
    let details = http.json(&format!("/api/v1/clients/{client_id}"));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    details["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(&event["kind"]), text(&event["text"])))
        .collect()
}

#[test]
fn each_thing_that_happens_to_a_client_is_told_in_words() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    let lasting = Guest { version: Version::V311, clean_start: false, ..Guest::named("c") };
    let mut first = lasting.connect(&broker);
    first.subscribe("a", QoS::AtLeastOnce);
    let mut filters = Vec::new();
    encode_filter("a", &mut filters);
    let packet = Unsubscribe::from_encoded(PacketId::MIN, Properties::EMPTY, &filters).unwrap();
    first.send(|version, out| packet.encode(version, out));
    let from = first.stream.local_addr().unwrap();
    broker.settle().unwrap();
    let second = lasting.connect(&broker);
    let again = second.stream.local_addr().unwrap();
    drop(second);
    broker.settle().unwrap();
    let mut third = Guest { keep_alive: 10, ..Guest::named("c") }.connect(&broker);
    let clean = third.stream.local_addr().unwrap();
    broker.advance(secs(15)).unwrap();
    third.until_closed();
    let taken_over = "The client connected again on another connection. Details: another connection uses the same client identifier.";
    let silent = "Keep-alive timeout. Details: no packet for one and a half times the keep alive.";
    let expected = [
        ("connected", format!("Connected from {from} with MQTT 3.1.1, new session.")),
        ("subscribed", "Subscribed to a with maximum QoS 1.".to_owned()),
        ("unsubscribed", "Unsubscribed from a.".to_owned()),
        ("disconnected", taken_over.to_owned()),
        ("connected", format!("Connected from {again} with MQTT 3.1.1, session resumed.")),
        ("disconnected", "The connection was lost without a DISCONNECT.".to_owned()),
        ("connected", format!("Connected from {clean} with MQTT 5.0, new session (clean start).")),
        ("disconnected", silent.to_owned()),
    ];
    assert_eq!(happened(&mut http, "c"), expected.map(|(kind, text)| (kind.to_owned(), text)));
}

#[test]
fn each_end_of_a_connection_is_told_in_words() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    let mut polite = Guest { version: Version::V31, ..Guest::named("polite") }.connect(&broker);
    polite.send(|_, out| out.extend_from_slice(b"\xe0\x00"));
    let mut wrong = Guest::named("wrong").connect(&broker);
    wrong.send(|_, out| out.extend_from_slice(b"\x30\x00"));
    broker.settle().unwrap();
    let _kicked = Guest::named("kicked").connect(&broker);
    assert_eq!(http.delete("/api/v1/clients/kicked").status, 204);
    for (client_id, version, text) in [
        ("polite", "3.1", "The client disconnected normally."),
        ("wrong", "5.0", "The broker closed the connection with reason 0x81. Details: "),
        ("kicked", "5.0", "An administrator or the host program disconnected the client."),
    ] {
        let events = happened(&mut http, client_id);
        let [(_, came), (kind, went)] = events.as_slice() else { panic!("{events:?}") };
        assert!(came.contains(&format!("with MQTT {version},")), "{came}");
        let is_it = if text.ends_with(' ') { went.starts_with(text) } else { went == text };
        assert!(kind == "disconnected" && is_it, "{client_id}: {went}");
    }
}

#[test]
fn a_refused_client_without_a_name_has_none() {
    let broker = test_broker(&[]);
    let mut viewer = events(&broker);
    let nameless = Guest { version: Version::V311, clean_start: false, ..Guest::named("") };
    let (client, refused) = nameless.try_connect(&broker);
    assert_eq!(refused.map_err(ReasonCode::as_u8), Err(ReasonCode::ClientIdentifierNotValid.as_u8()));
    let event = viewer.event("activity");
    assert_eq!((&event["kind"], &event["client_id"]), (&"refused".into(), &().into()));
    let from = format!("A connection from {} was refused: ", client.stream.local_addr().unwrap());
    assert!(event["text"].as_str().unwrap().starts_with(&from), "{event}");
}

/// The broker's own seconds pass here: five between two points of the history.
#[test]
fn more_drops_are_taken_down_and_steps_ticked_off_with_each_point_of_the_history() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let points = |http: &mut Http| http.json("/api/v1/history")["points"].as_array().unwrap().len();
    let begun = Instant::now();
    let wait_for = |http: &mut Http, count: usize| {
        while points(http) < count {
            assert!(begun.elapsed() < PATIENCE, "the history has no {count} points");
        }
    };
    wait_for(&mut http, 1);
    let mut client = Client::connect(address(&broker), "c", Version::V311);
    client.subscribe("t", QoS::AtMostOnce);
    for _ in 0..250 {
        broker.publish("lost", "x", &PublishOptions::default()).unwrap();
    }
    let taken_down = |http: &mut Http| http.json("/api/v1/drops")["recent"].as_array().unwrap().len();
    let before = taken_down(&mut http);
    assert!((100..250).contains(&before), "{before}");
    let now = points(&mut http);
    wait_for(&mut http, now + 1);
    drop(client);
    broker.publish("lost", "x", &PublishOptions::default()).unwrap();
    assert_eq!(taken_down(&mut http), before + 1);
    while broker.stats().subscriptions > 0 {
        assert!(begun.elapsed() < PATIENCE, "the subscription does not end");
    }
    let step = &http.json("/api/v1/tutorial")["steps"][0];
    assert_eq!((&step["id"], &step["done"]), (&"subscribe".into(), &true.into()));
}
