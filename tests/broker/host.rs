//! The host publishes and subscribes without a socket.

use std::sync::mpsc;
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Broker, Error, Hooks, Overflow, Polled, PublishOptions, QueueOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, address, broker};

#[test]
fn a_host_message_reaches_clients_of_every_version_and_the_host() {
    let broker = broker();
    let mut own = broker.subscribe("a/#", &SubscribeOptions::default()).unwrap();
    let mut clients: Vec<_> = [Version::V31, Version::V311, Version::V5]
        .into_iter()
        .map(|version| {
            let mut client = Client::connect(address(&broker), &format!("c{version}"), version);
            client.subscribe("a/+", QoS::AtLeastOnce);
            client
        })
        .collect();
    let reached = broker.publish("a/b", "hi", &PublishOptions::qos(QoS::AtLeastOnce)).unwrap();
    assert_eq!(reached, 4);
    for client in &mut clients {
        let message = client.message();
        assert_eq!((message.topic.as_str(), &message.payload[..]), ("a/b", &b"hi"[..]));
        assert_eq!(message.qos, QoS::AtLeastOnce);
    }
    let message = own.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((message.topic(), &message.payload()[..]), ("a/b", &b"hi"[..]));
}

#[test]
fn properties_travel_from_host_to_host() {
    let broker = broker();
    let mut own = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    let mut options = PublishOptions::default();
    options.content_type = Some("text/plain".into());
    options.response_topic = Some("answers".into());
    options.correlation_data = Some(vec![1, 2, 3]);
    options.payload_is_text = true;
    options.message_expiry_interval = Some(60);
    options.user_properties = vec![("k".into(), "v".into()), ("k".into(), "w".into())];
    broker.publish("t", "x", &options).unwrap();
    let message = own.recv_timeout(PATIENCE).unwrap().unwrap();
    let properties = message.properties();
    assert_eq!(properties.content_type(), Some("text/plain"));
    assert_eq!(properties.response_topic(), Some("answers"));
    assert_eq!(properties.correlation_data(), Some(&[1u8, 2, 3][..]));
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("k", "v"), ("k", "w")]);
    assert_eq!(message.expiry_interval(), Some(60));
}

#[test]
fn a_message_that_nobody_hears_is_counted_with_its_reason() {
    let broker = broker();
    assert_eq!(broker.publish("chat", "hello", &PublishOptions::default()).unwrap(), 0);
    let stats = broker.stats();
    assert_eq!((stats.messages_published, stats.messages_dropped_no_subscriber), (1, 1));
}

#[test]
fn retained_messages_wait_in_the_queue_when_subscribing_returns() {
    let broker = broker();
    broker.publish("r/1", "a", &PublishOptions::default().retained()).unwrap();
    broker.publish("r/2", vec![7; 20_000], &PublishOptions::default().retained()).unwrap();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("r/+", &SubscribeOptions::default(), 42).unwrap();
    let Polled::Messages(batch) = queue.poll(10, Some(Duration::ZERO)) else {
        panic!("nothing waits");
    };
    let mut seen: Vec<_> = batch.iter().map(|m| (m.topic, m.payload.len(), m.retain, m.tag)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("r/1", 1, true, 42), ("r/2", 20_000, true, 42)]);
}

#[test]
fn a_full_queue_drops_by_its_policy_and_counts() {
    let broker = broker();
    for (overflow, kept) in [(Overflow::DropNewest, ["0", "1"]), (Overflow::DropOldest, ["3", "4"])] {
        let mut options = QueueOptions::default();
        options.capacity = Some(2);
        options.overflow = overflow;
        let queue = broker.queue(&options).unwrap();
        let _subscription = queue.subscribe("q", &SubscribeOptions::default(), 0).unwrap();
        for number in 0..5 {
            broker.publish("q", number.to_string(), &PublishOptions::default()).unwrap();
        }
        assert_eq!((queue.len(), queue.dropped()), (2, 3));
        let mut payloads = Vec::new();
        while let Polled::Messages(batch) = queue.poll(1, Some(Duration::ZERO)) {
            payloads.extend(batch.iter().map(|m| String::from_utf8_lossy(m.payload).into_owned()));
        }
        assert_eq!(payloads, kept);
    }
}

#[test]
fn what_was_taken_from_a_queue_counts_no_more() {
    let broker = broker();
    let mut options = QueueOptions::default();
    options.max_bytes = Some(1000);
    let queue = broker.queue(&options).unwrap();
    let mut subscribed = SubscribeOptions::default();
    subscribed.identifier = 1;
    let _subscription = queue.subscribe("q", &subscribed, 0).unwrap();
    for _ in 0..1000 {
        broker.publish("q", "x", &PublishOptions::default()).unwrap();
        assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::Messages(_)));
    }
    for _ in 0..100 {
        broker.publish("q", "x", &PublishOptions::default()).unwrap();
    }
    assert_eq!((queue.len(), queue.dropped()), (100, 0));
}

#[test]
fn a_waiting_thread_is_woken_by_a_message_and_by_the_end() {
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("#", &SubscribeOptions::default(), 0).unwrap();
    let waiting = queue.clone();
    let (told, hears) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        loop {
            match waiting.poll(1, None) {
                Polled::Messages(batch) => told.send(batch.len()).unwrap(),
                Polled::TimedOut => panic!("waits for ever"),
                Polled::Closed => return,
            }
        }
    });
    broker.publish("x", "", &PublishOptions::default()).unwrap();
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), 1);
    broker.stop(None).unwrap();
    thread.join().unwrap();
}

#[test]
fn callbacks_come_in_order_and_may_publish_subscribe_and_unsubscribe() {
    let broker = std::sync::Arc::new(broker());
    let (told, hears) = mpsc::channel();
    let inner = std::sync::Arc::downgrade(&broker);
    let nested = std::sync::Arc::new(std::sync::Mutex::new(None));
    let held = nested.clone();
    let subscription = broker
        .subscribe_with("in/#", &SubscribeOptions::default(), move |message| {
            let broker = inner.upgrade().unwrap();
            let number = String::from_utf8_lossy(message.payload).into_owned();
            if number == "0" {
                let told = told.clone();
                let made = broker.subscribe_with("out", &SubscribeOptions::default(), move |message| {
                    told.send(String::from_utf8_lossy(message.payload).into_owned()).unwrap();
                });
                *held.lock().unwrap() = Some(made.unwrap());
            }
            if number == "100" {
                *held.lock().unwrap() = None;
            }
            broker.publish("out", &number, &PublishOptions::default()).unwrap();
        })
        .unwrap();
    for number in 0..100 {
        broker.publish("in/x", number.to_string(), &PublishOptions::default()).unwrap();
    }
    for number in 0..100 {
        assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), number.to_string());
    }
    // The nested subscription is ended from a callback; who publishes next reaches nobody.
    broker.publish("in/x", "100", &PublishOptions::default()).unwrap();
    drop(subscription);
    assert!(hears.try_recv().is_err());
    drop(nested);
}

#[test]
fn a_callback_that_panics_is_not_called_again_and_the_broker_lives() {
    let broker = broker();
    let (told, hears) = mpsc::channel();
    let _bad = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            told.send(()).unwrap();
            panic!("the host's bug");
        })
        .unwrap();
    let mut good = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    broker.publish("t", "1", &PublishOptions::default()).unwrap();
    broker.publish("t", "2", &PublishOptions::default()).unwrap();
    hears.recv_timeout(PATIENCE).unwrap();
    assert!(hears.recv_timeout(PATIENCE).is_err(), "called after its panic");
    assert!(good.recv_timeout(PATIENCE).unwrap().is_some());
    assert!(good.recv_timeout(PATIENCE).unwrap().is_some());
}

#[test]
fn dropping_a_callback_subscription_waits_for_the_call_that_runs() {
    let broker = broker();
    let (entered, enters) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let finished = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = finished.clone();
    let subscription = broker
        .subscribe_with("t", &SubscribeOptions::default(), move |_| {
            entered.send(()).unwrap();
            released.recv().unwrap();
            flag.store(true, std::sync::atomic::Ordering::SeqCst);
        })
        .unwrap();
    broker.publish("t", "", &PublishOptions::default()).unwrap();
    enters.recv_timeout(PATIENCE).unwrap();
    let dropper = std::thread::spawn(move || drop(subscription));
    release.send(()).unwrap();
    dropper.join().unwrap();
    assert!(finished.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn bad_arguments_are_errors_that_name_them() {
    let broker = broker();
    let publish =
        |topic: &str| broker.publish(topic, "", &PublishOptions::default()).unwrap_err().to_string();
    assert!(publish("a/+").contains("a/+"), "{}", publish("a/+"));
    assert!(publish("").contains("topic"), "{}", publish(""));
    let subscribe = |filter: &str| match broker.subscribe(filter, &SubscribeOptions::default()) {
        Ok(_) => panic!("{filter} was taken"),
        Err(error) => error.to_string(),
    };
    assert!(subscribe("a/#/b").contains("a/#/b"));
    assert!(subscribe("$share//x").contains("$share//x"));
    let large = broker.publish("t", vec![0; 2 << 20], &PublishOptions::default()).unwrap_err();
    assert!(large.to_string().contains("mqtt.max_packet_size"), "{large}");
    broker.stop(None).unwrap();
    assert!(matches!(broker.publish("t", "", &PublishOptions::default()), Err(Error::Stopped)));
    assert!(matches!(broker.subscribe("t", &SubscribeOptions::default()), Err(Error::Stopped)));
}

#[test]
fn a_client_is_kicked_with_0x98() {
    let broker = broker();
    let mut client = Client::connect(address(&broker), "guest", Version::V5);
    assert!(broker.kick("guest").unwrap());
    assert_eq!(client.until_closed(), [0xe0, 1, 0x98]);
    assert!(!broker.kick("guest").unwrap());
    assert!(!broker.kick("nobody").unwrap());
}

/// A session that is kept, of a client with a subscription to "t".
fn kept(broker: &Broker, client_id: &str) -> Client {
    let mut client = Client::raw(address(broker));
    client.version = Version::V311;
    let (mut connect, version) = (Vec::new(), client.version);
    client.encode_connect(client_id, &mut connect);
    // No Clean Session: the last of the flags, behind the protocol's name and level.
    connect[9] &= !2;
    client.send(|_, out| out.extend_from_slice(&connect));
    assert_eq!((client.connack(), version), (midge::codec::reason::ReasonCode::Success, Version::V311));
    client.subscribe("t", QoS::ExactlyOnce);
    client
}

#[test]
fn a_session_is_looked_into_cleared_and_ended() {
    let (sender, told) = mpsc::channel();
    let hooks = Hooks::new().on_dropped(move |dropped| {
        sender.send((dropped.client_id.clone(), dropped.topic.clone(), dropped.reason)).unwrap();
    });
    let broker = Broker::start_with(&crate::client::config(), &hooks).unwrap();
    drop(kept(&broker, "away"));
    while broker.clients()[0].connected {
        std::thread::yield_now();
    }
    let mut options = PublishOptions::qos(QoS::AtLeastOnce);
    options.content_type = Some("text/plain".to_owned());
    options.message_expiry_interval = Some(60);
    for payload in ["one", "two"] {
        broker.publish("t", payload, &options).unwrap();
    }
    let queued = broker.queued("away", 1).unwrap().unwrap();
    let [first] = &queued[..] else { panic!("{queued:?}") };
    assert_eq!((first.topic(), &first.payload()[..], first.qos()), ("t", &b"one"[..], QoS::AtLeastOnce));
    assert_eq!(first.properties().content_type(), Some("text/plain"));
    assert!(first.expiry_interval().is_some_and(|seconds| (50..=60).contains(&seconds)));
    assert_eq!(broker.queued("away", 9).unwrap().unwrap().len(), 2);
    assert_eq!(broker.clear_queue("away").unwrap(), Some(2));
    for _ in 0..2 {
        let (client_id, topic, reason) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((client_id.as_deref(), &*topic, reason), (Some("away"), "t", midge::DropReason::Cleared));
    }
    assert!(broker.queued("away", 9).unwrap().unwrap().is_empty());
    assert!(broker.end_session("away").unwrap());
    assert!(!broker.end_session("away").unwrap());
    assert!(broker.queued("away", 9).unwrap().is_none() && broker.clear_queue("away").unwrap().is_none());
    let mut here = kept(&broker, "here");
    assert!(broker.end_session("here").unwrap());
    assert!(here.until_closed().is_empty());
    let stats = broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.messages_dropped_cleared), (0, 0, 2));
    broker.stop(None).unwrap();
    assert!(matches!(broker.end_session("away"), Err(Error::Stopped)));
    assert!(matches!(broker.clear_queue("away"), Err(Error::Stopped)));
}

/// More retained messages than a queue holds: each consumer gets all of them, and no live message is lost for them.
#[test]
fn more_retained_messages_than_a_queue_holds_all_arrive() {
    const RETAINED: usize = 15_000;
    let broker = broker();
    for n in 0..RETAINED {
        broker.publish(&format!("r/{n}"), "x", &PublishOptions::default().retained()).unwrap();
    }
    // A queue that is polled.
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("#", &SubscribeOptions::default(), 0).unwrap();
    assert!(queue.len() < 10_000, "half of the queue is left to live messages");
    let (mut kept, mut live) = (0, 0);
    while let Polled::Messages(batch) = queue.poll(1000, Some(Duration::ZERO)) {
        kept += batch.iter().filter(|message| message.retain).count();
        live += batch.iter().filter(|message| !message.retain).count();
        if kept < RETAINED {
            broker.publish("live", "x", &PublishOptions::default()).unwrap();
        }
    }
    assert!(live > 0);
    assert_eq!((kept, queue.dropped()), (RETAINED, 0));
    // A callback, on the callback thread and on the thread that publishes.
    for direct in [false, true] {
        let (sender, receiver) = mpsc::channel();
        let mut options = SubscribeOptions::default();
        options.direct = direct;
        let _called = broker.subscribe_with("r/#", &options, move |message| {
            sender.send(message.retain).unwrap();
        });
        for _ in 0..RETAINED {
            assert!(receiver.recv_timeout(PATIENCE).unwrap());
        }
    }
    // One message after the other.
    let mut own = broker.subscribe("r/#", &SubscribeOptions::default()).unwrap();
    for _ in 0..RETAINED {
        assert!(own.recv_timeout(PATIENCE).unwrap().unwrap().retain());
    }
    assert_eq!(broker.stats().messages_dropped_local_queue_full, 0);
}

/// Each callback drops the subscription of the other while both run, on two threads.
#[test]
fn two_callbacks_may_drop_each_others_subscription() {
    let broker = std::sync::Arc::new(broker());
    let mut direct = SubscribeOptions::default();
    direct.direct = true;
    type Kept = std::sync::Arc<std::sync::Mutex<Option<midge::embed::CallbackSubscription>>>;
    let kept: [Kept; 2] = Default::default();
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let (ended, ends) = mpsc::channel();
    for n in 0..2 {
        let (others, both, ended) = (kept[1 - n].clone(), both.clone(), ended.clone());
        let subscription = broker.subscribe_with(&n.to_string(), &direct, move |_| {
            both.wait();
            let other = others.lock().unwrap().take();
            drop(other);
            ended.send(n).unwrap();
        });
        *kept[n].lock().unwrap() = Some(subscription.unwrap());
    }
    drop(ended);
    for n in 0..2 {
        let broker = broker.clone();
        std::thread::spawn(move || broker.publish(&n.to_string(), "", &PublishOptions::default()).unwrap());
    }
    for _ in 0..2 {
        ends.recv_timeout(PATIENCE).expect("each waits for the other");
    }
    // Both callbacks are dropped, with what they hold.
    assert!(matches!(ends.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected)));
    assert!(broker.subscriptions().is_empty());
}
