//! The threads of one broker.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::runtime::signals::with_signals_blocked;

thread_local! {
    /// Whether this thread is one of a broker's own.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread belongs to a broker: from it, a broker cannot be stopped without waiting for itself.
pub fn on_own_thread() -> bool {
    OWN.get()
}

/// Has the calling thread count as a broker's own until the result is dropped: it runs a callback.
pub fn in_callback() -> InCallback {
    InCallback { before: OWN.replace(true) }
}

/// The end of a callback on a thread of the host.
#[derive(Debug)]
pub struct InCallback {
    before: bool,
}

impl Drop for InCallback {
    fn drop(&mut self) {
        OWN.set(self.before);
    }
}

/// A number that no other living thread has. Unlike a `ThreadId` it needs no memory, which a host's thread would hold.
pub fn thread_mark() -> usize {
    OWN.with(|own| std::ptr::from_ref(own).addr())
}

/// The runtime's worker threads. [`Runtime::join`] ends them.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    workers: Workers,
}

#[derive(Debug)]
enum Workers {
    /// A thread of ours in tokio's scheduler for one thread: it starts in half the time of the one for several, needs no
    /// code for stealing, and spends less on each batch of tasks. It ends when it is told so.
    One { thread: JoinHandle<()>, stop: oneshot::Sender<()> },
    /// Threads of tokio's.
    Several { tokio: tokio::runtime::Runtime, alive: Arc<Alive> },
}

/// How many of a runtime's threads have begun and not ended.
#[derive(Debug, Default)]
struct Alive {
    threads: Mutex<usize>,
    /// Told when there is none any more.
    none: Condvar,
}

impl Alive {
    fn begin(&self) {
        *self.threads.lock() += 1;
    }

    fn end(&self) {
        let mut threads = self.threads.lock();
        *threads -= 1;
        if *threads == 0 {
            self.none.notify_all();
        }
    }

    fn wait_for_none(&self) {
        let mut threads = self.threads.lock();
        while *threads > 0 {
            self.none.wait(&mut threads);
        }
    }
}

impl Runtime {
    /// Starts `workers` threads named `midge-0`, `midge-1`, ...
    ///
    /// # Errors
    /// The system has no descriptors, or not so many threads.
    pub fn start(workers: usize) -> io::Result<Runtime> {
        if workers > 1 { start_several(workers) } else { start_one() }
    }

    /// A handle to spawn tasks with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends every task and joins every thread.
    pub fn join(self) {
        match self.workers {
            Workers::One { thread, stop } => {
                // It waits for this. What panics in a task stays there.
                let _told = stop.send(());
                let _ended = thread.join();
            }
            Workers::Several { tokio, alive } => join_several(tokio, &alive),
        }
    }

    /// Starts a thread of the broker beside the runtime, with its signals blocked.
    pub fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        with_signals_blocked(|| {
            builder.spawn(|| {
                OWN.set(true);
                body();
            })
        })
    }

    /// Starts a thread, with its signals blocked, that is none of a broker's own: it may stop one.
    pub fn spawn_helper(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(body))
    }
}

fn start_one() -> io::Result<Runtime> {
    let (stop, stopped) = oneshot::channel();
    let built = Arc::new(Built::default());
    let told = Arc::clone(&built);
    // tokio asks for the thread that builds it, which costs memory that a thread of the host would hold.
    let thread = Runtime::spawn_thread("midge-0", move || {
        let alive = Arc::default();
        let build = || settings(&mut Builder::new_current_thread(), 1, &alive).build();
        match catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|_| Err(no_runtime())) {
            Ok(tokio) => {
                told.put(Ok(tokio.handle().clone()));
                // Also told when nobody has the sender any more.
                let _told = tokio.block_on(stopped);
            }
            Err(error) => told.put(Err(error)),
        }
    })?;
    match built.wait() {
        Ok(handle) => Ok(Runtime { handle, workers: Workers::One { thread, stop } }),
        Err(error) => {
            let _ended = thread.join();
            Err(error)
        }
    }
}

/// What became of a runtime that another thread builds.
#[derive(Debug, Default)]
struct Built {
    outcome: Mutex<Option<io::Result<Handle>>>,
    there: Condvar,
}

impl Built {
    fn put(&self, outcome: io::Result<Handle>) {
        *self.outcome.lock() = Some(outcome);
        self.there.notify_one();
    }

    fn wait(&self) -> io::Result<Handle> {
        let mut outcome = self.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => self.there.wait(&mut outcome),
            }
        }
    }
}

fn start_several(workers: usize) -> io::Result<Runtime> {
    let alive = Arc::default();
    let build = || {
        try_threads(workers)?;
        settings(Builder::new_multi_thread().worker_threads(workers), 0, &alive).build()
    };
    // tokio panics when the system gives it no thread, which may be so although it gave some a moment ago.
    let built = catch_unwind(AssertUnwindSafe(|| with_signals_blocked(build)));
    let tokio = built.unwrap_or_else(|_| Err(no_runtime()))?;
    Ok(Runtime { handle: tokio.handle().clone(), workers: Workers::Several { tokio, alive } })
}

/// tokio panics only for want of threads.
fn no_runtime() -> io::Error {
    io::Error::other("the system gives no thread to the broker")
}

/// What both schedulers have in common: tokio's threads are named and counted, from the number `first` on.
fn settings<'b>(builder: &'b mut Builder, first: usize, alive: &Arc<Alive>) -> &'b mut Builder {
    let (begin, end) = (Arc::clone(alive), Arc::clone(alive));
    let numbers = AtomicUsize::new(first);
    builder
        .max_blocking_threads(1)
        .thread_name_fn(move || format!("midge-{}", numbers.fetch_add(1, Ordering::Relaxed)))
        .on_thread_start(move || {
            OWN.set(true);
            begin.begin();
        })
        .on_thread_stop(move || end.end())
        .enable_io()
        .enable_time()
}

fn join_several(tokio: tokio::runtime::Runtime, alive: &Alive) {
    if Handle::try_current().is_err() {
        return drop(tokio);
    }
    // The host calls from inside a runtime of its own, where tokio refuses to wait: another thread does it.
    let handed = Arc::new(Mutex::new(Some(tokio)));
    let held = Arc::clone(&handed);
    let drop_it = move || drop(held.lock().take());
    if let Ok(helper) = Runtime::spawn_helper("midge-stop", drop_it) {
        // Nothing in it panics but what tokio would.
        let _ended = helper.join();
    } else if let Some(tokio) = handed.lock().take() {
        // The system has no thread to spare: the broker's own end, and only the system's joining is left out.
        tokio.shutdown_background();
        alive.wait_for_none();
    }
}

/// Whether the system gives so many threads at once. tokio cannot be asked: without its first thread it panics, and
/// without a later one it goes on with fewer.
fn try_threads(count: usize) -> io::Result<()> {
    // While it is held for writing, every thread waits.
    let gate = Arc::new(RwLock::new(()));
    let held = gate.write();
    let started: Vec<io::Result<JoinHandle<()>>> = (0..count)
        .map(|_| {
            let gate = Arc::clone(&gate);
            let builder = std::thread::Builder::new().name("midge-try".to_owned());
            builder.spawn(move || drop(gate.read()))
        })
        .collect();
    drop(held);
    let mut outcome = Ok(());
    for thread in started {
        // All are gone when this returns. None of them panics.
        outcome = outcome.and(thread.map(|thread| drop(thread.join())));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Alive;

    #[test]
    fn waiting_for_threads_ends_with_the_last_of_them() {
        let alive = Arc::new(Alive::default());
        alive.wait_for_none();
        alive.begin();
        alive.begin();
        let own = Arc::clone(&alive);
        let waiting = std::thread::spawn(move || own.wait_for_none());
        // It waits by now, most likely.
        std::thread::sleep(Duration::from_millis(50));
        let count = alive.threads.try_lock_for(Duration::from_secs(20));
        assert_eq!(count.as_deref(), Some(&2), "a thread that waits keeps others from ending");
        drop(count);
        alive.end();
        assert_eq!(*alive.threads.lock(), 1);
        alive.end();
        waiting.join().unwrap();
    }
}
