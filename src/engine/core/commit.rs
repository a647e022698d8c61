//! Commits of the store: acknowledgements that wait for one are sent, and the host is told that its messages are safe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::codec::frame;
use crate::codec::qos::QoS;
use crate::codec::version::Version;
use crate::engine::core::commit_wait::{CommitWait, Send, WaitingSend};
use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::{Hold, Turn};
use crate::engine::parts::attached::AttachedConnection;
use crate::locks::MutexGuard;
use crate::session::epoch::Epoch;
use crate::session::event::Level;
use crate::session::outbound::Outbound;
use crate::session::state::Session;
use crate::storage::{Position, StoreError};

/// The packet type of PUBACK.
const PUBACK: u8 = 4;

impl Engine {
    /// Sends an acknowledgement when everything recorded so far is committed, and after older ones of the same
    /// connection [MQTT-4.6.0-2], [MQTT3-4.6.0-2], [MQTT-4.6.0-3], [MQTT3-4.6.0-3]. If `nothing_recorded`
    /// stands behind it, as behind a refusal, it waits for older ones alone: a client is told that the disk is full while it is.
    #[inline]
    pub(crate) fn send_when_safe(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        nothing_recorded: bool,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        if self.recorder.is_kept() {
            return self.send_when_committed(turn, attached, nothing_recorded, encode);
        }
        let outbound = attached.session.outbound.lock();
        if outbound.epoch() == attached.epoch {
            self.send_at_once(turn, attached, outbound, encode);
        }
    }

    #[inline(always)]
    fn send_at_once(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        mut outbound: MutexGuard<'_, Outbound>,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let flush = outbound.send(&mut self.context(turn, &attached.session), encode);
        drop(outbound);
        if flush {
            turn.flush_later(&attached.session);
        }
    }

    #[cold]
    #[inline(never)]
    fn send_when_committed(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        nothing_recorded: bool,
        encode: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let awaited = self.recorder.awaited().filter(|_| !nothing_recorded);
        let mut outbound = attached.session.outbound.lock();
        if outbound.epoch() != attached.epoch {
            return;
        }
        if awaited.is_none() && !outbound.awaits_commit() {
            return self.send_at_once(turn, attached, outbound, encode);
        }
        let mut packet = Vec::new();
        encode(attached.version, &mut packet);
        outbound.await_commit();
        if is_puback(&packet) {
            attached.session.unacknowledged.fetch_add(1, Ordering::Relaxed);
        }
        drop(outbound);
        // At 0 it only waits behind older ones.
        self.send_behind(turn, attached, packet, awaited.unwrap_or(0));
    }

    /// Queues an acknowledgement, which is sent when the store has committed everything up to `position`.
    fn send_behind(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        packet: Vec<u8>,
        position: Position,
    ) {
        let is_puback = is_puback(&packet);
        self.look_at_store(turn);
        let mut commit_wait = self.commit_wait.lock();
        commit_wait.waiting.push_back(WaitingSend {
            position,
            session: Arc::downgrade(&attached.session),
            epoch: attached.epoch,
            send: Send::Acknowledgement { packet: SmallVec::from_vec(packet), is_puback },
        });
        // The commit may have been reported since the position was read.
        self.release(turn, &mut commit_wait);
    }

    /// Writes the outbox of a connection that has just got its session when the store has committed everything up to
    /// `position`.
    #[cold]
    #[inline(never)]
    pub(crate) fn release_outbox_when_committed(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        epoch: Epoch,
        position: Position,
    ) {
        self.look_at_store(turn);
        let mut commit_wait = self.commit_wait.lock();
        let session = Arc::downgrade(session);
        commit_wait.waiting.push_back(WaitingSend { position, session, epoch, send: Send::Outbox });
        // The commit may have been told since the position was read.
        self.release(turn, &mut commit_wait);
    }

    /// Notes the deliveries of a session that have begun to wait for the store.
    #[inline]
    pub(crate) fn note_holds(turn: &mut Turn, session: &Arc<Session>, outbound: &mut Outbound) {
        if outbound.has_holds() {
            Engine::note_holds_of(turn, session, outbound);
        }
    }

    /// Queues the turn's deliveries that wait for the store; each is sent when its position is committed.
    pub(super) fn await_holds(&self, turn: &mut Turn) {
        self.look_at_store(turn);
        let mut commit_wait = self.commit_wait.lock();
        let holds = std::mem::take(&mut turn.holds);
        commit_wait.waiting.extend(holds.into_iter().map(|hold| WaitingSend {
            position: hold.position,
            session: Arc::downgrade(&hold.session),
            epoch: hold.epoch,
            send: Send::Delivery,
        }));
        self.release(turn, &mut commit_wait);
    }

    #[cold]
    #[inline(never)]
    fn note_holds_of(turn: &mut Turn, session: &Arc<Session>, outbound: &mut Outbound) {
        let epoch = outbound.epoch();
        let hold = |position| Hold { session: Arc::clone(session), epoch, position };
        turn.holds.extend(outbound.take_holds().into_iter().map(hold));
    }

    /// Begins a group of changes, which the store commits together. A group within another one is part of that. No leaf
    /// lock may be held.
    #[inline]
    pub(crate) fn begin_group(&self, turn: &mut Turn) {
        if self.recorder.is_kept() {
            self.begin_kept_group(turn);
        }
    }

    /// Ends a group of changes.
    #[inline]
    pub(crate) fn end_group(&self, turn: &mut Turn) {
        if self.recorder.is_kept() {
            self.end_kept_group(turn);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_kept_group(&self, turn: &mut Turn) {
        if turn.groups == 0 {
            self.recorder.store().begin_group();
        }
        turn.groups += 1;
    }

    #[cold]
    #[inline(never)]
    fn end_kept_group(&self, turn: &mut Turn) {
        turn.groups = turn.groups.saturating_sub(1);
        if turn.groups == 0 {
            self.recorder.store().end_group();
        }
    }

    /// Ends the groups that a panic has left open.
    pub(super) fn end_groups(&self, turn: &mut Turn) {
        if turn.groups > 0 {
            turn.groups = 1;
            self.end_group(turn);
        }
    }

    /// Handles a failure of the store: logs it once, and tells the waiting callers in the host. Acknowledgements that
    /// wait are not sent.
    pub fn store_failed(&self, turn: &mut Turn, error: &StoreError) {
        let mut commit_wait = self.commit_wait.lock();
        if std::mem::replace(&mut commit_wait.failed, true) {
            return;
        }
        for waiter in std::mem::take(&mut commit_wait.waiters).into_values() {
            turn.tell_later(waiter, Durability::Failed);
        }
        drop(commit_wait);
        self.log(turn, Level::Error, None, || {
            format!("the store has failed, nothing more is acknowledged: {error}")
        });
    }

    /// Checks whether the store has failed, before something waits for it.
    fn look_at_store(&self, turn: &mut Turn) {
        if let Some(error) = self.recorder.store().failed() {
            self.store_failed(turn, &error);
        }
    }

    /// The number of acknowledgements, deliveries and callers in the host that wait for a commit.
    pub fn awaiting_commit(&self) -> usize {
        let commit_wait = self.commit_wait.lock();
        commit_wait.waiting.len() + commit_wait.waiters.len()
    }

    /// Handles a commit up to `position`: sends everything that waited for it, and records what had to wait for room.
    pub fn committed(&self, turn: &mut Turn, position: Position) {
        let mut commit_wait = self.commit_wait.lock();
        commit_wait.committed = commit_wait.committed.max(position);
        release_waiters(turn, &mut commit_wait);
        self.release(turn, &mut commit_wait);
        drop(commit_wait);
        self.record_late(turn);
    }

    /// Adds `waiter`, which is told when the store has committed everything up to `position`.
    fn add_commit_waiter(&self, turn: &mut Turn, position: Position, waiter: Arc<dyn DurabilityWaiter>) {
        self.look_at_store(turn);
        let mut commit_wait = self.commit_wait.lock();
        if commit_wait.closed {
            return turn.tell_later(waiter, Durability::Stopped);
        }
        if commit_wait.failed {
            return turn.tell_later(waiter, Durability::Failed);
        }
        commit_wait.next += 1;
        let key = (position, commit_wait.next);
        commit_wait.waiters.insert(key, waiter);
        // The commit may have been reported since the position was read.
        release_waiters(turn, &mut commit_wait);
    }

    /// Tells all present and future waiters in the host that the broker has stopped.
    pub fn forget_waiters(&self, turn: &mut Turn) {
        let mut commit_wait = self.commit_wait.lock();
        commit_wait.closed = true;
        for waiter in std::mem::take(&mut commit_wait.waiters).into_values() {
            turn.tell_later(waiter, Durability::Stopped);
        }
    }

    /// Sends everything whose position is committed. The lock is held meanwhile, so that the order is kept.
    fn release(&self, turn: &mut Turn, commit_wait: &mut CommitWait) {
        let committed = commit_wait.committed;
        while commit_wait.waiting.front().is_some_and(|first| first.position <= committed) {
            let Some(next) = commit_wait.waiting.pop_front() else {
                break;
            };
            let Some(session) = next.session.upgrade() else {
                continue;
            };
            let mut outbound = session.outbound.lock();
            let flush = match &next.send {
                Send::Acknowledgement { packet, is_puback } => {
                    if *is_puback && outbound.epoch() == next.epoch {
                        session.unacknowledged.fetch_sub(1, Ordering::Relaxed);
                    }
                    outbound.commit_done(&mut self.context(turn, &session), next.epoch, packet)
                }
                Send::Outbox => outbound.release_outbox(next.epoch),
                Send::Delivery => {
                    outbound.release(&mut self.context(turn, &session), next.epoch);
                    outbound.list_for_flush()
                }
            };
            Engine::note_holds(turn, &session, &mut outbound);
            drop(outbound);
            if flush {
                turn.flush_later(&session);
            }
        }
        if commit_wait.waiting.is_empty() {
            commit_wait.waiting = VecDeque::new();
        }
    }
}

impl Engine {
    /// Tells `waiter` when everything that this thread has recorded so far is committed; at QoS 0, which promises
    /// nothing, at the end of this turn.
    pub fn tell_when_safe(&self, turn: &mut Turn, qos: QoS, waiter: Arc<dyn DurabilityWaiter>) {
        let awaited = if qos == QoS::AtMostOnce { None } else { self.recorder.awaited() };
        match awaited {
            None => turn.tell_later(waiter, Durability::Yes),
            Some(position) => self.add_commit_waiter(turn, position, waiter),
        }
    }
}

/// Tells the waiters whose positions are committed, at the end of the turn.
fn release_waiters(turn: &mut Turn, commit_wait: &mut CommitWait) {
    let committed = commit_wait.committed;
    while let Some(first) = commit_wait.waiters.first_entry().filter(|first| first.key().0 <= committed) {
        turn.tell_later(first.remove(), Durability::Yes);
    }
}

/// Whether an encoded packet is a PUBACK.
fn is_puback(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| frame::packet_type(*first) == PUBACK)
}
