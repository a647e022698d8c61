//! What a stop promises: it ends however much others publish, and when it returns, all that has happened is told and
//! nothing of the host is called any more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::embed::{Broker, Error, Hooks, MessageView, PublishOptions, SubscribeOptions};

use crate::client::{Client, PATIENCE, WORKERS, address, config};

/// Where a chain of messages ends, each of which causes the next, if nothing ends it before.
const ENDLESS: usize = 100_000;
/// In which a stop that does not wait would have returned.
const WHILE: Duration = Duration::from_millis(300);

/// The broker of a hook, which is made before it.
type Later = Arc<OnceLock<Weak<Broker>>>;

fn publish(broker: &Broker, topic: &str) -> Result<usize, Error> {
    broker.publish(topic, "", &PublishOptions::default())
}

fn direct() -> SubscribeOptions {
    let mut options = SubscribeOptions::default();
    options.direct = true;
    options
}

fn of(broker: &Later) -> Arc<Broker> {
    broker.get().and_then(Weak::upgrade).unwrap()
}

fn start(workers: &str, hooks: Hooks, later: &Later) -> Arc<Broker> {
    let mut config = config();
    config.set("runtime.worker_threads", workers).unwrap();
    let broker = Arc::new(Broker::builder(&config).hooks(hooks).start().unwrap());
    later.set(Arc::downgrade(&broker)).unwrap();
    broker
}

/// A chain of messages, each published by the call that the one before has caused, until the test ends it.
#[derive(Clone, Default)]
struct Chain {
    broker: Later,
    links: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    over: Arc<Mutex<Option<Sender<()>>>>,
}

impl Chain {
    fn next(&self) {
        let goes_on = !self.ended.load(Ordering::SeqCst)
            && self.links.fetch_add(1, Ordering::SeqCst) < ENDLESS
            && publish(&of(&self.broker), "chain").is_ok();
        if !goes_on && let Some(over) = self.over.lock().unwrap().take() {
            over.send(()).unwrap();
        }
    }

    /// Says when the last link was called for.
    fn over(&self) -> Receiver<()> {
        let (over, is_over) = channel();
        *self.over.lock().unwrap() = Some(over);
        is_over
    }

    /// Ends it, which it must not have done by itself.
    fn end(&self) {
        assert!(self.links.load(Ordering::SeqCst) < ENDLESS, "one thread has told the whole chain");
        self.ended.store(true, Ordering::SeqCst);
    }

    /// The chain is made by a hook.
    fn of_notices(&self) -> Hooks {
        let chain = self.clone();
        Hooks::new().on_dropped(move |_| chain.next())
    }
}

/// A thread that tells notices is not kept by those that others cause; another thread tells them, to the last.
#[test]
fn publishing_returns_while_others_cause_notices() {
    for workers in WORKERS {
        let chain = Chain::default();
        let over = chain.over();
        let broker = start(workers, chain.of_notices(), &chain.broker);
        publish(&broker, "chain").unwrap();
        chain.end();
        over.recv_timeout(PATIENCE).expect("nobody tells the notices that were left");
        broker.stop(None).unwrap();
    }
}

/// A worker that tells notices serves its clients in between.
#[test]
fn a_client_is_answered_while_its_message_causes_notices_without_end() {
    for workers in WORKERS {
        let chain = Chain::default();
        let broker = start(workers, chain.of_notices(), &chain.broker);
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        client.publish("chain", b"", QoS::AtMostOnce);
        client.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
        client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
        chain.end();
        broker.stop(None).unwrap();
    }
}

/// As with notices: the callback thread calls for what others publish to a direct callback.
#[test]
fn publishing_returns_while_others_publish_to_the_same_direct_callback() {
    for workers in WORKERS {
        let chain = Chain::default();
        let over = chain.over();
        let broker = start(workers, Hooks::new(), &chain.broker);
        let (called, direct) = (chain.clone(), direct());
        let subscription = broker.subscribe_with("chain", &direct, move |_| called.next()).unwrap();
        publish(&broker, "chain").unwrap();
        chain.end();
        over.recv_timeout(PATIENCE).expect("nobody calls for the messages that were left");
        let mut client = Client::connect(address(&broker), "c", Version::V5);
        let second = Chain { broker: chain.broker.clone(), ..Chain::default() };
        let called = second.clone();
        drop(subscription);
        let _subscription = broker.subscribe_with("chain", &direct, move |_| called.next()).unwrap();
        client.publish("chain", b"", QoS::AtMostOnce);
        client.send(|_, out| out.extend_from_slice(&[0xc0, 0]));
        client.expect("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
        second.end();
        broker.stop(None).unwrap();
    }
}

/// A stop ends what causes itself again and again, on whichever thread.
#[test]
fn a_stop_returns_while_calls_of_the_host_cause_each_other() {
    for (workers, direct_callback) in [("1", false), ("2", false), ("1", true), ("2", true)] {
        let chain = Chain::default();
        let hooks = if direct_callback { Hooks::new() } else { chain.of_notices() };
        let broker = start(workers, hooks, &chain.broker);
        let called = chain.clone();
        let call = move |_: &MessageView<'_>| called.next();
        let _subscription = direct_callback.then(|| broker.subscribe_with("chain", &direct(), call).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| while publish(&broker, "chain").is_ok() {});
            }
            while chain.links.load(Ordering::SeqCst) < 1000 {
                std::thread::yield_now();
            }
            broker.stop(Some(Duration::ZERO)).unwrap();
            let links = chain.links.load(Ordering::SeqCst);
            assert!(matches!(publish(&broker, "chain"), Err(Error::Stopped)));
            assert_eq!(chain.links.load(Ordering::SeqCst), links, "the host is called after the stop");
        });
    }
}

/// A call of the host that is held until the test lets it go.
struct Gate {
    entered: Receiver<()>,
    release: Sender<()>,
}

impl Gate {
    /// The gate, and what the call does: it is held the first time.
    fn new() -> (Gate, impl Fn() + Send + Sync + 'static) {
        let ((enters, entered), (release, released)) = (channel(), channel::<()>());
        let (enters, released) = (Mutex::new(Some(enters)), Mutex::new(released));
        let body = move || {
            let first = enters.lock().unwrap().take();
            if let Some(enters) = first {
                enters.send(()).unwrap();
                released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
        };
        (Gate { entered, release }, body)
    }
}

/// Stops a broker while `call` makes a thread of the host run code of the host, which is held; the stop waits for it.
/// Meanwhile publishing says that the broker stops.
fn stops_behind(broker: &Arc<Broker>, gate: Gate, call: impl FnOnce(&Broker) + Send) {
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(broker));
        gate.entered.recv_timeout(PATIENCE).unwrap();
        let (returns, returned) = channel();
        let stopping = scope.spawn(move || {
            broker.stop(Some(Duration::ZERO)).unwrap();
            returns.send(()).unwrap();
        });
        while publish(broker, "t").is_ok() {
            std::thread::yield_now();
        }
        assert!(matches!(publish(broker, "t"), Err(Error::Stopped)));
        assert!(returned.recv_timeout(WHILE).is_err(), "the stop has returned while code of the host runs");
        gate.release.send(()).unwrap();
        stopping.join().unwrap();
        calling.join().unwrap();
    });
}

#[test]
fn a_stop_waits_for_a_hook_on_a_thread_of_the_host() {
    for workers in WORKERS {
        let (gate, held) = Gate::new();
        let broker = start(workers, Hooks::new().on_dropped(move |_| held()), &Later::default());
        stops_behind(&broker, gate, |broker| drop(publish(broker, "t")));
    }
}

#[test]
fn a_stop_waits_for_a_direct_callback_on_a_thread_of_the_host() {
    for workers in WORKERS {
        let (gate, held) = Gate::new();
        let broker = start(workers, Hooks::new(), &Later::default());
        let _subscription = broker.subscribe_with("t", &direct(), move |_| held()).unwrap();
        stops_behind(&broker, gate, |broker| drop(publish(broker, "t")));
    }
}

#[test]
fn a_stop_waits_for_a_confirmation_on_a_thread_of_the_host() {
    let (gate, held) = Gate::new();
    let broker = start("1", Hooks::new(), &Later::default());
    stops_behind(&broker, gate, |broker| {
        broker.publish_with_callback("t", "", &PublishOptions::default(), move |_| held()).unwrap();
    });
}

/// More turns at once than the engine keeps: each call publishes the next message, and the last one is held, until
/// another thread is in a turn that is not kept.
#[test]
fn a_stop_waits_for_a_callback_whose_turn_is_one_of_very_many() {
    const KEPT: usize = 16;
    let ((others, held), (gate, called)) = (Gate::new(), Gate::new());
    let broker = start("1", Hooks::new(), &Later::default());
    let mut subscriptions = Vec::new();
    for n in 0..KEPT {
        let later = Arc::downgrade(&broker);
        let next = (n + 1).to_string();
        subscriptions.push(
            broker
                .subscribe_with(&n.to_string(), &direct(), move |_| {
                    publish(&later.upgrade().unwrap(), &next).unwrap();
                })
                .unwrap(),
        );
    }
    subscriptions.push(broker.subscribe_with(&KEPT.to_string(), &direct(), move |_| held()).unwrap());
    subscriptions.push(broker.subscribe_with("t", &direct(), move |_| called()).unwrap());
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| publish(&broker, "0").unwrap());
        others.entered.recv_timeout(PATIENCE).unwrap();
        stops_behind(&broker, gate, |broker| {
            std::thread::scope(|scope| {
                let last = scope.spawn(|| publish(broker, "t").unwrap());
                while broker.stats().messages_published < KEPT as u64 + 2 {
                    std::thread::yield_now();
                }
                others.release.send(()).unwrap();
                calling.join().unwrap();
                last.join().unwrap();
            });
        });
    });
}

/// The end of each connection is told before the stop returns, although another thread is telling when it begins.
#[test]
fn every_disconnection_is_told_before_the_stop_returns() {
    const CLIENTS: usize = 200;
    for workers in WORKERS {
        let (gate, held) = Gate::new();
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let hooks = Hooks::new()
            .on_dropped(move |_| held())
            .on_disconnected(move |_| _ = count.fetch_add(1, Ordering::SeqCst));
        let mut config = config();
        config.set("runtime.worker_threads", workers).unwrap();
        // Fewer than there are clients.
        config.set("hooks.max_waiting", "100").unwrap();
        let broker = Arc::new(Broker::builder(&config).hooks(hooks).start().unwrap());
        let name = |n: usize| format!("c{n}");
        let clients: Vec<Client> =
            (0..CLIENTS).map(|n| Client::connect(address(&broker), &name(n), Version::V5)).collect();
        stops_behind(&broker, gate, |broker| drop(publish(broker, "t")));
        assert_eq!(told.load(Ordering::SeqCst), CLIENTS);
        drop(clients);
    }
}
