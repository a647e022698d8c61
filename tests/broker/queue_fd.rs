//! The descriptor of a queue: readable exactly while there is something to take, whoever publishes and polls.
#![allow(unsafe_code, reason = "std has no poll(2)")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use midge::embed::{Broker, Polled, PublishOptions, Queue, QueueOptions, SubscribeOptions};

use crate::client::{PATIENCE, broker};
use crate::deadline::until;
use crate::process::{is_asleep, own_task};

fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut descriptor = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live pollfd, whose descriptor is open.
    unsafe { libc::poll(&mut descriptor, 1, timeout.as_millis() as i32) == 1 }
}

fn is_readable(queue: &Queue) -> bool {
    wait_readable(queue.fd().unwrap(), Duration::ZERO)
}

/// Closes a queue also when a test fails, so that those that wait for it end.
struct Closes<'q>(&'q Queue);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a thread does that watches the descriptor and nothing else, until the queue is closed; how many messages it took.
fn watch(queue: &Queue) -> usize {
    let fd = queue.fd().unwrap();
    let mut taken = 0;
    loop {
        assert!(wait_readable(fd, 2 * PATIENCE), "neither a message nor the end has woken the thread");
        match queue.poll(2, Some(Duration::ZERO)) {
            Polled::Messages(batch) => taken += batch.len(),
            Polled::TimedOut => {}
            Polled::Closed => return taken,
        }
    }
}

/// Publishes each message at the moment at which the one before was taken, while its taker may still lower the
/// descriptor: nothing comes later that would wake a thread that this one did not.
fn publish_one_by_one(broker: &Broker, queue: &Queue, count: usize) {
    for _ in 0..count {
        broker.publish("t", "x", &PublishOptions::default()).unwrap();
        until("the message that was published has been taken", || queue.is_empty());
    }
}

#[test]
fn every_message_wakes_a_thread_that_only_watches_the_descriptor() {
    const COUNT: usize = 5_000;
    for watchers in [1, 3] {
        let broker = broker();
        let queue = broker.queue(&QueueOptions::default()).unwrap();
        let _subscription = queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap();
        std::thread::scope(|scope| {
            let closes = Closes(&queue);
            let watching: Vec<_> = (0..watchers).map(|_| scope.spawn(|| watch(&queue))).collect();
            publish_one_by_one(&broker, &queue, COUNT);
            drop(closes);
            let taken: usize = watching.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(taken, COUNT);
        });
    }
}

/// A thread that polls looks again for a while before it sleeps; only one that sleeps must be woken.
#[test]
fn every_message_wakes_a_thread_that_sleeps_in_poll() {
    const COUNT: usize = 100;
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap();
    std::thread::scope(|scope| {
        let closes = Closes(&queue);
        let (told, hears) = mpsc::channel();
        let queue = &queue;
        let waiting = scope.spawn(move || {
            told.send(own_task()).unwrap();
            let mut taken = 0;
            loop {
                match queue.poll(2, Some(3 * PATIENCE)) {
                    Polled::Messages(batch) => taken += batch.len(),
                    Polled::TimedOut => panic!("neither a message nor the end has woken the thread"),
                    Polled::Closed => return taken,
                }
            }
        });
        let task = hears.recv_timeout(PATIENCE).unwrap();
        for _ in 0..COUNT {
            until("the thread sleeps", || is_asleep(&task));
            publish_one_by_one(&broker, queue, 1);
        }
        until("the thread sleeps", || is_asleep(&task));
        drop(closes);
        assert_eq!(waiting.join().unwrap(), COUNT);
    });
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
        let _closes = Closes(&queue);
        for _ in 0..3 {
            scope.spawn(|| taken.fetch_add(watch(&queue), Ordering::Relaxed));
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
        // Before the end, which would wake everybody.
        until("the last message has been taken", || queue.is_empty());
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
            assert!(matches!(queue.poll(1, Some(PATIENCE)), Polled::Messages(_)));
        });
        // The publisher may have raised it after its message was taken: once, and a poll lowers it.
        assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::TimedOut));
        assert!(!is_readable(&queue));
    }
}
