//! Who is at work in a round.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use midge::codec::version::Version;
use midge::{Broker, Config, Error, PublishOptions, QoS, QueueOptions, SubscribeOptions};

use crate::Dice;
use crate::ledger::{KEY, Ledger, work};
use crate::peer::Peer;

const CLIENTS: u64 = 6;
/// Client Identifiers: fewer than clients, who take each other's sessions over.
const NAMES: u64 = 4;
/// A payload of this size is shared.
const SHARED: usize = 9000;
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Numbers every message of this process.
static MESSAGES: AtomicU64 = AtomicU64::new(0);

/// A payload that no other has; it begins with who publishes it.
fn payload(who: &str) -> Vec<u8> {
    let text = format!("{who}{:0width$x}", MESSAGES.fetch_add(1, Ordering::Relaxed), width = KEY - who.len());
    text.into_bytes()
}

fn name(dice: &mut Dice) -> String {
    format!("c{}", dice.below(NAMES))
}

/// When threads begin and end. The standard library holds a lock for these moments, which a child of a fork then has
/// for ever; so a child that starts threads is forked only between them.
pub struct Threads {
    begun: Barrier,
    /// Held while threads may end.
    end: Mutex<()>,
}

impl Threads {
    /// Those of the crew, and one more thread.
    pub fn new() -> Threads {
        Threads { begun: Barrier::new(CLIENTS as usize + WORKS.len() + 1), end: Mutex::new(()) }
    }

    /// Each thread calls it first.
    pub fn have_begun(&self) {
        self.begun.wait();
    }

    /// Runs what ends threads, or what needs that none ends.
    pub fn alone<T>(&self, run: impl FnOnce() -> T) -> T {
        let _held = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        run()
    }
}

type Work = fn(&Arc<Broker>, &Arc<Ledger>, Dice, &Threads);
const WORKS: [Work; 6] = [publish, publish, subscribe, call_back, administrate, fork];

/// Everybody, each until the broker has stopped.
pub fn hire<'s, 'e: 's>(
    scope: &'s Scope<'s, 'e>,
    broker: &'e Arc<Broker>,
    ledger: &'e Arc<Ledger>,
    threads: &'e Threads,
    dice: &mut Dice,
) -> Vec<ScopedJoinHandle<'s, ()>> {
    let mut crew = Vec::new();
    for _ in 0..CLIENTS {
        let dice = dice.another();
        crew.push(scope.spawn(|| {
            threads.have_begun();
            be_a_client(broker, ledger, dice);
        }));
    }
    for work in WORKS {
        let dice = dice.another();
        crew.push(scope.spawn(move || {
            threads.have_begun();
            work(broker, ledger, dice, threads);
        }));
    }
    crew
}

/// Connects again and again, publishes and subscribes.
fn be_a_client(broker: &Arc<Broker>, ledger: &Arc<Ledger>, mut dice: Dice) {
    let address = broker.address("tcp").unwrap();
    let has_stopped = || broker.wait(Some(Duration::ZERO));
    while !has_stopped() {
        let version = [Version::V311, Version::V5][dice.below(2) as usize];
        let Ok(mut peer) = Peer::connect(address, &name(&mut dice), version, dice.below(2) == 0) else {
            continue;
        };
        let mut work = || -> std::io::Result<()> {
            if dice.below(2) == 0 {
                peer.subscribe("t/+", QOS[dice.below(3) as usize])?;
            }
            for _ in 0..dice.below(60) {
                let qos = QOS[dice.below(3) as usize];
                let payload = payload(["client0 ", "client1 ", "client2 "][usize::from(qos.as_u8())]);
                // One that an earlier connection of the session has left open is not used again.
                let id = (MESSAGES.fetch_add(1, Ordering::Relaxed) % 65_535) as u16 + 1;
                let topic = format!("t/{}", dice.below(3));
                peer.publish(&topic, &payload, qos, id, || ledger.was_acknowledged(&payload))?;
            }
            Ok(())
        };
        // It is kicked, taken over, or the broker stops.
        let _ended = work();
    }
}

/// Whether the broker has stopped; no other error is right.
fn is_over<T>(result: &Result<T, Error>) -> bool {
    match result {
        Ok(_) => false,
        Err(Error::Stopped) => true,
        Err(error) => panic!("{error}"),
    }
}

/// The program publishes, in every way.
fn publish(broker: &Arc<Broker>, ledger: &Arc<Ledger>, mut dice: Dice, _threads: &Threads) {
    loop {
        let options = PublishOptions::qos(QOS[dice.below(3) as usize]);
        let way = dice.below(3) as usize;
        let mut payload = payload(["plain ", "owned ", "safe "][way]);
        let key = payload.clone();
        let published = match way {
            0 => broker.publish("t/0", &payload, &options),
            1 => {
                payload.resize(SHARED, b'.');
                broker.publish_owned("t/1", ledger.lend(payload), &options)
            }
            _ => broker.publish_acknowledged("t/2", &payload, &options, None).map(|_| 0),
        };
        match &published {
            Ok(_) => ledger.was_taken(&key),
            result if is_over(result) => return,
            Err(_) => {}
        }
        // No faster than others can take.
        std::thread::sleep(Duration::from_micros(dice.below(300)));
    }
}

/// Queues and subscriptions come and go.
fn subscribe(broker: &Arc<Broker>, _ledger: &Arc<Ledger>, mut dice: Dice, _threads: &Threads) {
    loop {
        let mut options = QueueOptions::default();
        options.capacity = Some(10);
        let queue = broker.queue(&options);
        if is_over(&queue) {
            return;
        }
        let queue = queue.unwrap();
        let subscription = queue.subscribe("own/#", &SubscribeOptions::default(), 0);
        if dice.below(2) == 0 {
            let _polled = queue.poll(5, Some(Duration::from_millis(dice.below(3))));
        }
        if dice.below(2) == 0 {
            drop(queue);
        } else if dice.below(2) == 0 {
            queue.close();
        }
        drop(subscription);
    }
}

/// Callbacks come and go, also in themselves; some publish.
fn call_back(broker: &Arc<Broker>, ledger: &Arc<Ledger>, mut dice: Dice, _threads: &Threads) {
    let _ = ledger;
    loop {
        let mut options = SubscribeOptions::default();
        options.direct = dice.below(2) == 0;
        let weak = Arc::downgrade(broker);
        let subscription = broker.subscribe_with("t/0", &options, move |_| {
            work();
            if let Some(broker) = weak.upgrade() {
                let _may_have_stopped = broker.publish("own/echo", "x", &PublishOptions::default());
                // The last owner is not dropped here, where it could not stop.
                drop(broker);
            }
        });
        if is_over(&subscription) {
            return;
        }
        std::thread::sleep(Duration::from_millis(dice.below(20)));
    }
}

/// Kicks, ends sessions, clears queues, and looks.
fn administrate(broker: &Arc<Broker>, _ledger: &Arc<Ledger>, mut dice: Dice, _threads: &Threads) {
    loop {
        let name = name(&mut dice);
        let over = match dice.below(6) {
            0 => is_over(&broker.kick(&name)),
            1 => is_over(&broker.end_session(&name)),
            2 => is_over(&broker.clear_queue(&name)),
            3 => broker.queued(&name, 10).is_err(),
            4 => {
                let (_clients, _stats) = (broker.clients(), broker.stats());
                false
            }
            _ => broker.subscriptions().is_empty() && broker.wait(Some(Duration::ZERO)),
        };
        if over {
            return;
        }
        std::thread::sleep(Duration::from_micros(dice.below(3000)));
    }
}

/// Forks; the child finds the broker unusable, drops what it has, and may start one of its own.
fn fork(broker: &Arc<Broker>, _ledger: &Arc<Ledger>, mut dice: Dice, threads: &Threads) {
    let mut off = Config::new();
    off.set("listener.tcp.bind", "off").unwrap();
    loop {
        let child = match dice.below(4) {
            0 => threads.alone(|| have_a_child(broker, Some(&off))),
            _ => have_a_child(broker, None),
        };
        let Some(child) = child else { return };
        await_child(child);
        std::thread::sleep(Duration::from_millis(dice.below(30)));
    }
}

/// A child that finds the broker unusable, and starts its own if it gets a configuration. None: the broker has stopped.
fn have_a_child(broker: &Arc<Broker>, own: Option<&Config>) -> Option<i32> {
    let subscription = broker.subscribe("own/#", &SubscribeOptions::default());
    if is_over(&subscription) {
        return None;
    }
    // SAFETY: the child takes no lock of the parent's but those of the broker, which is made for that.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork has failed");
    if child == 0 {
        let forked = matches!(broker.publish("t", "x", &PublishOptions::default()), Err(Error::Forked));
        drop(subscription);
        let started = own.is_none_or(|own| Broker::start(own).is_ok_and(|own| own.stop(None).is_ok()));
        // SAFETY: the call takes a number alone, and runs nothing of the parent's.
        unsafe { libc::_exit(i32::from(!(forked && started))) };
    }
    Some(child)
}

fn await_child(child: i32) {
    let (since, mut status) = (Instant::now(), 0);
    // SAFETY: the pointer is to a live value; the process is a child of this one that was not waited for.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if since.elapsed() > Duration::from_secs(30) {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("a forked child hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "a child has failed: {status:#x}");
}
