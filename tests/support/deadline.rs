//! Waiting for what must come: a wait in vain ends with words, and does not hang.

use std::time::{Duration, Instant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins when a wait begins.
pub struct Deadline {
    what: &'static str,
    over: Instant,
}

impl Deadline {
    /// A wait until `what` has happened.
    pub fn until(what: &'static str) -> Deadline {
        Deadline { what, over: Instant::now() + PATIENCE }
    }

    /// Lets other threads run; fails when the time is over.
    #[track_caller]
    pub fn wait(&self) {
        assert!(Instant::now() < self.over, "waited {PATIENCE:?} in vain until {}", self.what);
        std::thread::yield_now();
    }
}

/// Waits until `condition` holds; `what` completes the sentence "waited in vain until".
#[track_caller]
pub fn until(what: &'static str, mut condition: impl FnMut() -> bool) {
    let deadline = Deadline::until(what);
    while !condition() {
        deadline.wait();
    }
}
