//! Connections that have sent no CONNECT, of which the oldest gives way.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::locks::Mutex;
use crate::net::link::StreamLink;
use crate::net::places::ListenerLimit;

/// The connections without a CONNECT in the order of their coming, and some that have left them.
#[derive(Default)]
pub(super) struct Waiting(Mutex<VecDeque<Weak<StreamLink>>>);

impl Waiting {
    /// Adds a connection that has just come.
    pub(super) fn add(&self, link: &Arc<StreamLink>) {
        let mut waiting = self.0.lock();
        if waiting.len() == waiting.capacity() {
            // Instead of growing, unless most of them still wait.
            waiting.retain(is_waiting);
            let room = waiting.len().max(16);
            waiting.reserve(room);
        }
        waiting.push_back(Arc::downgrade(link));
    }

    /// Takes the oldest one that still waits.
    pub(super) fn take_oldest(&self) -> Option<Arc<StreamLink>> {
        let mut waiting = self.0.lock();
        while let Some(oldest) = waiting.pop_front() {
            if let Some(link) = oldest.upgrade().filter(|link| link.place().is_silent()) {
                return Some(link);
            }
        }
        None
    }

    /// The connections of a listener that still wait.
    pub(super) fn of(&self, limit: &Arc<ListenerLimit>) -> Vec<Arc<StreamLink>> {
        let waiting = self.0.lock();
        let links = waiting.iter().filter_map(Weak::upgrade);
        links
            .filter(|link| link.place().is_silent() && std::ptr::eq(link.place().limit, &raw const **limit))
            .collect()
    }
}

fn is_waiting(link: &Weak<StreamLink>) -> bool {
    link.upgrade().is_some_and(|link| link.place().is_silent())
}
