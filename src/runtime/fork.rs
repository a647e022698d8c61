//! Fork detection: a broker's threads do not exist in a forked child of its process.
#![allow(unsafe_code, reason = "std has no word for fork; on the short list of docs/design.md")]

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use once_cell::race::OnceBox;

use crate::runtime::waits::forget_waits;

/// The number of forks between this process and the one that first used Midge.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// Descriptors, one bit each, that a forked child gives up. A page is allocated at first use and never freed: a
/// child that has just been forked may read memory, but not allocate it.
static MARKED: [OnceBox<Page>; 64] = [const { OnceBox::new() }; 64];

/// The bits of 65,536 descriptors.
type Page = [AtomicU64; 1024];

/// The generation of this process; it differs after a fork.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts forks from now on.
pub fn watch_forks() -> u32 {
    REGISTERED.call_once(|| {
        if cfg!(miri) {
            // Miri does not support fork.
            return;
        }
        // SAFETY: `in_child` is async-signal-safe: it changes atomics and opens, duplicates and closes descriptors. A
        // handler lives as long as the library, and the C library forgets it when the library is unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    generation()
}

/// A mark on a socket that a forked child gives up at once. A child that kept a listening socket would keep its port
/// in use after the broker has stopped. With a connection it kept, the peer would not see the broker close it.
///
/// Drop it before the socket is closed: after that the descriptor's number may be reused.
#[derive(Debug)]
pub struct NotInherited {
    descriptor: RawFd,
}

impl NotInherited {
    /// Marks a socket. A descriptor above 4,194,303 is inherited nevertheless.
    pub fn mark(socket: &impl AsRawFd) -> NotInherited {
        let descriptor = socket.as_raw_fd();
        if let Some((page, word, bit)) = place(descriptor) {
            let page = page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; 1024]));
            if let Some(word) = page.get(word) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        NotInherited { descriptor }
    }
}

impl Drop for NotInherited {
    fn drop(&mut self) {
        let marked = place(self.descriptor).and_then(|(page, word, bit)| Some((page.get()?.get(word)?, bit)));
        if let Some((word, bit)) = marked {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

/// The position of a descriptor's bit: the page, the word in it, and the bit.
fn place(descriptor: RawFd) -> Option<(&'static OnceBox<Page>, usize, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    Some((MARKED.get(number >> 16)?, number >> 6 & 1023, 1 << (number & 63)))
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    forget_waits();
    let mut dead = None;
    for (page, high) in MARKED.iter().zip(0..) {
        for (word, middle) in page.get().into_iter().flat_map(|page| page.iter()).zip(0..) {
            let mut bits = word.swap(0, Ordering::Relaxed);
            while bits != 0 {
                let descriptor: RawFd = (high << 16) + (middle << 6) + bits.trailing_zeros() as RawFd;
                bits &= bits - 1;
                replace(descriptor, *dead.get_or_insert_with(open_dead));
            }
        }
    }
    if let Some(dead) = dead {
        // SAFETY: the descriptor was opened here.
        unsafe { libc::close(dead) };
    }
}

/// A descriptor of /dev/null; less than 0 if it cannot be opened.
fn open_dead() -> RawFd {
    // SAFETY: the path ends with NUL.
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

/// Closes a socket in the child. Its number stays in use if possible, because the child's copy of the broker still
/// refers to it.
fn replace(socket: RawFd, dead: RawFd) {
    // SAFETY: the mark says that the number is a socket of Midge's. Nothing in the child uses it, because every call on
    // a broker returns `Forked`.
    unsafe {
        if dead < 0 || libc::dup2(dead, socket) < 0 {
            libc::close(socket);
        } else {
            libc::fcntl(socket, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::{NotInherited, place};

    struct Number(i32);

    impl std::os::fd::AsRawFd for Number {
        fn as_raw_fd(&self) -> i32 {
            self.0
        }
    }

    fn is_marked(descriptor: i32) -> bool {
        let (page, word, bit) = place(descriptor).unwrap();
        page.get().is_some_and(|page| page[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Numbers that no test has open, because a fork of this process would close them.
    #[test]
    fn a_number_is_marked_for_as_long_as_its_mark_lives() {
        for number in [65_535, 65_536, 1_000_000, 4_194_303] {
            let mark = NotInherited::mark(&Number(number));
            assert!(is_marked(number) && !is_marked(number - 1));
            drop(mark);
            assert!(!is_marked(number));
        }
        for number in [-1, 4_194_304, i32::MAX] {
            assert!(place(number).is_none());
            drop(NotInherited::mark(&Number(number)));
        }
    }
}
