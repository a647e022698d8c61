//! Subscriptions of the host program.

use std::sync::Arc;

use crate::codec::subscribe::{RetainHandling, SubscriptionOptions};
use crate::codec::topic::{TopicError, TopicFilter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::sink::{Local, Sink};
use crate::engine::parts::subscriber::Subscriber;
use crate::message::Publication;

impl Engine {
    /// Subscribes the host program. Matching retained messages are pushed before this returns, as
    /// `options.retain_handling` says.
    pub fn subscribe_local(
        &self,
        turn: &mut Turn,
        filter: &str,
        options: SubscriptionOptions,
        identifier: u32,
        sink: Arc<dyn Sink>,
    ) -> Result<Arc<Local>, TopicError> {
        let filter = TopicFilter::parse(filter)?;
        let local = Arc::new(Local::new(filter.as_str(), sink));
        let subscriber = Subscriber::Local(Arc::clone(&local));
        self.router.subscribe(filter, &subscriber, options, identifier);
        self.sys_later(turn.now);
        self.tell_change();
        if options.retain_handling != RetainHandling::DoNotSend && filter.group().is_none() {
            let identifiers: &[u32] = if identifier == 0 { &[] } else { &[identifier] };
            for message in self.retained_messages(turn.now, &filter) {
                let mut publication = Publication::of(&message);
                let qos = message.qos().min(options.qos);
                self.push_local(turn, &local, &mut publication, qos, true, identifiers);
            }
        }
        Ok(local)
    }

    /// Ends an in-process subscription: no message is pushed by a publish that begins after this returns.
    pub fn unsubscribe_local(&self, local: &Arc<Local>) {
        self.unroute(local.filter(), &Subscriber::Local(Arc::clone(local)));
        self.tell_change();
    }
}
