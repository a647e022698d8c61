//! A broker, as the host has it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ListenAddress;
use crate::embed::console::Running as RunningConsole;
use crate::embed::error::Error;
use crate::embed::shared::{Shared, leak};
use crate::engine::view::clients::{ClientView, SubscriptionView};
use crate::stats::Snapshot;
use crate::storage::StorageStats;

/// An MQTT broker inside this process. It stops when it is dropped.
///
/// All methods may be called from any thread. Several brokers share nothing.
#[must_use = "dropping it stops the broker"]
pub struct Broker {
    pub(super) shared: Arc<Shared>,
}

impl Broker {
    /// The address of a listener of TCP, with the port that the system chose if the setting said 0. `None` also for one of
    /// a Unix domain socket, whose address is in [`Broker::addresses`].
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|(name, _)| name == listener)?.1.as_socket()
    }

    /// The address of the console, if `console.listen` gave it one; with the port that the system chose if that said 0.
    pub fn console_address(&self) -> Option<SocketAddr> {
        self.shared.console.as_ref().map(RunningConsole::address)
    }

    /// Every listener's name and address, as [`Broker::listeners`] has them.
    pub fn addresses(&self) -> Vec<(String, ListenAddress)> {
        self.shared.listeners.addresses()
    }

    /// The counters and gauges at this moment; all 0 in a forked child.
    pub fn stats(&self) -> Snapshot {
        if self.is_forked() { Snapshot::default() } else { self.shared.engine.snapshot() }
    }

    /// The durable store at this moment, also after the broker has stopped; `None` without one (`storage.path`), and in
    /// a forked child.
    pub fn storage(&self) -> Option<StorageStats> {
        let storage = self.shared.storage.as_ref().filter(|_| !self.is_forked())?;
        Some(storage.stats(&self.shared.engine))
    }

    /// How long the broker has been running.
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(self.shared.clock.now().as_millis())
    }

    /// When the broker started, in seconds since 1970.
    pub fn started_unix(&self) -> u64 {
        self.shared.clock.started_unix()
    }

    /// Every client that is connected or has a session, in no order; none in a forked child.
    pub fn clients(&self) -> Vec<ClientView> {
        if self.is_forked() { Vec::new() } else { self.shared.engine.clients() }
    }

    /// Every subscription, of clients and of the host, in no order; none in a forked child.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        if self.is_forked() { Vec::new() } else { self.shared.engine.subscriptions() }
    }

    /// Disconnects a client, with 0x98 Administrative action if it speaks MQTT 5; false if it is not connected.
    pub fn kick(&self, client_id: &str) -> Result<bool, Error> {
        let shared = self.shared()?;
        let mut turn = shared.turn()?;
        Ok(shared.engine.kick(&mut turn, client_id))
    }

    /// Asks whoever waits in [`Broker::wait`] to stop the broker. Returns at once; may be called from callbacks and
    /// from signal handlers.
    pub fn request_stop(&self) {
        if !self.shared.is_forked() {
            self.shared.stop_requested.set();
        }
    }

    /// Waits until a stop is requested or the broker has stopped; false if `timeout` passed first. In a forked child there
    /// is no broker, and nothing to wait for: true.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.is_forked() || self.shared.stop_requested.wait(timeout)
    }

    /// Stops the broker: no connection is taken any more, clients are told, callbacks get what waits for them, at
    /// most for `grace` (`None`: the setting `runtime.stop_grace`); then every thread is joined and every listener
    /// closed. From the beginning of the stop on, publishing, subscribing and kicking say [`Error::Stopped`].
    ///
    /// When this returns, the hooks have been told all that has happened, the end of every connection included, and no
    /// hook, callback or waker runs any more or will: one that runs, also on another thread of the host, is waited for
    /// without a bound. So do not hold a lock that one of them takes.
    ///
    /// Stopping a stopped broker does nothing; two threads may stop it at once, and both wait.
    ///
    /// # Errors
    /// [`Error::InCallback`] in a hook, a callback or a waker; [`Error::Forked`].
    pub fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.shared.stop(grace)
    }

    /// Whether calls are of use: `Forked` in a child process, `Stopped` after [`Broker::abandon`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.shared.check()
    }

    /// Whether this process is a fork of the one that started the broker.
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.is_forked()
    }

    /// For a panic that came out of the broker: it is stopped in the background, and later calls say `Stopped`.
    pub(crate) fn abandon(&self) {
        self.shared.abandon();
    }

    /// As [`Broker::shared`], also of a broker that a panic has ended: it can be stopped and waited for.
    pub(super) fn shared_even_abandoned(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.check_fork()?;
        Ok(&self.shared)
    }

    pub(super) fn shared(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.check()?;
        Ok(&self.shared)
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("listeners", &self.shared.listeners.addresses())
            .field("stopped", &self.shared.has_stopped())
            .finish_non_exhaustive()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.stop(None) {
            Ok(()) => {}
            Err(Error::InCallback) => self.shared.stop_in_background(),
            // The threads are the parent process's: what belongs to them is left alone.
            Err(_) => leak(&self.shared),
        }
    }
}
