//! Floor 5: tokio begins here. Named threads, the clock, the ticking of the engine.

mod clock;
mod event;
mod foreign;
mod fork;
mod latch;
mod readiness;
mod signals;
mod socket;
mod threads;
mod ticker;
mod waits;

pub use clock::Clock;
pub use event::Event;
pub use foreign::{duplicate, peer_credentials};
pub use fork::{NotInherited, generation, watch_forks};
pub use latch::Latch;
pub use readiness::{watch_latch, watch_socket};
pub use socket::{Reserved, listen, reserve};
pub use threads::{Runtime, in_callback, on_own_thread, thread_mark};
pub use ticker::{Ticker, tick};
pub use waits::{CallWait, Waiter};
