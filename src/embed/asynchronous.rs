//! Stopping and waiting for a stop, for async programs.

use std::io::{self, PipeReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::embed::tasks::{Promise, Tasks};
use crate::locks::Mutex;
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
        let outcome = promise.kept().await?;
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
        let mut waiting = Waiting { broker: shared, place: None };
        std::future::poll_fn(|context| waiting.poll(context)).await
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

    /// Wakes all that wait, when nobody watches the latch any more. At the end of a stop the latch is set.
    pub(super) fn end(&self) {
        let woken = self.tasks.lock().take();
        woken.wake();
    }

    /// Spawns a task of the broker that watches the latch, unless there is one. If that fails, all that wait are woken:
    /// each tries again, and has an error of its own.
    fn watch(&self, shared: &Shared, watch_latch: Register) -> Result<(), Error> {
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
                self.end();
                Err(Error::System { what: "waiting for a stop", source })
            }
        }
    }
}

/// Watches a latch; a task of the broker does.
type Register = fn(&Latch) -> io::Result<AsyncFd<Arc<PipeReader>>>;

/// One task that waits.
struct Waiting<'b> {
    broker: &'b Shared,
    place: Option<u64>,
}

impl Waiting<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_by(context, watch_latch)
    }

    fn poll_by(&mut self, context: &mut Context<'_>, watch_latch: Register) -> Poll<Result<(), Error>> {
        self.broker.check_fork()?;
        let vigil = self.broker.vigil();
        let waker = context.waker().clone();
        let before = vigil.tasks.lock().put(&mut self.place, waker);
        drop(before);
        // After the task has its place: who sets the latch later finds it there, and so does who fails to watch it.
        vigil.watch(self.broker, watch_latch)?;
        if vigil.latch.is_set() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && !self.broker.is_forked()
        {
            let waker = self.broker.vigil().tasks.lock().remove(place);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::Waiting;
    use crate::config::Config;
    use crate::embed::{Broker, Error};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn broker() -> Broker {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        Broker::start(&config).unwrap()
    }

    /// Another task has begun to wait while the first one was being refused: nobody would wake it.
    #[test]
    fn a_task_that_waits_behind_one_that_was_refused_tries_by_itself() {
        let broker = broker();
        let shared = broker.shared().unwrap();
        let [mut first, mut second] = [(); 2].map(|()| Waiting { broker: shared, place: None });
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let context = &mut Context::from_waker(&waker);
        // As if the first one were in the middle of its call.
        shared.vigil().watched.store(true, Ordering::Release);
        assert!(second.poll(context).is_pending());
        shared.vigil().watched.store(false, Ordering::Release);
        let refused = first.poll_by(&mut Context::from_waker(Waker::noop()), |_| {
            Err(io::Error::from(io::ErrorKind::OutOfMemory))
        });
        assert!(matches!(refused, Poll::Ready(Err(Error::System { .. }))));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(second.poll(context).is_pending());
        broker.stop(None).unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert!(matches!(second.poll(context), Poll::Ready(Ok(()))));
    }
}
