//! Retained messages that the store could not take yet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codec::topic::TopicName;
use crate::locks::Mutex;

/// Topics whose retained message is newer than that of the store, because too much waited for the disk.
///
/// Topics come and go under the lock of the retained messages, so there are no more of them than messages.
#[derive(Default)]
pub struct Unrecorded {
    topics: Mutex<BTreeSet<Box<str>>>,
    len: AtomicUsize,
}

impl Unrecorded {
    /// The topic's message waits until the store takes it.
    pub fn add(&self, topic: TopicName<'_>) {
        let mut topics = self.topics.lock();
        topics.insert(topic.as_str().into());
        self.len.store(topics.len(), Ordering::Relaxed);
    }

    /// The store is told of the topic now, if it was not before.
    pub fn remove(&self, topic: &str) {
        if !self.is_empty() {
            let mut topics = self.topics.lock();
            topics.remove(topic);
            self.len.store(topics.len(), Ordering::Relaxed);
        }
    }

    /// Takes a topic, if there is one.
    pub fn pop(&self) -> Option<Box<str>> {
        let mut topics = self.topics.lock();
        let topic = topics.pop_first();
        self.len.store(topics.len(), Ordering::Relaxed);
        topic
    }

    /// Whether the store has everything.
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }
}
