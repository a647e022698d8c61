//! Effects of timers: the Keep Alive, the expiry of sessions, delayed wills, expired retained messages.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::engine::access::hooks::{DecisionSlot, Verdict};
use crate::engine::connection::connect::keep_alive_millis;
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::message::SharedMessage;
use crate::session::epoch::Epoch;
use crate::session::event::Level;
use crate::session::link::{Cause, Link};
use crate::session::state::{Control, Session};
use crate::stats::DropReason;
use crate::time::Time;

/// Milliseconds in which bytes that a connection without CONNECT has sent are read, and a decision is made, after the
/// broker did not run.
const LOOK: u64 = 1000;
/// Seconds between two sweeps of expired retained messages.
const SWEEP_SECONDS: u64 = 60;

impl Engine {
    pub(crate) fn fire(&self, turn: &mut Turn, timer: Timer) {
        match timer {
            Timer::ConnectDeadline { link, unread } => {
                if let Some(link) = link.upgrade() {
                    self.check_connect_deadline(turn, &link, unread);
                }
            }
            Timer::KeepAlive(session, epoch) => {
                if let Some(session) = session.upgrade() {
                    self.check_keep_alive(turn, &session, epoch);
                }
            }
            Timer::SessionExpiry(session, epoch) => {
                if let Some(session) = session.upgrade() {
                    self.expire_session(turn, &session, epoch);
                }
            }
            Timer::Will(session, epoch) => {
                if let Some(session) = session.upgrade() {
                    let mut control = session.control.lock();
                    if control.epoch == epoch && control.connected.is_none() {
                        self.publish_will(turn, &session, &mut control);
                    }
                }
            }
            Timer::Hold(session, hold) => {
                if let Some(session) = session.upgrade() {
                    self.end_hold(turn, &session, hold);
                }
            }
            Timer::Decision { slot, due } => self.check_decision(turn, slot, due),
            Timer::Sys => self.publish_sys(turn),
            Timer::Sweep => self.sweep(turn),
            Timer::Drops => self.log_more_drops(turn),
        }
    }

    /// Closes a connection that has sent no CONNECT in time. What has come and was not read, because the broker was stopped
    /// or busy, is looked at first, once.
    fn check_connect_deadline(&self, turn: &mut Turn, link: &Arc<dyn Link>, looked: bool) {
        if !looked && link.has_unread() {
            let timer = Timer::ConnectDeadline { link: Arc::downgrade(link), unread: true };
            self.timers.insert(turn.now.plus_millis(LOOK), timer);
            return;
        }
        // The client may have been let in when the deadline had passed, or be let in just now.
        if link.expire(Cause::ConnectTimeout) {
            turn.counts.connections_refused += 1;
        }
    }

    /// Denies a decision that was not made in time. If the process was stopped meanwhile, so was the host, which has one
    /// more second.
    fn check_decision(&self, turn: &mut Turn, slot: Weak<DecisionSlot>, due: Time) {
        let again = turn.now.plus_millis(LOOK);
        if due.plus_millis(LOOK) <= turn.now && slot.upgrade().is_some_and(|slot| slot.is_open()) {
            self.timers.insert(again, Timer::Decision { slot, due: again });
            return;
        }
        if slot.upgrade().is_some_and(|slot| slot.decide(Some(Verdict::Deny))) {
            turn.counts.hooks_failed += 1;
            self.log(turn, Level::Error, None, || {
                "a decision was not made within hooks.deadline, which denies".to_owned()
            });
        }
    }

    fn check_keep_alive(&self, turn: &mut Turn, session: &Arc<Session>, epoch: Epoch) {
        let mut control = session.control.lock();
        if !self.is_silent(turn, session, &mut control, epoch, false) {
            return;
        }
        let link = session.outbound.lock().link().cloned();
        // Whether there is something is asked of the system, without a lock.
        drop(control);
        let unread = link.is_some_and(|link| link.has_unread());
        let mut control = session.control.lock();
        if self.is_silent(turn, session, &mut control, epoch, unread) {
            self.detach(turn, session, &mut control, epoch, Cause::KeepAliveTimeout);
        }
    }

    /// Whether a connection has been silent for too long; otherwise it is looked at again when it may have been. `unread`: it
    /// has sent bytes that were not read yet, because the broker was stopped or busy, or reads no more until the client
    /// has taken what it has caused.
    fn is_silent(
        &self,
        turn: &Turn,
        session: &Arc<Session>,
        control: &mut Control,
        epoch: Epoch,
        unread: bool,
    ) -> bool {
        if !control.is_connected_by(epoch) {
            return false;
        }
        let Some(connected) = control.connected.as_mut() else {
            return false;
        };
        let longest = keep_alive_millis(connected.keep_alive);
        let deadline = match unread || session.awaits_host(epoch) {
            // The client is not silent; reading from it is paused.
            true => turn.now.plus_millis(longest),
            false => session.last_heard().plus_millis(longest),
        };
        if turn.now >= deadline {
            return true;
        }
        let timer = Timer::KeepAlive(Arc::downgrade(session), epoch);
        connected.keep_alive_timer = Some(self.timers.insert(deadline, timer));
        false
    }

    fn expire_session(&self, turn: &mut Turn, session: &Arc<Session>, epoch: Epoch) {
        // The last connection may still be in the middle of a turn; its changes are recorded before the end.
        let _inbound = session.inbound.lock();
        let mut control = session.control.lock();
        if control.epoch == epoch && control.connected.is_none() && !control.ended {
            turn.counts.sessions_expired += 1;
            let client_id = &session.client_id;
            self.log(turn, Level::Debug, Some(client_id), || {
                format!("client {client_id:?}: the session has expired")
            });
            self.end_session(turn, session, &mut control);
        }
    }

    /// Removes expired retained messages. They are not sent to anyone in the meantime.
    fn sweep(&self, turn: &mut Turn) {
        // Cleared before the sweep, so that a message that is retained meanwhile sets a timer.
        self.sweeping.store(false, Ordering::Release);
        let mut more = false;
        let now = turn.now;
        let mut topics = Vec::new();
        let is_kept = |message: &SharedMessage| {
            let gone = message.is_expired(now);
            more |= !gone && message.expires_at() != crate::time::Time::NEVER;
            if gone && self.events.wants(EventMask::DROPPED) {
                topics.push(message.clone());
            }
            !gone
        };
        let expired = self.retained.retain_then(is_kept, |message| self.record_cleared(now, message.topic()));
        turn.counts.drop(DropReason::Expired, expired as u64);
        self.note_dropped(turn, None, topics.iter().map(|message| message.topic()), DropReason::Expired);
        if more {
            self.sweep_later(turn);
        }
    }

    /// Schedules a sweep of expired retained messages.
    pub(crate) fn sweep_later(&self, turn: &Turn) {
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            self.timers.insert(turn.now.plus_secs(SWEEP_SECONDS), Timer::Sweep);
        }
    }
}
