//! Places of connections: limits of the clients that are connected, and of the sockets without a CONNECT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::engine::parts::origin::Way;
use crate::net::tally::Tally;
use crate::session::link::Admission;

/// How many connections a listener has and may have.
#[derive(Debug)]
pub struct ListenerLimit {
    /// The broker's.
    places: Arc<Places>,
    way: Option<Arc<Way>>,
    open: AtomicU32,
    most: u32,
    /// Whether no client is let in any more.
    is_over: AtomicBool,
    tally: Tally,
}

/// The places of one broker.
#[derive(Debug)]
pub(super) struct Places {
    clients: AtomicU32,
    most_clients: u32,
    pending: AtomicU32,
    most_pending: u32,
}

/// A place for a connection that has no link yet. It is given back when it is dropped, unless the link keeps it.
#[derive(Debug)]
pub(super) struct NewPlace {
    limit: Arc<ListenerLimit>,
    kept: bool,
}

/// Where a connection is: first among those that have sent no CONNECT, then among the clients.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

/// One connection's place, whose parts are in its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'l> {
    pub(super) limit: &'l ListenerLimit,
    pub(super) stage: &'l Stage,
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
    /// A limit of `most` clients for the listener of this name. `None`: no limit, and no listener.
    pub(super) fn new(places: &Arc<Places>, name: Option<&str>, most: Option<u32>) -> ListenerLimit {
        ListenerLimit {
            places: Arc::clone(places),
            way: name.map(|name| Arc::new(Way { listener: Some(name.into()), tls: None })),
            open: AtomicU32::new(0),
            most: most.unwrap_or(u32::MAX),
            is_over: AtomicBool::new(false),
            tally: Tally::default(),
        }
    }

    /// What the listener counts.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets no client in any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// The clients that are connected by it.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    /// The listener's name.
    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.way.as_ref()?.listener.as_ref()
    }

    /// How a connection of the listener comes.
    pub(super) fn way(&self) -> Option<&Arc<Way>> {
        self.way.as_ref()
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

impl NewPlace {
    /// A place for a new connection; `None` if the limit of those without a CONNECT is reached.
    pub(super) fn take(limit: &Arc<ListenerLimit>) -> Option<NewPlace> {
        let places = &limit.places;
        take(&places.pending, places.most_pending).then(|| NewPlace { limit: Arc::clone(limit), kept: false })
    }

    /// Leaves the place to a link, which has from now on to give it back.
    pub(super) fn keep(mut self) -> Arc<ListenerLimit> {
        self.kept = true;
        Arc::clone(&self.limit)
    }
}

impl Drop for NewPlace {
    fn drop(&mut self) {
        if !self.kept {
            self.limit.places.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Place<'_> {
    /// Notes that CONNECT has come: this connection gives way to no other any more.
    pub(super) fn heard(&self) {
        // It may have left meanwhile.
        let _left = self.stage.0.compare_exchange(SILENT, HEARD, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether CONNECT has not come.
    pub(super) fn is_silent(&self) -> bool {
        self.stage.0.load(Ordering::Acquire) == SILENT
    }

    /// Whether it was given back.
    pub(super) fn is_left(&self) -> bool {
        self.stage.0.load(Ordering::Acquire) == LEFT
    }

    /// A place among the clients, if the limit is not reached. `takes_over`: another connection of the client gives
    /// its place up, so there is one, whatever the number.
    pub(super) fn admit(&self, takes_over: bool) -> Admission {
        let stage = self.stage.0.load(Ordering::Acquire);
        match stage {
            SILENT | HEARD => {}
            CLIENT => return Admission::Admitted,
            _ => return Admission::Over,
        }
        if self.limit.is_over.load(Ordering::Acquire) {
            return Admission::Over;
        }
        let most = |most| if takes_over { u32::MAX } else { most };
        if !take(&self.limit.places.clients, most(self.limit.places.most_clients)) {
            self.limit.tally.refuse();
            return Admission::Full;
        }
        if !take(&self.limit.open, most(self.limit.most)) {
            self.limit.places.clients.fetch_sub(1, Ordering::AcqRel);
            self.limit.tally.refuse();
            return Admission::Full;
        }
        match self.stage.0.compare_exchange(stage, CLIENT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.limit.places.pending.fetch_sub(1, Ordering::AcqRel);
                Admission::Admitted
            }
            // Its end was asked for meanwhile.
            Err(_) => {
                self.give_back_client();
                Admission::Over
            }
        }
    }

    /// Gives the place back unless the client was let in or that was done; whether it is given back now. `silent`: or CONNECT
    /// has come.
    pub(super) fn give_up(&self, silent: bool) -> bool {
        let last = if silent { SILENT } else { HEARD };
        let next = |stage| (stage <= last).then_some(LEFT);
        let given = self.stage.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok();
        if given {
            self.limit.places.pending.fetch_sub(1, Ordering::AcqRel);
        }
        given
    }

    /// Gives the place back, if that was not done.
    pub(super) fn leave(&self) {
        match self.stage.0.swap(LEFT, Ordering::AcqRel) {
            SILENT | HEARD => _ = self.limit.places.pending.fetch_sub(1, Ordering::AcqRel),
            CLIENT => self.give_back_client(),
            _ => {}
        }
    }

    fn give_back_client(&self) {
        self.limit.open.fetch_sub(1, Ordering::AcqRel);
        self.limit.places.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

fn take(open: &AtomicU32, most: u32) -> bool {
    open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::{Admission, ListenerLimit, NewPlace, Place, Places, Stage};

    fn counts(places: &Places, limit: &ListenerLimit) -> (u32, u32, u32) {
        (places.pending.load(Ordering::Relaxed), places.clients.load(Ordering::Relaxed), limit.open())
    }

    /// A link, as far as places are concerned.
    struct Fake(Arc<ListenerLimit>, Stage);

    impl Fake {
        fn new(limit: &Arc<ListenerLimit>) -> Fake {
            Fake(NewPlace::take(limit).unwrap().keep(), Stage::default())
        }

        fn place(&self) -> Place<'_> {
            Place { limit: &self.0, stage: &self.1 }
        }
    }

    #[test]
    fn a_place_is_pending_then_a_clients_and_given_back_once() {
        let places = Arc::new(Places::new(Some(1), Some(2)));
        let limit = Arc::new(ListenerLimit::new(&places, None, None));
        drop(NewPlace::take(&limit).unwrap());
        let [one, two] = [(); 2].map(|()| Fake::new(&limit));
        assert!(NewPlace::take(&limit).is_none());
        assert_eq!([(); 2].map(|()| one.place().admit(false)), [Admission::Admitted; 2]);
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        assert_eq!(two.place().admit(false), Admission::Full);
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        assert_eq!(two.place().admit(true), Admission::Admitted);
        assert_eq!(counts(&places, &limit), (0, 2, 2));
        one.place().leave();
        one.place().leave();
        assert_eq!(counts(&places, &limit), (0, 1, 1));
        let three = Fake::new(&limit);
        three.place().heard();
        assert!(!three.place().is_silent());
        two.place().leave();
        three.place().leave();
        assert_eq!(counts(&places, &limit), (0, 0, 0));
    }

    #[test]
    fn a_listener_without_a_place_takes_none_of_the_brokers() {
        let places = Arc::new(Places::new(None, None));
        let limit = Arc::new(ListenerLimit::new(&places, Some("l"), Some(1)));
        let [one, two] = [(); 2].map(|()| Fake::new(&limit));
        assert_eq!(
            [&one, &two].map(|link| link.place().admit(false)),
            [Admission::Admitted, Admission::Full]
        );
        assert_eq!(counts(&places, &limit), (1, 1, 1));
        // What has left is not admitted any more.
        two.place().leave();
        assert_eq!(two.place().admit(false), Admission::Over);
        assert_eq!(counts(&places, &limit), (0, 1, 1));
    }

    /// A deadline and a CONNECT that come at once: one of them is first, and the other finds it.
    #[test]
    fn a_client_that_was_let_in_is_not_given_up_and_the_other_way_round() {
        let places = Arc::new(Places::new(None, None));
        let limit = Arc::new(ListenerLimit::new(&places, None, None));
        let [client, silent, heard] = [(); 3].map(|()| Fake::new(&limit));
        assert_eq!(client.place().admit(false), Admission::Admitted);
        assert!(!client.place().give_up(false) && !client.place().is_left());
        heard.place().heard();
        assert!(!heard.place().give_up(true) && heard.place().give_up(false));
        assert!(silent.place().give_up(true) && !silent.place().give_up(true));
        assert_eq!([&silent, &heard].map(|link| link.place().admit(true)), [Admission::Over; 2]);
        silent.place().leave();
        assert_eq!(counts(&places, &limit), (0, 1, 1));
    }
}
