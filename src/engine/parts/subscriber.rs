//! Subscribers and publishers: clients, the host program, the broker.

use std::sync::Arc;

use crate::engine::parts::sink::Local;
use crate::session::state::Session;
use crate::topics::Identity;

/// A subscriber in the router.
#[derive(Clone, Debug)]
pub enum Subscriber {
    /// A client.
    Session(Arc<Session>),
    /// The host program.
    Local(Arc<Local>),
}

impl Identity for Subscriber {
    fn identity(&self) -> usize {
        match self {
            Subscriber::Session(session) => Arc::as_ptr(session) as usize,
            Subscriber::Local(local) => Arc::as_ptr(local) as usize,
        }
    }
}

/// The publisher of a message.
#[derive(Clone, Copy, Debug)]
pub enum Publisher<'p> {
    /// A client.
    Session(&'p Arc<Session>),
    /// The host program.
    Host,
    /// The broker itself: `$SYS`.
    Broker,
}

impl Publisher<'_> {
    /// The Client Identifier of a client.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Publisher::Session(session) => Some(&session.client_id),
            Publisher::Host | Publisher::Broker => None,
        }
    }

    /// Whether the publisher and `subscriber` are the same client, for No Local [MQTT-3.8.3-3]. The whole host program
    /// counts as one client.
    pub fn is(&self, subscriber: &Subscriber) -> bool {
        match (self, subscriber) {
            (Publisher::Session(publisher), Subscriber::Session(session)) => Arc::ptr_eq(publisher, session),
            (Publisher::Host, Subscriber::Local(_)) => true,
            _ => false,
        }
    }
}
