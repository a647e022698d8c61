//! Where the broker's time comes from.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// The clock of one broker.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    started_unix: u64,
}

impl Clock {
    /// A clock that stands at [`Time::ZERO`] now.
    pub fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock { start: Instant::now(), started_unix: unix.map_or(0, |since| since.as_secs()) }
    }

    /// The broker's time.
    pub fn now(&self) -> Time {
        Time::ZERO.plus(self.start.elapsed())
    }

    /// The instant at which the broker's time is `time`; `None` beyond what an instant can hold.
    pub fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(std::time::Duration::from_millis(time.as_millis()))
    }

    /// When the clock was started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.started_unix
    }
}
