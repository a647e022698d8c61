//! Hooks of a host, with real sockets and threads.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::embed::{
    Answer, Broker, Decision, Error, Hooks, Passage, Polled, PublishOptions, QueueOptions, SubscribeOptions,
    Verdict, defer,
};

use crate::client::{Client, PATIENCE, address, config};

fn hosted(hooks: &Hooks) -> Broker {
    Broker::start_with(&config(), hooks).unwrap()
}

/// A hook that leaves its decisions to the test.
fn desk() -> (impl Fn() -> Answer + Send + Sync + Clone, Receiver<Decision>) {
    let (sender, receiver): (Sender<Decision>, _) = mpsc::channel();
    let put = move || {
        let (decision, deferred) = defer();
        sender.send(decision).unwrap();
        deferred.into()
    };
    (put, receiver)
}

fn expect_puback(client: &mut Client) -> ReasonCode {
    client.expect("PUBACK", |packet| match packet {
        Packet::Puback(ack) => Some(ack.reason),
        _ => None,
    })
}

#[test]
fn clients_are_let_in_by_name_and_address() {
    let (sender, seen) = mpsc::channel();
    let broker = hosted(&Hooks::new().authenticate(move |client| {
        sender
            .send((client.address.unwrap(), client.listener.map(str::to_owned), client.connection))
            .unwrap();
        if client.username == Some("alice") { Verdict::Allow } else { Verdict::Deny }
    }));
    let mut numbers = Vec::new();
    for version in [Version::V31, Version::V311, Version::V5] {
        for (name, reason) in [("alice", ReasonCode::Success), ("bob", ReasonCode::BadUserNameOrPassword)] {
            let mut client = Client::asking(address(&broker), "c", name, version);
            assert_eq!(client.connack(), reason);
            let (peer, listener, number) = seen.recv_timeout(PATIENCE).unwrap();
            assert_eq!(
                (peer, listener.as_deref()),
                (client.stream.local_addr().unwrap().into(), Some("tcp"))
            );
            numbers.push(number);
        }
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 6);
}

/// Packets behind one that waits are taken when it is decided, however many they are and however large.
#[test]
fn packets_wait_in_the_connection_while_another_goes_on() {
    let (put, decisions) = desk();
    let broker = hosted(&Hooks::new().authorize(move |request| match request.topic {
        "later" => put(),
        _ => Answer::ALLOW,
    }));
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("#", &SubscribeOptions::default(), 0).unwrap();
    let mut client = Client::connect(address(&broker), "slow", Version::V5);
    let mut other = Client::connect(address(&broker), "other", Version::V5);
    let mut writer = client.stream.try_clone().unwrap();
    let sizes = [10, 200_000, 10, 40_000, 100, 65_536, 0];
    // The test must not wait for room in the socket.
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        let mut bytes = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let topic = if n % 2 == 0 { "later" } else { "now" };
            let payload = vec![n as u8; size];
            publish(topic, &payload).encode(Version::V5, &mut bytes);
        }
        writer.write_all(&bytes).unwrap();
    });
    for n in 0..4 {
        let decision = decisions.recv_timeout(PATIENCE).unwrap();
        other.publish("other", b"x", QoS::AtLeastOnce);
        assert_eq!(expect_puback(&mut other), ReasonCode::Success);
        let verdict = if n == 2 { Verdict::Deny } else { Verdict::Allow };
        assert!(decision.resolve(verdict));
    }
    let reasons: Vec<_> = sizes.iter().map(|_| expect_puback(&mut client)).collect();
    writing.join().unwrap();
    let refused: Vec<_> = (0..sizes.len()).filter(|n| reasons[*n] == ReasonCode::NotAuthorized).collect();
    assert_eq!(refused, [4]);
    let mut heard = Vec::new();
    while let Polled::Messages(batch) = queue.poll(100, Some(std::time::Duration::ZERO)) {
        heard.extend(
            batch.iter().filter(|m| m.topic != "other").map(|m| (m.payload.len(), m.topic.to_owned())),
        );
    }
    let expected: Vec<_> = (0..sizes.len()).filter(|n| *n != 4).map(|n| sizes[n]).collect();
    assert_eq!(heard.iter().map(|(size, _)| *size).collect::<Vec<_>>(), expected);
}

fn publish<'p>(topic: &'p str, payload: &'p [u8]) -> midge::codec::publish::Publish<'p> {
    midge::codec::publish::Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic,
        packet_id: Some(midge::codec::packet_id::PacketId::MIN),
        properties: midge::codec::properties::Properties::EMPTY,
        payload,
    }
}

/// Resolving races with the connection's own thread.
#[test]
fn decisions_are_made_by_other_threads_at_any_moment() {
    let (put, decisions) = desk();
    let late = put.clone();
    let broker = hosted(&Hooks::new().authenticate(move |_| put()).authorize(move |_| late()));
    let resolving = std::thread::spawn(move || {
        while let Ok(decision) = decisions.recv() {
            assert!(decision.resolve(Verdict::Allow));
        }
    });
    std::thread::scope(|scope| {
        for n in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = Client::connect(address(broker), &format!("c{n}"), Version::V5);
                client.subscribe(&format!("t/{n}"), QoS::AtLeastOnce);
                for _ in 0..200 {
                    client.publish("x", b"x", QoS::AtLeastOnce);
                    assert!(!expect_puback(&mut client).is_error());
                }
            });
        }
    });
    drop(broker);
    resolving.join().unwrap();
}

#[test]
fn a_broker_stops_although_decisions_are_awaited() {
    let (put, decisions) = desk();
    let broker = hosted(
        &Hooks::new()
            .authenticate({
                let put = put.clone();
                move |client| if client.client_id == "waits" { put() } else { Answer::ALLOW }
            })
            .authorize(move |_| put()),
    );
    let mut waits = Client::asking(address(&broker), "waits", "", Version::V5);
    let first = decisions.recv_timeout(PATIENCE).unwrap();
    let mut publishes = Client::connect(address(&broker), "publishes", Version::V5);
    publishes.publish("t", b"x", QoS::AtLeastOnce);
    let second = decisions.recv_timeout(PATIENCE).unwrap();
    broker.stop(None).unwrap();
    assert!(waits.until_closed().is_empty());
    assert_eq!(publishes.until_closed(), [0xe0, 1, ReasonCode::ServerShuttingDown.as_u8()]);
    assert!(!first.resolve(Verdict::Allow) && !second.resolve(Verdict::Allow));
}

#[test]
fn a_client_that_goes_while_it_waits_is_forgotten() {
    let (put, decisions) = desk();
    let broker = hosted(&Hooks::new().authorize(move |_| put()));
    let mut client = Client::connect(address(&broker), "c", Version::V5);
    client.publish("t", b"x", QoS::AtMostOnce);
    let decision = decisions.recv_timeout(PATIENCE).unwrap();
    assert!(broker.kick("c").unwrap());
    assert_eq!(client.until_closed(), [0xe0, 1, ReasonCode::AdministrativeAction.as_u8()]);
    decision.resolve(Verdict::Allow);
    assert_eq!(broker.stats().messages_published, 0);
    Client::connect(address(&broker), "c", Version::V5);
}

/// On the thread of the host that publishes, too: it would wait for itself.
#[test]
fn no_hook_can_stop_its_broker() {
    let broker: Arc<OnceLock<Broker>> = Arc::default();
    let (sender, answers) = mpsc::channel();
    let stop = {
        let broker = Arc::downgrade(&broker);
        move || {
            let broker = broker.upgrade().unwrap();
            sender.send(broker.get().unwrap().stop(None)).unwrap();
        }
    };
    let (authorize, look, drop_, told) = (stop.clone(), stop.clone(), stop.clone(), stop);
    let hooks = Hooks::new()
        .authorize(move |_| {
            authorize();
            Verdict::Allow
        })
        .on_publish(move |_| {
            look();
            Passage::Pass
        })
        .on_dropped(move |_| drop_())
        .on_subscribed(move |_| told());
    assert!(broker.set(hosted(&hooks)).is_ok());
    let broker = broker.get().unwrap();
    let mut client = Client::connect(address(broker), "c", Version::V5);
    client.subscribe("t", QoS::AtMostOnce);
    client.publish("nobody", b"x", QoS::AtLeastOnce);
    expect_puback(&mut client);
    broker.publish("nobody", "x", &PublishOptions::default()).unwrap();
    let answers: Vec<_> = (0..6).map(|_| answers.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::InCallback))), "{answers:?}");
    // The call is over.
    broker.stop(None).unwrap();
}

/// Notices of many threads come one after the other, none is lost, and each client's in its order.
#[test]
fn notices_of_many_threads_are_told_one_after_the_other() {
    let told: Arc<Mutex<Vec<(String, &str)>>> = Arc::default();
    let tell = |what: &'static str| {
        let told = Arc::clone(&told);
        move |client_id: &str| told.try_lock().expect("two at once").push((client_id.to_owned(), what))
    };
    let (came, went, subscribed) = (tell("came"), tell("went"), tell("subscribed"));
    let hooks = Hooks::new()
        .on_connected(move |client| came(&client.client_id))
        .on_disconnected(move |client| went(&client.client_id))
        .on_subscribed(move |client| subscribed(&client.client_id));
    let mut config = config();
    config.set("runtime.worker_threads", "4").unwrap();
    let broker = Broker::start_with(&config, &hooks).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                for round in 0..25 {
                    let id = format!("{n}-{round}");
                    let mut client = Client::connect(address(broker), &id, Version::V5);
                    client.subscribe("t", QoS::AtMostOnce);
                    broker.kick(&id).unwrap();
                    client.until_closed();
                }
            });
        }
    });
    broker.stop(None).unwrap();
    let mut told = std::mem::take(&mut *told.lock().unwrap());
    told.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told.len(), 300);
    for of_one in told.chunks(3) {
        assert!(of_one.iter().all(|(id, _)| *id == of_one[0].0));
        assert_eq!(of_one.iter().map(|(_, what)| *what).collect::<Vec<_>>(), ["came", "subscribed", "went"]);
    }
}

/// A panic is a denial, and the broker goes on.
#[test]
fn a_panic_in_a_hook_denies() {
    let hooks = Hooks::new()
        .authenticate(|client| -> Verdict {
            assert!(client.username != Some("panic"), "for the test");
            Verdict::Allow
        })
        .on_connected(|_| panic!("for the test"));
    let broker = hosted(&hooks);
    let mut client = Client::asking(address(&broker), "c", "panic", Version::V5);
    assert_eq!(client.connack(), ReasonCode::BadUserNameOrPassword);
    let mut client = Client::asking(address(&broker), "c", "fine", Version::V5);
    assert_eq!(client.connack(), ReasonCode::Success);
    assert_eq!(broker.stats().hooks_failed, 2);
}

/// A session that begins when its decision is made is told of a stop like any other, by a packet that it gets.
#[test]
fn a_client_that_was_let_in_late_is_told_of_a_stop() {
    for _ in 0..20 {
        let (put, decisions) = desk();
        let mut settings = config();
        settings.set("runtime.worker_threads", "1").unwrap();
        let broker = Broker::start_with(&settings, &Hooks::new().authenticate(move |_| put())).unwrap();
        let mut client = Client::asking(address(&broker), "c", "name", Version::V5);
        assert!(decisions.recv_timeout(PATIENCE).unwrap().resolve(Verdict::Allow));
        assert_eq!(client.connack(), ReasonCode::Success);
        broker.stop(None).unwrap();
        assert_eq!(client.until_closed(), [0xe0, 1, ReasonCode::ServerShuttingDown.as_u8()]);
    }
}
