//! Times that outlive the broker: milliseconds since 1970.

use crate::time::Time;

/// A point in time by the calendar, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// A time that is never reached.
    pub const NEVER: WallTime = WallTime(u64::MAX);

    /// The time `millis` milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> WallTime {
        WallTime(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `seconds` seconds more; saturates at [`WallTime::NEVER`].
    pub const fn plus_secs(self, seconds: u64) -> WallTime {
        WallTime(self.0.saturating_add(seconds.saturating_mul(1000)))
    }
}

/// Translates between the broker's time, which begins anew with each start, and the calendar.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    started: u64,
}

impl WallClock {
    /// The clock of a broker that started so many seconds after the beginning of 1970.
    pub const fn started_at(seconds: u64) -> WallClock {
        WallClock { started: seconds.saturating_mul(1000) }
    }

    /// The clock of a broker that started at `wall`.
    pub const fn starting(wall: WallTime) -> WallClock {
        WallClock { started: wall.as_millis() }
    }

    /// The calendar's time at `time`.
    pub const fn wall(&self, time: Time) -> WallTime {
        WallTime(time.as_millis().saturating_add(self.started))
    }

    /// The broker's time at `wall`; a time before the start of the broker is [`Time::ZERO`].
    pub fn time(&self, wall: WallTime) -> Time {
        match wall {
            WallTime::NEVER => Time::NEVER,
            WallTime(millis) => Time::from_millis(millis.saturating_sub(self.started)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WallClock, WallTime};
    use crate::time::Time;

    #[test]
    fn a_time_goes_on_after_a_restart() {
        let (first, second) = (WallClock::started_at(1000), WallClock::started_at(1060));
        let wall = first.wall(Time::from_millis(75_001));
        assert_eq!(wall, WallTime::from_millis(1_075_001));
        assert_eq!(second.time(wall), Time::from_millis(15_001));
    }

    #[test]
    fn a_time_before_the_start_is_the_start_and_never_stays_never() {
        let clock = WallClock::started_at(1000);
        assert_eq!(clock.time(WallTime::from_millis(999_999)), Time::ZERO);
        assert_eq!((clock.wall(Time::NEVER), clock.time(WallTime::NEVER)), (WallTime::NEVER, Time::NEVER));
        assert_eq!(WallTime::from_millis(5).plus_secs(u64::MAX), WallTime::NEVER);
    }
}
