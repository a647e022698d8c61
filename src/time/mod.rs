//! Floor 1: the broker's time, and the timer wheel.

mod blocks;
mod clock;
mod wall;
mod wheel;

pub use clock::Time;
pub use wall::{WallClock, WallTime};
pub use wheel::{TimerId, Wheel};
