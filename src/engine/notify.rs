//! Telling the host: one notice after the other, with no lock held.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::core::Engine;
use crate::engine::turn::Turn;
use crate::message::SharedMessage;
use crate::session::notice::Notice;
use crate::stats::DropReason;

/// Room for so many notices is kept.
const KEPT: usize = 1024;

/// Notices that wait for the host.
#[derive(Default)]
pub(crate) struct Notices(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Notice>,
    /// Whether a thread tells what waits: others only add to it.
    telling: bool,
}

/// Whoever tells, has told when it is dropped, also by a panic.
struct Telling<'n>(MutexGuard<'n, State>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.telling = false;
    }
}

impl Engine {
    /// Tells the host what the turn has noticed, unless another thread does, or this one farther up its stack.
    pub(crate) fn tell(&self, turn: &mut Turn) {
        let Some(host) = self.host.as_deref() else {
            return turn.notices.clear();
        };
        let mut state = self.notices.0.lock();
        let room = self.options.hooks_max_waiting.saturating_sub(state.waiting.len());
        let lost = turn.notices.len().saturating_sub(room);
        state.waiting.extend(turn.notices.drain(..).take(room));
        if !std::mem::replace(&mut state.telling, true) {
            let mut telling = Telling(state);
            while let Some(notice) = telling.0.waiting.pop_front() {
                let told = MutexGuard::unlocked(&mut telling.0, || {
                    catch_unwind(AssertUnwindSafe(|| host.tell(&notice)))
                });
                turn.counts.hooks_failed += u64::from(told.is_err());
            }
            if telling.0.waiting.capacity() > KEPT {
                telling.0.waiting = VecDeque::new();
            }
        }
        turn.counts.notices_lost += lost as u64;
    }

    /// Has the host told of dropped messages that are counted already.
    pub(crate) fn note_dropped<'m>(
        &self,
        turn: &mut Turn,
        client_id: Option<&str>,
        messages: impl Iterator<Item = &'m SharedMessage>,
        reason: DropReason,
    ) {
        if self.wanted.dropped {
            turn.notices.extend(messages.map(|message| Notice::Dropped {
                client_id: client_id.map(Into::into),
                topic: message.topic().into(),
                reason,
            }));
        }
    }

    /// Counts a dropped message, and has the host told. `client_id`: who does not get it.
    pub(crate) fn dropped(&self, turn: &mut Turn, client_id: Option<&str>, topic: &[u8], reason: DropReason) {
        turn.counts.drop(reason, 1);
        if self.wanted.dropped {
            turn.notices.push(Notice::Dropped {
                client_id: client_id.map(Into::into),
                topic: String::from_utf8_lossy(topic).into(),
                reason,
            });
        }
    }
}
