//! Floor 5: tokio begins here. Named threads, the clock, the ticking of the engine.

mod clock;
mod fork;
mod latch;
mod readiness;
mod signals;
mod threads;
mod ticker;

pub use clock::Clock;
pub use fork::{generation, watch_forks};
pub use latch::Latch;
pub use readiness::{watch_listener, watch_stream};
pub use threads::{Calling, Runtime, in_callback, thread_mark};
pub use ticker::{Ticker, tick};
