//! Calls the engine when something is due, and sleeps in between.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::engine::core::state::Engine;
use crate::engine::core::timers::Alarm;
use crate::runtime::clock::Clock;
use crate::time::Time;

/// The engine's alarm: wakes the ticking task.
#[derive(Debug, Default)]
pub struct Ticker {
    nearer: Notify,
}

impl Alarm for Ticker {
    fn set(&self, _at: Time) {
        self.nearer.notify_one();
    }
}

/// Ticks the engine for as long as the task lives.
pub async fn tick(engine: Arc<Engine>, ticker: Arc<Ticker>, clock: Clock) {
    loop {
        let next = engine.tick(clock.now()).and_then(|next| clock.instant(next));
        match next {
            None => ticker.nearer.notified().await,
            // A deadline that has passed does not suspend the task.
            Some(next) if next <= Instant::now().into_std() => yield_now().await,
            Some(next) => {
                // Whichever comes first: the deadline, or word of a nearer one.
                let _elapsed = timeout_at(Instant::from_std(next), ticker.nearer.notified()).await;
            }
        }
    }
}
