//! The sessions of clients, for the host to manage.

use crate::embed::acknowledged::store_failed;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::message::Message;

impl Broker {
    /// Ends the session of a client, whether it is connected or away, as its expiry would: its subscriptions go, its will
    /// is published, what waits for a shared subscription goes to another member, the rest is dropped. A client that is
    /// connected is disconnected, with 0x98 Administrative action if it speaks MQTT 5. False if there is no such session.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Forked`]; [`Error::System`]: the session has ended, but the store that keeps it has
    /// failed, so that it is there again after a restart.
    pub fn end_session(&self, client_id: &str) -> Result<bool, Error> {
        let shared = self.shared()?;
        let mut turn = shared.turn()?;
        let comes_back = shared.engine().is_lost_to_store(client_id);
        let has_ended = shared.engine().discard_session(&mut turn, client_id);
        if comes_back { Err(store_failed()) } else { Ok(has_ended) }
    }

    /// The oldest messages that wait in the queue of a client's session, at most `most`, oldest first; `None` if there is
    /// no such session. They stay in the queue. Messages that were sent and are not acknowledged are not in it. Large
    /// payloads are shared, the rest is copied.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn queued(&self, client_id: &str, most: usize) -> Result<Option<Vec<Message>>, Error> {
        let shared = self.shared()?;
        let now = shared.now();
        let queue = shared.engine().queue(client_id, most);
        Ok(queue.map(|queue| queue.oldest.iter().map(|pending| Message::queued(pending, now)).collect()))
    }

    /// Drops what waits in the queue of a client's session, and returns the number of messages; `None` if there is no such
    /// session. They are counted as `messages_dropped_cleared`. Messages that were sent and are not acknowledged stay.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Forked`]; [`Error::System`]: the queue is empty, but the store that keeps it has failed,
    /// so that the messages are there again after a restart.
    pub fn clear_queue(&self, client_id: &str) -> Result<Option<usize>, Error> {
        let shared = self.shared()?;
        let mut turn = shared.turn()?;
        let comes_back = shared.engine().is_lost_to_store(client_id);
        let cleared = shared.engine().clear_queue(&mut turn, client_id);
        if comes_back { Err(store_failed()) } else { Ok(cleared) }
    }
}
