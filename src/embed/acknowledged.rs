//! Publishing with word of when the message is safe.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::options::PublishOptions;
use crate::embed::tasks::Promise;
use crate::engine::core::durability::{Durability, DurabilityWaiter};
use crate::locks::{Condvar, Mutex};
use crate::runtime::on_own_thread;

impl Broker {
    /// As [`Broker::publish`], and waits up to `timeout` (`None`: for ever) until the message is as safe as its QoS and
    /// the store promise: of QoS 1 and 2, until the store has committed it for every session that is owed it, and as a
    /// retained message. QoS 0 promises nothing, and the store in memory commits at once, so neither waits.
    ///
    /// Returns how many subscribers matched; `None` if the time passed first, and then the message is published all the
    /// same.
    ///
    /// # Errors
    /// As [`Broker::publish`]; [`Error::Stopped`] also if the broker stopped first; [`Error::InCallback`] on a broker's
    /// own thread, before anything is published.
    pub fn publish_acknowledged(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        options: &PublishOptions,
        timeout: Option<Duration>,
    ) -> Result<Option<usize>, Error> {
        self.check()?;
        if on_own_thread() {
            return Err(Error::InCallback);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let told = Arc::new(Told::default());
        let waiter: Arc<dyn DurabilityWaiter> = told.clone();
        let reached = self.publish_for(topic, payload.as_ref(), options, Some(waiter))?;
        match told.wait(deadline) {
            None => Ok(None),
            Some(Durability::Yes) => Ok(Some(reached)),
            Some(Durability::Stopped) => Err(Error::Stopped),
            Some(Durability::Failed) => Err(store_failed()),
        }
    }

    /// As [`Broker::publish_acknowledged`], without blocking the thread: the message is published when the future is first
    /// polled, and the future is ready when the message is safe. One that is dropped meanwhile takes nothing back. For a
    /// timeout use your executor's.
    ///
    /// ```
    /// # use midge::{Broker, Config, PublishOptions, QoS};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let mut config = Config::new();
    /// # config.set("listener.tcp.bind", "off")?;
    /// # let broker = Broker::start(&config)?;
    /// let options = PublishOptions::qos(QoS::AtLeastOnce).retained();
    /// let reached = broker.publish_acknowledged_async("state", "on", &options).await?;
    /// assert_eq!(reached, 0);
    /// # broker.stop_async(None).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`Broker::publish`]; [`Error::Stopped`] also if the broker stopped first.
    pub async fn publish_acknowledged_async(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        options: &PublishOptions,
    ) -> Result<usize, Error> {
        let promise = Promise::new();
        let waiter: Arc<dyn DurabilityWaiter> = promise.clone();
        let reached = self.publish_for(topic, payload.as_ref(), options, Some(waiter))?;
        drop(payload);
        match promise.kept().await? {
            Durability::Yes => Ok(reached),
            Durability::Stopped => Err(Error::Stopped),
            Durability::Failed => Err(store_failed()),
        }
    }

    /// As [`Broker::publish_acknowledged`], but returns at once; `done` is called exactly once, unless this fails: with
    /// `Ok` when the message is safe, perhaps before this returns and on this thread, or else on a thread of the
    /// broker; with [`Error::Stopped`] if the broker stopped first. It holds no lock and may publish.
    pub fn publish_with_callback(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        options: &PublishOptions,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<usize, Error> {
        let waiter: Arc<dyn DurabilityWaiter> = Arc::new(Callback(Mutex::new(Some(Box::new(done)))));
        self.publish_for(topic, payload.as_ref(), options, Some(waiter))
    }
}

/// Waits on the publishing thread.
#[derive(Default)]
struct Told {
    outcome: Mutex<Option<Durability>>,
    changed: Condvar,
}

impl Told {
    fn wait(&self, deadline: Option<Instant>) -> Option<Durability> {
        let mut outcome = self.outcome.lock();
        while outcome.is_none() {
            match deadline {
                None => self.changed.wait(&mut outcome),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if self.changed.wait_for(&mut outcome, left).timed_out() {
                        break;
                    }
                }
            }
        }
        *outcome
    }
}

impl DurabilityWaiter for Told {
    fn tell(&self, safe: Durability) {
        *self.outcome.lock() = Some(safe);
        self.changed.notify_all();
    }
}

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A function of the host.
struct Callback(Mutex<Option<Done>>);

impl DurabilityWaiter for Callback {
    fn tell(&self, safe: Durability) {
        let done = self.0.lock().take();
        let outcome = match safe {
            Durability::Yes => Ok(()),
            Durability::Stopped => Err(Error::Stopped),
            Durability::Failed => Err(store_failed()),
        };
        if let Some(done) = done {
            let _inside = crate::runtime::in_callback();
            // A panic of the host ends its function and nothing else.
            let _survived = catch_unwind(AssertUnwindSafe(|| done(outcome)));
        }
    }
}

/// The error of what is not in the store, and will not be.
pub(super) fn store_failed() -> Error {
    let source = std::io::Error::other("it has failed, and nothing more is committed; the log says why");
    Error::System { what: "the store", source }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, mpsc};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use crate::codec::qos::QoS;
    use crate::config::Config;
    use crate::embed::start::Parts;
    use crate::embed::{Broker, Error, PublishOptions};
    use crate::storage::{Change, LoadError, Position, Store, StoreError};
    use crate::time::WallTime;

    /// Commits when the test says so.
    #[derive(Default)]
    struct LateStore {
        recorded: AtomicU64,
        committed: AtomicU64,
        failed: AtomicBool,
        unreadable: Option<StoreError>,
    }

    impl Store for LateStore {
        fn is_kept(&self) -> bool {
            true
        }

        fn load(
            &self,
            _restore: &mut dyn FnMut(WallTime, Change<'_>) -> Result<(), LoadError>,
        ) -> Result<(), StoreError> {
            self.unreadable.clone().map_or(Ok(()), Err)
        }

        fn append(&self, _at: WallTime, _change: Change<'_>) -> Position {
            self.recorded.fetch_add(1, Ordering::SeqCst) + 1
        }

        fn appended(&self) -> Position {
            self.recorded.load(Ordering::SeqCst)
        }

        fn committed(&self) -> Position {
            self.committed.load(Ordering::SeqCst)
        }

        fn failed(&self) -> Option<StoreError> {
            let failed = self.failed.load(Ordering::SeqCst);
            failed.then(|| StoreError::Failed { cause: "disk full".to_owned() })
        }
    }

    #[test]
    fn a_store_that_cannot_be_read_keeps_the_broker_from_starting() {
        let unreadable = Some(StoreError::Failed { cause: "sessions.log: checksum".to_owned() });
        let store = Arc::new(LateStore { unreadable, ..LateStore::default() });
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        let error =
            Broker::start_of(&config, Parts { store: Some(store), ..Parts::default() }).err().unwrap();
        assert_eq!(error.to_string(), "storage.path: sessions.log: checksum");
    }

    #[test]
    fn a_store_that_fails_tells_those_that_wait_and_those_that_come_later() {
        let (broker, store) = broker();
        let (told, tells) = mpsc::channel();
        for _ in 0..2 {
            let told = told.clone();
            let done = move |outcome: Result<(), Error>| told.send(outcome).unwrap();
            broker.publish_with_callback("t", "x", &retained(QoS::AtLeastOnce), done).unwrap();
            store.failed.store(true, Ordering::SeqCst);
        }
        for _ in 0..2 {
            let error = tells.recv().unwrap().unwrap_err();
            assert!(error.to_string().starts_with("the store: it has failed"), "{error}");
        }
    }

    fn broker() -> (Arc<Broker>, Arc<LateStore>) {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "off").unwrap();
        let store = Arc::new(LateStore::default());
        (
            Arc::new(
                Broker::start_of(&config, Parts { store: Some(store.clone()), ..Parts::default() }).unwrap(),
            ),
            store,
        )
    }

    /// Commits everything, and tells the engine on a thread of its own.
    fn commit(broker: &Broker, store: &LateStore) {
        let recorded = store.recorded.load(Ordering::SeqCst);
        store.committed.store(recorded, Ordering::SeqCst);
        let shared = broker.shared().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| shared.engine().committed(&mut shared.turn().unwrap(), recorded));
        });
    }

    fn retained(qos: QoS) -> PublishOptions {
        PublishOptions::qos(qos).retained()
    }

    #[test]
    fn who_waits_is_told_when_the_store_has_committed_and_not_before() {
        let (broker, store) = broker();
        let publish = |qos, timeout| broker.publish_acknowledged("t", "x", &retained(qos), timeout);
        // QoS 0 promises nothing.
        assert_eq!(publish(QoS::AtMostOnce, None).unwrap(), Some(0));
        assert_eq!(publish(QoS::AtLeastOnce, Some(Duration::ZERO)).unwrap(), None);
        assert_eq!(publish(QoS::AtLeastOnce, Some(Duration::from_millis(1))).unwrap(), None);
        let recorded = store.recorded.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| publish(QoS::ExactlyOnce, None));
            while store.recorded.load(Ordering::SeqCst) == recorded {
                std::thread::yield_now();
            }
            commit(&broker, &store);
            assert_eq!(waiting.join().unwrap().unwrap(), Some(0));
        });
        // All is committed; a message that changes nothing is as safe.
        let plain = PublishOptions::qos(QoS::AtLeastOnce);
        assert_eq!(broker.publish_acknowledged("t", "x", &plain, None).unwrap(), Some(0));
    }

    #[test]
    fn callbacks_are_called_once_by_whom_commits_and_may_publish() {
        let (broker, store) = broker();
        let (told, tells) = mpsc::channel();
        for number in 0..3 {
            let (told, again) = (told.clone(), Arc::downgrade(&broker));
            let done = move |outcome: Result<(), Error>| {
                let broker = again.upgrade().unwrap();
                broker.publish("other", "x", &retained(QoS::AtLeastOnce)).unwrap();
                assert!(matches!(broker.stop(None), Err(Error::InCallback)));
                told.send((number, outcome.is_ok())).unwrap();
                assert!(number != 1, "a defect of the host, for the test");
            };
            broker.publish_with_callback("t", "x", &retained(QoS::AtLeastOnce), done).unwrap();
        }
        assert!(tells.try_recv().is_err());
        commit(&broker, &store);
        drop(told);
        assert_eq!(tells.iter().collect::<Vec<_>>(), [(0, true), (1, true), (2, true)]);
    }

    #[test]
    fn a_future_is_ready_when_the_store_has_committed_or_the_broker_has_stopped() {
        let (broker, store) = broker();
        let options = retained(QoS::AtLeastOnce);
        let mut nobody = Context::from_waker(Waker::noop());
        let mut first = pin!(broker.publish_acknowledged_async("t", "x", &options));
        assert!(first.as_mut().poll(&mut nobody).is_pending());
        commit(&broker, &store);
        assert!(matches!(first.poll(&mut nobody), Poll::Ready(Ok(0))));
        let mut second = pin!(broker.publish_acknowledged_async("t", "x", &options));
        assert!(second.as_mut().poll(&mut nobody).is_pending());
        // One that is dropped is published all the same.
        assert!(pin!(broker.publish_acknowledged_async("u", "x", &options)).poll(&mut nobody).is_pending());
        assert_eq!(broker.retained("#").unwrap().len(), 2);
        broker.stop(None).unwrap();
        assert!(matches!(second.poll(&mut nobody), Poll::Ready(Err(Error::Stopped))));
    }

    #[test]
    fn a_broker_that_stops_tells_those_that_wait() {
        let (broker, _store) = broker();
        let (told, tells) = mpsc::channel();
        let done = move |outcome: Result<(), Error>| told.send(outcome).unwrap();
        broker.publish_with_callback("t", "x", &retained(QoS::AtLeastOnce), done).unwrap();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| broker.publish_acknowledged("t", "x", &retained(QoS::AtLeastOnce), None));
            while broker.stats().messages_published < 2 {
                std::thread::yield_now();
            }
            broker.stop(None).unwrap();
            assert!(matches!(waiting.join().unwrap(), Err(Error::Stopped)));
        });
        assert!(matches!(tells.recv(), Ok(Err(Error::Stopped))));
        assert!(tells.recv().is_err());
    }
}
