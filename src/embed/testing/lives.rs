//! The end of a broker by a crash, the time that passes while it is down, and its next life.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::embed::testing::bench::Bench;
use crate::embed::testing::broker::TestBroker;
use crate::embed::testing::disk::{Crash, Disk};
use crate::net::testing::Beside;
use crate::runtime::{on_own_thread, reserve};
use crate::time::Time;

impl TestBroker {
    /// Ends the broker as a crash does. From one moment on nothing more is written to its disk and nothing more is sent;
    /// every connection is cut with a TCP reset, without DISCONNECT. Clients that connect are refused until
    /// [`TestBroker::restart`]. Its ports are kept: the system gives them to nobody who asks for any port.
    ///
    /// What is only in this process ends as with [`Broker::stop`](crate::Broker::stop) without grace: a callback that
    /// runs is waited for, hooks are told of the connections that have ended, queues close, and messages that wait for a
    /// commit are not acknowledged. Then all calls say `Stopped`; what was published can still be read.
    ///
    /// A broker without a directory can crash, too: it forgets everything.
    ///
    /// # Errors
    /// `Stopped` if the broker has crashed or stopped before; `InCallback` on a thread of the broker.
    pub fn crash(&self, crash: Crash) -> Result<(), Error> {
        let (shared, bench) = self.waiting()?;
        if shared.has_stopped() || bench.has_crashed.swap(true, Ordering::AcqRel) {
            return Err(Error::Stopped);
        }
        if let Some(disk) = &bench.disk {
            disk.crash(crash);
        }
        bench.bed.crash();
        self.stop(Some(Duration::ZERO))?;
        self.reserve();
        Ok(())
    }

    /// Starts the broker again: with the same settings and hooks, at the same addresses, on the same directory. One that
    /// runs is stopped first. The time goes on, so do the faults between it and its clients, and the record of what was
    /// published; its disk is [`Disk::Well`].
    ///
    /// This broker stays stopped, and can be dropped.
    ///
    /// # Errors
    /// As [`TestBroker::start`]; `Argument` if it was restarted before; `InCallback` on a thread of the broker.
    pub fn restart(&self) -> Result<TestBroker, Error> {
        let shared = self.broker.shared()?;
        let bench = self.bench()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let mut was_restarted = bench.was_restarted.lock();
        if *was_restarted {
            let cause = "this broker was restarted before; restart the one that came of it".to_owned();
            return Err(Error::Argument { argument: "restart", cause });
        }
        self.stop(None)?;
        let mut config = bench.origin.config.clone();
        for listener in shared.listener_views() {
            // One that was added while the broker ran is not in its settings, so it does not come back.
            if config.settings().listeners.iter().any(|of_settings| of_settings.name == listener.name) {
                config.set(&format!("listener.{}.bind", listener.name), &listener.address.to_string())?;
            }
        }
        if let Some(address) = self.console_address() {
            config.set("console.listen", &address.to_string())?;
        }
        bench.reserved.lock().clear();
        let restarted = TestBroker::start_at(bench.next(config)).inspect_err(|_| self.reserve())?;
        *was_restarted = true;
        // What was due while the broker was down.
        restarted.advance(Duration::ZERO)?;
        Ok(restarted)
    }

    /// Sets what the disk of a durable broker does from now on. A flush that waits is concerned, too.
    ///
    /// # Errors
    /// `Argument` without a directory; `Stopped`.
    pub fn set_disk(&self, disk: Disk) -> Result<(), Error> {
        let bench = self.running()?;
        let no_disk = || {
            let cause = "this broker has no directory: start a durable one, or set storage.path".to_owned();
            Error::Argument { argument: "disk", cause }
        };
        bench.disk.as_ref().ok_or_else(no_disk)?.set(disk);
        if let Some(storage) = &self.broker.shared()?.storage {
            storage.disk_changed(disk == Disk::Full);
        }
        Ok(())
    }

    /// The bench of a broker that is down, and may be restarted as one that remembers something.
    pub(super) fn down(&self) -> Result<Option<&Arc<Bench>>, Error> {
        let (shared, bench) = (self.broker.shared()?, self.bench()?);
        let is_down = shared.has_stopped() && !on_own_thread();
        let has_future = bench.has_crashed.load(Ordering::Acquire) || bench.disk.is_some();
        Ok((is_down && has_future && !*bench.was_restarted.lock()).then_some(bench))
    }

    /// Keeps the ports of a broker that is down. Without it another program might get one.
    fn reserve(&self) {
        if let (Ok(shared), Ok(bench)) = (self.broker.shared(), self.bench()) {
            let addresses =
                shared.listener_views().into_iter().filter_map(|listener| listener.address.as_socket());
            bench.reserved.lock().extend(addresses.filter_map(|address| reserve(address).ok()));
        }
    }
}

/// A durable broker's commits, as time moves.
pub(super) struct Waits<'b> {
    pub(super) shared: &'b Arc<Shared>,
    pub(super) bench: &'b Arc<Bench>,
}

impl Beside for Waits<'_> {
    fn next_due(&self) -> Option<Time> {
        self.bench.disk.as_ref().and_then(|disk| disk.next_due())
    }

    fn catch_up(&self) {
        if let (Some(disk), Some(storage)) = (&self.bench.disk, &self.shared.storage) {
            disk.wait_for(storage.appended(), || self.shared.has_stopped(), || storage.is_troubled());
        }
    }
}
