//! `$SYS`: the broker's counters as topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::qos::QoS;
use crate::codec::topic::{TopicFilter, TopicName};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::parts::subscriber::Publisher;
use crate::message::{Message, Publication, SharedMessage};
use crate::stats;
use crate::time::Time;

impl Engine {
    /// Schedules the publication of the `$SYS` topics at the next multiple of their interval, if there is a
    /// subscription to one.
    pub(crate) fn sys_later(&self, now: Time) {
        let interval = self.options.sys_interval.as_millis() as u64;
        if interval == 0 || !self.router.has_dollar_sys() || self.sys_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let next = (now.as_millis() / interval + 1).saturating_mul(interval);
        self.timers.insert(Time::from_millis(next), Timer::Sys);
    }

    /// Publishes every `$SYS` topic, if there still is a subscription to one.
    pub(crate) fn publish_sys(&self, turn: &mut Turn) {
        // Cleared before the check for subscriptions, which sees a subscriber that has found the flag set.
        self.sys_due.swap(false, Ordering::AcqRel);
        if !self.router.has_dollar_sys() {
            return;
        }
        self.sys_later(turn.now);
        self.for_each_sys(turn.now, |topic, value| {
            let mut publication =
                Publication::new(topic.as_bytes(), value.as_bytes(), QoS::AtMostOnce, false, turn.now);
            if let Ok(topic) = TopicName::parse(topic) {
                self.route_unless_alone(turn, topic, &mut publication);
            }
        });
    }

    /// Appends the `$SYS` messages that match a filter to `out`, as if they were retained; none of them is stored.
    pub(crate) fn sys_messages_for(&self, now: Time, filter: &TopicFilter<'_>, out: &mut Vec<SharedMessage>) {
        if self.options.sys_interval.is_zero() || !filter.filter().starts_with("$SYS/") {
            return;
        }
        self.for_each_sys(now, |topic, value| {
            if TopicName::parse(topic).is_ok_and(|name| filter.matches(&name)) {
                out.push(Arc::new(Message::new(
                    topic.as_bytes(),
                    &[],
                    value.as_bytes(),
                    QoS::AtMostOnce,
                    true,
                    now,
                    Time::NEVER,
                )));
            }
        });
    }

    /// Publishes a message if it has a subscriber, without counting it as dropped or delivered.
    fn route_unless_alone(&self, turn: &mut Turn, topic: TopicName<'_>, publication: &mut Publication<'_>) {
        let heard = {
            let matches = turn.cache.find(&self.router, topic);
            !matches.direct.is_empty() || !matches.shared.is_empty()
        };
        if heard {
            let before = turn.counts.messages_delivered;
            self.route(turn, Publisher::Broker, topic, publication);
            turn.counts.messages_delivered = before;
        }
    }

    fn for_each_sys(&self, now: Time, mut f: impl FnMut(&str, &str)) {
        f("$SYS/broker/version", concat!("midge ", env!("CARGO_PKG_VERSION")));
        f("$SYS/broker/uptime", &format!("{} seconds", now.as_millis() / 1000));
        f("$SYS/broker/started", &self.started_unix.to_string());
        let snapshot = self.snapshot();
        for stat in stats::table() {
            if let Some(topic) = stat.sys_topic {
                f(topic, &(stat.get)(&snapshot).to_string());
            }
        }
    }
}
