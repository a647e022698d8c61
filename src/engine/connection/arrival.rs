//! A connection before its first packet: its origin, and the deadline of its handshake and its CONNECT.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::parts::origin::{Origin, Way};
use crate::session::link::Link;
use crate::session::peer::Peer;
use crate::time::{Time, TimerId};

impl Engine {
    /// The origin of a new connection, with a new number.
    pub(crate) fn origin(&self, way: Option<Arc<Way>>, peer: Option<Peer>) -> Origin {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Origin { number, peer, way }
    }

    /// Ends the link for [`Cause::ConnectTimeout`](crate::session::link::Cause::ConnectTimeout) after
    /// `mqtt.connect_timeout`, unless the timer is cancelled.
    pub(crate) fn connect_deadline(&self, now: Time, link: Weak<dyn Link>) -> TimerId {
        self.timers
            .insert(now.plus(self.options.connect_timeout), Timer::ConnectDeadline { link, unread: false })
    }

    /// Cancels a deadline.
    pub(crate) fn cancel_deadline(&self, deadline: TimerId) {
        self.timers.cancel(deadline);
    }
}
