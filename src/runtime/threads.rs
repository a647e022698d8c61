//! The threads of one broker.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};

use crate::runtime::signals::with_signals_blocked;

thread_local! {
    /// Whether this thread is one of a broker's own.
    static OWN: Cell<bool> = const { Cell::new(false) };
    /// How many calls into the host this thread is inside of.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// A call into the host that goes on until this is dropped, on the thread that has made it.
#[derive(Debug)]
pub struct Calling(PhantomData<*const ()>);

impl Calling {
    /// The call begins.
    pub fn begin() -> Calling {
        CALLS.set(CALLS.get() + 1);
        Calling(PhantomData)
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        CALLS.set(CALLS.get().saturating_sub(1));
    }
}

/// Whether a broker cannot be stopped here without waiting for itself: on a thread of a broker's own, and inside a call
/// that a broker makes on any other thread.
pub fn in_callback() -> bool {
    on_own_thread() || CALLS.get() > 0
}

/// Whether the calling thread belongs to a broker.
fn on_own_thread() -> bool {
    OWN.get()
}

/// A number that no other living thread has. Unlike a `ThreadId` it needs no memory, which a host's thread would hold.
pub fn thread_mark() -> usize {
    OWN.with(|own| std::ptr::from_ref(own).addr())
}

/// The runtime's worker threads. [`Runtime::join`] ends them.
#[derive(Debug)]
pub struct Runtime {
    tokio: tokio::runtime::Runtime,
}

impl Runtime {
    /// Starts `workers` threads named `midge-0`, `midge-1`, ...
    pub fn start(workers: usize) -> io::Result<Runtime> {
        let numbers = std::sync::atomic::AtomicUsize::new(0);
        let build = || {
            Builder::new_multi_thread()
                .worker_threads(workers)
                .max_blocking_threads(1)
                .thread_name_fn(move || {
                    format!("midge-{}", numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                })
                .on_thread_start(|| OWN.set(true))
                .enable_io()
                .enable_time()
                .build()
        };
        // tokio panics when the system gives it no thread.
        let built = catch_unwind(AssertUnwindSafe(|| with_signals_blocked(build)));
        let tokio =
            built.unwrap_or_else(|_| Err(io::Error::other("the system gives no thread to the broker")))?;
        Ok(Runtime { tokio })
    }

    /// A handle to spawn tasks with.
    pub fn handle(&self) -> &Handle {
        self.tokio.handle()
    }

    /// Ends every task and joins every thread.
    pub fn join(self) {
        if Handle::try_current().is_err() {
            return drop(self.tokio);
        }
        // The host calls from inside a runtime of its own, where tokio refuses to wait.
        let joined = std::thread::scope(|scope| scope.spawn(|| drop(self.tokio)).join());
        debug_assert!(joined.is_ok());
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
