//! A broker with a store on the disk: what it has acknowledged is there after a restart, and the files are its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use midge::codec::ack::{Ack, AckKind};
use midge::codec::packet::Packet;
use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Error, Hooks, Level, PublishOptions};
use midge::storage::durable::tools::{ImportOptions, import};
use midge::time::WallTime;
use midge::{StorageState, StorageStats};

use crate::client::{Client, PATIENCE, WORKERS, address, config};
use crate::fork::in_a_child;
use crate::process::{alone, broker_threads};

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("midge-store-{}-{name}", std::process::id()));
        let _old = std::fs::remove_dir_all(&path);
        Directory(path)
    }

    fn config(&self) -> Config {
        let mut config = config();
        config.set("storage.path", self.0.to_str().unwrap()).unwrap();
        config.set("storage.log_size", "64KiB").unwrap();
        config
    }

    fn broker(&self) -> Broker {
        Broker::start(&self.config()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn retained(qos: QoS) -> PublishOptions {
    let mut options = at(qos);
    options.retain = true;
    options
}

fn at(qos: QoS) -> PublishOptions {
    let mut options = PublishOptions::default();
    options.qos = qos;
    options
}

/// The payload of a topic's retained message.
fn kept(broker: &Broker, topic: &str) -> Option<Vec<u8>> {
    broker.retained(topic).unwrap().first().map(|message| message.payload().to_vec())
}

#[test]
fn sessions_messages_and_retained_messages_are_there_after_a_restart() {
    for (workers, memory) in WORKERS.into_iter().flat_map(|workers| [(workers, "0"), (workers, "16MiB")]) {
        let directory = Directory::new(&format!("restart-{workers}-{memory}"));
        let mut config = directory.config();
        config.set("storage.memory", memory).unwrap();
        config.set("runtime.worker_threads", workers).unwrap();
        // So that no message comes between PUBREC and PUBREL.
        config.set("mqtt.max_inflight", "1").unwrap();
        let broker = Broker::start(&config).unwrap();
        let (mut client, present) = Client::resume(address(&broker), "kept");
        assert!(!present);
        client.subscribe("t/#", QoS::ExactlyOnce);
        drop(client);
        broker.publish_acknowledged("r", "retained", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
        for number in 0..300 {
            let (topic, payload) = (format!("t/{number}"), vec![b'x'; number]);
            let reached =
                broker.publish_acknowledged(&topic, payload, &at(QoS::ExactlyOnce), Some(PATIENCE)).unwrap();
            assert_eq!(reached, Some(1));
        }
        broker.stop(None).unwrap();
        let broker = Broker::start(&config).unwrap();
        assert_eq!(kept(&broker, "r").unwrap(), b"retained");
        let (mut client, present) = Client::resume(address(&broker), "kept");
        assert!(present);
        for number in 0..300 {
            let message = client.message();
            assert_eq!((message.topic, message.payload.len()), (format!("t/{number}"), number));
            let id = message.packet_id.unwrap();
            client.send(|version, out| {
                Ack::success(id).encode(AckKind::Pubrec, version, out);
            });
            client.expect("PUBREL", |packet| match packet {
                Packet::Pubrel(_) => Some(()),
                _ => None,
            });
            client.send(|version, out| {
                Ack::success(id).encode(AckKind::Pubcomp, version, out);
            });
        }
        broker.stop(None).unwrap();
    }
}

/// What was not committed when the stop began is committed by it.
#[test]
fn a_message_that_waits_for_the_store_when_the_broker_stops_is_safe() {
    let directory = Directory::new("stop");
    let broker = directory.broker();
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..4)
            .map(|thread| {
                let broker = &broker;
                scope.spawn(move || {
                    let mut safe = 0;
                    loop {
                        let topic = format!("{thread}/{safe}");
                        let told =
                            broker.publish_acknowledged(&topic, "x", &retained(QoS::AtLeastOnce), None);
                        match told {
                            Ok(_) => safe += 1,
                            Err(error) => {
                                assert!(matches!(error, Error::Stopped), "{error}");
                                return safe;
                            }
                        }
                    }
                })
            })
            .collect();
        while broker.stats().retained_messages < 100 {
            std::thread::yield_now();
        }
        broker.stop(None).unwrap();
        let safe: Vec<usize> = publishers.into_iter().map(|thread| thread.join().unwrap()).collect();
        let broker = directory.broker();
        for (thread, safe) in safe.into_iter().enumerate() {
            for number in 0..safe {
                assert!(kept(&broker, &format!("{thread}/{number}")).is_some());
            }
        }
    });
}

#[test]
fn one_broker_at_a_time_uses_a_store() {
    let directory = Directory::new("lock");
    let broker = directory.broker();
    let error = Broker::start(&directory.config()).err().unwrap();
    assert!(matches!(error, Error::Storage(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("storage.path: ") && text.contains(directory.0.to_str().unwrap()), "{text}");
    assert!(text.contains("another broker of this process uses it"), "{text}");
    broker.stop(None).unwrap();
    // While the first one is still referenced.
    let second = directory.broker();
    drop(broker);
    drop(second);
    directory.broker().stop(None).unwrap();
}

#[test]
fn a_store_that_cannot_be_made_is_named_and_leaves_nothing_running() {
    if !alone("durable::a_store_that_cannot_be_made_is_named_and_leaves_nothing_running") {
        return;
    }
    let directory = Directory::new("parent");
    let mut config = directory.config();
    config.set("storage.path", directory.0.join("a/b").to_str().unwrap()).unwrap();
    let error = Broker::start(&config).err().unwrap().to_string();
    assert!(error.contains("a/b") && error.contains("create the directory above it"), "{error}");
    assert_eq!(broker_threads(), 0);
    // Also if the store is open, and the broker cannot start for another reason.
    let broker = directory.broker();
    let taken = address(&broker).to_string();
    let other = Directory::new("taken");
    let mut config = other.config();
    config.set("listener.tcp.bind", &taken).unwrap();
    assert!(matches!(Broker::start(&config).err().unwrap(), Error::Bind { .. }));
    broker.stop(None).unwrap();
    assert_eq!(broker_threads(), 0);
    other.broker().stop(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_forked_child_leaves_the_store_alone() {
    if !alone("durable::a_forked_child_leaves_the_store_alone") {
        return;
    }
    let directory = Directory::new("fork");
    let broker = directory.broker();
    broker.publish_acknowledged("r", "1", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
    let before = content(&directory.0);
    let mut broker = Some(broker);
    in_a_child(|| drop(broker.take()));
    assert_eq!(content(&directory.0), before);
    let broker = broker.unwrap();
    broker.publish_acknowledged("r", "2", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
    broker.stop(None).unwrap();
    let broker = directory.broker();
    assert_eq!(kept(&broker, "r").unwrap(), b"2");
}

/// The names and bytes of the files of a directory.
fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn nothing_is_stored_without_a_path() {
    let broker = Broker::start(&config()).unwrap();
    let (mut client, _) = Client::resume(address(&broker), "kept");
    client.subscribe("t", QoS::AtLeastOnce);
    client.publish("t", b"x", QoS::AtLeastOnce);
    broker.stop(None).unwrap();
    let broker = Broker::start(&config()).unwrap();
    let (_client, present) = Client::resume(address(&broker), "kept");
    assert!(!present);
    let _other = Client::connect(address(&broker), "other", Version::V5);
}

#[test]
fn the_host_sees_what_the_store_does() {
    let without = Broker::start(&config()).unwrap();
    assert_eq!(without.storage(), None);
    let directory = Directory::new("seen");
    let broker = directory.broker();
    let before = broker.storage().unwrap();
    assert_eq!(PathBuf::from(&before.path), directory.0.canonicalize().unwrap());
    assert_eq!((before.state, before.commits, before.disk_errors), (StorageState::Ok, 0, 0));
    for number in 0..10 {
        let topic = format!("t/{number}");
        broker.publish_acknowledged(&topic, "x", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
    }
    // Each was published when the one before was committed.
    let seen = until(&broker, |seen| seen.commits == 10);
    assert_eq!((seen.committed_changes, seen.waiting_acknowledgements, seen.waiting_bytes), (10, 0, 0));
    let count = |stats: &StorageStats| stats.flush_times.count();
    assert_eq!(count(&seen) - count(&before), 10);
    assert!(seen.flush_times.longest_micros <= seen.flush_times.total_micros);
    assert!(seen.committed_bytes >= 10 && seen.unwritten_bytes > 0);
    assert!(seen.written_bytes > before.written_bytes + seen.committed_bytes);
    let size = |name: &str| std::fs::metadata(directory.0.join(name)).unwrap().len();
    assert_eq!(seen.log_bytes, size("log.0") + size("log.1"));
    assert_eq!(seen.tables_bytes, size("midge.redb"));
    // As after a crash: the files at this moment.
    let crashed = Directory::new("seen-crashed");
    std::fs::create_dir(&crashed.0).unwrap();
    for name in ["log.0", "log.1", "midge.redb"] {
        std::fs::copy(directory.0.join(name), crashed.0.join(name)).unwrap();
    }
    broker.stop(None).unwrap();
    let seen = broker.storage().unwrap();
    assert_eq!((seen.state, seen.cause, seen.checkpoints), (StorageState::Closed, None, 1));
    let replayed = crashed.broker().storage().unwrap();
    assert_eq!((replayed.replayed_groups, replayed.commits), (10, 0));
    assert!(replayed.replayed_bytes >= 10);
    assert_eq!(directory.broker().storage().unwrap().replayed_groups, 0);
}

/// The statistics of the store once they are as wanted: a waiter is told of a commit before it is counted.
fn until(broker: &Broker, wanted: impl Fn(&StorageStats) -> bool) -> StorageStats {
    loop {
        let seen = broker.storage().unwrap();
        if wanted(&seen) {
            return seen;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_store_says_in_the_log_that_it_is_open_damaged_and_closed() {
    let directory = Directory::new("logged");
    drop(directory.broker());
    let path = directory.0.canonicalize().unwrap().display().to_string();
    let life = |mut config: Config| {
        config.set("storage.on_damage", "set_aside").unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let hooks = Hooks::new().on_log(Level::Info, move |line| sender.send(line.to_string()).unwrap());
        drop(Broker::start_with(&config, &hooks).unwrap());
        drop(hooks);
        lines.into_iter().filter(|line| line.contains("store")).collect::<Vec<_>>()
    };
    let lines = life(directory.config());
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with(&format!("info: store {path} is open after ")), "{lines:?}");
    assert!(lines[0].ends_with(" ms: 0 groups (0 bytes) came from its log"), "{lines:?}");
    assert_eq!(lines[1], "info: restored 0 sessions and 0 retained messages");
    assert_eq!(lines[2], format!("info: store {path} is closed"));
    std::fs::remove_file(directory.0.join("midge.redb")).unwrap();
    let lines = life(directory.config());
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].starts_with("error: the store was begun anew: "), "{lines:?}");
    assert!(lines[1].contains("midge.redb is missing"), "{lines:?}");
}

#[test]
fn a_broker_starts_with_what_a_mosquitto_has_kept() {
    let directory = Directory::new("mosquitto");
    let mut file = &include_bytes!("../durable/data/mosquitto.db")[..];
    let options =
        ImportOptions { salt: [3; 16], log_bytes: 64 << 10, now: WallTime::from_millis(1_796_071_153_000) };
    import(&midge::disk::Directory::open(&directory.0).unwrap(), &mut file, &options).unwrap();
    let broker = directory.broker();
    assert_eq!(kept(&broker, "a/retained").unwrap(), b"twenty one");
    let mut clients: Vec<_> = broker
        .clients()
        .into_iter()
        .filter(|client| client.session_expiry == u32::MAX)
        .map(|client| (client.client_id, client.subscriptions, client.queued, client.inflight))
        .collect();
    clients.sort();
    let of = |name: &str, subscriptions, queued, inflight| (name.to_owned(), subscriptions, queued, inflight);
    assert_eq!(clients, [of("old", 1, 2, 0), of("raw", 1, 1, 3), of("share", 0, 1, 0)]);
    broker.stop(None).unwrap();
}

#[test]
fn a_copy_of_a_running_broker_is_a_store_that_a_broker_starts_with() {
    let (directory, copy) = (Directory::new("backup"), Directory::new("backup-copy"));
    let broker = directory.broker();
    let (mut client, _) = Client::resume(address(&broker), "kept");
    client.subscribe("t/#", QoS::AtLeastOnce);
    drop(client);
    broker.publish_acknowledged("t/1", "before", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
    broker.backup(&copy.0).unwrap();
    broker.publish_acknowledged("t/2", "afterwards", &retained(QoS::AtLeastOnce), Some(PATIENCE)).unwrap();
    let second = copy.broker();
    assert_eq!((kept(&second, "t/1").as_deref(), kept(&second, "t/2")), (Some(&b"before"[..]), None));
    let (mut client, present) = Client::resume(address(&second), "kept");
    assert!(present);
    let message = client.message();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("t/1", &b"before"[..]));
    let used = broker.backup(&copy.0).unwrap_err().to_string();
    assert!(used.starts_with("path: ") && used.contains("another broker of this process uses it"), "{used}");
    second.stop(None).unwrap();
    broker.stop(None).unwrap();
    assert!(matches!(broker.backup(&copy.0), Err(Error::Stopped)));
}
