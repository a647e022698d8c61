//! Effects of timers: the Keep Alive, the expiry of sessions, delayed wills, expired retained messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::access::hooks::Verdict;
use crate::engine::connection::connect::keep_alive_millis;
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::session::epoch::Epoch;
use crate::session::event::Level;
use crate::session::last_bytes::LastBytes;
use crate::session::link::Cause;
use crate::session::state::Session;
use crate::stats::DropReason;

/// Seconds between two sweeps of expired retained messages.
const SWEEP_SECONDS: u64 = 60;

impl Engine {
    pub(crate) fn fire(&self, turn: &mut Turn, timer: Timer) {
        match timer {
            Timer::ConnectDeadline(link) => {
                if let Some(link) = link.upgrade() {
                    turn.counts.connections_refused += 1;
                    link.finish(LastBytes::default(), Cause::ConnectTimeout);
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
            Timer::Decision(slot) => {
                if slot.upgrade().is_some_and(|slot| slot.decide(Some(Verdict::Deny))) {
                    turn.counts.hooks_failed += 1;
                    self.log(turn, Level::Error, None, || {
                        "a decision was not made within hooks.deadline, which denies".to_owned()
                    });
                }
            }
            Timer::Sys => self.publish_sys(turn),
            Timer::Sweep => self.sweep(turn),
            Timer::Drops => self.log_more_drops(turn),
        }
    }

    fn check_keep_alive(&self, turn: &mut Turn, session: &Arc<Session>, epoch: Epoch) {
        let mut control = session.control.lock();
        if !control.is_connected_by(epoch) {
            return;
        }
        let Some(connected) = control.connected.as_mut() else {
            return;
        };
        let mut deadline = session.last_heard().plus_millis(keep_alive_millis(connected.keep_alive));
        if session.awaits_host(epoch) {
            // The client is not silent; reading from it is paused.
            deadline = turn.now.plus_millis(keep_alive_millis(connected.keep_alive));
        }
        if turn.now < deadline {
            let timer = Timer::KeepAlive(Arc::downgrade(session), epoch);
            connected.keep_alive_timer = Some(self.timers.insert(deadline, timer));
            return;
        }
        connected.keep_alive_timer = None;
        self.detach(turn, session, &mut control, epoch, Cause::KeepAliveTimeout);
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
        let expired = self.retained.retain(|message| {
            let gone = message.is_expired(now);
            more |= !gone && message.expires_at() != crate::time::Time::NEVER;
            if gone && self.events.wants(EventMask::DROPPED) {
                topics.push(message.clone());
            }
            !gone
        });
        turn.counts.drop(DropReason::Expired, expired as u64);
        self.note_dropped(turn, None, topics.iter(), DropReason::Expired);
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
