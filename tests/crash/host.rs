//! A program that embeds a broker with a durable store, for the crash campaign: it publishes, and takes messages from a
//! queue, and writes down what it does before and after.
//!
//! `host NUMBER --set NAME=VALUE ... [--early]`: with `--early` messages are acknowledged before they are committed, a
//! fault that the campaign must find.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program"
)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use midge::disk::Directory;
use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Change, LoadError, Position, Store, StoreError};
use midge::time::WallTime;
use midge::{Broker, Config, Hooks, Level, Polled, PublishOptions, QoS, QueueOptions, SubscribeOptions};

/// Whether nothing new is published.
static PAUSED: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let life: u64 = arguments.next().unwrap().parse().unwrap();
    let mut config = Config::new();
    let mut early = false;
    while let Some(word) = arguments.next() {
        match &*word {
            "--early" => early = true,
            "--set" => {
                let setting = arguments.next().unwrap();
                let (name, value) = setting.split_once('=').unwrap();
                config.set(name, value).unwrap();
            }
            other => panic!("{other}"),
        }
    }
    let hooks = Hooks::new().on_log(Level::Error, |line| eprintln!("{line}"));
    let builder = Broker::builder(&config).hooks(hooks);
    let broker = match early {
        true => builder.start_over(Arc::new(Early(open(&config)))),
        false => builder.start(),
    };
    let broker = match broker {
        Ok(broker) => Arc::new(broker),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    say(&format!("L {}", broker.addresses()[0].1));
    let reader = Arc::clone(&broker);
    thread::spawn(move || read(&reader));
    for number in 0..2 {
        let broker = Arc::clone(&broker);
        thread::spawn(move || publish(&broker, number, life));
    }
    // Until the driver closes the pipe.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        PAUSED.store(line == "pause", Ordering::Release);
    }
    broker.stop(None).unwrap();
}

/// Writes a line at once: it survives the process.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The payload of a message, as the driver makes it.
fn payload(source: &str, number: u64, size: usize) -> Vec<u8> {
    let mut payload = format!("{source}:{number}:{size};").into_bytes();
    payload.resize(size.max(payload.len()), b'a' + (number % 26) as u8);
    payload
}

/// Publishes for ever: one thread waits for each message, the other one has up to 20 under way.
fn publish(broker: &Broker, thread: u64, life: u64) {
    let source = format!("h{thread}");
    let (back, places) = sync_channel(20);
    (0..20).for_each(|_| back.send(()).unwrap());
    for index in 1.. {
        // At most 1,000 messages a second: the driver must keep up.
        thread::sleep(Duration::from_millis(2));
        while PAUSED.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        let number = life * 1_000_000 + index;
        let qos = if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let retain = number.is_multiple_of(5);
        let topic = match (retain, qos) {
            (true, _) => format!("r/{source}/{}", number / 5 % 4),
            (false, QoS::AtLeastOnce) => format!("h/{source}/a"),
            (false, _) => format!("h/{source}/b"),
        };
        let size = if number.is_multiple_of(7) { 2000 } else { 60 };
        let level = qos as u8;
        say(&format!("S {source} {number} {size} {topic} {level} {}", u8::from(retain)));
        let payload = payload(&source, number, size);
        let mut options = PublishOptions::qos(qos);
        options.retain = retain;
        if thread == 0 {
            match broker.publish_acknowledged(&topic, payload, &options, None) {
                Ok(_) => say(&format!("A {source} {number}")),
                Err(_) => return,
            }
            continue;
        }
        // A place of the window, which the callback gives back.
        let Ok(()) = places.recv() else { return };
        let (source, back) = (source.clone(), back.clone());
        let done = move |outcome: Result<(), midge::Error>| {
            if outcome.is_ok() {
                say(&format!("A {source} {number}"));
                let _ = back.send(());
            }
        };
        if broker.publish_with_callback(&topic, payload, &options, done).is_err() {
            return;
        }
    }
}

/// Takes messages from a queue and names them.
fn read(broker: &Broker) {
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let options = SubscribeOptions::default();
    let _filters = ["t/#", "h/#"].map(|filter| queue.subscribe(filter, &options, 0).unwrap());
    while let Polled::Messages(batch) = queue.poll(100, None) {
        for message in batch.iter() {
            let head = message.payload.split(|byte| *byte == b';').next().unwrap_or_default();
            let head = String::from_utf8_lossy(head);
            say(&format!("R {} {} {head} {}", message.topic, message.qos as u8, message.payload.len()));
        }
    }
}

/// Opens the store of the settings, and starts its threads.
fn open(config: &Config) -> Arc<DurableStore> {
    let storage = &config.settings().storage;
    let disk = Arc::new(Directory::open(Path::new(&storage.path)).unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = WallTime::from_millis(now.as_secs() * 1000);
    let options = DurableOptions { salt: [7; 16], log_bytes: storage.log_size, now, retry_millis: Some(500) };
    let store = Arc::new(DurableStore::open(disk, options).unwrap());
    let commits = Arc::clone(&store);
    thread::spawn(move || while commits.wait_and_commit(&|| ()) {});
    let checkpoints = Arc::clone(&store);
    thread::spawn(move || while checkpoints.wait_and_checkpoint() {});
    store
}

/// A store that calls everything committed at once.
struct Early(Arc<DurableStore>);

impl Store for Early {
    fn is_kept(&self) -> bool {
        true
    }

    fn load(
        &self,
        restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
    ) -> Result<(), StoreError> {
        self.0.load(restore)
    }

    fn append(&self, at: WallTime, change: Change<'_>) -> Position {
        self.0.append(at, change)
    }

    fn appended(&self) -> Position {
        self.0.appended()
    }

    fn committed(&self) -> Position {
        self.0.appended()
    }

    fn begin_group(&self) {
        self.0.begin_group();
    }

    fn end_group(&self) {
        self.0.end_group();
    }
}
