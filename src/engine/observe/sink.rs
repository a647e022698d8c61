//! A sink of the broker's events: the console, the log, a trace, the test kit, or the host's hooks.

use crate::codec::qos::QoS;
use crate::engine::observe::mask::EventMask;
use crate::message::Publication;
use crate::session::event::Event;
use crate::time::Time;

/// A sink of events. It changes nothing; it is not a subscriber and is not counted.
///
/// The methods are called from any thread. They must not block or take long, and must not call the engine. The host's
/// hooks may do so, because a queue calls them. A sink that panics misses that one event.
pub trait EventSink: Send + Sync {
    /// The kinds of events that it wants now. After a change, [`Engine::refresh_sinks`] must be called. The engine
    /// notices a change in [`EventSink::event`] by itself. Must not panic.
    ///
    /// [`Engine::refresh_sinks`]: crate::engine::core::state::Engine::refresh_sinks
    fn mask(&self) -> EventMask;

    /// Called with each event at the end of the turn, in order, with no lock held.
    fn event(&self, _now: Time, _event: &Event) {}

    /// Called in the middle of a turn. Locks of the engine may be held.
    fn moment(&self, _moment: &Moment<'_>) {}
}

/// An event in the middle of a turn.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'m> {
    /// A message is being published; no subscriber has it yet.
    Publishing(Published<'m>),
    /// A message was published by a client, by the host, or as a will; every subscriber has it.
    Published(Published<'m>),
    /// A client has connected or disconnected, or a subscription was made or ended.
    Changed,
}

/// A published message.
#[derive(Clone, Copy, Debug)]
pub struct Published<'m> {
    /// The client that publishes it; `None` for the host program and the broker.
    pub client_id: Option<&'m str>,
    /// The Topic Name, valid, as encoded.
    pub topic: &'m [u8],
    /// The payload.
    pub payload: &'m [u8],
    /// The properties, as encoded spans.
    pub properties: &'m [&'m [u8]],
    /// The QoS of the publication.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// When it was received.
    pub at: Time,
    /// Seconds from `at` until it expires, if it does.
    pub expiry_interval: Option<u32>,
}

impl<'m> Published<'m> {
    /// A message of this client.
    pub(crate) fn new(client_id: Option<&'m str>, publication: &'m Publication<'_>) -> Published<'m> {
        Published {
            client_id,
            topic: publication.topic,
            payload: publication.payload,
            properties: &publication.properties,
            qos: publication.qos,
            retain: publication.retain,
            at: publication.received_at,
            expiry_interval: publication.expiry_interval(publication.received_at),
        }
    }

    /// The Topic Name.
    pub fn topic_name(&self) -> &'m str {
        std::str::from_utf8(self.topic).unwrap_or_default()
    }
}
