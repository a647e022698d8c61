//! Somebody who watches a broker in test mode. Otherwise there is nobody, and it costs a branch.

use std::sync::Arc;

use crate::codec::reason::ReasonCode;
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timers;
use crate::message::Publication;
use crate::time::Time;

/// Watches a broker. Every method may be called from any thread, with locks of the engine held: it must not call the
/// engine, and must not block.
pub trait Observer: Send + Sync {
    /// Asked once for each CONNECT that can be read: why the client is not let in, although it might be.
    fn refuses(&self, client_id: &str) -> Option<ReasonCode>;

    /// A message was published by a client, by the host, or as a will, and everyone who hears it has it.
    fn published(&self, now: Time, publication: &Publication<'_>);

    /// A client has come or gone, or a subscription was made or ended.
    fn changed(&self);
}

impl Engine {
    /// The same broker, watched, with timers that are not rounded to the tick of the wheel. It must not be in use.
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Engine {
        Engine { observer: Some(observer), timers: Timers::exact(self.timers), ..self }
    }

    /// Tells the observer of clients and subscriptions.
    pub(crate) fn tell_change(&self) {
        if let Some(observer) = &self.observer {
            observer.changed();
        }
    }
}
