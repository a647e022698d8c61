//! The console's journal: it is told what hooks are told, and of clients that are refused. Without a console it is absent,
//! and costs nothing.

use std::net::SocketAddr;

use crate::codec::reason::ReasonCode;
use crate::engine::access::hooks::Wanted;
use crate::session::event::Event;
use crate::time::Time;

/// Takes down what happens. The methods are called from any thread, with no lock of the broker held but perhaps that of
/// a connection that is refused; they must not block or call the broker.
pub trait Journal: Send + Sync {
    /// Whether it still takes dropped messages down: many of them would cost too much.
    fn wants_drops(&self) -> bool;

    /// Something has happened.
    fn note(&self, now: Time, event: &Event);

    /// A client was not let in.
    fn refused(&self, now: Time, refused: &RefusedClient<'_>);
}

/// A client that was not let in.
#[derive(Clone, Copy, Debug)]
pub struct RefusedClient<'r> {
    /// The Client Identifier, as far as it is known.
    pub client_id: Option<&'r str>,
    /// The peer's address, if it came over a network.
    pub address: Option<SocketAddr>,
    /// Why.
    pub reason: ReasonCode,
    /// The same in words.
    pub why: &'r str,
}

/// Of what a journal is told.
pub(crate) const NOTED: Wanted = Wanted {
    authenticate: false,
    authorize: false,
    on_publish: false,
    connected: true,
    disconnected: true,
    subscribed: true,
    unsubscribed: true,
    delivered: false,
    dropped: true,
    log: None,
};

/// What either of two wants to be told or asked.
pub(crate) fn either(a: Wanted, b: Wanted) -> Wanted {
    Wanted {
        authenticate: a.authenticate || b.authenticate,
        authorize: a.authorize || b.authorize,
        on_publish: a.on_publish || b.on_publish,
        connected: a.connected || b.connected,
        disconnected: a.disconnected || b.disconnected,
        subscribed: a.subscribed || b.subscribed,
        unsubscribed: a.unsubscribed || b.unsubscribed,
        delivered: a.delivered || b.delivered,
        dropped: a.dropped || b.dropped,
        log: a.log.max(b.log),
    }
}

/// Whether a notice is of a kind that is wanted.
pub(crate) fn wants(wanted: Wanted, event: &Event) -> bool {
    match event {
        Event::Connected(_) => wanted.connected,
        Event::Disconnected(_) => wanted.disconnected,
        Event::Subscribed(_) => wanted.subscribed,
        Event::Unsubscribed(_) => wanted.unsubscribed,
        Event::Delivered(_) => wanted.delivered,
        Event::Dropped(_) => wanted.dropped,
        Event::Logged(line) => wanted.logs(line.level),
    }
}
