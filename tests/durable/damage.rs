//! Damaged files of a whole store: each damage is harmless, or the store is refused with a sentence that names the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use midge::codec::packet_id::PacketId;
use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::storage::durable::disk::Disk;
use midge::storage::durable::{DurableOptions, DurableStore, set_aside};
use midge::storage::{Change, DeliveryRecord, MessageRecord, SessionChange, Store, StoreError};
use midge::time::WallTime;

use crate::dice::Dice;
use crate::loaded::loaded;
use crate::sim_disk::SimDisk;
use crate::snapshot::Snapshot;

const FILES: [&str; 3] = ["log.0", "log.1", "midge.redb"];

fn open(disk: &SimDisk) -> Result<DurableStore, StoreError> {
    let options = DurableOptions {
        salt: [7; 16],
        log_bytes: 1 << 16,
        now: WallTime::from_millis(1000),
        retry_millis: None,
    };
    DurableStore::open(Arc::new(disk.clone()), options)
}

fn message<'m>(topic: &'m str, payload: &'m [u8]) -> MessageRecord<'m> {
    MessageRecord {
        topic,
        properties: &[],
        payload,
        qos: QoS::ExactlyOnce,
        retain: false,
        received_at: WallTime::from_millis(5),
        expires_at: WallTime::NEVER,
    }
}

fn delivery(message: MessageRecord<'_>) -> DeliveryRecord<'_> {
    DeliveryRecord { message, qos: QoS::ExactlyOnce, retain: false, identifiers: &[], share: None }
}

/// Appends changes, and keeps what they amount to.
struct Filling<'s> {
    store: &'s DurableStore,
    snapshot: Snapshot,
}

impl Filling<'_> {
    fn put(&mut self, change: Change<'_>) {
        let at = WallTime::from_millis(1000);
        self.snapshot.see(at, change);
        self.store.append(at, change);
    }

    fn session(&mut self, client_id: &str, change: SessionChange<'_>) {
        self.put(Change::Session { client_id, change });
    }

    /// Sessions with subscriptions, messages in all places, messages that they share, retained messages.
    fn fill(&mut self, part: usize) {
        let id = |number: usize| PacketId::new(number as u16 + 1).unwrap();
        for number in 0..12 {
            let client = format!("client-{part}-{number}");
            self.session(&client, SessionChange::Begun { expiry_interval: 3600, user: Some("user") });
            let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
            let filter = format!("rooms/{number}/#");
            self.session(&client, SessionChange::Subscribed { filter: &filter, options, identifier: 7 });
            let payload = vec![b'a' + number as u8; 150];
            for index in 0..12 {
                let topic = format!("rooms/{number}/{index}");
                self.session(&client, SessionChange::Queued(delivery(message(&topic, &payload))));
                if index < 4 {
                    self.session(&client, SessionChange::Sent { packet_id: id(index) });
                }
            }
            self.session(&client, SessionChange::Confirmed { packet_id: id(0) });
            self.session(&client, SessionChange::Received { packet_id: id(number) });
            let will = message("wills", b"gone");
            self.session(&client, SessionChange::Will { message: will, delay: 5, expiry: None });
            self.put(Change::Retained(message(&format!("state/{part}/{number}"), &payload)));
            self.store.commit();
        }
        for number in 0..20 {
            let payload = vec![b'A' + number; 300];
            self.store.begin_group();
            for client in 0..4 {
                let queued = SessionChange::Queued(delivery(message("shared", &payload)));
                self.session(&format!("client-{part}-{client}"), queued);
            }
            self.store.end_group();
            self.store.commit();
        }
    }
}

/// A store that was killed: one part of it is in the tables, another one in the log.
fn template() -> (SimDisk, Snapshot) {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    let mut filling = Filling { store: &store, snapshot: Snapshot::default() };
    for part in 0..3 {
        filling.fill(part);
        store.checkpoint();
    }
    let snapshot = filling.snapshot.numbered();
    (disk.restart(), snapshot)
}

/// What a damage has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Harmless,
    Refused,
}

/// Opens and reads the store, writes to it, closes it and opens it again: all that it gives is right, or the error names
/// a file.
fn outcome(disk: &SimDisk, expected: &Snapshot) -> Result<Outcome, String> {
    let attempt = || -> Result<(), StoreError> {
        let store = open(disk)?;
        assert!(loaded(&store)? == *expected, "other content");
        // What is read again is the same.
        let store = store.with_memory(0);
        assert!(loaded(&store)? == *expected, "other content, read one by one");
        store.append(WallTime::from_millis(1000), Change::Retained(message("last", b"words")));
        let committed = store.commit();
        store.close();
        let finished = store.finish();
        drop(store);
        match finished {
            Ok(()) => assert!(committed),
            Err(error) => return Err(error),
        }
        let mut again = expected.clone();
        again.see(WallTime::default(), Change::Retained(message("last", b"words")));
        assert!(loaded(&open(&disk.restart())?)? == again, "other content at the second start");
        Ok(())
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Err(panic) => Err(panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string()),
        Ok(Ok(())) => Ok(Outcome::Harmless),
        Ok(Err(error)) => {
            let sentence = error.to_string();
            let names = FILES.iter().any(|file| sentence.contains(&format!("/sim/{file}")));
            if names && error.is_damage() { Ok(Outcome::Refused) } else { Err(sentence) }
        }
    }
}

#[test]
fn a_bit_flipped_anywhere_is_harmless_or_refused_with_the_name_of_the_file() {
    let places: u64 = std::env::var("DAMAGE_PLACES").map_or(150, |places| places.parse().unwrap());
    let (disk, expected) = template();
    assert_eq!(outcome(&disk.copy(), &expected), Ok(Outcome::Harmless));
    let mut random = Dice::new(places);
    let mut counts = [[0; 2]; 3];
    let mut wrong = Vec::new();
    for number in 0..places {
        let file = (number % 3) as usize;
        let damaged = disk.copy();
        // Mostly where something was written.
        let bytes = damaged.bytes(FILES[file]);
        let used: Vec<u64> = (0..bytes.len() as u64).filter(|at| bytes[*at as usize] != 0).collect();
        let byte = match random.chance(25) {
            true => random.below(bytes.len() as u64),
            false => used[random.below(used.len() as u64) as usize],
        };
        let bit = byte * 8 + random.below(8);
        damaged.flip(FILES[file], bit);
        match outcome(&damaged, &expected) {
            Ok(outcome) => counts[file][outcome as usize] += 1,
            Err(why) => wrong.push(format!("bit {bit} of {} ({} bytes): {why}", FILES[file], bytes.len())),
        }
    }
    for (file, [harmless, refused]) in FILES.iter().zip(counts) {
        println!("{file}: {harmless} flips were harmless, {refused} refused");
    }
    assert!(wrong.is_empty(), "{} of {places} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

/// A damage, and what it is called.
type Damage = (String, Box<dyn Fn(&SimDisk)>);

fn replace(disk: &SimDisk, name: &str, content: &[u8]) {
    disk.change(name, |bytes| *bytes = content.to_vec());
}

fn damages() -> Vec<Damage> {
    let mut damages: Vec<Damage> = Vec::new();
    let mut random = Dice::new(3);
    for file in FILES {
        damages.push((format!("{file} is missing"), Box::new(move |disk| disk.remove(file).unwrap())));
        let foreign = b"text that somebody has put here\n".repeat(3000);
        damages.push((format!("{file} is a text"), Box::new(move |disk| replace(disk, file, &foreign))));
        for percent in [0, 1, 10, 50, 90, 99] {
            let cut =
                move |disk: &SimDisk| disk.change(file, |bytes| bytes.truncate(bytes.len() * percent / 100));
            damages.push((format!("{file} is cut to {percent} %"), Box::new(cut)));
        }
        for _ in 0..10 {
            let number = random.roll();
            let zero = move |disk: &SimDisk| {
                disk.change(file, |bytes| {
                    // A log without its last records cannot be told from one that ends there.
                    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) / 4096;
                    let pages = if file.starts_with("log") { last.saturating_sub(4).max(1) } else { last };
                    let at = (number % pages as u64) as usize * 4096;
                    bytes[at..at + 4096].fill(0);
                });
            };
            damages.push((format!("a page of {file} is empty ({number})"), Box::new(zero)));
        }
        for other in FILES.into_iter().filter(|other| *other != file) {
            let swap = move |disk: &SimDisk| {
                let (one, two) = (disk.bytes(file), disk.bytes(other));
                replace(disk, file, &two);
                replace(disk, other, &one);
            };
            damages.push((format!("{file} and {other} are exchanged"), Box::new(swap)));
        }
        let stranger = move |disk: &SimDisk| {
            let strange = SimDisk::new(1);
            let options = DurableOptions {
                salt: [9; 16],
                log_bytes: 1 << 16,
                now: WallTime::from_millis(1000),
                retry_millis: None,
            };
            let store = DurableStore::open(Arc::new(strange.clone()), options).unwrap();
            Filling { store: &store, snapshot: Snapshot::default() }.fill(0);
            replace(disk, file, &strange.bytes(file));
        };
        damages.push((format!("{file} is of another store"), Box::new(stranger)));
    }
    damages
}

#[test]
fn wrong_files_are_harmless_or_refused_by_name_and_can_be_set_aside() {
    let (disk, expected) = template();
    let (mut refused, mut wrong) = (0, Vec::new());
    for (name, damage) in damages() {
        let damaged = disk.copy();
        damage(&damaged);
        match outcome(&damaged.copy(), &expected) {
            Ok(Outcome::Harmless) => continue,
            Ok(Outcome::Refused) => refused += 1,
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
        let Some(error) = open(&damaged).err() else { continue };
        assert!(error.is_damage(), "{name}: {error}");
        let kept: Vec<_> =
            FILES.iter().filter(|file| damaged.names().unwrap().iter().any(|name| name == *file)).collect();
        let before: Vec<_> = kept.iter().map(|file| damaged.bytes(file)).collect();
        set_aside(&damaged, 77).unwrap();
        let store = open(&damaged).unwrap();
        assert!(loaded(&store).unwrap() == Snapshot::default(), "{name}");
        let after: Vec<_> = kept.iter().map(|file| damaged.bytes(&format!("{file}.damaged-77"))).collect();
        assert!(before == after, "{name}");
    }
    println!("{refused} of {} damages were refused", damages().len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 30, "{refused}");
}
