//! Returns free memory in the middle of the allocator's heaps to the system. The library leaves that to its host.
//!
//! A thread looks now and then how much is free. Whatever was freed counts: sessions, queues, retained messages.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::system::{free_memory, give_back_memory};

/// Bytes that are worth returning.
const MANY: usize = 4 << 20;
/// Time between two looks; looking takes the allocator's locks. Only what is free at two looks in a row is returned.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest part of the time that looking may take: one thousandth.
const SHARE: u32 = 1_000;

/// Lets the thread run until it is dropped.
pub(crate) struct ClearingUp {
    _stop: Sender<Infallible>,
}

/// Starts the thread.
pub(crate) fn clear_up() -> io::Result<ClearingUp> {
    let (stop, stopped) = channel();
    let body = move || clear_up_until(&stopped, free_memory, give_back_memory, PAUSE);
    thread::Builder::new().name("midge-memory".to_owned()).spawn(body)?;
    Ok(ClearingUp { _stop: stop })
}

/// Looks until the sender is dropped.
fn clear_up_until(
    stopped: &Receiver<Infallible>,
    mut free: impl FnMut() -> usize,
    mut give_back: impl FnMut(),
    pause: Duration,
) {
    let (mut looks, mut wait) = (Looks::default(), pause);
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
        let begun = Instant::now();
        if looks.is_due(free()) {
            give_back();
            looks.has_given_back(free());
        }
        wait = pause.max(begun.elapsed() * SHARE);
    }
}

/// The free bytes of the last looks.
#[derive(Debug, Default)]
struct Looks {
    last: usize,
    /// The fewest since memory was returned. These are free in the heap, but no longer the process's.
    returned: usize,
}

impl Looks {
    /// Whether enough was free at this look and the last one.
    fn is_due(&mut self, free: usize) -> bool {
        self.returned = self.returned.min(free);
        let lasting = free.min(self.last).saturating_sub(self.returned);
        self.last = free;
        lasting >= MANY
    }

    /// What is free now is returned.
    fn has_given_back(&mut self, free: usize) {
        (self.last, self.returned) = (free, free);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::{Looks, MANY, clear_up_until};
    use crate::system::{free_memory, give_back_memory, join_free_memory};

    #[test]
    fn bytes_that_stay_free_are_due_once() {
        let mut looks = Looks::default();
        let mib = |number: usize| number << 20;
        // Free only for a moment.
        assert_eq!([mib(3), mib(90), mib(3), mib(3)].map(|free| looks.is_due(free)), [false; 4]);
        assert_eq!([mib(90), mib(80)].map(|free| looks.is_due(free)), [false, true]);
        looks.has_given_back(mib(80));
        assert_eq!([mib(80), mib(83), mib(83)].map(|free| looks.is_due(free)), [false; 3]);
        assert_eq!([mib(84), mib(84)].map(|free| looks.is_due(free)), [false, true]);
        looks.has_given_back(mib(84));
        // Used again, and freed again.
        assert_eq!([mib(10), mib(84), mib(84)].map(|free| looks.is_due(free)), [false, false, true]);
    }

    #[test]
    fn memory_is_given_back_by_bytes_until_the_end() {
        let (stop, stopped) = channel();
        let mut stop = Some(stop);
        let mut free = [0, MANY, MANY, MANY, MANY].into_iter();
        let mut given_back = 0;
        let looked = || {
            free.next().unwrap_or_else(|| {
                stop = None;
                0
            })
        };
        clear_up_until(&stopped, looked, || given_back += 1, Duration::ZERO);
        // At the third look: what is free since is returned already.
        assert_eq!(given_back, 1);
    }

    /// Blocks below a block that stays: only asking returns them.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn free_bytes_are_seen_whatever_held_them() {
        join_free_memory();
        let before = free_memory();
        let mut blocks: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 1000]).collect();
        let last = blocks.pop();
        drop(blocks);
        let freed = free_memory() - before;
        assert!(freed >= 15_000_000, "{freed} bytes");
        give_back_memory();
        drop(last);
    }
}
