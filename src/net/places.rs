//! Places of connections: as many clients as may be connected, and as many sockets as may be without a CONNECT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// How many connections a listener has and may have.
#[derive(Debug)]
pub struct ListenerLimit {
    name: Option<Arc<str>>,
    open: AtomicU32,
    most: u32,
}

/// The places of one broker.
#[derive(Debug)]
pub(super) struct Places {
    clients: AtomicU32,
    most_clients: u32,
    pending: AtomicU32,
    most_pending: u32,
}

/// One connection's place: first among those that have sent no CONNECT, then among the clients. It is given back when it is
/// left or dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    limit: Arc<ListenerLimit>,
    stage: AtomicU8,
}

/// CONNECT has not come.
const SILENT: u8 = 0;
/// CONNECT has come, and the client is not let in yet.
const HEARD: u8 = 1;
/// The client is let in.
const CLIENT: u8 = 2;
/// The place is given back.
const LEFT: u8 = 3;

impl ListenerLimit {
    /// At most so many, of the listener of this name; `None` is no limit, and no listener.
    pub fn new(name: Option<&str>, most: Option<u32>) -> ListenerLimit {
        ListenerLimit { name: name.map(Into::into), open: AtomicU32::new(0), most: most.unwrap_or(u32::MAX) }
    }

    /// The clients that are connected by it.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    /// The listener's name.
    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }
}

impl Places {
    /// At most so many clients, and connections without a CONNECT; `None` is no limit.
    pub(super) fn new(most_clients: Option<u32>, most_pending: Option<u32>) -> Places {
        Places {
            clients: AtomicU32::new(0),
            most_clients: most_clients.unwrap_or(u32::MAX),
            pending: AtomicU32::new(0),
            most_pending: most_pending.unwrap_or(u32::MAX),
        }
    }
}

impl Place {
    /// A place for a new connection; `None` if there are as many without a CONNECT as may be.
    pub(super) fn take(places: &Arc<Places>, limit: &Arc<ListenerLimit>) -> Option<Place> {
        take(&places.pending, places.most_pending).then(|| Place {
            places: Arc::clone(places),
            limit: Arc::clone(limit),
            stage: AtomicU8::new(SILENT),
        })
    }

    /// Notes that CONNECT has come: this connection gives way to no other any more.
    pub(super) fn heard(&self) {
        // It may have left meanwhile.
        let _left = self.stage.compare_exchange(SILENT, HEARD, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether CONNECT has not come.
    pub(super) fn is_silent(&self) -> bool {
        self.stage.load(Ordering::Acquire) == SILENT
    }

    /// A place among the clients; false if there are as many as may be. `takes_over`: another connection of the client gives
    /// its place up, so there is one, whatever the number.
    pub(super) fn admit(&self, takes_over: bool) -> bool {
        let stage = self.stage.load(Ordering::Acquire);
        if stage >= CLIENT {
            return true;
        }
        let most = |most| if takes_over { u32::MAX } else { most };
        if !take(&self.places.clients, most(self.places.most_clients)) {
            return false;
        }
        if !take(&self.limit.open, most(self.limit.most)) {
            self.places.clients.fetch_sub(1, Ordering::AcqRel);
            return false;
        }
        match self.stage.compare_exchange(stage, CLIENT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => _ = self.places.pending.fetch_sub(1, Ordering::AcqRel),
            // Its end was asked for meanwhile.
            Err(_) => self.give_back_client(),
        }
        true
    }

    /// Gives the place back, if that was not done.
    pub(super) fn leave(&self) {
        match self.stage.swap(LEFT, Ordering::AcqRel) {
            SILENT | HEARD => _ = self.places.pending.fetch_sub(1, Ordering::AcqRel),
            CLIENT => self.give_back_client(),
            _ => {}
        }
    }

    fn give_back_client(&self) {
        self.limit.open.fetch_sub(1, Ordering::AcqRel);
        self.places.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::{ListenerLimit, Place, Places};

    fn counts(places: &Places, limit: &ListenerLimit) -> (u32, u32, u32) {
        (places.pending.load(Ordering::Relaxed), places.clients.load(Ordering::Relaxed), limit.open())
    }

    #[test]
    fn a_place_is_pending_then_a_clients_and_given_back_once() {
        let places = Arc::new(Places::new(Some(1), Some(2)));
        let limit = Arc::new(ListenerLimit::new(None, None));
        let [one, two] = [(); 2].map(|()| Place::take(&places, &limit).unwrap());
        assert!(Place::take(&places, &limit).is_none());
        assert!(one.admit(false) && one.admit(false));
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        assert!(!two.admit(false));
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        assert!(two.admit(true));
        assert_eq!(counts(&places, &limit), (0, 2, 2));
        one.leave();
        drop(one);
        assert_eq!(counts(&places, &limit), (0, 1, 1));
        let three = Place::take(&places, &limit).unwrap();
        three.heard();
        assert!(!three.is_silent());
        drop((two, three));
        assert_eq!(counts(&places, &limit), (0, 0, 0));
    }

    #[test]
    fn a_listener_without_a_place_takes_none_of_the_brokers() {
        let places = Arc::new(Places::new(None, None));
        let limit = Arc::new(ListenerLimit::new(Some("l"), Some(1)));
        let [one, two] = [(); 2].map(|()| Place::take(&places, &limit).unwrap());
        assert!(one.admit(false) && !two.admit(false));
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        // What has left is no client any more, and may be told so.
        two.leave();
        assert!(two.admit(false));
        assert_eq!(counts(&places, &limit), (0, 1, 1));
    }
}
