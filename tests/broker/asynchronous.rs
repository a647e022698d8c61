//! Async programs: on tokio's runtimes, and on an executor of a few lines.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use futures_util::StreamExt;
use midge::{Broker, Config, Error, PublishOptions, QoS, QueueOptions, SubscribeOptions, Subscription};
use tokio::runtime::{Builder, Runtime};

use crate::client::PATIENCE;

fn broker() -> Broker {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "off").unwrap();
    Broker::start(&config).unwrap()
}

fn subscribe(broker: &Broker, filter: &str) -> Subscription {
    broker.subscribe(filter, &SubscribeOptions::default()).unwrap()
}

fn publish(broker: &Broker, topic: &str, payload: &str) {
    broker.publish(topic, payload, &PublishOptions::default()).unwrap();
}

fn current() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// An executor: one task, one thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        // Without a reason it returns now and then, but not at the end of its time.
        let asleep = Instant::now();
        std::thread::park_timeout(PATIENCE);
        assert!(asleep.elapsed() < PATIENCE, "the task was not woken");
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

async fn count_until_the_end(messages: &mut Subscription) -> usize {
    let mut count = 0;
    while let Some(message) = messages.recv().await {
        assert_eq!(message.payload(), &count.to_string());
        count += 1;
    }
    count
}

#[test]
fn an_executor_of_a_few_lines_receives_until_the_broker_stops() {
    let broker = broker();
    let mut messages = subscribe(&broker, "t");
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| block_on(count_until_the_end(&mut messages)));
        (0..1000).for_each(|number| publish(&broker, "t", &number.to_string()));
        block_on(broker.stop_async(None)).unwrap();
        assert_eq!(counting.join().unwrap(), 1000);
    });
}

#[test]
fn one_thread_publishes_and_receives() {
    let runtime = current();
    runtime.block_on(async {
        let broker = Arc::new(broker());
        let mut messages = subscribe(&broker, "t");
        let counting = tokio::spawn(async move { count_until_the_end(&mut messages).await });
        for number in 0..100 {
            publish(&broker, "t", &number.to_string());
            tokio::task::yield_now().await;
        }
        broker.stop_async(None).await.unwrap();
        assert_eq!(counting.await.unwrap(), 100);
    });
}

#[test]
fn many_tasks_on_many_threads_each_receive_what_is_theirs() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let broker = Arc::new(broker());
        let tasks: Vec<_> = (0..100)
            .map(|room| {
                let mut messages = subscribe(&broker, &format!("rooms/{room}"));
                tokio::spawn(async move { count_until_the_end(&mut messages).await })
            })
            .collect();
        for number in 0..20 {
            for room in 0..100 {
                publish(&broker, &format!("rooms/{room}"), &number.to_string());
            }
            tokio::task::yield_now().await;
        }
        let again = Arc::clone(&broker);
        let other = tokio::spawn(async move { again.stop_async(None).await });
        broker.stop_async(None).await.unwrap();
        other.await.unwrap().unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 20);
        }
    });
}

#[test]
fn a_task_is_woken_only_when_it_waits_and_a_future_that_is_dropped_takes_nothing() {
    let (broker, woken) = (broker(), Arc::new(Woken::default()));
    let mut messages = subscribe(&broker, "t");
    publish(&broker, "t", "nobody waits");
    assert!(woken.poll(pin!(messages.recv())).is_ready());
    for _ in 0..10 {
        // Each is dropped while it waits, all by the same task.
        assert!(woken.poll(pin!(messages.recv())).is_pending());
    }
    publish(&broker, "t", "0");
    publish(&broker, "t", "1");
    assert_eq!(woken.times(), 1);
    for expected in ["0", "1"] {
        let Poll::Ready(Some(message)) = woken.poll(pin!(messages.recv())) else { panic!("no message") };
        assert_eq!(message.payload(), expected);
    }
    // Who has polled last is woken.
    let last = Arc::new(Woken::default());
    assert!(woken.poll(pin!(messages.recv())).is_pending());
    assert!(last.poll(pin!(messages.recv())).is_pending());
    publish(&broker, "t", "2");
    assert_eq!((woken.times(), last.times()), (1, 1));
    assert_eq!(block_on(messages.recv()).unwrap().payload(), "2");
    assert!(woken.poll(pin!(messages.recv())).is_pending());
    broker.stop(None).unwrap();
    assert_eq!(woken.times(), 2);
    assert!(matches!(woken.poll(pin!(messages.recv())), Poll::Ready(None)));
}

#[test]
fn tasks_share_a_queue_with_threads() {
    let (broker, woken, dropped) = (broker(), Arc::new(Woken::default()), Arc::new(Woken::default()));
    let queue = broker.queue(&QueueOptions::default()).unwrap();
    let _subscription = queue.subscribe("t", &SubscribeOptions::default(), 7).unwrap();
    let mut waiting = pin!(queue.recv(10));
    assert!(woken.poll(waiting.as_mut()).is_pending());
    assert!(dropped.poll(pin!(queue.recv(10))).is_pending());
    let (queue, other) = (&queue, queue.clone());
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || other.poll(10, None));
        publish(&broker, "t", "x");
        // One of the two has it; the other waits on, for the end.
        let task = woken.poll(waiting.as_mut());
        queue.close();
        let thread = thread.join().unwrap();
        assert_ne!(matches!(task, Poll::Ready(Some(_))), matches!(thread, midge::Polled::Messages(_)));
    });
    assert_eq!(dropped.times(), 0);
    assert!(woken.times() > 0);
    assert!(block_on(queue.recv(1)).is_none());
}

#[test]
fn a_subscription_is_a_stream_and_back() {
    let broker = broker();
    let mut messages = subscribe(&broker, "t").into_stream();
    (0..5).for_each(|number| publish(&broker, "t", &number.to_string()));
    let first: Vec<_> = block_on(messages.by_ref().take(2).collect());
    assert_eq!(first.len(), 2);
    // What it had taken from the queue is not lost.
    let mut messages = messages.into_inner();
    assert_eq!(messages.next().unwrap().payload(), "2");
    let rest = messages.into_stream().map(|message| message.payload().clone());
    broker.stop(None).unwrap();
    assert_eq!(block_on(rest.collect::<Vec<_>>()), ["3", "4"]);
}

#[test]
fn a_stop_goes_on_when_its_future_is_dropped() {
    let (broker, woken) = (broker(), Arc::new(Woken::default()));
    drop(broker.stop_async(None));
    publish(&broker, "t", "a future that nobody polls does nothing");
    let _begun = woken.poll(pin!(broker.stop_async(None)));
    block_on(broker.wait_async()).unwrap();
    block_on(broker.stop_async(None)).unwrap();
    let options = PublishOptions::default();
    let publishing = broker.publish_acknowledged_async("t", "x", &options);
    assert!(matches!(block_on(publishing), Err(Error::Stopped)));
}

#[test]
fn whoever_waits_for_a_stop_is_told_of_a_request_and_of_the_end() {
    let (broker, woken) = (broker(), Arc::new(Woken::default()));
    assert!(woken.poll(pin!(broker.wait_async())).is_pending());
    let mut waiting = pin!(broker.wait_async());
    assert!(woken.poll(waiting.as_mut()).is_pending());
    std::thread::scope(|scope| {
        scope.spawn(|| broker.request_stop());
        block_on(broker.wait_async()).unwrap();
    });
    assert!(woken.poll(waiting.as_mut()).is_ready());
    broker.stop(None).unwrap();
    current().block_on(broker.wait_async()).unwrap();

    let other = self::broker();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(other.wait_async()));
        other.stop(None).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_callback_may_wait_for_nothing_that_waits_for_it() {
    let broker = Arc::new(broker());
    let (told, tells) = mpsc::channel();
    let again = Arc::downgrade(&broker);
    let subscription = broker.subscribe_with("t", &SubscribeOptions::default(), move |_| {
        let broker = again.upgrade().unwrap();
        told.send(matches!(block_on(broker.stop_async(None)), Err(Error::InCallback))).unwrap();
        let options = PublishOptions::qos(QoS::AtLeastOnce);
        told.send(block_on(broker.publish_acknowledged_async("other", "x", &options)).is_ok()).unwrap();
    });
    publish(&broker, "t", "x");
    assert!(tells.recv().unwrap() && tells.recv().unwrap());
    drop(subscription);
}

/// What a program of many threads needs.
#[test]
fn the_futures_and_handles_may_be_sent() {
    fn sent<T: Send>(_: &T) {}
    let broker = broker();
    let mut messages = subscribe(&broker, "t");
    sent(&broker.stop_async(None));
    sent(&broker.wait_async());
    sent(&broker.publish_acknowledged_async("t", "x", &PublishOptions::default()));
    sent(&messages.recv());
    sent(&messages.into_stream());
    sent(&broker.queue(&QueueOptions::default()).unwrap().recv(1));
}
