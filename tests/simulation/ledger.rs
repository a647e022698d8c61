//! A store that may commit late, and that remembers which record a message or an identifier is safe with.

use std::collections::HashMap;
use std::sync::Mutex;

use midge::storage::{Record, Store, Ticket};

use crate::letter::number_of;

/// Numbers every record.
pub struct Ledger {
    late: bool,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    records: u64,
    committed: u64,
    /// The last record of a message, by its number.
    messages: HashMap<u64, u64>,
    /// The last record of a received QoS 2 identifier.
    received: HashMap<(String, u16), u64>,
}

impl Ledger {
    /// A ledger that commits at once, or when it is told.
    pub fn new(late: bool) -> Ledger {
        Ledger { late, books: Mutex::default() }
    }

    /// Records so far, and how many of them are committed.
    pub fn progress(&self) -> (u64, u64) {
        let books = self.books.lock().unwrap();
        (books.records, if self.late { books.committed } else { books.records })
    }

    pub fn commit(&self, number: u64) {
        self.books.lock().unwrap().committed = number;
    }

    /// The record that PUBACK for this message stands for; 0 is none.
    pub fn record_of_message(&self, number: u64) -> u64 {
        self.books.lock().unwrap().messages.get(&number).copied().unwrap_or(0)
    }

    /// The record that PUBREC for this identifier stands for; 0 is none.
    pub fn record_of_identifier(&self, client: &str, id: u16) -> u64 {
        self.books.lock().unwrap().received.get(&(client.to_owned(), id)).copied().unwrap_or(0)
    }
}

impl Store for Ledger {
    fn record(&self, record: Record<'_>) {
        let mut books = self.books.lock().unwrap();
        books.records += 1;
        let number = books.records;
        match record {
            Record::Owed { message, .. } | Record::Retained { message } => {
                books.messages.insert(number_of(message.payload()), number);
            }
            Record::Received { client_id, packet_id } => {
                books.received.insert((client_id.to_owned(), packet_id.get()), number);
            }
            _ => {}
        }
    }

    fn ticket(&self) -> Ticket {
        let books = self.books.lock().unwrap();
        match !self.late || books.committed >= books.records {
            true => Ticket::Committed,
            false => Ticket::Pending(books.records),
        }
    }
}
