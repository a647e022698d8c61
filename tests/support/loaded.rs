//! What a durable store gives, with the messages of queues that it gives one by one.

use midge::codec::qos::QoS;
use midge::storage::durable::DurableStore;
use midge::storage::{Change, DeliveryRecord, MessageRecord, QueuedRecord, SessionChange, Store, StoreError};
use midge::time::WallTime;

use crate::snapshot::Snapshot;

/// A message of a queue.
enum Waiting {
    /// Client Identifier, number, and what is known of it: QoS, bytes, expiry, identifiers.
    Stored(String, u64, (QoS, u64, WallTime, usize)),
    Whole(Box<dyn Fn(&mut Snapshot)>),
}

fn whole(client_id: String, record: DeliveryRecord<'_>) -> Waiting {
    let DeliveryRecord { message, qos, retain, identifiers, share } = record;
    let share = share.expect("a message that is read, and nobody else may get it").to_owned();
    let (topic, properties, payload, identifiers) = (
        message.topic.to_owned(),
        message.properties.to_owned(),
        message.payload.to_owned(),
        identifiers.to_owned(),
    );
    let MessageRecord { qos: of, retain: retained, received_at, expires_at, .. } = message;
    Waiting::Whole(Box::new(move |snapshot| {
        let (topic, properties, payload) = (&*topic, &*properties, &*payload);
        let message =
            MessageRecord { topic, properties, payload, qos: of, retain: retained, received_at, expires_at };
        let (identifiers, share) = (&*identifiers, Some(&*share));
        queued(snapshot, &client_id, DeliveryRecord { message, qos, retain, identifiers, share });
    }))
}

fn queued(snapshot: &mut Snapshot, client_id: &str, record: DeliveryRecord<'_>) {
    let change = Change::Session { client_id, change: SessionChange::Queued(record) };
    snapshot.see(WallTime::default(), change);
}

/// What a store gives. A store with little memory gives its queues without the messages, which are read again.
pub fn loaded(store: &DurableStore) -> Result<Snapshot, StoreError> {
    let mut loaded = Snapshot::default();
    store.load(&mut |at, change| {
        loaded.see(at, change);
        Ok(())
    })?;
    let mut waiting = Vec::new();
    store.load_waiting(&mut |client_id, record| {
        let client_id = client_id.to_owned();
        waiting.push(match record {
            QueuedRecord::Stored { number, qos, bytes, expires_at, identifiers } => {
                Waiting::Stored(client_id, number, (qos, bytes, expires_at, identifiers))
            }
            QueuedRecord::Whole(record) => whole(client_id, record),
        });
        Ok(())
    })?;
    for waiting in waiting {
        let (client_id, number, known) = match waiting {
            Waiting::Whole(see) => {
                see(&mut loaded);
                continue;
            }
            Waiting::Stored(client_id, number, known) => (client_id, number, known),
        };
        let mut given = 0;
        store.read(&client_id, &[number], &mut |delivery| {
            let record @ DeliveryRecord { message, .. } = delivery.record;
            let len = (message.topic.len() + message.properties.len() + message.payload.len()) as u64;
            let found = (record.qos, len, message.expires_at, record.identifiers.len());
            assert_eq!((delivery.number, found), (number, known), "what is known without the message");
            queued(&mut loaded, &client_id, record);
            given += 1;
        })?;
        assert_eq!(given, 1, "message {number} of {client_id:?}");
    }
    Ok(loaded.numbered())
}
