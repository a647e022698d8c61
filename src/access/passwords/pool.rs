//! The threads that verify passwords: started with the first job, ended when they are idle or the broker stops.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::locks::{Condvar, Mutex};

use crate::access::passwords::hash::Scratch;

/// The most threads. One processor stays for the broker where there are several.
const MOST_THREADS: usize = 2;
/// Time after which a thread without work ends, and with it the memory that Argon2 has used.
const IDLE: Duration = Duration::from_secs(10);

/// Starts a thread of the broker.
pub type Spawn = fn(name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;

/// One verification.
pub(super) type Job = Box<dyn FnOnce(&mut Scratch) + Send>;

/// A pool of threads with a bounded queue.
pub(super) struct Pool {
    state: Arc<State>,
    spawn: Spawn,
    /// Threads that may run at once.
    threads: usize,
    most_waiting: usize,
}

#[derive(Default)]
struct State {
    queue: Mutex<Queue>,
    /// Notified when there is a job, and when the pool closes.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that run.
    running: usize,
    /// Those of them that wait for a job.
    idle: usize,
    /// Threads that were started and not joined.
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Pool {
    /// A pool without threads. Beyond `most_waiting` jobs that wait, further ones are refused.
    pub(super) fn new(spawn: Spawn, most_waiting: usize) -> Pool {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.saturating_sub(1).clamp(1, MOST_THREADS);
        Pool { state: Arc::default(), spawn, threads, most_waiting }
    }

    /// Gives a job to a thread. False, and the job is dropped, if too many wait, the pool is closed, or the system has no
    /// thread.
    pub(super) fn run(&self, job: Job) -> bool {
        let mut queue = self.state.queue.lock();
        if queue.closed || queue.jobs.len() >= self.most_waiting {
            return false;
        }
        if queue.idle <= queue.jobs.len() && queue.running < self.threads && !self.start(&mut queue) {
            return false;
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.state.changed.notify_one();
        true
    }

    /// Starts one more thread. True if there is any.
    fn start(&self, queue: &mut Queue) -> bool {
        queue.threads.retain(|thread| !thread.is_finished());
        let state = Arc::clone(&self.state);
        if let Ok(thread) = (self.spawn)("midge-passwords", Box::new(move || state.work())) {
            queue.threads.push(thread);
            queue.running += 1;
        }
        queue.running > 0
    }

    /// The jobs that wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state.queue.lock().jobs.len()
    }

    /// Drops the jobs that wait, and waits for those that run.
    pub(super) fn close(&self) {
        let mut queue = self.state.queue.lock();
        queue.closed = true;
        let (jobs, threads) = (std::mem::take(&mut queue.jobs), std::mem::take(&mut queue.threads));
        drop(queue);
        self.state.changed.notify_all();
        drop(jobs);
        // None of them panics.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl State {
    /// Works until there is nothing to do, or the pool is closed.
    fn work(&self) {
        let mut scratch = Scratch::default();
        while let Some(job) = self.next() {
            // A job that panics drops its decision, which denies.
            let _survived = catch_unwind(AssertUnwindSafe(|| job(&mut scratch)));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            queue.idle += 1;
            let waited =
                if queue.closed { true } else { self.changed.wait_for(&mut queue, IDLE).timed_out() };
            queue.idle -= 1;
            if queue.jobs.is_empty() && (waited || queue.closed) {
                queue.running -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::Pool;

    fn pool(most_waiting: usize) -> Pool {
        Pool::new(|name, body| std::thread::Builder::new().name(name.to_owned()).spawn(body), most_waiting)
    }

    #[test]
    fn jobs_wait_up_to_the_bound_and_none_is_lost() {
        let pool = pool(3);
        let (go, gate) = channel::<()>();
        let gate = Arc::new(crate::locks::Mutex::new(gate));
        let (began, begins) = channel();
        let done = Arc::new(AtomicUsize::new(0));
        let blocked = |pool: &Pool| {
            let (gate, began, done) = (Arc::clone(&gate), began.clone(), Arc::clone(&done));
            pool.run(Box::new(move |_| {
                began.send(()).unwrap();
                gate.lock().recv().unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }))
        };
        for _ in 0..pool.threads {
            assert!(blocked(&pool));
            begins.recv().unwrap();
        }
        assert!((0..3).all(|_| blocked(&pool)));
        assert_eq!(pool.waiting(), 3);
        assert!(!blocked(&pool), "the queue is full");
        (0..3 + pool.threads).for_each(|_| go.send(()).unwrap());
        (0..3).for_each(|_| begins.recv().unwrap());
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 3 + pool.threads);
        assert!(!blocked(&pool), "the pool is closed");
    }

    #[test]
    fn a_job_that_panics_costs_itself() {
        let pool = pool(3);
        let (told, tells) = channel();
        assert!(pool.run(Box::new(|_| panic!("as it should"))));
        assert!(pool.run(Box::new(move |_| told.send(()).unwrap())));
        tells.recv().unwrap();
        pool.close();
    }

    #[test]
    fn closing_drops_what_waits() {
        let pool = pool(10);
        let (go, gate) = channel::<()>();
        let (began, begins) = channel();
        let gate = Arc::new(crate::locks::Mutex::new(gate));
        for _ in 0..pool.threads {
            let (gate, began) = (Arc::clone(&gate), began.clone());
            assert!(pool.run(Box::new(move |_| {
                began.send(()).unwrap();
                let _closed = gate.lock().recv();
            })));
            begins.recv().unwrap();
        }
        let held = Arc::new(());
        let waits = Arc::clone(&held);
        assert!(pool.run(Box::new(move |_| drop(waits))));
        std::thread::scope(|scope| {
            scope.spawn(|| pool.close());
            while Arc::strong_count(&held) > 1 {
                std::thread::yield_now();
            }
            drop(go);
        });
    }
}
