//! What becomes of a message, in the words of the API: for each receiver, for all of them, and when it is refused.

use midge::codec::properties::Properties;
use midge::codec::qos::QoS;
use midge::codec::subscribe::{RetainHandling, Subscribe, SubscriptionOptions, SubscriptionRequest};
use midge::codec::version::Version;
use midge::embed::{Broker, PublishOptions, SubscribeOptions};
use midge::testing::TestBroker;
use serde_json::{Value, json};

use crate::client::Client;
use crate::http::{Http, broker, console, test_broker};
use crate::kit::{Guest, PATIENCE};

const SENT: &str = "The message is sent at once.";
const AWAY: &str = "The client is offline: the message waits in its session.";

fn explained(http: &mut Http, question: &Value) -> Value {
    let answer = http.post("/api/v1/explain", &question.to_string());
    assert_eq!(answer.status, 200, "{question}: {answer:?}");
    answer.json()
}

/// A session whose client has gone.
fn away(broker: &TestBroker, client_id: &str, qos: QoS) {
    Guest { session_expiry: 60, ..Guest::named(client_id) }.connect(broker).subscribe("t", qos);
    assert!(broker.wait_for_no_client(client_id, PATIENCE).unwrap());
}

fn subscribe_with(client: &mut Client, filter: &str, options: SubscriptionOptions) {
    let mut filters = Vec::new();
    SubscriptionRequest { filter, options }.encode(&mut filters);
    let packet = Subscribe::from_encoded(crate::kit::id(1), Properties::EMPTY, &filters).unwrap();
    client.send(|version, out| packet.encode(version, out));
    client.expect("SUBACK", |packet| matches!(packet, midge::codec::packet::Packet::Suback(_)).then_some(()));
}

#[test]
fn each_receiver_is_told_what_it_gets_and_why_not() {
    let broker = test_broker(&[("session.max_queued_messages", "1")]);
    let connect = |client_id, qos| {
        let mut client = Guest::named(client_id).connect(&broker);
        client.subscribe("t", qos);
        client
    };
    let _equal = connect("equal", QoS::AtLeastOnce);
    let _higher = connect("higher", QoS::ExactlyOnce);
    let _lower = connect("lower", QoS::AtMostOnce);
    let _member = {
        let mut client = Guest::named("member").connect(&broker);
        client.subscribe("$share/g/+", QoS::AtMostOnce);
        client
    };
    let mut busy = Guest { receive_maximum: Some(1), ..Guest::named("busy") }.connect(&broker);
    busy.subscribe("own", QoS::AtLeastOnce);
    busy.subscribe("t", QoS::AtLeastOnce);
    broker.publish("own", "x", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    away(&broker, "away", QoS::AtLeastOnce);
    away(&broker, "away unsure", QoS::AtMostOnce);
    let mut full = Guest { session_expiry: 60, ..Guest::named("full") }.connect(&broker);
    full.subscribe("t", QoS::AtLeastOnce);
    full.subscribe("filling", QoS::AtLeastOnce);
    drop(full);
    assert!(broker.wait_for_no_client("full", PATIENCE).unwrap());
    broker.publish("filling", "x", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    let mut own = Guest::named("publisher").connect(&broker);
    let no_local = SubscriptionOptions { no_local: true, ..SubscriptionOptions::with_qos(QoS::AtMostOnce) };
    subscribe_with(&mut own, "t", no_local);
    let _host = broker.subscribe("t", &SubscribeOptions::default()).unwrap();

    let mut http = Http::admin(console(&broker));
    let question = json!({"topic": "t", "qos": 1, "bytes": 5, "client_id": "publisher"});
    let answer = explained(&mut http, &question);
    let lowered = " QoS 1 is lowered to 0, the maximum of the subscription.";
    let expected = [
        (json!(null), "sent", json!(null), SENT.to_owned()),
        (json!("away"), "queued", json!(null), AWAY.to_owned()),
        (
            json!("away unsure"),
            "dropped",
            json!("offline"),
            "offline: the subscriber was not connected, and QoS 0 messages wait only if session.queue_qos0 is on."
                .to_owned(),
        ),
        (
            json!("busy"),
            "queued",
            json!(null),
            "The client's window of unacknowledged messages is full, or it reads slowly: the message waits in its \
             queue."
                .to_owned(),
        ),
        (json!("equal"), "sent", json!(null), SENT.to_owned()),
        (
            json!("full"),
            "dropped",
            json!("queue_full"),
            "queue full: the session of the subscriber already held session.max_queued_messages messages or \
             session.max_queued_bytes bytes."
                .to_owned(),
        ),
        (json!("higher"), "sent", json!(null), SENT.to_owned()),
        (json!("lower"), "sent", json!(null), format!("{SENT}{lowered}")),
        (
            json!("member"),
            "sent",
            json!(null),
            format!("{SENT}{lowered} One member of the group gets the message; the members take turns."),
        ),
        (
            json!("publisher"),
            "dropped",
            json!("no_local"),
            "The client published the message itself, and its subscription has No Local.".to_owned(),
        ),
    ];
    let receivers = answer["receivers"].as_array().unwrap();
    for (receiver, (client_id, outcome, reason, text)) in receivers.iter().zip(&expected) {
        let said = (&receiver["client_id"], &receiver["outcome"], &receiver["reason"], &receiver["text"]);
        assert_eq!(said, (client_id, &json!(outcome), reason, &json!(text)));
    }
    assert_eq!(receivers.len(), expected.len());
    assert_eq!((&answer["outcome"], &answer["retained"]), (&json!("delivered"), &json!("no")));
    assert_eq!(answer["text"], "5 of 10 get the message now, 2 later.");
    let filters = json!([{"filter": "$share/g/+", "qos": 0}]);
    assert_eq!((&receivers[8]["shared"], &receivers[8]["filters"]), (&json!("g"), &filters));
}

#[test]
fn all_receivers_together_are_told_in_one_sentence() {
    let broker = test_broker(&[]);
    let mut http = Http::admin(console(&broker));
    let mut ask = |qos: u8| {
        let answer = explained(&mut http, &json!({"topic": "t", "qos": qos}));
        (answer["outcome"].as_str().unwrap().to_owned(), answer["text"].as_str().unwrap().to_owned())
    };
    let said = |outcome: &str, text: &str| (outcome.to_owned(), text.to_owned());
    let nobody = "No subscription matches this topic, so nobody gets the message. Start the subscriber first, or \
                  publish with retain.";
    assert_eq!(ask(1), said("no_subscriber", nobody));
    away(&broker, "away", QoS::AtLeastOnce);
    assert_eq!(ask(0), said("dropped", "1 match, but none gets the message."));
    assert_eq!(ask(1), said("queued", "1 of 1 get the message later."));
    let mut client = Guest::named("here").connect(&broker);
    client.subscribe("t", QoS::AtMostOnce);
    assert_eq!(ask(0), said("delivered", "1 of 2 get the message now."));
    assert_eq!(ask(1), said("delivered", "1 of 2 get the message now, 1 later."));
}

#[test]
fn a_queue_that_ends_its_client_is_said_to() {
    let settings = [("session.max_queued_messages", "0"), ("session.queue_overflow", "disconnect")];
    let broker = test_broker(&settings);
    let mut busy = Guest { receive_maximum: Some(1), ..Guest::named("busy") }.connect(&broker);
    busy.subscribe("t", QoS::AtLeastOnce);
    broker.publish("t", "x", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    let answer = explained(&mut Http::admin(console(&broker)), &json!({"topic": "t", "qos": 1}));
    let receiver = &answer["receivers"][0];
    assert_eq!((&receiver["outcome"], &receiver["reason"]), (&json!("dropped"), &json!("queue_full")));
    let text = "The queue of the session is full: the message is dropped and the client disconnected \
                (session.queue_overflow).";
    assert_eq!(receiver["text"], text);
}

/// What is refused is explained and, when it is published, answered by the same sentence; nobody gets it.
#[test]
fn each_refusal_has_its_sentence() {
    let broker = broker(&[
        ("mqtt.max_qos", "1"),
        ("mqtt.retain", "false"),
        ("mqtt.max_topic_levels", "3"),
        ("mqtt.max_topic_length", "20"),
        ("mqtt.max_packet_size", "1000"),
    ]);
    let mut client = Client::connect(crate::client::address(&broker), "c", Version::V5);
    client.subscribe("#", QoS::AtMostOnce);
    let mut http = Http::admin(console(&broker));
    for (question, text, retained) in [
        (json!({"topic": "$SYS/x"}), "Only the broker publishes below $SYS.", "no"),
        (json!({"topic": "a/b/c/d"}), "The topic has more levels than mqtt.max_topic_levels.", "no"),
        (json!({"topic": "x".repeat(21)}), "The topic is longer than mqtt.max_topic_length.", "no"),
        (json!({"topic": "t", "qos": 2}), "The QoS is higher than mqtt.max_qos.", "no"),
        (
            json!({"topic": "t", "retain": true}),
            "The broker keeps no retained messages: mqtt.retain is off.",
            "refused",
        ),
        (json!({"topic": "t", "bytes": 1000}), "The message is larger than mqtt.max_packet_size.", "no"),
    ] {
        let answer = explained(&mut http, &question);
        let said = (&answer["outcome"], &answer["text"], &answer["retained"], &answer["receivers"]);
        assert_eq!(said, (&json!("refused"), &json!(text), &json!(retained), &json!([])), "{question}");
        let mut message = question.clone();
        if let Some(bytes) = message.as_object_mut().unwrap().remove("bytes") {
            message["payload"] = "x".repeat(bytes.as_u64().unwrap() as usize).into();
        }
        let answer = http.post("/api/v1/publish", &message.to_string());
        assert_eq!((answer.status, &answer.json()["error"]["message"]), (400, &json!(text)), "{question}");
    }
    // What is within the bounds is taken.
    for question in
        [json!({"topic": "a/b/c"}), json!({"topic": "x".repeat(20)}), json!({"topic": "t", "qos": 1})]
    {
        assert_eq!(explained(&mut http, &question)["outcome"], "delivered", "{question}");
    }
}

#[test]
fn what_becomes_of_the_retained_message_is_said() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for (question, retained) in [
        (json!({"topic": "t", "bytes": 1}), "no"),
        (json!({"topic": "t", "bytes": 1, "retain": true}), "stored"),
        (json!({"topic": "t", "retain": true}), "removed"),
    ] {
        assert_eq!(explained(&mut http, &question)["retained"], retained, "{question}");
    }
    assert_eq!(http.json("/api/v1/retained")["total"], 0, "nothing is published");
}

#[test]
fn who_receives_a_topic_is_told_with_the_highest_qos_of_its_filters() {
    let broker = broker(&[]);
    let listener =
        |broker: &Broker, client_id| Client::connect(crate::client::address(broker), client_id, Version::V5);
    let (mut b, mut a) = (listener(&broker, "b"), listener(&broker, "a"));
    b.subscribe("x/#", QoS::AtLeastOnce);
    a.subscribe("x/+", QoS::AtMostOnce);
    a.subscribe("x/y", QoS::ExactlyOnce);
    a.subscribe("other", QoS::ExactlyOnce);
    let mut http = Http::admin(console(&broker));
    let found = http.json("/api/v1/subscriptions/match?topic=x/y");
    let receivers = found["receivers"].as_array().unwrap();
    let shown: Vec<_> = receivers.iter().map(|one| (one["client_id"].clone(), one["qos"].clone())).collect();
    assert_eq!(shown, [(json!("a"), json!(2)), (json!("b"), json!(1))]);
    let mut filters: Vec<_> =
        receivers[0]["filters"].as_array().unwrap().iter().map(Value::to_string).collect();
    filters.sort();
    assert_eq!(filters, [r#"{"filter":"x/+","qos":0}"#, r#"{"filter":"x/y","qos":2}"#]);
    assert_eq!(found["retained"], false);
    broker.publish("x/y", "x", &PublishOptions::default().retained()).unwrap();
    assert_eq!(http.json("/api/v1/subscriptions/match?topic=x/y")["retained"], true);
}

#[test]
fn the_options_of_a_subscription_are_shown() {
    let broker = test_broker(&[]);
    let mut client = Guest::named("c").connect(&broker);
    for (filter, no_local, retain_as_published, retain_handling) in [
        ("a", true, false, RetainHandling::SendIfNew),
        ("b", false, true, RetainHandling::DoNotSend),
        ("c", false, false, RetainHandling::SendAlways),
    ] {
        let options =
            SubscriptionOptions { qos: QoS::AtLeastOnce, no_local, retain_as_published, retain_handling };
        subscribe_with(&mut client, filter, options);
    }
    let mut http = Http::admin(console(&broker));
    let shown = |filter: &str, no_local: bool, retain_as_published: bool, retain_handling: u8| {
        json!({"filter": filter, "client_id": "c", "qos": 1, "no_local": no_local, "shared": null, "identifier": 0,
            "retain_as_published": retain_as_published, "retain_handling": retain_handling})
    };
    let expected =
        json!([shown("a", true, false, 1), shown("b", false, true, 2), shown("c", false, false, 0)]);
    assert_eq!(http.json("/api/v1/subscriptions?search=C")["items"], expected);
    assert_eq!(http.json("/api/v1/clients/c")["subscriptions"], expected);
}
