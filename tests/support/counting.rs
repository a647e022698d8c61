//! An allocator that counts. A test that includes this file has it as its global allocator.
#![allow(dead_code, reason = "each test counts something else")]
#![allow(unsafe_code, reason = "an allocator can only be written with unsafe code")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Allocations and reallocations of all threads.
static ALL: AtomicUsize = AtomicUsize::new(0);
/// Bytes in use, as the usual allocators round them.
static IN_USE: AtomicIsize = AtomicIsize::new(0);
/// Bytes in use, as they were asked for.
static ASKED_FOR: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// Those of this thread.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

/// Multiples of 16 with a header of 8.
fn rounded(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

fn count() {
    ALL.fetch_add(1, Ordering::Relaxed);
    OWN.set(OWN.get() + 1);
}

fn add(size: usize, sign: isize) {
    IN_USE.fetch_add(sign * rounded(size), Ordering::Relaxed);
    ASKED_FOR.fetch_add(sign * size as isize, Ordering::Relaxed);
}

// SAFETY: every call is passed on to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        add(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        add(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(layout.size(), -1);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        add(layout.size(), -1);
        add(size, 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far.
pub fn own() -> usize {
    OWN.get()
}

/// Allocations of all other threads so far.
pub fn others() -> usize {
    ALL.load(Ordering::Relaxed) - own()
}

/// Bytes in use: each allocation with what the system's allocator adds to it.
pub fn in_use() -> isize {
    IN_USE.load(Ordering::Relaxed)
}

/// Bytes in use without that.
pub fn asked_for() -> isize {
    ASKED_FOR.load(Ordering::Relaxed)
}
