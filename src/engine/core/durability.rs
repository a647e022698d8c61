//! The host program learns when a message that it published is safe.

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is as safe as its QoS and the store promise.
    Yes,
    /// The broker stopped before it was.
    Stopped,
    /// The store failed before it was.
    Failed,
}

/// Somebody in the host program who waits for a message to be safe.
pub trait DurabilityWaiter: Send + Sync {
    /// Called exactly once, at the end of a turn, when the thread holds no lock. Must not panic.
    fn tell(&self, safe: Durability);
}
