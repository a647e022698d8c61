//! A store that commits when the test says so.

use std::sync::Mutex;

use midge::storage::{Record, Store, Ticket};

use crate::harness::Network;

/// Keeps the names of its records.
#[derive(Default)]
pub struct LateStore(Mutex<State>);

#[derive(Default)]
struct State {
    records: Vec<String>,
    committed: usize,
}

impl LateStore {
    /// Commits all records so far, and tells the engine.
    pub fn commit(&self, network: &Network) {
        let number = self.len();
        self.commit_up_to(network, number);
    }

    /// Commits the first `number` records, and tells the engine.
    pub fn commit_up_to(&self, network: &Network, number: usize) {
        self.commit_silently(number);
        network.engine.committed(&mut network.turn(), number as u64);
    }

    /// Commits the first `number` records without telling the engine.
    pub fn commit_silently(&self, number: usize) {
        self.0.lock().unwrap().committed = number;
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().records.len()
    }

    /// The records since the last call, as text.
    pub fn records_from(&self, first: usize) -> Vec<String> {
        self.0.lock().unwrap().records[first..].to_vec()
    }
}

impl Store for LateStore {
    fn record(&self, record: Record<'_>) {
        let text = match record {
            Record::Session { client_id, expiry_interval } => {
                format!("session {client_id} {expiry_interval}")
            }
            Record::SessionEnded { client_id } => format!("ended {client_id}"),
            Record::Subscribed { client_id, filter, .. } => format!("subscribed {client_id} {filter}"),
            Record::Unsubscribed { client_id, filter } => format!("unsubscribed {client_id} {filter}"),
            Record::Owed { client_id, message } => format!("owed {client_id} {}", message.topic()),
            Record::Received { client_id, packet_id } => format!("received {client_id} {packet_id}"),
            Record::Released { client_id, packet_id } => format!("released {client_id} {packet_id}"),
            Record::Retained { message } => format!("retained {}", message.topic()),
            Record::Cleared { topic } => format!("cleared {}", String::from_utf8_lossy(topic)),
        };
        self.0.lock().unwrap().records.push(text);
    }

    fn ticket(&self) -> Ticket {
        let state = self.0.lock().unwrap();
        match state.records.len() {
            count if count <= state.committed => Ticket::Committed,
            count => Ticket::Pending(count as u64),
        }
    }
}
