//! The kinds of events that a sink wants, as a set of bits: one test decides whether an event is made at all.

use std::ops::BitOr;

use crate::engine::access::hooks::Wanted;
use crate::session::event::{Event, Level};

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMask(u32);

impl EventMask {
    /// Nothing.
    pub const NONE: EventMask = EventMask(0);
    /// A client was accepted.
    pub const CONNECTED: EventMask = EventMask(1);
    /// A client's connection has ended.
    pub const DISCONNECTED: EventMask = EventMask(1 << 1);
    /// A client was refused.
    pub const REFUSED: EventMask = EventMask(1 << 2);
    /// A client has subscribed.
    pub const SUBSCRIBED: EventMask = EventMask(1 << 3);
    /// A client has unsubscribed.
    pub const UNSUBSCRIBED: EventMask = EventMask(1 << 4);
    /// A message was delivered to a client.
    pub const DELIVERED: EventMask = EventMask(1 << 5);
    /// A message was dropped.
    pub const DROPPED: EventMask = EventMask(1 << 6);
    /// Log lines of every level.
    pub const LOG: EventMask = EventMask(0xF << 8);
    /// A message is being published.
    pub const PUBLISHING: EventMask = EventMask(1 << 16);
    /// A message was published.
    pub const PUBLISHED: EventMask = EventMask(1 << 17);
    /// Clients or subscriptions have changed.
    pub const CHANGED: EventMask = EventMask(1 << 18);

    /// Log lines of one level.
    pub const fn log(level: Level) -> EventMask {
        EventMask(match level {
            Level::Error => 1 << 8,
            Level::Warn => 1 << 9,
            Level::Info => 1 << 10,
            Level::Debug => 1 << 11,
        })
    }

    /// The kind of an event.
    pub(crate) const fn of(event: &Event) -> EventMask {
        match event {
            Event::Connected(_) => EventMask::CONNECTED,
            Event::Disconnected(_) => EventMask::DISCONNECTED,
            Event::Refused(_) => EventMask::REFUSED,
            Event::Subscribed(_) => EventMask::SUBSCRIBED,
            Event::Unsubscribed(_) => EventMask::UNSUBSCRIBED,
            Event::Delivered(_) => EventMask::DELIVERED,
            Event::Dropped(_) => EventMask::DROPPED,
            Event::Logged(line) => EventMask::log(line.level),
        }
    }

    /// The kinds that a host wants.
    pub(crate) fn of_host(wanted: Wanted) -> EventMask {
        let levels = Level::ALL.iter().filter(|level| wanted.log.is_some_and(|least| **level <= least));
        let log = levels.fold(EventMask::NONE, |mask, level| mask | EventMask::log(*level));
        [
            (wanted.connected, EventMask::CONNECTED),
            (wanted.disconnected, EventMask::DISCONNECTED),
            (wanted.subscribed, EventMask::SUBSCRIBED),
            (wanted.unsubscribed, EventMask::UNSUBSCRIBED),
            (wanted.delivered, EventMask::DELIVERED),
            (wanted.dropped, EventMask::DROPPED),
        ]
        .into_iter()
        .fold(log, |mask, (is_wanted, kind)| if is_wanted { mask | kind } else { mask })
    }

    /// The union of both sets.
    pub const fn and(self, other: EventMask) -> EventMask {
        EventMask(self.0 | other.0)
    }

    /// Whether any of `kinds` is in the set.
    #[inline]
    pub const fn wants(self, kinds: EventMask) -> bool {
        self.0 & kinds.0 != 0
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> EventMask {
        EventMask(bits)
    }
}

impl BitOr for EventMask {
    type Output = EventMask;

    fn bitor(self, other: EventMask) -> EventMask {
        self.and(other)
    }
}

#[cfg(test)]
mod tests {
    use super::EventMask;
    use crate::engine::access::hooks::Wanted;
    use crate::session::event::Level;

    #[test]
    fn a_host_that_logs_warnings_wants_errors_and_no_more() {
        let mask = EventMask::of_host(Wanted { log: Some(Level::Warn), ..Wanted::default() });
        let wanted: Vec<_> = Level::ALL.iter().map(|level| mask.wants(EventMask::log(*level))).collect();
        assert_eq!(wanted, [true, true, false, false]);
        assert_eq!(mask | EventMask::LOG, EventMask::LOG);
        assert_eq!(EventMask::of_host(Wanted::default()), EventMask::NONE);
    }
}
