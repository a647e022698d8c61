//! An observer of the broker: the console, the log, a trace, the test kit. The host's hooks are one, too.

use crate::codec::qos::QoS;
use crate::engine::observe::mask::EventMask;
use crate::message::Publication;
use crate::session::event::Event;
use crate::time::Time;

/// Sees what happens, and changes nothing. It is no subscriber and is not counted.
///
/// The methods are called from any thread. They must not block or take long, and must not call the engine; the host's
/// hooks, which may, are called by way of a queue. A panic costs this sink this one event.
pub trait EventSink: Send + Sync {
    /// What it wants to see at this moment. It may change: then [`Engine::refresh_sinks`] makes it known, unless this
    /// method answers differently after [`EventSink::event`] than before, which the engine sees by itself. Must not
    /// panic.
    ///
    /// [`Engine::refresh_sinks`]: crate::engine::core::state::Engine::refresh_sinks
    fn mask(&self) -> EventMask;

    /// Something has happened. Called at the end of the turn, in the order in which it happened, with no lock held.
    fn event(&self, _now: Time, _event: &Event) {}

    /// Something happens at this moment, in the middle of a turn. Locks of the engine may be held.
    fn moment(&self, _moment: &Moment<'_>) {}
}

/// What is seen in the middle of a turn.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'m> {
    /// A message is being published: no subscriber has it yet.
    Publishing(Published<'m>),
    /// A message was published by a client, by the host, or as a will, and every subscriber has it.
    Published(Published<'m>),
    /// A client has come or gone, or a subscription was made or ended.
    Changed,
}

/// A message that is published.
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
    /// The QoS with which it is published.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// When it was received.
    pub at: Time,
    /// Seconds from then on after which it expires, if it does.
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
