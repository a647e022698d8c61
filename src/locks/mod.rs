//! Locks without poisoning, and a condition variable.
//!
//! On Linux they are futexes alone: a forked child of the host may use those of a broker that it starts, whatever threads
//! of the parent were waiting. parking_lot, elsewhere, keeps waiting threads in a table of the process, which a child
//! inherits with threads that it does not have.

#[cfg(target_os = "linux")]
mod futex;
#[cfg(target_os = "linux")]
pub use futex::Condvar;
#[cfg(target_os = "linux")]
pub use rustix_futex_sync::{MappedMutexGuard, Mutex, MutexGuard, RwLock};

#[cfg(not(target_os = "linux"))]
pub use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard, RwLock};
