//! Messages of queues that the store alone has: they are read without a lock of the engine, and given to their sessions.

use crate::codec::reason::ReasonCode;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::message::Publication;
use crate::session::delivery::DeliveryOptions;
use crate::session::entry::Entry;
use crate::session::event::Level;
use crate::session::link::Cause;
use crate::session::pending::Pending;
use crate::session::pool::Pool;
use crate::session::record::message_of;
use crate::session::state::Mark;
use crate::storage::{ReadRequest, StoreError, StoredDelivery};

/// What the store has given for a request.
#[derive(Debug)]
pub struct ReadBack {
    request: ReadRequest,
    found: Result<Vec<(u64, Pending)>, StoreError>,
}

impl Engine {
    /// Reads the messages of a request. It waits for the disk; [`Engine::give_stored`] gives them to the session.
    pub fn read_stored(&self, request: ReadRequest) -> ReadBack {
        let found = self.read_pending(&request.client_id, &request.numbers);
        ReadBack { request, found }
    }

    /// Gives messages that were read to their session, which sends them. If one cannot be read, the connection ends; it
    /// stays in the queue.
    pub fn give_stored(&self, turn: &mut Turn, read: ReadBack) {
        let ReadBack { request: ReadRequest { client_id, numbers }, found } = read;
        let Some(session) = self.sessions.get(&client_id) else {
            return;
        };
        let (found, mut error) = match found {
            Ok(found) => (found, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let mut outbound = session.outbound.lock();
        if !outbound.give_stored(&mut self.context(turn, &session), &numbers, found) {
            error.get_or_insert_with(|| "the store does not have it".to_owned());
            let (epoch, cause) = (outbound.epoch(), Cause::Refused(ReasonCode::UnspecifiedError));
            outbound.request_close(epoch, cause);
        } else {
            error = None;
        }
        let mut flush = outbound.list_for_flush();
        Engine::note_holds(turn, &session, &mut outbound);
        drop(outbound);
        if session.is_marked(Mark::WALKS.and(Mark::AWAITED)) {
            flush |= self.go_on_after_ack(turn, &session);
        }
        if flush {
            turn.flush_later(&session);
        }
        if let Some(error) = error {
            self.log(turn, Level::Error, Some(&client_id), || {
                format!(
                    "client {client_id:?}: a message of its queue cannot be read, delivery stops: {error}"
                )
            });
        }
    }

    /// The messages of these entries, but for those that the store cannot give.
    pub(crate) fn read_entries(&self, client_id: &str, entries: Vec<Entry>) -> Vec<Pending> {
        let numbers: Vec<u64> = entries.iter().filter_map(Entry::number).collect();
        let read = if numbers.is_empty() { Vec::new() } else { self.read_some(client_id, &numbers) };
        let mut read = read.into_iter().peekable();
        let pending = entries.into_iter().filter_map(|entry| match entry {
            Entry::Held(pending) => Some(pending),
            entry => read.next_if(|(number, _)| Some(*number) == entry.number()).map(|(_, pending)| pending),
        });
        pending.collect()
    }

    /// As many of them as can be read.
    fn read_some(&self, client_id: &str, numbers: &[u64]) -> Vec<(u64, Pending)> {
        self.read_pending(client_id, numbers).unwrap_or_default()
    }

    fn read_pending(&self, client_id: &str, numbers: &[u64]) -> Result<Vec<(u64, Pending)>, StoreError> {
        let (mut pool, mut found) = (Pool::new(), Vec::new());
        self.recorder.store().read(client_id, numbers, &mut |delivery| {
            found.push((delivery.number, self.pending_of(&mut pool, &delivery)));
        })?;
        Ok(found)
    }

    fn pending_of(&self, pool: &mut Pool, delivery: &StoredDelivery<'_>) -> Pending {
        let record = &delivery.record;
        let make = || message_of(&record.message, self.recorder.clock());
        let message = match delivery.message == delivery.number {
            true => make(),
            false => self.read_messages.share(delivery.message, make),
        };
        let share = record.share.map(Into::into);
        let options = DeliveryOptions {
            qos: record.qos,
            retain: record.retain,
            identifiers: record.identifiers,
            share: share.as_ref(),
        };
        Pending::new(pool, &mut Publication::of(&message), &options)
    }
}
