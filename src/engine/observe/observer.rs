//! Somebody who watches a broker in test mode. Otherwise there is nobody, and it costs a branch.

use crate::message::Publication;
use crate::time::Time;

/// Watches a broker. Every method may be called from any thread, with locks of the engine held: it must not call the
/// engine, and must not block.
pub trait Observer: Send + Sync {
    /// A message was published by a client, by the host, or as a will, and everyone who hears it has it.
    fn published(&self, now: Time, publication: &Publication<'_>);

    /// A client has come or gone, or a subscription was made or ended.
    fn changed(&self);
}
