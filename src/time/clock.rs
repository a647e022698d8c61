//! The broker's time: milliseconds since it started, always passed in by the runtime.

use std::time::Duration;

/// A point in the broker's monotonic time, in milliseconds since the broker started.
///
/// Floors 1 to 4 receive it as an argument, so that a test can run years in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment the broker started.
    pub const ZERO: Time = Time(0);
    /// A time that is never reached.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis)
    }

    /// Milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `millis` milliseconds more; saturates at [`Time::NEVER`].
    pub const fn plus_millis(self, millis: u64) -> Time {
        Time(self.0.saturating_add(millis))
    }

    /// This time and `seconds` seconds more; saturates at [`Time::NEVER`].
    pub const fn plus_secs(self, seconds: u64) -> Time {
        Time(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// This time and `duration` more, in whole milliseconds; saturates at [`Time::NEVER`].
    pub fn plus(self, duration: Duration) -> Time {
        self.plus_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    pub const fn millis_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::time::Time;

    #[test]
    fn addition_saturates_at_never() {
        assert_eq!(Time::NEVER.plus_secs(1), Time::NEVER);
        assert_eq!(Time::from_millis(5).plus_secs(u64::MAX), Time::NEVER);
    }

    #[test]
    fn difference_of_an_earlier_time_is_zero() {
        assert_eq!(Time::from_millis(3).millis_since(Time::from_millis(9)), 0);
        assert_eq!(Time::from_millis(9).millis_since(Time::from_millis(3)), 6);
    }
}
