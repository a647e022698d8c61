//! A child that was forked from the host: what it drops is its own memory, and the parent's broker goes on.
#![allow(unsafe_code, reason = "std cannot fork")]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use midge::embed::{
    Broker, CallbackSubscription, Decision, Deferred, Error, Polled, PublishOptions, Queue, QueueOptions,
    QueueSubscription, SubscribeOptions, Subscription, Verdict, defer,
};

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
        drop(kept.take());
    });
    assert_eq!(broker.publish("t", "x", &PublishOptions::default()).unwrap(), 2);
    assert!(matches!(queue.poll(1, Some(Duration::ZERO)), Polled::Messages(_)));
    drop(kept);
    assert_eq!(broker.publish("t", "x", &PublishOptions::default()).unwrap(), 0);
}

/// What a host has of a broker.
struct Handles {
    queue: Queue,
    of_queue: QueueSubscription,
    own: Subscription,
    of_callback: CallbackSubscription,
    decision: Decision,
    deferred: Deferred,
    other_decision: Decision,
}

impl Handles {
    fn new(broker: &Broker) -> Handles {
        let (options, queue) = (SubscribeOptions::default(), broker.queue(&QueueOptions::default()).unwrap());
        let ((decision, deferred), (other_decision, other_deferred)) = (defer(), defer());
        std::mem::forget(other_deferred);
        Handles {
            of_queue: queue.subscribe("t", &options, 0).unwrap(),
            queue,
            own: broker.subscribe("t", &options).unwrap(),
            of_callback: broker.subscribe_with("t", &options, |_| {}).unwrap(),
            decision,
            deferred,
            other_decision,
        }
    }

    /// What each call says in a child; none waits for a thread that is not there.
    fn ask(&mut self, broker: &Broker) {
        assert!(broker.clients().is_empty() && broker.subscriptions().is_empty());
        assert_eq!(broker.stats().subscriptions, 0);
        assert!(broker.wait(None));
        broker.request_stop();
        assert!(matches!(broker.stop(None), Err(Error::Forked)));
        assert!(matches!(broker.retained("#"), Err(Error::Forked)));
        assert!(matches!(broker.kick("c"), Err(Error::Forked)));
        assert!(matches!(self.queue.poll(1, None), Polled::Closed));
        assert!(matches!(self.queue.fd(), Err(Error::Forked)));
        assert_eq!((self.queue.len(), self.queue.is_empty(), self.queue.dropped()), (0, true, 0));
        self.queue.close();
        assert!(format!("{broker:?} {:?} {:?} {:?}", self.queue, self.of_queue, self.of_callback).len() > 10);
        assert!(matches!(self.own.recv_timeout(PATIENCE), Err(Error::Forked)));
        assert!(self.own.next().is_none());
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(matches!(pin!(self.own.recv()).poll(&mut nobody), Poll::Ready(None)));
        assert!(matches!(pin!(self.queue.recv(1)).poll(&mut nobody), Poll::Ready(None)));
        assert!(matches!(pin!(broker.wait_async()).poll(&mut nobody), Poll::Ready(Err(Error::Forked))));
        assert!(matches!(pin!(broker.stop_async(None)).poll(&mut nobody), Poll::Ready(Err(Error::Forked))));
    }

    /// Drops everything, each by itself.
    fn end(self) {
        let Handles { queue, of_queue, own, of_callback, decision, deferred, other_decision } = self;
        drop((of_queue, queue, own, of_callback));
        assert!(!other_decision.resolve(Verdict::Allow));
        drop((deferred, decision));
    }
}

/// Says that it is over when it is dropped, also in a panic.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While other threads are in the middle of everything, at any moment. Some child or other finds each lock taken.
#[test]
fn no_call_and_no_drop_in_a_forked_child_waits_for_a_thread_that_is_not_there() {
    const CHILDREN: usize = 60;
    if !alone("fork::no_call_and_no_drop_in_a_forked_child_waits_for_a_thread_that_is_not_there") {
        return;
    }
    let broker = broker();
    let mut kept = Some(Handles::new(&broker));
    let over = AtomicBool::new(false);
    let queue = kept.as_ref().unwrap().queue.clone();
    let payload = vec![0; 8000];
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        let publishing = || {
            while !over.load(Ordering::Relaxed) {
                let _full = broker.publish("t", &payload, &PublishOptions::default());
            }
        };
        let looking = || {
            while !over.load(Ordering::Relaxed) {
                let seen = (broker.stats(), broker.clients(), broker.subscriptions(), queue.len());
                let added = broker.subscribe("other", &SubscribeOptions::default());
                let taken = queue.poll(1000, Some(Duration::ZERO));
                drop((seen, added, taken));
            }
        };
        scope.spawn(publishing);
        scope.spawn(publishing);
        scope.spawn(looking);
        for _ in 0..CHILDREN {
            in_a_child(|| {
                let mut handles = kept.take().unwrap();
                handles.ask(&broker);
                handles.end();
            });
        }
    });
    drop(kept);
}
