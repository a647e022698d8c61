//! Subscriptions of the host program.

use std::sync::Arc;

use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::codec::topic::{TopicError, TopicFilter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::sink::{Local, LocalWalk, Sink};
use crate::engine::parts::subscriber::Subscriber;

impl Engine {
    /// Subscribes the host program. Retained messages that match are pushed before this returns, as
    /// `options.retain_handling` says, if the sink has room for them; the rest when it has room again.
    pub fn subscribe_local(
        &self,
        turn: &mut Turn,
        filter: &str,
        options: SubscriptionOptions,
        identifier: u32,
        sink: Arc<dyn Sink>,
    ) -> Result<Arc<Local>, TopicError> {
        let filter = TopicFilter::parse(filter)?;
        let wants_retained = options.retain_handling != RetainHandling::DoNotSend && filter.group().is_none();
        let walk = wants_retained.then(|| LocalWalk::new(options.qos, identifier));
        let local = Arc::new(Local::new(filter.as_str(), sink, walk));
        let subscriber = Subscriber::Local(Arc::clone(&local));
        self.router.subscribe(filter, &subscriber, options, identifier);
        self.sys_later(turn.now);
        self.tell_change();
        if wants_retained {
            self.walk_retained_local(turn, &local);
        }
        Ok(local)
    }

    /// Ends an in-process subscription: no message is pushed by a publish that begins after this returns.
    pub fn unsubscribe_local(&self, local: &Arc<Local>) {
        self.unroute(local.filter(), &Subscriber::Local(Arc::clone(local)));
        self.tell_change();
    }
}
