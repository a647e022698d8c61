//! Reading messages of queues again.

use std::sync::Arc;

use super::{DurableStore, STRIDE};
use crate::storage::durable::checkpoint::Checkpoint;
use crate::storage::durable::keys::{self, Key, Kind, numbered};
use crate::storage::durable::overlay::{Net, Overlay};
use crate::storage::durable::rows::{DeliveryRow, numbered_message_of};
use crate::storage::durable::state::Waiting;
use crate::storage::durable::tables::Rows;
use crate::storage::durable::wire::{DeliveryHead, Malformed};
use crate::storage::{DeliveryRecord, Position, ReadRequest, StoreError, StoredDelivery};

/// A delivery that is to be read.
struct Wanted {
    waiting: Waiting,
    delivery: Row,
    message: Row,
}

/// A row, and its value if it is not in the tables yet.
struct Row {
    key: Key,
    unwritten: Option<Box<[u8]>>,
}

impl DurableStore {
    /// Waits for messages that a session needs back, and that are committed; `None` when the store is closed. One thread
    /// calls it, and reads them.
    pub fn wait_for_request(&self) -> Option<ReadRequest> {
        self.reads.wait()
    }

    /// Takes a request of messages that are committed, without waiting.
    pub fn take_request(&self) -> Option<ReadRequest> {
        self.reads.take()
    }

    /// Numbers below the returned one are those of changes up to `position`.
    pub(super) fn numbers_to(&self, position: Position) -> u64 {
        self.first + position * STRIDE
    }

    pub(super) fn read_rows(
        &self,
        client_id: &str,
        numbers: &[u64],
        see: &mut dyn FnMut(StoredDelivery<'_>),
    ) -> Result<(), StoreError> {
        let wanted = self.wanted(client_id, numbers);
        let read = self.with_tables(|tables| {
            let rows = tables.rows()?;
            for wanted in &wanted {
                // What has left the queue meanwhile may have left the tables.
                if !give(&rows, wanted, see)? && self.waits(client_id, wanted.waiting.delivery) {
                    return Err(tables.damaged(Malformed));
                }
            }
            Ok(())
        });
        if read.is_err() {
            // After a failure redb refuses everything.
            *self.tables.write() = None;
        }
        read
    }

    fn waits(&self, client_id: &str, delivery: u64) -> bool {
        self.state.lock().session(client_id).is_some_and(|it| it.waiting(delivery).is_some())
    }

    /// The deliveries of these numbers that are in the queue, with the rows that the tables do not have yet.
    fn wanted(&self, client_id: &str, numbers: &[u64]) -> Vec<Wanted> {
        let state = self.state.lock();
        let writing = self.writing.lock().clone();
        let Some(session) = state.session(client_id) else {
            return Vec::new();
        };
        let row = |key: Key| Row { unwritten: unwritten(&state.overlay, writing.as_ref(), &key), key };
        let waiting = numbers.iter().filter_map(|number| session.waiting(*number));
        let wanted = waiting.map(|waiting| Wanted {
            waiting,
            delivery: row(keys::of_session(Kind::Delivery, session.number, waiting.delivery)),
            message: row(numbered(Kind::Message, waiting.message)),
        });
        wanted.collect()
    }
}

fn unwritten(overlay: &Overlay, writing: Option<&Arc<Checkpoint>>, key: &[u8]) -> Option<Box<[u8]>> {
    match overlay.get(key).or_else(|| writing?.get(key))? {
        Net::New(value) | Net::Put(value) => Some(value.clone()),
        Net::Removed => None,
    }
}

/// Gives a delivery to `see`; false if a row is not there or damaged.
fn give(rows: &Rows, wanted: &Wanted, see: &mut dyn FnMut(StoredDelivery<'_>)) -> Result<bool, StoreError> {
    let Waiting { delivery: number, message } = wanted.waiting;
    let row = value(rows, &wanted.delivery, |row| Some(row.to_vec()))?.unwrap_or_default();
    let Ok(row) = DeliveryRow::decode(&row) else {
        return Ok(false);
    };
    let DeliveryHead { qos, retain, ref identifiers, share } = row.head;
    let given = value(rows, &wanted.message, |bytes| {
        let bytes = numbered_message_of(message, bytes).ok()?;
        let record = DeliveryRecord { message: bytes, qos, retain, identifiers, share };
        see(StoredDelivery { number, message, record });
        Some(())
    })?;
    Ok(given.is_some())
}

/// Gives the value of a row to `see`.
fn value<T>(rows: &Rows, row: &Row, see: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, StoreError> {
    match &row.unwritten {
        Some(value) => Ok(see(value)),
        None => Ok(rows.get(&row.key, see)?.flatten()),
    }
}
