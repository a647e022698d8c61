//! Views of clients, subscriptions and retained messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::topic::TopicName;
use crate::codec::version::Version;
use crate::engine::core::state::Engine;
use crate::engine::parts::subscriber::Subscriber;
use crate::message::SharedMessage;
use crate::session::identity::TlsIdentity;
use crate::session::peer::Peer;
use crate::session::state::Session;
use crate::session::subscriptions::Held;
use crate::time::Time;

/// A client that is connected or has a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientView {
    /// The Client Identifier.
    pub client_id: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The User Name, while connected.
    pub username: Option<String>,
    /// The peer's address, while connected; `None` for a connection without a network address.
    pub address: Option<Peer>,
    /// What the handshake of TLS has shown, while connected; `None` without TLS.
    pub tls: Option<Arc<TlsIdentity>>,
    /// The protocol version of the current or last connection.
    pub version: Version,
    /// Clean Start, or Clean Session, while connected.
    pub clean_start: bool,
    /// The Keep Alive in force, in seconds; 0 for none.
    pub keep_alive: u16,
    /// When it connected, while connected.
    pub connected_since: Option<Time>,
    /// The Session Expiry Interval in seconds; at `u32::MAX` the session never expires.
    pub session_expiry: u32,
    /// The number of subscriptions.
    pub subscriptions: usize,
    /// The number of queued messages.
    pub queued: usize,
    /// The number of incomplete deliveries.
    pub inflight: usize,
    /// The number of application messages received from the client.
    pub received_messages: u64,
    /// The number of application messages sent to the client.
    pub sent_messages: u64,
}

/// A subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriptionView {
    /// The Topic Filter, `$share/...` included.
    pub filter: String,
    /// The Client Identifier; `None` for the host program.
    pub client_id: Option<String>,
    /// The Subscription Options.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier; 0 for none.
    pub identifier: u32,
}

impl Engine {
    /// Whether a client with this identifier is connected.
    pub fn is_connected(&self, client_id: &str) -> bool {
        self.sessions.get(client_id).is_some_and(|session| session.control.lock().connected.is_some())
    }

    /// All clients, in no particular order.
    pub fn clients(&self) -> Vec<ClientView> {
        self.sessions.all().iter().map(view).collect()
    }

    /// The client, if it is connected or has a session.
    pub fn client(&self, client_id: &str) -> Option<ClientView> {
        self.sessions.get(client_id).as_ref().map(view)
    }

    /// The subscriptions of one client, in no particular order; empty if there is no such client.
    pub fn subscriptions_of(&self, client_id: &str) -> Vec<SubscriptionView> {
        let Some(session) = self.sessions.get(client_id) else {
            return Vec::new();
        };
        let control = session.control.lock();
        let show = |held: &Held| SubscriptionView {
            filter: held.filter.to_string(),
            client_id: Some(client_id.to_owned()),
            options: held.options,
            identifier: held.identifier,
        };
        control.subscriptions.as_slice().iter().map(show).collect()
    }

    /// All subscriptions, in no particular order.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        let mut all = Vec::with_capacity(self.router.len());
        self.router.for_each(|filter, subscriber, options, identifier| {
            let client_id = match subscriber {
                Subscriber::Session(session) => Some(session.client_id.to_string()),
                Subscriber::Local(_) => None,
            };
            all.push(SubscriptionView { filter: filter.to_owned(), client_id, options, identifier });
        });
        all
    }
}

impl Engine {
    /// The first `limit` retained messages whose topic comes after the topic `after`, level by level. Expired messages
    /// that were not removed yet are included.
    pub fn retained_page(&self, after: Option<&str>, limit: usize) -> Vec<SharedMessage> {
        self.retained.page(after, limit)
    }

    /// The retained message of a topic.
    pub fn retained_message(&self, topic: TopicName<'_>) -> Option<SharedMessage> {
        self.retained.get(topic)
    }

    /// Removes the retained message of a topic; false if there is none.
    pub fn clear_retained(&self, now: Time, topic: TopicName<'_>) -> bool {
        self.forget_retained(now, topic)
    }
}

fn view(session: &Arc<Session>) -> ClientView {
    let control = session.control.lock();
    let connected = control.connected.as_deref();
    let outbound = session.outbound.lock();
    ClientView {
        client_id: session.client_id.to_string(),
        connected: connected.is_some(),
        username: connected.and_then(|c| c.username.as_deref().map(str::to_owned)),
        address: connected.and_then(|c| c.peer),
        tls: outbound.link().and_then(|link| link.identity()),
        version: outbound.version(),
        clean_start: connected.is_some_and(|c| c.clean_start),
        keep_alive: connected.map_or(0, |c| c.keep_alive),
        connected_since: connected.map(|c| c.since),
        session_expiry: control.expiry_interval,
        subscriptions: control.subscriptions.len(),
        queued: outbound.queue_len(),
        inflight: outbound.inflight_len(),
        received_messages: session.received_messages.load(Ordering::Relaxed),
        sent_messages: outbound.sent_messages(),
    }
}
