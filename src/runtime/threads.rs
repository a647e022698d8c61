//! The threads of one broker.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::locks::{Condvar, Mutex, RwLock};
use crate::runtime::signals::with_signals_blocked;

thread_local! {
    /// Whether this thread belongs to a broker.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread belongs to a broker. Stopping a broker on such a thread would wait for itself.
pub fn on_own_thread() -> bool {
    OWN.get()
}

/// Marks the calling thread as a broker's own until the result is dropped, while it runs a callback.
pub fn in_callback() -> InCallback {
    InCallback { before: OWN.replace(true) }
}

/// The mark of a thread of the host that runs a callback; dropping it removes the mark.
#[derive(Debug)]
pub struct InCallback {
    before: bool,
}

impl Drop for InCallback {
    fn drop(&mut self) {
        OWN.set(self.before);
    }
}

/// A number that no other living thread has. Unlike a `ThreadId` it allocates no memory for a thread of the host.
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
    /// One thread with tokio's current-thread scheduler. It starts in half the time of the multi-thread scheduler and
    /// costs less per batch of tasks, because it steals no work. It ends when it gets the stop message.
    One { thread: JoinHandle<()>, stop: oneshot::Sender<()> },
    /// Threads of tokio's multi-thread scheduler.
    Several { tokio: tokio::runtime::Runtime, count: Arc<ThreadCount> },
}

/// The number of a runtime's running threads.
#[derive(Debug, Default)]
struct ThreadCount {
    threads: Mutex<usize>,
    /// Notified when no thread is left.
    none: Condvar,
}

impl ThreadCount {
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
    /// The system has no descriptors left, or not enough threads.
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
                // The thread waits for this message. A panic in a task does not reach it.
                let _told = stop.send(());
                let _ended = thread.join();
            }
            Workers::Several { tokio, count } => join_several(tokio, &count),
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

    /// Starts a thread, with its signals blocked, that does not count as a broker's own: it may stop a broker.
    pub fn spawn_helper(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(body))
    }
}

fn start_one() -> io::Result<Runtime> {
    let (stop, stopped) = oneshot::channel();
    let built = Arc::new(StartResult::default());
    let told = Arc::clone(&built);
    // tokio reads the id of the thread that builds it. On a thread of the host that would keep memory allocated.
    let thread = Runtime::spawn_thread("midge-0", move || {
        let count = Arc::default();
        let build = || settings(&mut Builder::new_current_thread(), 1, &count).build();
        match catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|_| Err(no_runtime())) {
            Ok(tokio) => {
                told.put(Ok(tokio.handle().clone()));
                // Also received when the sender is dropped.
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

/// The result of building a runtime on another thread.
#[derive(Debug, Default)]
struct StartResult {
    outcome: Mutex<Option<io::Result<Handle>>>,
    there: Condvar,
}

impl StartResult {
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
    let count = Arc::default();
    let build = || {
        try_threads(workers)?;
        settings(Builder::new_multi_thread().worker_threads(workers), 0, &count).build()
    };
    // tokio panics when it gets no thread, which can happen although `try_threads` has succeeded.
    let built = catch_unwind(AssertUnwindSafe(|| with_signals_blocked(build)));
    let tokio = built.unwrap_or_else(|_| Err(no_runtime()))?;
    Ok(Runtime { handle: tokio.handle().clone(), workers: Workers::Several { tokio, count } })
}

/// The error for a panic of tokio, which panics only without threads.
fn no_runtime() -> io::Error {
    io::Error::other("the system has no thread for the broker (runtime.worker_threads)")
}

/// Settings of both schedulers: threads are counted, and named with numbers from `first` on.
fn settings<'b>(builder: &'b mut Builder, first: usize, count: &Arc<ThreadCount>) -> &'b mut Builder {
    let (begin, end) = (Arc::clone(count), Arc::clone(count));
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

fn join_several(tokio: tokio::runtime::Runtime, count: &ThreadCount) {
    if Handle::try_current().is_err() {
        return drop(tokio);
    }
    // The host calls from inside a runtime of its own, where tokio refuses to block: another thread waits.
    let handed = Arc::new(Mutex::new(Some(tokio)));
    let held = Arc::clone(&handed);
    let drop_it = move || drop(held.lock().take());
    if let Ok(helper) = Runtime::spawn_helper("midge-stop", drop_it) {
        // Only tokio could panic in it.
        let _ended = helper.join();
    } else if let Some(tokio) = handed.lock().take() {
        // The system has no thread left: the broker's threads end, but the system's join is skipped.
        tokio.shutdown_background();
        count.wait_for_none();
    }
}

/// Checks that the system has `count` threads at once. tokio does not report it: without its first thread it
/// panics, and without a later one it runs with fewer.
fn try_threads(count: usize) -> io::Result<()> {
    // Every thread waits while the lock is held for writing.
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
        // All threads have ended when this returns; none of them panics.
        outcome = outcome.and(thread.map(|thread| drop(thread.join())));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::ThreadCount;

    #[test]
    fn waiting_for_threads_ends_with_the_last_of_them() {
        let alive = Arc::new(ThreadCount::default());
        alive.wait_for_none();
        alive.begin();
        alive.begin();
        let own = Arc::clone(&alive);
        let waiting = std::thread::spawn(move || own.wait_for_none());
        // It waits by now, most likely.
        std::thread::sleep(Duration::from_millis(50));
        let late = Instant::now() + Duration::from_secs(20);
        let count = std::iter::repeat_with(|| alive.threads.try_lock())
            .find(|count| count.is_some() || Instant::now() > late)
            .flatten();
        assert_eq!(count.as_deref(), Some(&2), "a thread that waits keeps others from ending");
        drop(count);
        alive.end();
        assert_eq!(*alive.threads.lock(), 1);
        alive.end();
        waiting.join().unwrap();
    }
}
