//! Stopping a broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::runtime::{Runtime, on_own_thread};
use crate::session::event::Level;

/// What a longer grace counts as.
const LONGEST_GRACE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How far a broker's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    Stopping,
    Stopped,
}

/// Says that a broker has stopped when its stop is over.
struct StopGuard<'s>(&'s Shared);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.has_ended();
    }
}

impl Shared {
    pub(super) fn abandon(self: &Arc<Self>) {
        if !self.is_forked() && !self.abandoned.swap(true, Ordering::AcqRel) {
            self.stop_requested.set();
            self.stop_in_background();
        }
    }

    pub(super) fn stop_in_background(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        // If there is no thread for it, nobody joins the broker's own: they are left alone.
        let kept = std::mem::ManuallyDrop::new(Arc::clone(self));
        let stop = move || drop(shared.stop(None));
        if Runtime::spawn_helper("midge-stop", stop).is_ok() {
            drop(std::mem::ManuallyDrop::into_inner(kept));
        }
    }

    pub(super) fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.check_fork()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let mut stage = self.stage.lock();
        while *stage == Stage::Stopping {
            self.changed.wait(&mut stage);
        }
        if *stage == Stage::Stopped {
            return Ok(());
        }
        *stage = Stage::Stopping;
        drop(stage);
        // Also if what follows panics: others who stop it would wait for ever.
        let _end = StopGuard(self);
        self.log("the broker stops");
        self.shut_down(grace.unwrap_or(self.settings.runtime.stop_grace));
        self.tell_rest();
        Ok(())
    }

    fn has_ended(&self) {
        // Before others who stop it return: they find it stopped, and nothing to wait for.
        self.stop_requested.set();
        self.stopped.store(true, Ordering::Release);
        *self.stage.lock() = Stage::Stopped;
        self.changed.notify_all();
        if let Some(bench) = &self.bench {
            bench.bed.beat();
        }
        self.vigil.end();
        self.stop_requested.close();
    }

    /// Logs how far the broker's life has come.
    fn log(&self, text: &str) {
        let mut turn = self.engine.turn(self.clock.now());
        self.engine.log(&mut turn, Level::Info, None, || text.to_owned());
    }

    /// Tells the hooks what has not been told. No other thread calls the host any more.
    fn tell_rest(&self) {
        self.engine.log_untold_drops(&mut self.engine.turn(self.clock.now()));
        self.log("the broker has stopped");
        self.engine.tell_rest(&mut self.engine.turn(self.clock.now()));
    }

    fn shut_down(&self, grace: Duration) {
        let now = Instant::now();
        // An instant cannot hold the longest durations; nobody lives to see the difference.
        let by = now.checked_add(grace).unwrap_or(now + LONGEST_GRACE);
        let by = *self.grace_ends.get_or_init(|| by);
        self.engine.stop(&mut self.engine.turn(self.clock.now()));
        if let Some(bench) = &self.bench {
            bench.bed.await_advance();
        }
        // Threads of the host are in no turn from here on, and begin none; those of the broker end with the runtime.
        self.engine.await_turns();
        let dispatcher = self.dispatcher.lock().take();
        if let Some(dispatcher) = dispatcher {
            dispatcher.stop(by);
        }
        if let Some(runtime) = self.running.lock().take() {
            // What is not written by then is not written.
            self.server.wait_until_told(by);
            if let Some(console) = &self.console {
                console.stop(by);
            }
            // Closes listeners and connections with their tasks.
            runtime.join();
            self.access.close();
            self.listeners.end();
        }
        if let Some(disk) = self.bench.as_ref().and_then(|bench| bench.disk.as_ref()) {
            disk.end_waits();
        }
        if let Some(storage) = &self.storage {
            // Before the host's waiters are given up: what is committed now is safe.
            storage.close(&self.engine, &self.clock);
        }
        self.engine.forget_waiters(&mut self.engine.turn(self.clock.now()));
        let queues = self.queues.lock().take();
        for queue in queues.into_iter().flatten() {
            if let Some(queue) = queue.upgrade() {
                queue.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stage;
    use crate::config::Config;
    use crate::embed::{Broker, Polled, QueueOptions};

    /// Between the closing of queues and the broker's being stopped.
    #[test]
    fn a_queue_that_is_made_while_the_broker_stops_is_closed() {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        let broker = Broker::start(&config).unwrap();
        broker.shared.shut_down(Duration::ZERO);
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::Closed));
    }

    /// A thread that has stopped the broker finds that nothing is left to wait for.
    #[test]
    fn who_waits_for_the_stop_is_told_before_others_who_stop_the_broker_return() {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        let broker = Broker::start(&config).unwrap();
        let shared = &broker.shared;
        std::thread::scope(|scope| {
            scope.spawn(|| broker.stop(None).unwrap());
            // While the lock is held, others who stop it do not return.
            let stage = loop {
                let stage = shared.stage.lock();
                if *stage != Stage::Running {
                    break stage;
                }
                drop(stage);
                std::thread::yield_now();
            };
            while !shared.has_stopped() {
                std::thread::yield_now();
            }
            assert!(broker.wait(Some(Duration::ZERO)));
            drop(stage);
        });
    }
}
