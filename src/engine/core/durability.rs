//! The host program learns when a message that it published is safe.

use std::sync::Arc;

use crate::codec::qos::QoS;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::storage::Ticket;

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is as safe as its QoS and the store promise.
    Yes,
    /// The broker stopped before it was.
    Stopped,
}

/// Somebody in the host program who waits for a message to be safe.
pub trait DurabilityWaiter: Send + Sync {
    /// Called exactly once, at the end of a turn, when the thread holds no lock. Must not panic.
    fn tell(&self, safe: Durability);
}

impl Engine {
    /// Has `waiter` told when everything that this thread has recorded so far is committed; of QoS 0, which promises
    /// nothing, at the end of this turn.
    pub fn tell_when_safe(&self, turn: &mut Turn, qos: QoS, waiter: Arc<dyn DurabilityWaiter>) {
        let ticket = if qos == QoS::AtMostOnce { Ticket::Committed } else { self.store.ticket() };
        match ticket {
            Ticket::Committed => turn.tell_later(waiter, Durability::Yes),
            Ticket::Pending(ticket) => self.add_commit_waiter(turn, ticket, waiter),
        }
    }
}
