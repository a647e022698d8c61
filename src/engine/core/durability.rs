//! Tells the host program when a message that it has published is safe.

/// Whether a published message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is as safe as its QoS and the store promise.
    Yes,
    /// The broker stopped before it was safe.
    Stopped,
    /// The store failed before it was safe.
    Failed,
}

/// A caller in the host program that waits for a message to be safe.
pub trait DurabilityWaiter: Send + Sync {
    /// Called exactly once, at the end of a turn, while the thread holds no lock. Must not panic.
    fn tell(&self, safe: Durability);
}
