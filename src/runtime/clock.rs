//! Where the broker's time comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// The clock of one broker. Its clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    started_unix: u64,
    /// Of a clock that is moved by hand: the milliseconds that it shows.
    hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// A clock that stands at [`Time::ZERO`] now.
    pub fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock { start: Instant::now(), started_unix: unix.map_or(0, |since| since.as_secs()), hand: None }
    }

    /// A clock that stands still at [`Time::ZERO`] until it is moved.
    pub fn by_hand() -> Clock {
        Clock { hand: Some(Arc::default()), ..Clock::start() }
    }

    /// The broker's time.
    pub fn now(&self) -> Time {
        match &self.hand {
            None => Time::ZERO.plus(self.start.elapsed()),
            Some(hand) => Time::from_millis(hand.load(Ordering::Acquire)),
        }
    }

    /// Moves a clock that is moved by hand to `time`, unless it shows a later one. Any other goes on.
    pub fn move_to(&self, time: Time) {
        if let Some(hand) = &self.hand {
            hand.fetch_max(time.as_millis(), Ordering::AcqRel);
        }
    }

    /// The instant at which the broker's time is `time`; `None` beyond what an instant can hold, and of a clock that
    /// is moved by hand.
    pub fn instant(&self, time: Time) -> Option<Instant> {
        match self.hand {
            None => self.start.checked_add(Duration::from_millis(time.as_millis())),
            Some(_) => None,
        }
    }

    /// When the clock was started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.started_unix
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::time::Time;

    #[test]
    fn a_clock_that_is_moved_by_hand_goes_forward_only_and_with_all_its_clones() {
        let clock = Clock::by_hand();
        assert_eq!(clock.now(), Time::ZERO);
        clock.clone().move_to(Time::from_millis(5000));
        clock.move_to(Time::from_millis(3000));
        assert_eq!(clock.now(), Time::from_millis(5000));
        assert_eq!(clock.instant(Time::ZERO), None);
    }
}
