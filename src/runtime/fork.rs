//! Whether this process is the one that started a broker, or a fork of it, in which the broker's threads do not exist.
#![allow(unsafe_code, reason = "std has no word for fork; on the short list of docs/design.md")]

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Once, OnceLock};

/// How often the calling process, counted along its ancestors, was born by fork since Midge was first used.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// Descriptors, a bit each, that a child is not to keep. A page is allocated when it is first needed, and for ever:
/// a child that has just been born may read memory but ask for none.
static MARKED: [OnceLock<Box<Page>>; 64] = [const { OnceLock::new() }; 64];

/// The bits of 65,536 descriptors.
type Page = [AtomicU64; 1024];

/// The generation of this process; another number means that a fork lies in between.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks counted from now on.
pub fn watch_forks() -> u32 {
    REGISTERED.call_once(|| {
        if cfg!(miri) {
            // It knows no fork.
            return;
        }
        // SAFETY: `in_child` is async-signal-safe: it changes atomics and opens, duplicates and closes descriptors. A
        // handler lives as long as the library, and the C library forgets it when the library is unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    generation()
}

/// Has forked children give up a socket at once: a child that kept it would keep the port taken after the broker has
/// stopped, and a peer waiting for the end of a connection that the broker has closed.
///
/// To be dropped before the socket is closed, after which the number may be another's.
#[derive(Debug)]
pub struct NotInherited {
    descriptor: RawFd,
}

impl NotInherited {
    /// Marks a socket. One with a number beyond 4,194,303 is inherited all the same.
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

/// Where a descriptor's bit is: the page, the word in it, the bit.
fn place(descriptor: RawFd) -> Option<(&'static OnceLock<Box<Page>>, usize, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    Some((MARKED.get(number >> 16)?, number >> 6 & 1023, 1 << (number & 63)))
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
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

/// A descriptor that can neither be written to nor read from; less than 0 if there is none.
fn open_dead() -> RawFd {
    // SAFETY: the path ends with NUL.
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

/// Gives a socket up. Its number stays taken if that can be: what the child still has of the broker names it.
fn replace(socket: RawFd, dead: RawFd) {
    // SAFETY: the number is that of a socket of Midge's, as its mark says; nobody in the child may use it, for every call
    // on a broker says `Forked`.
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

    /// Numbers that no test has open: a fork of this process would give them up.
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
