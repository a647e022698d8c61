//! The host publishes without a copy, and hears its own messages on its own thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Broker, Error, Polled, PublishOptions, QueueOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, address, broker};
use crate::deadline::until;

/// A buffer that takes the lock that its owner holds while it publishes: it must not be dropped under one of Midge's.
struct Buffer {
    bytes: Vec<u8>,
    dropped: Arc<AtomicUsize>,
    broker: Arc<Broker>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Calls the broker at every place where it can, which would hang if a lock were held.
        self.broker.publish("dropped", "", &PublishOptions::default()).unwrap();
        self.broker.retained("#").unwrap();
        assert!(self.broker.clients().len() < 10);
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn direct() -> SubscribeOptions {
    let mut options = SubscribeOptions::default();
    options.direct = true;
    options
}

#[test]
fn an_owned_payload_is_dropped_once_while_no_lock_is_held() {
    let broker = Arc::new(broker());
    let dropped = Arc::new(AtomicUsize::new(0));
    let buffer = |len| Buffer { bytes: vec![b'x'; len], dropped: dropped.clone(), broker: broker.clone() };
    let mut small = QueueOptions::default();
    small.capacity = Some(2);
    small.overflow = midge::embed::Overflow::DropOldest;
    let queue = broker.queue(&small).unwrap();
    let subscription = queue.subscribe("t/#", &SubscribeOptions::default(), 0).unwrap();
    let mut client = Client::connect(address(&broker), "client", Version::V5);
    client.subscribe("t/#", QoS::AtLeastOnce);
    const COUNT: usize = 60;
    let options = PublishOptions::qos(QoS::AtLeastOnce).retained();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Polled::Messages(batch) = queue.poll(1, Some(PATIENCE)) {
                if batch.get(0).is_some_and(|message| message.topic == "t/end") {
                    break;
                }
            }
        });
        for number in 0..COUNT {
            let topic = format!("t/{}", number % 3);
            broker.publish_owned(&topic, buffer(20_000), &options).unwrap();
        }
        broker.publish("t/end", "", &PublishOptions::default()).unwrap();
    });
    for _ in 0..20 {
        let message = client.message();
        assert_eq!(message.payload.len(), 20_000);
        let ack = midge::codec::ack::Ack::success(message.packet_id.unwrap());
        client.send(|version, out| ack.encode(midge::codec::ack::AckKind::Puback, version, out));
    }
    drop(client);
    until("the client is gone", || broker.stats().clients_connected == 0);
    for topic in ["t/0", "t/1", "t/2"] {
        broker.publish(topic, "", &PublishOptions::default().retained()).unwrap();
    }
    drop((queue, subscription));
    // The turns of the broker's threads have ended when the client is gone; what they put off is done in the next.
    until("every payload is dropped", || {
        broker.publish("t", "", &PublishOptions::default()).unwrap();
        dropped.load(Ordering::Relaxed) >= COUNT
    });
    assert_eq!(dropped.load(Ordering::Relaxed), COUNT, "payloads are dropped once");
    broker.stop(None).unwrap();
}

#[test]
fn a_small_owned_payload_is_dropped_before_the_call_returns() {
    let broker = Arc::new(broker());
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut own = broker.subscribe("t", &SubscribeOptions::default()).unwrap();
    let buffer = Buffer { bytes: b"small".to_vec(), dropped: dropped.clone(), broker: broker.clone() };
    assert_eq!(broker.publish_owned("t", buffer, &PublishOptions::default()).unwrap(), 1);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(&own.recv_timeout(PATIENCE).unwrap().unwrap().payload()[..], b"small");
    let buffer = Buffer { bytes: vec![0; 10_000], dropped: dropped.clone(), broker: broker.clone() };
    assert!(matches!(
        broker.publish_owned("#", buffer, &PublishOptions::default()),
        Err(Error::Topic { .. })
    ));
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[test]
fn a_received_message_is_passed_on_to_another_broker_without_a_copy() {
    let (first, second) = (broker(), broker());
    let mut heard = second.subscribe("#", &SubscribeOptions::default()).unwrap();
    let payload = vec![7; 30_000];
    let place = payload.as_ptr();
    let mut received = first.subscribe("#", &SubscribeOptions::default()).unwrap();
    first.publish_owned("t", payload, &PublishOptions::default()).unwrap();
    let message = received.recv_timeout(PATIENCE).unwrap().unwrap();
    second.publish_message(&message.view(), true).unwrap();
    let passed_on = heard.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(passed_on.payload().as_ptr(), place);
    assert_eq!(second.retained("t").unwrap()[0].payload().as_ptr(), place);
    drop((first, received, message));
    assert_eq!(&passed_on.payload()[..], &[7; 30_000][..]);
}

#[test]
fn a_direct_callback_runs_on_the_publishing_thread_and_in_order() {
    let broker = Arc::new(broker());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (seen, again) = (heard.clone(), Arc::downgrade(&broker));
    let subscription = broker
        .subscribe_with("t/#", &direct(), move |message| {
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            if text == "1" {
                let broker = again.upgrade().unwrap();
                broker.publish("t/nested", "1.1", &PublishOptions::default()).unwrap();
                assert!(matches!(broker.stop(None), Err(Error::InCallback)));
            }
            seen.lock().unwrap().push((text, std::thread::current().id()));
        })
        .unwrap();
    for text in ["1", "2"] {
        assert_eq!(broker.publish("t/a", text, &PublishOptions::default()).unwrap(), 1);
    }
    drop(subscription);
    broker.publish("t/a", "3", &PublishOptions::default()).unwrap();
    let me = std::thread::current().id();
    let expected = ["1", "1.1", "2"].map(|text| (text.to_owned(), me));
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn a_direct_callback_that_panics_is_not_called_again_and_the_publisher_goes_on() {
    let broker = broker();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let _subscription = broker
        .subscribe_with("t", &direct(), move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("a defect of the host, for the test");
        })
        .unwrap();
    broker.publish("t", "1", &PublishOptions::default()).unwrap();
    broker.publish("t", "2", &PublishOptions::default()).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    broker.stop(None).unwrap();
}

#[test]
fn unsubscribing_waits_for_a_direct_call_on_another_thread() {
    let broker = broker();
    let (began, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let returned = Arc::new(AtomicUsize::new(0));
    let ended = returned.clone();
    let subscription = broker
        .subscribe_with("t", &direct(), move |_| {
            began.send(()).unwrap();
            // The second call, if there is one, waits for nobody.
            let _told = goes.recv();
            ended.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| broker.publish("t", "x", &PublishOptions::default()).unwrap());
        begins.recv().unwrap();
        // What others publish meanwhile does not wait.
        assert_eq!(broker.publish("t", "y", &PublishOptions::default()).unwrap(), 1);
        scope.spawn(move || go.send(()).unwrap());
        drop(subscription);
        assert!(returned.load(Ordering::SeqCst) >= 1);
    });
}

#[test]
fn a_queue_cannot_be_direct() {
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    assert!(matches!(queue.subscribe("t", &direct(), 0), Err(Error::Argument { argument: "direct", .. })));
    assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::TimedOut));
}

#[test]
fn retained_messages_are_listed() {
    let broker = broker();
    let mut options = PublishOptions::qos(QoS::ExactlyOnce).retained();
    options.message_expiry_interval = Some(100);
    options.content_type = Some("text".into());
    for topic in ["b/1", "a/2", "a/1"] {
        broker.publish(topic, topic, &options).unwrap();
    }
    let mut client = Client::connect(address(&broker), "client", Version::V5);
    client.publish("a/not/retained", b"x", QoS::AtMostOnce);
    let listed = broker.retained("a/#").unwrap();
    assert_eq!(listed.iter().map(|message| message.topic()).collect::<Vec<_>>(), ["a/1", "a/2"]);
    let first = &listed[0];
    assert_eq!((first.qos(), first.retain(), &first.payload()[..]), (QoS::ExactlyOnce, true, &b"a/1"[..]));
    assert_eq!(first.properties().content_type(), Some("text"));
    assert!(first.expiry_interval().is_some_and(|seconds| (1..=100).contains(&seconds)));
    broker.publish("a/1", "", &options).unwrap();
    assert_eq!(broker.retained("#").unwrap().len(), 2);
    assert!(matches!(broker.retained("$share/g/a"), Err(Error::Argument { .. })));
    assert!(matches!(broker.retained("a/#/b"), Err(Error::Filter { .. })));
    assert!(broker.retained("$SYS/#").unwrap().len() > 10);
}
