//! Stopping and waiting for a stop, for async programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::embed::tasks::{Promise, Tasks};
use crate::runtime::{Latch, Runtime, on_own_thread, watch_latch};

impl Broker {
    /// As [`Broker::stop`], without blocking the thread: another one, which lives as long as the stop, does the waiting. It
    /// needs no runtime, and works on any. Once begun, the stop goes on if the future is dropped.
    ///
    /// Dropping a broker that runs blocks, in async code as elsewhere: stop it before.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let mut config = midge::Config::new();
    /// config.set("listener.tcp.bind", "127.0.0.1:0")?;
    /// let broker = midge::Broker::start(&config)?;
    /// broker.stop_async(None).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`Broker::stop`]; [`Error::System`] if there is no thread for it.
    pub async fn stop_async(&self, grace: Option<Duration>) -> Result<(), Error> {
        let shared = self.shared_even_abandoned()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let promise = Promise::new();
        let (stopping, told) = (Arc::clone(shared), Arc::clone(&promise));
        let body = move || told.keep(stopping.stop(grace));
        let helper = Runtime::spawn_helper("midge-stop", body)
            .map_err(|source| Error::System { what: "a thread that waits for the stop", source })?;
        let outcome = promise.kept().await;
        // Its last word was that: it ends now, and no thread is left behind.
        drop(helper.join());
        outcome
    }

    /// As [`Broker::wait`], without blocking the thread: waits until a stop is requested or the broker has stopped. For
    /// a timeout use your executor's; a future that is dropped waits no more, and nothing else happens.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let mut config = midge::Config::new();
    /// # config.set("listener.tcp.bind", "off")?;
    /// let broker = midge::Broker::start(&config)?;
    /// broker.request_stop(); // elsewhere: from a callback, or a signal handler
    /// broker.wait_async().await?;
    /// broker.stop_async(None).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::System`] if the system refuses.
    pub async fn wait_async(&self) -> Result<(), Error> {
        let shared = self.shared_even_abandoned()?;
        let mut waiting = Waiting { vigil: shared.vigil(), place: None };
        waiting.vigil.watch(shared)?;
        std::future::poll_fn(|context| waiting.poll(context)).await;
        Ok(())
    }
}

/// The latch that a stop sets, and the tasks that wait for it.
pub(super) struct Vigil {
    latch: Arc<Latch>,
    tasks: Arc<Mutex<Tasks>>,
    /// Whether a task of the broker watches the latch, which a signal handler may set.
    watched: AtomicBool,
}

impl Vigil {
    pub(super) fn new(latch: Arc<Latch>) -> Vigil {
        Vigil { latch, tasks: Arc::default(), watched: AtomicBool::new(false) }
    }

    /// For the end of a stop, when the latch is set and nobody watches it any more.
    pub(super) fn end(&self) {
        let woken = self.tasks.lock().take();
        woken.wake();
    }

    fn watch(&self, shared: &Shared) -> Result<(), Error> {
        if self.latch.is_set() || self.watched.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A broker that is being stopped tells at its end.
        let Ok(handle) = shared.runtime() else {
            return Ok(());
        };
        let _inside = handle.enter();
        match watch_latch(&self.latch) {
            Ok(watched) => {
                let tasks = Arc::clone(&self.tasks);
                handle.spawn(async move {
                    // An error would be the runtime's end, which is the broker's.
                    if watched.readable().await.is_ok() {
                        let woken = tasks.lock().take();
                        woken.wake();
                    }
                });
                Ok(())
            }
            Err(_) if shared.runtime().is_err() => Ok(()),
            Err(source) => {
                self.watched.store(false, Ordering::Release);
                Err(Error::System { what: "waiting for a stop", source })
            }
        }
    }
}

/// One task that waits.
struct Waiting<'v> {
    vigil: &'v Vigil,
    place: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let before = self.vigil.tasks.lock().put(&mut self.place, waker);
        drop(before);
        // After the task has its place: who sets the latch later finds it there.
        if self.vigil.latch.is_set() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waker = self.vigil.tasks.lock().remove(self.place);
        drop(waker);
    }
}
