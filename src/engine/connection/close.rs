//! The end of a connection, and of a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::disconnect::Disconnect;
use crate::codec::reason::ReasonCode;
use crate::engine::connection::reason_string::{encode_with, reason_string};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::subscriber::{Publisher, Subscriber};
use crate::message::Publication;
use crate::session::entry::Entry;
use crate::session::epoch::Epoch;
use crate::session::event::{Departure, Event};
use crate::session::link::Cause;
use crate::session::pending::Pending;
use crate::session::state::{Control, Mark, Session};
use crate::stats::{DropReason, Gauge};
use crate::storage::SessionChange;

impl Engine {
    /// Ends the connection `epoch` of a session, if it is still the session's.
    pub(crate) fn close(&self, turn: &mut Turn, session: &Arc<Session>, epoch: Epoch, cause: Cause) {
        self.close_saying(turn, session, epoch, cause, reason_string(cause));
    }

    /// As [`Engine::close`], with the cause in words.
    pub(crate) fn close_saying(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        epoch: Epoch,
        cause: Cause,
        why: &str,
    ) {
        self.detach_saying(turn, session, &mut session.control.lock(), epoch, cause, why);
    }

    /// Ends the connection `epoch` of a session, if it is still the session's; the session waits for its expiry, or ends
    /// with it.
    pub(crate) fn detach(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        control: &mut Control,
        epoch: Epoch,
        cause: Cause,
    ) {
        self.detach_saying(turn, session, control, epoch, cause, reason_string(cause));
    }

    fn detach_saying(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        control: &mut Control,
        epoch: Epoch,
        cause: Cause,
        why: &str,
    ) {
        if !control.is_connected_by(epoch) {
            return;
        }
        if session.is_marked(Mark::HOLDS_ACKS) {
            // Before the last packet: what the client has published is accepted, and need not come again.
            self.release_all_acks(turn, session, epoch);
        }
        self.counters.decrease(Gauge::ClientsConnected, 1);
        let detached =
            session.detach(epoch, control, cause, &self.ending, |connected, client_limits, out| {
                if let Some(reason) = told(cause).filter(|_| client_limits.version.is_v5()) {
                    let why = if connected.wants_problem_information { why } else { "" };
                    // Never a Session Expiry Interval [MQTT-3.14.2-2].
                    encode_with(why, client_limits.maximum_packet_size, out, |properties, out| {
                        Disconnect { reason, properties }.encode(client_limits.version, out);
                    });
                }
            });
        let Some(connected) = detached else {
            return;
        };
        if session.is_marked(Mark::AWAITED) {
            self.release_publishers(turn, session);
        }
        if let Some(timer) = connected.keep_alive_timer {
            self.timers.cancel(timer);
        }
        if self.events.wants(EventMask::DISCONNECTED) {
            turn.events.push(Event::Disconnected(Departure {
                client_id: session.client_id.clone(),
                connection: connected.number,
                cause,
                why: why.into(),
            }));
        }
        self.log_end(turn, &session.client_id, cause, why);
        if cause == Cause::KeepAliveTimeout {
            turn.counts.keep_alive_timeouts += 1;
        }
        self.begin_group(turn);
        if cause == Cause::Disconnected {
            self.delete_will(turn, session, control); // [MQTT-3.14.4-3], [MQTT3-3.14.4-3]
        }
        // [MQTT-3.1.2-23]
        if control.expiry_interval == 0 {
            self.end_session(turn, session, control);
        } else {
            if control.kept {
                let detached = SessionChange::Detached { expiry_interval: control.expiry_interval };
                self.recorder.session(turn.now, &session.client_id, detached);
            }
            self.await_return(turn, session, control);
        }
        self.end_group(turn);
        self.tell_change();
    }

    /// Sets the timers of a session whose client is offline. They do not run while it is
    /// connected [MQTT-4.1.0-1], [MQTT3-4.1.0-2], [MQTT3-4.1.0-1].
    fn await_return(&self, turn: &mut Turn, session: &Arc<Session>, control: &mut Control) {
        let weak = Arc::downgrade(session);
        if let Some(will) = &control.will {
            if will.delay == 0 {
                self.publish_will(turn, session, control);
            } else if will.delay < control.expiry_interval {
                let at = turn.now.plus_secs(u64::from(will.delay));
                control.will_timer = Some(self.timers.insert(at, Timer::Will(weak.clone(), control.epoch)));
            }
        }
        // A Session Expiry Interval of 0xFFFFFFFF does not expire; any other does [MQTT-4.1.0-2].
        if control.expiry_interval != u32::MAX {
            let at = turn.now.plus_secs(u64::from(control.expiry_interval));
            control.expiry_timer = Some(self.timers.insert(at, Timer::SessionExpiry(weak, control.epoch)));
        }
    }

    /// Ends a session with its subscriptions and queue, and publishes its will. Retained messages stay [MQTT3-3.1.2-7].
    pub(crate) fn end_session(&self, turn: &mut Turn, session: &Arc<Session>, control: &mut Control) {
        // [MQTT-3.1.2-8], [MQTT3-3.1.2-8]: the will is published when the session ends, if that is before the end
        // of its delay.
        self.begin_group(turn);
        self.publish_will(turn, session, control);
        for timer in control.take_timers() {
            self.timers.cancel(timer);
        }
        control.ended = true;
        let subscriber = Subscriber::Session(Arc::clone(session));
        for held in std::mem::take(&mut control.subscriptions).as_slice() {
            self.unroute(&held.filter, &subscriber);
        }
        let left = session.outbound.lock().end(self.reported());
        // Recorded before another session of this client can begin.
        if std::mem::take(&mut control.kept) {
            self.recorder.session(turn.now, &session.client_id, SessionChange::Ended);
        }
        self.counters.decrease(Gauge::MessagesQueued, left.waited as u64);
        self.hand_on(turn, &left.shared_unacknowledged);
        let handed_on = self.hand_on(turn, &left.shared_waiting);
        turn.counts.drop(DropReason::SessionEnded, left.waited.saturating_sub(handed_on) as u64);
        let dropped = left.dropped.iter().map(Entry::topic);
        self.note_dropped(turn, Some(&session.client_id), dropped, DropReason::SessionEnded);
        self.sessions.remove(session);
        self.end_group(turn);
        self.tell_change();
    }

    /// Delivers an ended session's messages of shared subscriptions to other members; returns the number of messages
    /// that have found one.
    fn hand_on(&self, turn: &mut Turn, messages: &[Pending]) -> usize {
        // When the broker stops, all members leave.
        if self.stopping.load(Ordering::SeqCst) {
            return 0;
        }
        let mut handed_on = 0;
        let now = turn.now;
        for pending in messages.iter().filter(|pending| !pending.message.is_expired(now)) {
            let group = pending.share().and_then(|filter| self.router.group(filter));
            if let Some(group) = group {
                let mut publication = Publication::of(&pending.message);
                // The publisher only matters for No Local, which shared subscriptions do not have [MQTT-3.8.3-4].
                let given = self.deliver_shared(turn, Publisher::Broker, &mut publication, &group);
                handed_on += usize::from(given);
            }
        }
        handed_on
    }
}

/// The reason code of the DISCONNECT when the server ends the connection, if it sends one.
fn told(cause: Cause) -> Option<ReasonCode> {
    match cause {
        Cause::Disconnected | Cause::ConnectionLost => None,
        Cause::Refused(reason) => Some(reason), // [MQTT-4.13.1-1], [MQTT3-4.8.0-1]
        Cause::KeepAliveTimeout => Some(ReasonCode::KeepAliveTimeout),
        Cause::ConnectTimeout => None,
        Cause::SessionTakenOver => Some(ReasonCode::SessionTakenOver),
        Cause::Kicked => Some(ReasonCode::AdministrativeAction),
        Cause::ServerShuttingDown => Some(ReasonCode::ServerShuttingDown),
    }
}
