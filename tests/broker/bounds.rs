//! The bounds that settings name, for the host: what is exactly at one passes, what is one beyond does not.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Broker, Error, Overflow, Polled, PublishOptions, Queue, QueueOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, address, config};

fn broker_with(settings: &[(&str, &str)]) -> Broker {
    let mut config = config();
    for (key, value) in settings {
        config.set(key, value).unwrap();
    }
    Broker::start(&config).unwrap()
}

/// The argument that is refused, and why.
fn refused(outcome: Result<usize, Error>) -> (&'static str, String) {
    match outcome {
        Err(Error::Argument { argument, cause }) => (argument, cause),
        other => panic!("expected a refusal: {other:?}"),
    }
}

fn payloads(queue: &Queue) -> Vec<String> {
    let mut all = Vec::new();
    while let Polled::Messages(batch) = queue.poll(1, Some(Duration::ZERO)) {
        all.extend(batch.iter().map(|m| String::from_utf8_lossy(m.payload).into_owned()));
    }
    all
}

#[test]
fn the_host_publishes_to_a_topic_at_the_bound_and_to_none_that_is_deeper() {
    let deep = |levels: usize| vec!["x"; levels].join("/");
    for (settings, most) in [(&[][..], 256), (&[("mqtt.max_topic_levels", "3")][..], 3)] {
        let broker = broker_with(settings);
        let _hears = broker.subscribe("#", &SubscribeOptions::default()).unwrap();
        assert_eq!(broker.publish(&deep(most), "", &PublishOptions::default()).unwrap(), 1);
        let (argument, cause) = refused(broker.publish(&deep(most + 1), "", &PublishOptions::default()));
        assert_eq!(
            (argument, cause),
            ("topic", format!("has more than {most} levels (mqtt.max_topic_levels)"))
        );
        assert_eq!(broker.stats().messages_published, 1);
    }
}

#[test]
fn the_host_publishes_to_a_topic_at_the_bound_and_to_none_that_is_longer() {
    for (settings, most) in [(&[][..], 65_535), (&[("mqtt.max_topic_length", "3")][..], 3)] {
        let broker = broker_with(settings);
        let _hears = broker.subscribe("#", &SubscribeOptions::default()).unwrap();
        assert_eq!(broker.publish(&"x".repeat(most), "", &PublishOptions::default()).unwrap(), 1);
        let beyond = broker.publish(&"x".repeat(most + 1), "", &PublishOptions::default());
        match most {
            // No Topic Name is longer.
            65_535 => assert!(matches!(beyond, Err(Error::Topic { .. })), "{beyond:?}"),
            _ => {
                let cause = "is 4 bytes long; mqtt.max_topic_length is 3".to_owned();
                assert_eq!(refused(beyond), ("topic", cause));
            }
        }
        assert_eq!(broker.stats().messages_published, 1);
    }
}

/// Only the broker says what it says of itself, whichever call it is.
#[test]
fn the_host_does_not_publish_below_sys() {
    let broker = broker_with(&[]);
    let mut hears = broker.subscribe("$SYS/broker/mine", &SubscribeOptions::default()).unwrap();
    let topic = "$SYS/broker/mine";
    let mut retained = PublishOptions::qos(QoS::AtLeastOnce);
    retained.retain = true;
    let expected = ("topic", format!("{topic:?} is below $SYS, where only the broker publishes"));
    assert_eq!(refused(broker.publish(topic, "x", &PublishOptions::default())), expected);
    assert_eq!(refused(broker.publish(topic, "x", &retained)), expected);
    assert_eq!(refused(broker.publish_owned(topic, vec![0; 9_000], &retained)), expected);
    assert!(hears.recv_timeout(Duration::ZERO).unwrap().is_none());
    assert!(broker.retained(topic).unwrap().is_empty());
    assert_eq!(broker.stats().messages_published, 0);
    for allowed in ["$SYS", "$SYSTEM/x", "a/$SYS/x"] {
        broker.publish(allowed, "x", &PublishOptions::default()).unwrap();
    }
}

#[test]
fn the_host_publishes_a_packet_at_the_bound_and_none_that_is_larger() {
    let broker = broker_with(&[("mqtt.max_packet_size", "128B")]);
    // QoS 0 has no identifier.
    broker.publish("t", [0; 122], &PublishOptions::default()).unwrap();
    let beyond = refused(broker.publish("t", [0; 123], &PublishOptions::default()));
    assert_eq!(beyond, ("payload", "makes a packet of 129 bytes; mqtt.max_packet_size is 128".to_owned()));
    // An expiry takes five bytes.
    let mut expiring = PublishOptions::default();
    expiring.message_expiry_interval = Some(9);
    broker.publish("t", [0; 117], &expiring).unwrap();
    assert_eq!(refused(broker.publish("t", [0; 118], &expiring)), beyond);
    // Fixed header 2, topic 3, identifier 2, property length 1.
    let plain = PublishOptions::qos(QoS::AtLeastOnce);
    broker.publish("t", [0; 120], &plain).unwrap();
    broker.publish_owned("t", vec![0; 120], &plain).unwrap();
    let too_large = "makes a packet of 129 bytes; mqtt.max_packet_size is 128".to_owned();
    assert_eq!(refused(broker.publish("t", [0; 121], &plain)), ("payload", too_large.clone()));
    assert_eq!(refused(broker.publish_owned("t", vec![0; 121], &plain)), ("payload", too_large.clone()));
    // A property counts: a byte, two of the length, and the text.
    let mut typed = plain.clone();
    typed.content_type = Some("text".to_owned());
    broker.publish("t", [0; 113], &typed).unwrap();
    assert_eq!(refused(broker.publish("t", [0; 114], &typed)), ("payload", too_large));
    assert_eq!(broker.stats().messages_published, 5);
}

#[test]
fn the_host_publishes_with_the_highest_qos_and_with_none_above() {
    for (most, at, beyond) in
        [("0", QoS::AtMostOnce, QoS::AtLeastOnce), ("1", QoS::AtLeastOnce, QoS::ExactlyOnce)]
    {
        let broker = broker_with(&[("mqtt.max_qos", most)]);
        broker.publish("t", "", &PublishOptions::qos(at)).unwrap();
        assert_eq!(refused(broker.publish("t", "", &PublishOptions::qos(beyond))).0, "qos");
    }
}

/// The longest that MQTT carries, in each property that has a length.
#[test]
fn the_host_gives_properties_of_65535_bytes_and_none_of_more() {
    let broker = broker_with(&[]);
    let text = |len| "x".repeat(len);
    type Set = fn(&mut PublishOptions, String);
    let properties: [(&str, Set); 5] = [
        ("content_type", |options, text| options.content_type = Some(text)),
        ("response_topic", |options, text| options.response_topic = Some(text)),
        ("correlation_data", |options, text| options.correlation_data = Some(text.into_bytes())),
        ("user_properties", |options, text| options.user_properties = vec![(text, String::new())]),
        ("user_properties", |options, text| options.user_properties = vec![(String::new(), text)]),
    ];
    for (name, set) in properties {
        let mut options = PublishOptions::default();
        set(&mut options, text(65_535));
        broker.publish("t", "", &options).unwrap();
        set(&mut options, text(65_536));
        assert_eq!(refused(broker.publish("t", "", &options)).0, name);
    }
}

#[test]
fn a_queue_without_bounds_of_its_own_has_those_of_the_settings() {
    let settings = [("queue.capacity", "2"), ("queue.max_bytes", "1KiB")];
    let broker = broker_with(&settings);
    for (payload, held) in [(10, 2), (511, 2), (512, 1)] {
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        let _subscription = queue.subscribe("q", &SubscribeOptions::default(), 0).unwrap();
        for _ in 0..3 {
            broker.publish("q", vec![b'x'; payload], &PublishOptions::default()).unwrap();
        }
        assert_eq!((queue.len(), queue.dropped()), (held, 3 - held as u64), "{payload} bytes");
    }
}

/// A message occupies its topic, its payload and its properties; for an identifier, of which two bytes are kept here,
/// there must be room for five.
#[test]
fn a_queue_holds_as_many_bytes_as_it_may() {
    let broker = broker_with(&[]);
    for (overflow, kept) in [
        (Overflow::DropNewest, ["0........", "1........"]),
        (Overflow::DropOldest, ["1........", "2........"]),
    ] {
        for (identifier, max_bytes, held) in [(0, 20, 2), (0, 19, 1), (7, 27, 2), (7, 26, 1)] {
            let mut options = QueueOptions::default();
            options.max_bytes = Some(max_bytes);
            options.overflow = overflow;
            let queue = broker.queue(&options).unwrap();
            let mut subscribed = SubscribeOptions::default();
            subscribed.identifier = identifier;
            let _subscription = queue.subscribe("q", &subscribed, 0).unwrap();
            let before = broker.stats().messages_dropped_local_queue_full;
            for number in 0..3 {
                broker.publish("q", format!("{number}........"), &PublishOptions::default()).unwrap();
            }
            assert_eq!(queue.dropped(), 3 - held as u64, "{overflow:?} {max_bytes}");
            let counted = broker.stats().messages_dropped_local_queue_full - before;
            if overflow == Overflow::DropNewest {
                assert_eq!(counted, queue.dropped(), "{max_bytes}");
            }
            let first = if overflow == Overflow::DropNewest { 0 } else { 2 - held };
            let expected = &kept[first..first + held];
            assert_eq!(payloads(&queue), expected, "{overflow:?} {max_bytes}");
        }
    }
}

/// Members of a group: what one has no room for, by number or by bytes, another one gets.
#[test]
fn a_queue_that_is_full_is_passed_over_by_its_group() {
    let broker = broker_with(&[]);
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        for (capacity, max_bytes, held) in [(5, usize::MAX, 5), (1000, 20, 10)] {
            let bounds = [(capacity, max_bytes), (1000, usize::MAX)];
            let queues = bounds.map(|(capacity, max_bytes)| {
                let mut options = QueueOptions::default();
                (options.capacity, options.max_bytes) = (Some(capacity), Some(max_bytes));
                options.overflow = overflow;
                broker.queue(&options).unwrap()
            });
            let subscribe = |queue: &Queue| queue.subscribe("$share/g/q", &SubscribeOptions::default(), 0);
            let _subscriptions = queues.each_ref().map(|queue| subscribe(queue).unwrap());
            for _ in 0..100 {
                assert_eq!(broker.publish("q", "x", &PublishOptions::default()).unwrap(), 1);
            }
            let lens = queues.each_ref().map(|queue| (queue.len(), queue.dropped()));
            assert_eq!(lens, [(held, 0), (100 - held, 0)], "{overflow:?} {capacity} {max_bytes}");
        }
    }
}

/// Otherwise it could never be taken: a message that is larger than the queue waits if nothing else does.
#[test]
fn a_message_above_the_bytes_of_a_queue_waits_alone() {
    let broker = broker_with(&[]);
    for (overflow, kept) in [(Overflow::DropNewest, "large"), (Overflow::DropOldest, "small")] {
        let mut options = QueueOptions::default();
        options.max_bytes = Some(20);
        options.overflow = overflow;
        let queue = broker.queue(&options).unwrap();
        let _subscription = queue.subscribe("q", &SubscribeOptions::default(), 0).unwrap();
        let large = format!("large{}", "x".repeat(100));
        broker.publish("q", &large, &PublishOptions::default()).unwrap();
        assert_eq!((queue.len(), queue.dropped()), (1, 0), "{overflow:?}");
        broker.publish("q", "small", &PublishOptions::default()).unwrap();
        assert_eq!((queue.len(), queue.dropped()), (1, 1), "{overflow:?}");
        let taken = payloads(&queue);
        assert!(taken.len() == 1 && taken[0].starts_with(kept), "{overflow:?} {taken:?}");
        // When it is taken, there is room for all that there was before.
        for _ in 0..3 {
            broker.publish("q", "123456789", &PublishOptions::default()).unwrap();
        }
        assert_eq!((queue.len(), queue.dropped()), (2, 2), "{overflow:?}");
    }
}

/// The last of the places is given, and who finds none is refused and counted, not as a client.
#[test]
fn who_finds_a_full_listener_is_counted_as_refused() {
    for (key, name) in
        [("mqtt.max_connections", "the broker"), ("listener.tcp.max_connections", "the listener")]
    {
        let broker = broker_with(&[(key, "2")]);
        let clients = ["1", "2"].map(|id| Client::connect(address(&broker), id, Version::V5));
        let stats = broker.stats();
        assert_eq!((stats.connections_accepted, stats.connections_refused), (2, 0), "{name}");
        for refused in 1..=3 {
            let mut client = Client::raw(address(&broker));
            client.send_connect("3", 0);
            // Return code 3 of MQTT 3: the server is unavailable.
            assert_eq!(client.until_closed(), [0x20, 2, 0, 3], "{name}");
            let stats = broker.stats();
            assert_eq!(
                (stats.connections_accepted, stats.connections_refused),
                (2 + refused, refused),
                "{name}"
            );
            assert_eq!(stats.clients_connected, 2, "{name}");
        }
        drop(clients);
    }
}

/// A socket that the host hands over finds the same bound.
#[test]
fn a_socket_that_is_handed_over_to_a_full_broker_is_counted_as_refused() {
    let broker = broker_with(&[("mqtt.max_connections", "1")]);
    let _first = Client::connect(address(&broker), "1", Version::V5);
    let (ours, theirs) = UnixStream::pair().unwrap();
    broker.adopt(ours, None).unwrap();
    let mut client = Client::over_raw(TcpStream::from(OwnedFd::from(theirs)));
    client.send_connect("2", 0);
    assert_eq!(client.until_closed(), [0x20, 2, 0, 3]);
    let stats = broker.stats();
    assert_eq!((stats.connections_accepted, stats.connections_refused), (2, 1));
}

/// A client that does not read is read on while what waits for it is within the bounds: its outbox is full and QoS 0
/// messages to it are dropped, or its queue is full and those of QoS 1 are.
/// A socketpair that is full stays so.
#[test]
fn a_client_that_is_blocked_within_its_bounds_is_still_read() {
    let settings = [("session.max_outbox_bytes", "64KiB"), ("session.max_queued_messages", "3")];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let broker = broker_with(&settings);
        let mut said = broker.subscribe("said", &SubscribeOptions::default()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        broker.adopt(ours, None).unwrap();
        let mut deaf = Client::over(TcpStream::from(OwnedFd::from(theirs)), "deaf", Version::V5);
        deaf.subscribe("t", qos);
        let payload = vec![b'x'; 16 * 1024];
        // Until every message has been dropped for long: then it is the socket that is full, and not a thread that writes.
        let (mut published, mut in_a_row) = (0, 0);
        while in_a_row < 1000 {
            let before = broker.stats().messages_dropped();
            broker.publish("t", &payload, &PublishOptions::qos(qos)).unwrap();
            published += 1;
            in_a_row = if broker.stats().messages_dropped() > before { in_a_row + 1 } else { 0 };
            assert!(published < 100_000, "the socket takes everything");
            std::thread::yield_now();
        }
        let stats = broker.stats();
        match qos {
            QoS::AtMostOnce => assert_eq!(stats.messages_dropped(), stats.messages_dropped_outbox_full),
            _ => assert_eq!(
                (stats.messages_dropped(), stats.messages_queued),
                (stats.messages_dropped_queue_full, 3)
            ),
        }
        for number in ["1", "2"] {
            deaf.publish("said", number.as_bytes(), QoS::AtMostOnce);
            let message = said.recv_timeout(PATIENCE).unwrap();
            let message = message.unwrap_or_else(|| panic!("{qos:?}: the client is not read"));
            assert_eq!(message.payload(), number);
        }
        for _ in 0..published - stats.messages_dropped() {
            assert_eq!(deaf.message().payload.len(), payload.len());
        }
    }
}
