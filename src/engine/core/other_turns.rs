//! The turns that have no place of the engine, counted.

use crate::locks::{Condvar, Mutex};

/// The number of these turns that run.
#[derive(Debug, Default)]
pub(crate) struct OtherTurns {
    running: Mutex<usize>,
    none: Condvar,
}

/// One that runs, until this is dropped.
pub(crate) struct OtherTurn<'t>(&'t OtherTurns);

impl OtherTurns {
    /// Begins one. It does not wait for a thread that waits for all.
    pub(crate) fn begin(&self) -> OtherTurn<'_> {
        *self.running.lock() += 1;
        OtherTurn(self)
    }

    /// Waits until none runs.
    pub(crate) fn wait_for_none(&self) {
        let mut running = self.running.lock();
        while *running > 0 {
            self.none.wait(&mut running);
        }
    }
}

impl Drop for OtherTurn<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running.lock();
        *running -= 1;
        let is_last = *running == 0;
        drop(running);
        if is_last {
            self.0.none.notify_all();
        }
    }
}
