//! The retained messages, for the host to read.

use crate::codec::topic::TopicFilter;
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::message::Message;

impl Broker {
    /// The retained messages whose topics match a filter, and with a filter that begins with `$SYS/` those of the
    /// broker, in the order of their topics. Large payloads are shared, not copied; the rest is copied, so ask for what
    /// you need. It can be called until the broker is dropped.
    ///
    /// # Errors
    /// [`Error::Filter`]; [`Error::Argument`] for a shared subscription, which gets no retained messages.
    pub fn retained(&self, filter: &str) -> Result<Vec<Message>, Error> {
        let wrong = |cause| Error::Filter { filter: filter.to_owned(), cause };
        let parsed = TopicFilter::parse(filter).map_err(wrong)?;
        if parsed.group().is_some() {
            let cause = "a shared subscription gets no retained messages".to_owned();
            return Err(Error::Argument { argument: "filter", cause });
        }
        let shared = self.shared()?;
        let now = shared.now();
        let mut found = shared.engine().retained_messages(now, &parsed);
        found.sort_unstable_by(|a, b| a.topic_bytes().cmp(b.topic_bytes()));
        Ok(found.iter().map(|message| Message::retained(message, now)).collect())
    }
}
