//! Back-pressure: acknowledgements of QoS 1 and 2 messages wait for a subscriber that is behind, at most
//! `session.publisher_hold` (`session/held_acks.rs`).

use std::sync::Arc;

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::AttachedConnection;
use crate::session::epoch::Epoch;
use crate::session::event::Level;
use crate::session::held_acks::{HeldAck, HoldId, Holding};
use crate::session::state::{Mark, Session};
use crate::time::Time;

impl Engine {
    /// Sends an acknowledgement, or lets it wait for the subscriber that the turn has found to be behind.
    #[cold]
    pub(crate) fn hold(&self, turn: &mut Turn, attached: &AttachedConnection, ack: HeldAck) {
        let slow = turn.slow.take();
        let until = turn.now.plus_millis(self.options.publisher_hold.as_millis() as u64);
        let most = self.most_waiting_acks();
        let session = &attached.session;
        let mut outbound = session.outbound.lock();
        if outbound.epoch() != attached.epoch {
            return;
        }
        let holding = outbound.hold_ack(ack, slow.as_ref(), until, most);
        if holding != Holding::No {
            session.mark(Mark::HOLDS_ACKS);
        }
        let timer = outbound.time_hold();
        drop(outbound);
        self.set_timer(session, timer);
        let (hold, slow) = match (holding, slow) {
            (Holding::No, _) => return self.send_ack(turn, attached, ack.kind, ack.packet()),
            (Holding::Full(hold), _) => return self.release_acks(turn, session, hold),
            (Holding::Behind(hold), Some(slow)) => (hold, slow),
            // The subscribers know already that this publisher waits.
            (Holding::Waits | Holding::Behind(_), _) => return,
        };
        let mut outbound = slow.outbound.lock();
        let waits = outbound.await_drain(&self.options.limits, session, hold);
        if waits {
            slow.mark(Mark::AWAITED);
        }
        drop(outbound);
        if !waits {
            // It has drained meanwhile.
            self.wait_no_longer(turn, session, hold, &slow);
        }
    }

    fn set_timer(&self, session: &Arc<Session>, timer: Option<(HoldId, Time)>) {
        if let Some((hold, until)) = timer {
            self.timers.insert(until, Timer::Hold(Arc::downgrade(session), hold));
        }
    }

    /// A publisher's acknowledgements wait no longer for `slow`: those that waited for it alone are sent.
    fn wait_no_longer(&self, turn: &mut Turn, publisher: &Arc<Session>, hold: HoldId, slow: &Session) {
        publisher.outbound.lock().wait_no_longer(hold, slow);
        self.release_acks(turn, publisher, hold);
    }

    /// Sends all acknowledgements of a connection that wait, because it ends.
    #[cold]
    pub(crate) fn release_all_acks(&self, turn: &mut Turn, session: &Arc<Session>, epoch: Epoch) {
        let mut outbound = session.outbound.lock();
        let Some(hold) = outbound.hold_id().filter(|_| outbound.epoch() == epoch) else {
            return;
        };
        outbound.end_waits(hold);
        drop(outbound);
        self.release_acks(turn, session, hold);
    }

    /// Sends the acknowledgements of a connection that wait for nobody, in their order. Others that come meanwhile wait
    /// behind them.
    fn release_acks(&self, turn: &mut Turn, session: &Arc<Session>, hold: HoldId) {
        let mut outbound = session.outbound.lock();
        if !outbound.begin_release(hold) {
            return;
        }
        let attached = AttachedConnection {
            session: Arc::clone(session),
            epoch: outbound.epoch(),
            version: outbound.version(),
            is_bridge: false,
        };
        while let Some(ack) = outbound.next_held_ack(hold) {
            drop(outbound);
            self.send_ack(turn, &attached, ack.kind, ack.packet());
            outbound = session.outbound.lock();
        }
        if outbound.epoch() == attached.epoch && outbound.hold_id().is_none() {
            session.unmark(Mark::HOLDS_ACKS);
        }
    }

    /// Lets the publishers go on that wait for a session whose queue is short by now, or whose connection has ended.
    #[cold]
    pub(crate) fn release_publishers(&self, turn: &mut Turn, session: &Session) {
        let mut outbound = session.outbound.lock();
        let publishers = outbound.drained(&self.options.limits);
        if !outbound.is_awaited() {
            session.unmark(Mark::AWAITED);
        }
        drop(outbound);
        for (publisher, hold) in publishers {
            if let Some(publisher) = publisher.upgrade() {
                self.wait_no_longer(turn, &publisher, hold, session);
            }
        }
    }

    /// A connection's acknowledgements have waited for `session.publisher_hold`: the subscribers for which they have are
    /// given up.
    pub(crate) fn end_hold(&self, turn: &mut Turn, session: &Arc<Session>, hold: HoldId) {
        let behind = session.outbound.lock().overdue(hold, turn.now);
        for slow in behind.iter().filter_map(std::sync::Weak::upgrade) {
            let publishers = slow.outbound.lock().give_up();
            let client_id = &slow.client_id;
            self.log(turn, Level::Warn, Some(client_id), || {
                format!(
                    "client {client_id:?}: takes its messages too slowly, publishers no longer wait for it \
                     (session.publisher_hold)"
                )
            });
            for (publisher, hold) in publishers {
                if let Some(publisher) = publisher.upgrade() {
                    self.wait_no_longer(turn, &publisher, hold, &slow);
                }
            }
        }
        self.release_acks(turn, session, hold);
        let timer = session.outbound.lock().time_hold();
        self.set_timer(session, timer);
    }
}
