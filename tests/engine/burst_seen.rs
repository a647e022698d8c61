//! Messages that come together, and who looks at each: hooks, the log, the journal, taps and an observer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use midge::codec::version::Version;
use midge::engine::access::hooks::{Action, Verdict, Wanted};
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::{EventSink, Moment};
use midge::session::event::{Event, Level};
use midge::time::Time;

use crate::harness::{Client, Network, Packets, Q0, V5, V311, opts};
use crate::hooks::Toy;

const THREE: [&str; 3] = ["1", "22", "3"];

fn burst(version: Version) -> Vec<u8> {
    THREE.iter().fold(Packets::default(), |all, payload| all.publish(version, "t", payload, Q0, 0)).0
}

/// A hearer of `t`, and a publisher.
fn pair(network: &Network, version: Version) -> (Client<'_>, Client<'_>) {
    let mut hearer = opts("hearer", version).on(network);
    hearer.subscribe("t", Q0);
    (hearer, opts("publisher", version).on(network))
}

#[test]
fn the_host_is_asked_about_each_message_of_a_burst() {
    for version in [V311, V5] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let network = Toy::authorizes(move |request| match request.action {
            Action::Subscribe => Verdict::Allow,
            Action::Publish if count.fetch_add(1, Ordering::Relaxed) == 1 => Verdict::Allow,
            Action::Publish => Verdict::Deny,
        })
        .network();
        let (mut hearer, mut publisher) = pair(&network, version);
        assert!(publisher.send_bytes(&burst(version)));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert_eq!(hearer.drain(), ["22"]);
        let stats = network.stats();
        assert_eq!((stats.publish_received, stats.messages_published), (3, 1));
        assert_eq!((stats.messages_dropped_not_authorized, stats.messages_dropped()), (2, 2));
        assert_eq!(network.engine.client("publisher").unwrap().received_messages, 3);
    }
}

#[test]
fn the_host_looks_at_each_message_of_a_burst() {
    for version in [V311, V5] {
        let network = Toy::looks(|edit| {
            let pass = edit.payload() != b"1";
            let changed = [edit.payload(), b"!"].concat();
            edit.set_payload(changed).unwrap();
            pass
        })
        .network();
        let (mut hearer, mut publisher) = pair(&network, version);
        assert!(publisher.send_bytes(&burst(version)));
        assert_eq!(hearer.drain(), ["22!", "3!"]);
        assert_eq!(network.stats().messages_dropped_host, 1);
    }
}

#[test]
fn the_host_is_told_of_each_message_of_a_burst_that_is_delivered_or_dropped() {
    let toy = Arc::new(Toy::wants(Wanted { delivered: true, dropped: true, ..Wanted::default() }));
    let network = Network::hosted_by(toy.clone(), &[]);
    let (hearer, mut publisher) = pair(&network, V311);
    assert!(publisher.send_bytes(&burst(V311)));
    assert_eq!(toy.heard(), ["hearer has t 0"; 3]);
    hearer.hang_up();
    assert!(publisher.send_bytes(&burst(V311)));
    assert_eq!(toy.heard(), ["publisher misses t: no_subscriber"; 3]);
}

/// Without a wish to be told of deliveries a burst stays one, and each drop is told of all the same.
#[test]
fn the_host_is_told_of_each_message_of_a_burst_that_is_dropped() {
    let toy = Arc::new(Toy::wants(Wanted { dropped: true, ..Wanted::default() }));
    let network = Network::hosted_by(toy.clone(), &[]);
    let mut absent = opts("absent", V5).persistent().on(&network);
    let mut publisher = opts("publisher", V5).on(&network);
    assert!(publisher.send_bytes(&burst(V5)));
    assert_eq!(toy.heard(), ["publisher misses t: no_subscriber"; 3]);
    absent.subscribe("t", Q0);
    absent.hang_up();
    assert!(publisher.send_bytes(&burst(V5)));
    assert_eq!(toy.heard(), ["absent misses t: offline"; 3]);
    assert!(
        publisher.send_bytes(
            &Packets::default().publish(V5, "$SYS/x", "", Q0, 0).publish(V5, "$SYS/x", "", Q0, 0).0
        )
    );
    assert_eq!(toy.heard(), ["publisher misses $SYS/x: not_authorized"; 2]);
}

#[test]
fn the_log_counts_each_message_of_a_burst() {
    let toy = Arc::new(Toy::wants(Wanted { log: Some(Level::Debug), ..Wanted::default() }));
    let network = Network::hosted_by(toy.clone(), &[]);
    let mut publisher = opts("publisher", V311).on(&network);
    toy.heard();
    assert!(publisher.send_bytes(&burst(V311)));
    assert_eq!(toy.heard(), ["debug: 3 messages dropped: no_subscriber 3"]);
}

/// Writes down what it wants to see.
struct Book(EventMask, Mutex<Vec<String>>);

impl Book {
    fn of(mask: EventMask) -> Arc<Book> {
        Arc::new(Book(mask, Mutex::default()))
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut self.1.lock().unwrap())
    }

    fn write(&self, line: String) {
        self.1.lock().unwrap().push(line);
    }
}

impl EventSink for Book {
    fn mask(&self) -> EventMask {
        self.0
    }

    fn event(&self, _now: Time, event: &Event) {
        match event {
            Event::Dropped(dropped) => {
                self.write(format!("{:?} {} {}", dropped.client_id, dropped.topic, dropped.reason));
            }
            other => panic!("{other:?}"),
        }
    }

    fn moment(&self, moment: &Moment<'_>) {
        let (Moment::Publishing(seen) | Moment::Published(seen)) = moment else {
            panic!("{moment:?}");
        };
        let payload = String::from_utf8_lossy(seen.payload);
        self.write(format!("{} {} {payload}", seen.client_id.unwrap_or("host"), seen.topic_name()));
    }
}

#[test]
fn the_journal_takes_down_each_message_of_a_burst_that_is_dropped() {
    let book = Book::of(EventMask::DROPPED);
    let network = Network::new().and(|engine| engine.with_sink(book.clone()));
    let mut publisher = opts("publisher", V311).on(&network);
    assert!(publisher.send_bytes(&burst(V311)));
    assert_eq!(book.read(), ["Some(\"publisher\") t no_subscriber"; 3]);
}

/// The host is told of deliveries also by a broker whose journal is not.
#[test]
fn a_journal_takes_nothing_from_what_the_host_is_told() {
    for journal_first in [false, true] {
        let toy = Arc::new(Toy::wants(Wanted { delivered: true, ..Wanted::default() }));
        let book = Book::of(EventMask::DROPPED);
        let network = Network::new().and(|engine| match journal_first {
            true => engine.with_sink(book.clone()).with_host(toy.clone()),
            false => engine.with_host(toy.clone()).with_sink(book.clone()),
        });
        let (_hearer, mut publisher) = pair(&network, V311);
        assert!(publisher.send_bytes(&burst(V311)));
        assert_eq!(toy.heard(), ["hearer has t 0"; 3], "{journal_first}");
    }
}

/// What watches sees each message from the moment that it comes until it goes.
#[test]
fn a_tap_sees_each_message_of_a_burst() {
    for version in [V311, V5] {
        let network = Network::new();
        let (mut hearer, mut publisher) = pair(&network, version);
        let book = Book::of(EventMask::PUBLISHING);
        let tap: Arc<dyn EventSink> = book.clone();
        network.engine.watch(Arc::clone(&tap));
        assert!(publisher.send_bytes(&burst(version)));
        assert_eq!(book.read(), ["publisher t 1", "publisher t 22", "publisher t 3"]);
        network.engine.unwatch(&tap);
        assert!(publisher.send_bytes(&burst(version)));
        assert!(book.read().is_empty());
        assert_eq!(hearer.drain().len(), 6);
    }
}

#[test]
fn an_observer_is_told_of_each_message_of_a_burst() {
    let book = Book::of(EventMask::PUBLISHED);
    let network = Network::new().and(|engine| engine.with_sink(book.clone()));
    let (mut hearer, mut publisher) = pair(&network, V5);
    assert!(publisher.send_bytes(&burst(V5)));
    assert_eq!(book.read(), THREE.map(|payload| format!("publisher t {payload}")));
    assert_eq!(hearer.drain(), THREE);
}
