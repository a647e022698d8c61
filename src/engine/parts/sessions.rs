//! The table of sessions by Client Identifier.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::locks::Mutex;
use crate::session::state::Session;

/// The number of parts of the table: growing or shrinking one of them pauses for a 64th of the sessions.
const PARTS: usize = 64;
/// A part of at most this capacity is not shrunk, so that a client that comes and goes allocates nothing here.
const SMALL: usize = 28;

type Part = Mutex<HashTable<Arc<Session>>>;

/// All sessions. The lock of a part is held for one lookup or change, and never while another lock is taken.
pub struct Sessions {
    parts: [Part; PARTS],
    /// The number of sessions, including those that are being added.
    count: AtomicUsize,
    hasher: DefaultHashBuilder,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions {
            parts: std::array::from_fn(|_| Part::default()),
            count: AtomicUsize::new(0),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Sessions {
    /// The session of a client.
    pub fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        let hash = self.hash(client_id);
        self.part(hash)?.lock().find(hash, |s| *s.client_id == *client_id).cloned()
    }

    /// Adds a session, unless its client has one or there are `most` already.
    #[inline(always)] // Of its two callers, only one runs after the start.
    pub fn insert(&self, session: &Arc<Session>, most: usize) -> Result<(), InsertError> {
        let hash = self.hash(&session.client_id);
        let Some(part) = self.part(hash) else { return Err(InsertError::Full) };
        let mut table = part.lock();
        if table.find(hash, |s| s.client_id == session.client_id).is_some() {
            return Err(InsertError::Exists);
        }
        let room = |count| (count < most).then_some(count + 1);
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(InsertError::Full);
        }
        table.insert_unique(hash, Arc::clone(session), |s| self.hash(&s.client_id));
        Ok(())
    }

    /// Removes exactly this session. Frees memory of its part once three quarters of it are unused.
    pub fn remove(&self, session: &Arc<Session>) {
        let hash = self.hash(&session.client_id);
        let Some(part) = self.part(hash) else { return };
        let mut table = part.lock();
        let Ok(entry) = table.find_entry(hash, |s| Arc::ptr_eq(s, session)) else { return };
        entry.remove();
        self.count.fetch_sub(1, Ordering::Relaxed);
        if table.capacity() > SMALL && table.len() * 4 < table.capacity() {
            let wanted = table.len() * 2;
            table.shrink_to(wanted, |s| self.hash(&s.client_id));
        }
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sessions. A session that is added or removed during this call may be missing or included.
    pub fn all(&self) -> Vec<Arc<Session>> {
        let mut all = Vec::with_capacity(self.len());
        self.parts.iter().for_each(|part| all.extend(part.lock().iter().cloned()));
        all
    }

    fn hash(&self, client_id: &str) -> u64 {
        self.hasher.hash_one(client_id)
    }

    /// The part for that hash; there always is one. It is selected by the hash bits that the part itself uses last.
    fn part(&self, hash: u64) -> Option<&Part> {
        self.parts.get((hash >> 48) as usize % PARTS)
    }
}

/// Why a session was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The client has a session already.
    Exists,
    /// The session limit is reached.
    Full,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{InsertError, PARTS, SMALL, Sessions};
    use crate::session::state::Session;

    fn added(sessions: &Sessions, count: usize) -> Vec<Arc<Session>> {
        let one = |number: usize| {
            let session = Arc::new(Session::new(&format!("client-{number}")));
            assert_eq!(sessions.insert(&session, count), Ok(()));
            session
        };
        (0..count).map(one).collect()
    }

    /// The capacity of all parts.
    fn room(sessions: &Sessions) -> usize {
        sessions.parts.iter().map(|part| part.lock().capacity()).sum()
    }

    #[test]
    fn a_session_is_found_by_its_client_and_is_there_once() {
        let sessions = Sessions::default();
        let own = Arc::new(Session::new("a"));
        let other = Arc::new(Session::new("a"));
        assert_eq!(sessions.insert(&own, 2), Ok(()));
        assert_eq!(sessions.insert(&other, 2), Err(InsertError::Exists));
        sessions.remove(&other);
        assert!(sessions.get("a").is_some_and(|found| Arc::ptr_eq(&found, &own)));
        sessions.remove(&own);
        sessions.remove(&own);
        assert!(sessions.get("a").is_none() && sessions.is_empty());
    }

    #[test]
    fn no_more_sessions_are_added_than_may_be() {
        let sessions = Sessions::default();
        let all = added(&sessions, 1000);
        let one_more = Arc::new(Session::new("one more"));
        assert_eq!(sessions.insert(&one_more, all.len()), Err(InsertError::Full));
        sessions.remove(&all[7]);
        assert_eq!(sessions.insert(&one_more, all.len()), Ok(()));
        assert_eq!((sessions.len(), sessions.all().len()), (1000, 1000));
    }

    #[test]
    fn the_table_shrinks_and_still_has_who_stays() {
        let sessions = Sessions::default();
        let all = added(&sessions, 100_000);
        let (stay, leave) = all.split_at(1000);
        leave.iter().for_each(|session| sessions.remove(session));
        assert!(room(&sessions) <= 8 * stay.len() + PARTS * SMALL, "room for {}", room(&sessions));
        for session in stay {
            assert!(sessions.get(&session.client_id).is_some_and(|found| Arc::ptr_eq(&found, session)));
        }
        stay.iter().for_each(|session| sessions.remove(session));
        assert!(sessions.all().is_empty() && room(&sessions) <= PARTS * SMALL);
    }
}
