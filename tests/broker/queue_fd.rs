//! The descriptor of a queue: readable exactly while there is something to take, whoever publishes and polls.
#![allow(unsafe_code, reason = "std has no poll(2)")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use midge::embed::{Poll, PublishOptions, Queue, QueueOptions, SubscribeOptions};

use crate::client::{PATIENCE, broker};

fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut descriptor = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live pollfd, whose descriptor is open.
    unsafe { libc::poll(&mut descriptor, 1, timeout.as_millis() as i32) == 1 }
}

fn is_readable(queue: &Queue) -> bool {
    wait_readable(queue.fd().unwrap(), Duration::ZERO)
}

#[test]
fn threads_that_only_watch_the_descriptor_take_every_message_and_learn_of_the_end() {
    const PUBLISHERS: usize = 3;
    const EACH: usize = 2_000;
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap();
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let fd = queue.fd().unwrap();
                loop {
                    assert!(wait_readable(fd, PATIENCE));
                    match queue.poll(2, Some(Duration::ZERO)) {
                        Poll::Messages(batch) => {
                            taken.fetch_add(batch.len(), Ordering::Relaxed);
                        }
                        Poll::TimedOut => {}
                        Poll::Closed => return,
                    }
                }
            });
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        broker.publish("t", "x", &PublishOptions::default()).unwrap();
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|thread| thread.join().unwrap());
        queue.close();
    });
    assert_eq!(taken.into_inner(), PUBLISHERS * EACH);
    assert!(is_readable(&queue));
}

#[test]
fn when_all_is_taken_and_nobody_publishes_the_descriptor_is_not_readable() {
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap();
    for _ in 0..200 {
        std::thread::scope(|scope| {
            scope.spawn(|| broker.publish("t", "x", &PublishOptions::default()).unwrap());
            scope.spawn(|| is_readable(&queue));
            assert!(matches!(queue.poll(1, Some(PATIENCE)), Poll::Messages(_)));
        });
        // The publisher may have raised it after its message was taken: once, and a poll lowers it.
        assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Poll::TimedOut));
        assert!(!is_readable(&queue));
    }
}
