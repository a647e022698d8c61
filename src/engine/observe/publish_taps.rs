//! Those who watch what is published: a console's viewers. While nobody does, a message costs one look at a flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::codec::qos::QoS;
use crate::engine::parts::subscriber::Publisher;
use crate::message::Publication;
use crate::time::Time;

/// Watches every message that is published. It is no subscriber: nobody counts it, and it changes nothing.
pub trait PublishTap: Send + Sync {
    /// Sees a message before it is delivered. Called from any thread, must not block, publish or take long.
    fn see(&self, seen: &Seen<'_>);
}

/// A message that is being published.
#[derive(Debug)]
pub struct Seen<'m> {
    /// The client that publishes it; `None` for the host program.
    pub client_id: Option<&'m str>,
    /// The Topic Name, valid, as encoded.
    pub topic: &'m [u8],
    /// The payload.
    pub payload: &'m [u8],
    /// The properties, as encoded spans.
    pub properties: &'m [&'m [u8]],
    /// The QoS with which it is published.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// When it was received.
    pub at: Time,
}

impl Seen<'_> {
    /// The Topic Name.
    pub fn topic_name(&self) -> &str {
        std::str::from_utf8(self.topic).unwrap_or_default()
    }
}

/// The taps of a broker.
#[derive(Default)]
pub(crate) struct PublishTaps {
    watched: AtomicBool,
    list: Mutex<Arc<[Arc<dyn PublishTap>]>>,
}

impl PublishTaps {
    /// Whether somebody watches.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Adds one.
    pub(crate) fn add(&self, tap: Arc<dyn PublishTap>) {
        let mut list = self.list.lock();
        *list = list.iter().cloned().chain([tap]).collect();
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Takes one away.
    pub(crate) fn remove(&self, tap: &Arc<dyn PublishTap>) {
        let mut list = self.list.lock();
        *list = list.iter().filter(|known| !Arc::ptr_eq(known, tap)).cloned().collect();
        self.watched.store(!list.is_empty(), Ordering::Relaxed);
    }

    /// Shows them a message.
    #[cold]
    pub(crate) fn show(&self, publisher: Publisher<'_>, publication: &Publication<'_>) {
        let list = Arc::clone(&self.list.lock());
        let client_id = match publisher {
            Publisher::Session(session) => Some(&*session.client_id),
            Publisher::Host | Publisher::Broker => None,
        };
        let seen = Seen {
            client_id,
            topic: publication.topic,
            payload: publication.payload,
            properties: &publication.properties,
            qos: publication.qos,
            retain: publication.retain,
            at: publication.received_at,
        };
        for tap in list.iter() {
            tap.see(&seen);
        }
    }
}
