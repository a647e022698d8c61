//! The host program's end of an in-process subscription.

use std::sync::{Arc, Mutex};

use midge::codec::qos::QoS;
use midge::engine::parts::sink::{LocalMessage, Sink};
use midge::session::queue::Room;

/// Keeps what is pushed, up to a bound.
pub struct Inbox {
    room: usize,
    state: Mutex<(Vec<Pushed>, usize)>,
}

/// A message that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub identifiers: Vec<u32>,
    pub expiry: Option<u32>,
    pub shared: bool,
}

impl Inbox {
    /// Holds at most `room` messages.
    pub fn new(room: usize) -> Arc<Inbox> {
        Arc::new(Inbox { room, state: Mutex::default() })
    }

    /// The messages since the last call.
    pub fn take(&self) -> Vec<Pushed> {
        std::mem::take(&mut self.state.lock().unwrap().0)
    }

    /// The messages that wait.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap().0.len()
    }

    /// How often it was woken since the last call.
    pub fn take_wakes(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().1)
    }
}

impl Sink for Inbox {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.0.len() >= self.room {
            return false;
        }
        state.0.push(Pushed {
            topic: String::from_utf8(message.topic.to_vec()).unwrap(),
            payload: message.payload.to_vec(),
            qos: message.qos,
            retain: message.retain,
            identifiers: message.identifiers.to_vec(),
            expiry: message.expiry_interval,
            shared: message.shared.is_some(),
        });
        true
    }

    fn room(&self, _bytes: usize) -> Room {
        if self.len() < self.room { Room::Free } else { Room::None }
    }

    fn wake(&self) {
        self.state.lock().unwrap().1 += 1;
    }
}
