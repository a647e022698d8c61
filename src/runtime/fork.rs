//! Whether this process is the one that started a broker, or a fork of it, in which the broker's threads do not exist.
#![allow(unsafe_code, reason = "std has no word for fork; on the short list of docs/design.md")]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often the calling process, counted along its ancestors, was born by fork since Midge was first used.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// The generation of this process; another number means that a fork lies in between.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks counted from now on.
pub fn watch_forks() -> u32 {
    REGISTERED.call_once(|| {
        // SAFETY: `in_child` is async-signal-safe: it only adds to an atomic. A handler lives as long as the library,
        // and the C library forgets it when the library is unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    generation()
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
