//! The table of sessions by Client Identifier.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;

use crate::session::state::Session;

/// All sessions. The lock is held for one look-up or change and never while another is taken.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<HashTable<Arc<Session>>>,
    hasher: DefaultHashBuilder,
}

impl Sessions {
    /// The session of a client.
    pub fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        let hash = self.hasher.hash_one(client_id);
        self.table.lock().find(hash, |s| *s.client_id == *client_id).cloned()
    }

    /// Adds a session unless its client has one; false if it has, or if there are `most` already.
    pub fn insert(&self, session: &Arc<Session>, most: usize) -> Result<(), InsertError> {
        let hash = self.hasher.hash_one(&*session.client_id);
        let mut table = self.table.lock();
        if table.find(hash, |s| s.client_id == session.client_id).is_some() {
            return Err(InsertError::Exists);
        }
        if table.len() >= most {
            return Err(InsertError::Full);
        }
        table.insert_unique(hash, Arc::clone(session), |s| self.hasher.hash_one(&*s.client_id));
        Ok(())
    }

    /// Removes this very session.
    pub fn remove(&self, session: &Arc<Session>) {
        let hash = self.hasher.hash_one(&*session.client_id);
        if let Ok(entry) = self.table.lock().find_entry(hash, |s| Arc::ptr_eq(s, session)) {
            entry.remove();
        }
    }

    /// Sessions.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every session at this moment.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.table.lock().iter().cloned().collect()
    }
}

/// Why a session was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The client has a session.
    Exists,
    /// There are as many as may be.
    Full,
}
