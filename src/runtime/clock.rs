//! The source of the broker's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// The clock of one broker. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    /// The start on the clock of which the coarse one shows the last tick, in milliseconds, rounded up.
    start_coarse: u64,
    /// The start by the calendar, in milliseconds since 1970.
    started_millis: u64,
    /// The milliseconds that a clock moved by hand shows.
    hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// A clock that is at [`Time::ZERO`] now.
    pub fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            start: Instant::now(),
            start_coarse: coarse::start(),
            started_millis: unix.map_or(0, |since| since.as_millis() as u64),
            hand: None,
        }
    }

    /// A clock that stays at [`Time::ZERO`] until it is moved by hand.
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

    /// The broker's time at the last tick of the system, some milliseconds ago. It costs a fraction of
    /// [`Clock::now`].
    pub fn coarse_now(&self) -> Time {
        match &self.hand {
            None => Time::from_millis(coarse::milliseconds().saturating_sub(self.start_coarse)),
            Some(_) => self.now(),
        }
    }

    /// Moves a clock made by [`Clock::by_hand`] to `time`, unless it shows a later one; no effect on other clocks.
    pub fn move_to(&self, time: Time) {
        if let Some(hand) = &self.hand {
            hand.fetch_max(time.as_millis(), Ordering::AcqRel);
        }
    }

    /// The instant at which the broker's time is `time`; `None` if an instant cannot hold it, and for a clock moved by
    /// hand.
    pub fn instant(&self, time: Time) -> Option<Instant> {
        match self.hand {
            None => self.start.checked_add(Duration::from_millis(time.as_millis())),
            Some(_) => None,
        }
    }

    /// When the clock was started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.started_millis / 1000
    }

    /// When the clock was started, in milliseconds since 1970.
    pub fn started_millis(&self) -> u64 {
        self.started_millis
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod coarse {
    use nix::time::ClockId;

    /// The precise time, in milliseconds since the same moment as [`milliseconds`], rounded up. The last tick may be some
    /// milliseconds ago: counted from it, the time would seem to go on before it does.
    pub(super) fn start() -> u64 {
        let now = ClockId::CLOCK_MONOTONIC.now();
        now.map_or(0, |now| now.tv_sec() as u64 * 1000 + (now.tv_nsec() as u64).div_ceil(1_000_000))
    }

    /// The time of the last tick, in milliseconds since an arbitrary moment.
    pub(super) fn milliseconds() -> u64 {
        let now = ClockId::CLOCK_MONOTONIC_COARSE.now();
        now.map_or(0, |now| now.tv_sec() as u64 * 1000 + now.tv_nsec() as u64 / 1_000_000)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod coarse {
    use std::sync::OnceLock;
    use std::time::Instant;

    /// The start of a clock.
    pub(super) fn start() -> u64 {
        milliseconds() + 1
    }

    /// The time of the precise clock, where there is no coarse one.
    pub(super) fn milliseconds() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::time::Time;

    #[test]
    fn the_last_tick_is_never_in_the_future() {
        for _ in 0..1000 {
            let clock = Clock::start();
            for _ in 0..1000 {
                let lately = clock.coarse_now();
                assert!(lately <= clock.now());
            }
        }
        assert_eq!(Clock::by_hand().coarse_now(), Time::ZERO);
    }

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
