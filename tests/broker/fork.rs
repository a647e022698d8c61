//! A child that was forked from the host: what it drops is its own memory, and the parent's broker goes on.
#![allow(unsafe_code, reason = "std cannot fork")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use midge::embed::{Error, Polled, PublishOptions, QueueOptions, SubscribeOptions};

use crate::client::{PATIENCE, broker};
use crate::process::alone;

/// Runs `body` in a forked child, which must come to its end; a child that hangs is killed.
pub fn in_a_child(body: impl FnOnce()) {
    // SAFETY: this process has one test thread; what the broker's threads hold is not touched by a child.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork has failed");
    if child == 0 {
        let passed = catch_unwind(AssertUnwindSafe(body)).is_ok();
        // SAFETY: the call takes a number alone, and runs nothing of the parent's.
        unsafe { libc::_exit(i32::from(!passed)) };
    }
    let since = Instant::now();
    let mut status = 0;
    // SAFETY: the pointer is to a live value; the process is a child of this one that was not waited for.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if since.elapsed() > PATIENCE {
            // SAFETY: as above.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::yield_now();
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child has failed: {status:#x}");
}

#[test]
fn subscriptions_that_a_forked_child_drops_are_not_ended() {
    if !alone("fork::subscriptions_that_a_forked_child_drops_are_not_ended") {
        return;
    }
    let broker = broker();
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let mut kept = Some((
        queue.subscribe("t", &SubscribeOptions::default(), 0).unwrap(),
        broker.subscribe_with("t", &SubscribeOptions::default(), |_| {}).unwrap(),
    ));
    in_a_child(|| {
        assert!(matches!(broker.publish("t", "x", &PublishOptions::default()), Err(Error::Forked)));
        assert!(matches!(queue.subscribe("t", &SubscribeOptions::default(), 0), Err(Error::Forked)));
        let (of_queue, of_callback) = kept.take().unwrap();
        assert_eq!(broker.subscriptions().len(), 2);
        drop(of_queue);
        assert_eq!(broker.subscriptions().len(), 2, "the child has ended the queue's subscription");
        drop(of_callback);
        assert_eq!(broker.subscriptions().len(), 2, "the child has ended the callback's subscription");
    });
    assert_eq!(broker.publish("t", "x", &PublishOptions::default()).unwrap(), 2);
    assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::Messages(_)));
    drop(kept);
    assert_eq!(broker.publish("t", "x", &PublishOptions::default()).unwrap(), 0);
}
