//! Messages of queues that are read again while the store is in use: before a checkpoint, in it and after it.

use std::sync::Arc;

use midge::codec::qos::QoS;
use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Change, DeliveryRecord, MessageRecord, ReadRequest, SessionChange, Store, StoreError};
use midge::time::WallTime;

use crate::sim_disk::{EIO, Fault, SimDisk};

fn open(disk: &SimDisk) -> DurableStore {
    let options =
        DurableOptions { salt: [7; 16], log_bytes: 4096, now: WallTime::default(), retry_millis: Some(1) };
    DurableStore::open(Arc::new(disk.clone()), options).unwrap().with_memory(0)
}

fn put(store: &DurableStore, client_id: &str, change: SessionChange<'_>) -> u64 {
    store.append(WallTime::default(), Change::Session { client_id, change })
}

fn begun(store: &DurableStore, client_id: &str) {
    put(store, client_id, SessionChange::Begun { expiry_interval: 1, user: None });
}

/// Queues a message; its number.
fn queue(store: &DurableStore, client_id: &str, payload: &[u8]) -> u64 {
    let message = MessageRecord {
        topic: "t",
        properties: &[],
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        received_at: WallTime::default(),
        expires_at: WallTime::NEVER,
    };
    let record =
        DeliveryRecord { message, qos: QoS::AtLeastOnce, retain: false, identifiers: &[3, 300], share: None };
    store.number_of(put(store, client_id, SessionChange::Queued(record)))
}

fn read(store: &DurableStore, client_id: &str, numbers: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    store.read(client_id, numbers, &mut |delivery| {
        assert_eq!(delivery.record.identifiers, [3, 300]);
        found.push((delivery.number, delivery.record.message.payload.to_vec()));
    })?;
    Ok(found)
}

#[test]
fn a_message_is_read_from_wherever_it_is() {
    let store = open(&SimDisk::new(1));
    begun(&store, "a");
    begun(&store, "b");
    let mut expected = Vec::new();
    // So many that checkpoints become due, which are written at the next one or later.
    for number in 0..40_u8 {
        store.begin_group();
        let payload = vec![number; 200];
        let one = queue(&store, "a", &payload);
        if number % 3 == 0 {
            queue(&store, "b", &payload);
        }
        store.end_group();
        assert!(read(&store, "a", &[one]).unwrap().is_empty(), "it is not committed");
        store.commit();
        expected.push((one, payload));
        let numbers: Vec<_> = expected.iter().map(|(number, _)| *number).collect();
        assert_eq!(read(&store, "a", &numbers).unwrap(), expected);
        if number % 16 == 15 {
            store.checkpoint();
            assert_eq!(read(&store, "a", &numbers).unwrap(), expected);
        }
    }
    assert!(store.stats().checkpoints > 1);
    put(&store, "a", SessionChange::Dropped { index: 1 });
    store.commit();
    let (gone, _) = expected.remove(1);
    assert_eq!(read(&store, "a", &[gone, expected[1].0]).unwrap(), expected[1..2]);
    assert!(read(&store, "b", &[gone]).unwrap().is_empty(), "it is of another session");
}

#[test]
fn a_request_waits_for_the_commit_of_its_messages() {
    let store = open(&SimDisk::new(1));
    begun(&store, "a");
    let numbers = vec![queue(&store, "a", b"1"), queue(&store, "a", b"2")];
    let request = ReadRequest { client_id: "a".into(), numbers };
    store.request(request.clone());
    assert_eq!(store.take_request(), None);
    store.commit();
    assert_eq!((store.take_request(), store.take_request()), (Some(request), None));
}

#[test]
fn numbers_go_on_after_a_crash() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    begun(&store, "a");
    let first = queue(&store, "a", b"1");
    store.commit();
    let lost = queue(&store, "a", b"2");
    let store = open(&disk.crash(5));
    let second = queue(&store, "a", b"3");
    store.commit();
    assert!(first < second && lost <= second);
    let found = vec![(first, b"1".to_vec()), (second, b"3".to_vec())];
    assert_eq!(read(&store, "a", &[first, second]).unwrap(), found);
}

#[test]
fn a_read_that_fails_names_the_file_and_the_next_one_may_succeed() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    begun(&store, "a");
    let number = queue(&store, "a", &[1; 500]);
    store.commit();
    store.close();
    store.finish().unwrap();
    let disk = disk.restart();
    let store = open(&disk);
    disk.fault_at(disk.operations(), Fault::Error(EIO));
    match read(&store, "a", &[number]) {
        // It was in the cache.
        Ok(found) => assert_eq!(found.len(), 1),
        Err(error) => assert!(error.to_string().contains("/sim/midge.redb"), "{error}"),
    }
    assert_eq!(read(&store, "a", &[number]).unwrap(), [(number, vec![1; 500])]);
}

/// redb does not look whether a page that it reads is damaged.
#[test]
fn a_payload_that_has_changed_is_refused_with_the_name_of_the_file() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    begun(&store, "a");
    let numbers: Vec<_> = (0..60).map(|_| queue(&store, "a", &[0x5a; 9000])).collect();
    store.commit();
    store.close();
    store.finish().unwrap();
    let disk = disk.restart();
    let store = open(&disk);
    let bytes = disk.bytes("midge.redb");
    let mut refused = 0;
    for (place, _) in bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().all(|byte| *byte == 0x5a))
    {
        midge::storage::durable::disk::Disk::open(&disk, "midge.redb")
            .unwrap()
            .unwrap()
            .write_at(place as u64 * 4096 + 77, &[0x5b])
            .unwrap();
    }
    for number in numbers {
        match read(&store, "a", &[number]) {
            Ok(found) => assert_eq!(found, [(number, vec![0x5a; 9000])]),
            Err(error) => {
                assert!(error.is_damage() && error.to_string().contains("/sim/midge.redb"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "{refused}");
}
