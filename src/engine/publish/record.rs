//! What the store is told of retained messages.

use crate::codec::qos::QoS;
use crate::codec::topic::TopicName;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::message::Message;
use crate::session::event::Level;
use crate::session::record::message_record;
use crate::storage::Change;
use crate::time::Time;

/// Retained messages that are recorded late in one turn.
const LATE_PER_TURN: usize = 1024;

impl Engine {
    /// Records that a topic has another retained message. Called under the lock of the retained messages.
    ///
    /// A message of QoS 0 is never refused. While too much waits for the disk, the store is not told of it yet, so that
    /// what waits has a bound: it has the topic's older message meanwhile.
    pub(crate) fn record_retained(&self, now: Time, message: &Message) {
        if !self.recorder.is_kept() {
            return;
        }
        let topic = TopicName::from_validated(message.topic());
        if message.qos() == QoS::AtMostOnce && self.recorder.is_full() {
            return self.unrecorded.add(topic);
        }
        self.unrecorded.remove(topic.as_str());
        let clock = self.recorder.clock();
        self.recorder.record(now, || Change::Retained(message_record(message, clock)));
    }

    /// Records that a topic's retained message is gone. Called under the lock of the retained messages.
    pub(crate) fn record_cleared(&self, now: Time, topic: &str) {
        self.recorder.record(now, || {
            self.unrecorded.remove(topic);
            Change::Cleared { topic }
        });
    }

    /// Records retained messages that the store could not take before, while it takes some. Called after each commit: what is
    /// recorded now makes for another one.
    pub(crate) fn record_late(&self, turn: &Turn) {
        for _ in 0..LATE_PER_TURN {
            if !self.record_next(turn) {
                return;
            }
        }
    }

    /// As the store is about to close: records all of these messages that it takes now, and logs how many it does not take.
    pub fn record_rest(&self, turn: &mut Turn) {
        while self.record_next(turn) {}
        let left = self.unrecorded.len();
        if left > 0 {
            self.log(turn, Level::Warn, None, || {
                format!("retained messages of QoS 0 that the store could not take: {left}; their topics have the older ones")
            });
        }
    }

    /// Records one message that the store could not take before; false if it takes none, or has all of them.
    fn record_next(&self, turn: &Turn) -> bool {
        if self.unrecorded.is_empty() || self.recorder.is_full() {
            return false;
        }
        let Some(topic) = self.unrecorded.pop() else {
            return false;
        };
        let topic = TopicName::from_validated(&topic);
        self.retained.look(topic, |message| self.record_retained(turn.now, message));
        true
    }
}
