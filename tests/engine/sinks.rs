//! The stream of events: who sees what, in which order, and what a sink that fails costs.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, Weak};

use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::engine::access::hooks::Wanted;
use midge::engine::connection::state::Connection;
use midge::engine::core::durability::{Durability, DurabilityWaiter};
use midge::engine::core::state::Engine;
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::{EventSink, Moment};
use midge::engine::parts::sink::{LocalMessage, Sink};
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;
use midge::session::event::{Event, Level};
use midge::session::last_bytes::LastBytes;
use midge::session::link::{Cause, Link, Written};
use midge::time::Time;

use crate::harness::{LastWill, Network, Packets, Q0, Q1, Received, V5, opts};
use crate::hooks::{Toy, everything};

/// What several observers write, in order.
type Minutes = Arc<Mutex<Vec<String>>>;

fn read(minutes: &Minutes) -> Vec<String> {
    std::mem::take(&mut minutes.lock().unwrap())
}

const TURN: EventMask = EventMask::CONNECTED
    .and(EventMask::DISCONNECTED)
    .and(EventMask::REFUSED)
    .and(EventMask::SUBSCRIBED)
    .and(EventMask::UNSUBSCRIBED)
    .and(EventMask::DROPPED);

/// A sink that writes down what it sees, and panics where it is told to.
struct Clerk {
    name: &'static str,
    mask: Mutex<EventMask>,
    minutes: Minutes,
    panics: bool,
    /// What it still takes before it wants no dropped messages any more.
    room: Mutex<usize>,
}

impl Clerk {
    fn new(name: &'static str, mask: EventMask, minutes: &Minutes) -> Clerk {
        let minutes = Arc::clone(minutes);
        Clerk { name, mask: Mutex::new(mask), minutes, panics: false, room: Mutex::new(usize::MAX) }
    }

    fn write(&self, line: &str) {
        self.minutes.lock().unwrap().push(format!("{}: {line}", self.name));
        assert!(!self.panics, "for the test");
    }
}

impl EventSink for Clerk {
    fn mask(&self) -> EventMask {
        *self.mask.lock().unwrap()
    }

    fn event(&self, _now: Time, event: &Event) {
        {
            let mut room = self.room.lock().unwrap();
            *room = room.saturating_sub(1);
            if *room == 0 {
                *self.mask.lock().unwrap() = EventMask::CONNECTED;
            }
        }
        match event {
            Event::Connected(about) => self.write(&format!("connected {}", about.client_id)),
            Event::Disconnected(about) => self.write(&format!("disconnected {}", about.client_id)),
            Event::Refused(about) => self.write(&format!("refused {:?} {:?}", about.client_id, about.reason)),
            Event::Subscribed(about) => self.write(&format!("subscribed {}", about.filter)),
            Event::Unsubscribed(about) => self.write(&format!("unsubscribed {}", about.filter)),
            Event::Delivered(about) => self.write(&format!("delivered {}", about.topic)),
            Event::Dropped(about) => self.write(&format!("dropped {}", about.topic)),
            Event::Logged(line) => self.write(&line.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn moment(&self, moment: &Moment<'_>) {
        match moment {
            Moment::Publishing(seen) => self.write(&format!("publishing {}", seen.topic_name())),
            Moment::Published(seen) => self.write(&format!("published {}", seen.topic_name())),
            Moment::Changed => self.write("changed"),
        }
    }
}

fn watched_by(clerks: impl IntoIterator<Item = Clerk>) -> Network {
    let with = |engine: Engine, clerk| engine.with_sink(Arc::new(clerk));
    Network::new().and(|engine| clerks.into_iter().fold(engine, with))
}

/// SUBSCRIBE, a message that nobody hears, and UNSUBSCRIBE, in one turn.
fn busy() -> Vec<Vec<u8>> {
    use midge::codec::packet::Packet;
    use midge::codec::properties::Properties;
    use midge::codec::subscribe::{Subscribe, SubscriptionRequest};
    use midge::codec::unsubscribe::{Unsubscribe, encode_filter};
    let (mut requests, mut filters) = (Vec::new(), Vec::new());
    let options = SubscriptionOptions::default();
    SubscriptionRequest { filter: "f", options }.encode(&mut requests);
    encode_filter("f", &mut filters);
    let id = crate::harness::id(1);
    let subscribe = Packet::Subscribe(Subscribe::from_encoded(id, Properties::EMPTY, &requests).unwrap());
    let unsubscribe = Unsubscribe::from_encoded(id, Properties::EMPTY, &filters).unwrap();
    let packets = Packets::default().packet(V5, &subscribe).publish(V5, "t", "", Q0, 0);
    vec![packets.packet(V5, &Packet::Unsubscribe(unsubscribe)).0]
}

/// Each event goes to every sink that is called directly before the next one does; then it is the host's turn.
#[test]
fn sinks_see_events_in_order() {
    let minutes = Minutes::default();
    let (one, other) = (Clerk::new("a", TURN, &minutes), Clerk::new("b", EventMask::SUBSCRIBED, &minutes));
    let third = Clerk::new("c", EventMask::UNSUBSCRIBED | EventMask::SUBSCRIBED, &minutes);
    let host = Arc::new(Toy::tells(everything(), {
        let minutes = Arc::clone(&minutes);
        move |event| minutes.lock().unwrap().push(format!("host: {event:?}")[..12].to_owned())
    }));
    let network = watched_by([one, other]).and(|engine| engine.with_host(host));
    let network = network.and(|engine| engine.with_sink(Arc::new(third)));
    let mut client = opts("x", V5).on(&network);
    assert_eq!(read(&minutes), ["a: connected x", "host: Connec"]);
    client.send_in_one_turn(&busy());
    assert_eq!(
        read(&minutes),
        [
            "a: subscribed f",
            "b: subscribed f",
            "c: subscribed f",
            "a: dropped t",
            "a: unsubscribed f",
            "c: unsubscribed f",
            "host: Subscr",
            "host: Droppe",
            "host: Unsubs",
        ]
    );
    client.hang_up();
    assert_eq!(read(&minutes), ["a: disconnected x", "host: Discon"]);
    opts("", V5).with(|p| _ = p.authentication_method("none")).refused_by(&network);
    assert_eq!(read(&minutes), ["a: refused Some(\"\") BadAuthenticationMethod"]);
}

/// Each hears only what it wants, also if there are two hosts, whose events wait in a queue each.
#[test]
fn two_hosts_are_told_what_each_wants() {
    let hosts = [
        Arc::new(Toy::wants(Wanted { connected: true, subscribed: true, ..Wanted::default() })),
        Arc::new(Toy::wants(Wanted { subscribed: true, unsubscribed: true, ..Wanted::default() })),
    ];
    let network = Network::new().and(|engine| hosts.iter().fold(engine, |e, host| e.with_host(host.clone())));
    let mut client = opts("x", V5).on(&network);
    client.send_in_one_turn(&busy());
    assert_eq!(hosts[0].heard(), ["x connected", "x subscribed f 0"]);
    assert_eq!(hosts[1].heard(), ["x subscribed f 0", "x unsubscribed f"]);
}

#[test]
fn a_sink_sees_a_message_before_and_after_it_is_delivered() {
    let minutes = Minutes::default();
    let inbox = Arc::new(Note(Arc::clone(&minutes), false));
    let network = watched_by([
        Clerk::new("after", EventMask::PUBLISHED, &minutes),
        Clerk::new("before", EventMask::PUBLISHING, &minutes),
        Clerk::new("changes", EventMask::CHANGED, &minutes),
    ]);
    let options = SubscriptionOptions::default();
    let local = network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox).unwrap();
    network.publish("t", "", 0, false);
    network.engine.unsubscribe_local(&local);
    let expected = [
        "changes: changed",
        "before: publishing t",
        "pushed",
        "after: published t",
        "woken",
        "changes: changed",
    ];
    assert_eq!(read(&minutes), expected);
}

/// It misses the event; nobody else does, and the client notices nothing.
#[test]
fn a_sink_that_panics_costs_nobody_else_anything() {
    let minutes = Minutes::default();
    let all = TURN | EventMask::PUBLISHING | EventMask::CHANGED;
    let bad = Clerk { panics: true, ..Clerk::new("bad", all, &minutes) };
    let good = Clerk::new("good", TURN | EventMask::PUBLISHING | EventMask::log(Level::Error), &minutes);
    let network = watched_by([bad, good]);
    let mut client = opts("x", V5).on(&network);
    client.subscribe("t", Q1);
    assert_eq!(client.publish("t", "heard", Q1), ReasonCode::Success);
    assert_eq!(client.drain(), ["heard"]);
    let seen: Vec<_> = read(&minutes).into_iter().filter(|line| !line.contains("changed")).collect();
    let failed = "good: error: a sink of events has panicked and missed an event";
    let expected = [
        "bad: connected x",
        "good: connected x",
        failed,
        "bad: subscribed t",
        "good: subscribed t",
        failed,
        "bad: publishing t",
        "good: publishing t",
    ];
    assert_eq!(seen, expected);
    // A connection, a subscription, a message; of changes there is no turn to count in.
    assert_eq!(network.stats().hooks_failed, 3);
}

/// A line of the log that a sink stumbles over does not make another.
#[test]
fn a_sink_that_panics_at_the_log_is_not_logged() {
    let minutes = Minutes::default();
    let bad = Clerk { panics: true, ..Clerk::new("bad", EventMask::LOG, &minutes) };
    let network = watched_by([bad]);
    opts("x", V5).on(&network).hang_up();
    let lines = read(&minutes);
    assert_eq!(lines.len() as u64, network.stats().hooks_failed);
    assert!(lines.iter().any(|line| line.contains("has connected")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("panicked")), "{lines:?}");
}

/// A sink that is flooded says that it wants no more; when it wants again, the engine is told to ask.
#[test]
fn a_sink_may_change_its_mind() {
    let minutes = Minutes::default();
    let clerk = Arc::new(Clerk {
        room: Mutex::new(3),
        ..Clerk::new("a", EventMask::CONNECTED | EventMask::DROPPED, &minutes)
    });
    let network = Network::new().and(|engine| engine.with_sink(clerk.clone()));
    let drop = || _ = network.publish("t", "", 0, false);
    drop();
    drop();
    assert!(network.engine.wants(EventMask::DROPPED));
    drop();
    assert!(!network.engine.wants(EventMask::DROPPED) && network.engine.wants(EventMask::CONNECTED));
    drop();
    assert_eq!(read(&minutes), ["a: dropped t"; 3]);
    *clerk.mask.lock().unwrap() = EventMask::DROPPED;
    *clerk.room.lock().unwrap() = 10;
    drop();
    assert!(read(&minutes).is_empty());
    network.engine.refresh_sinks();
    drop();
    assert_eq!(read(&minutes), ["a: dropped t"]);
    let clerk: Arc<dyn EventSink> = clerk;
    network.engine.unwatch(&clerk);
    assert!(!network.engine.wants(EventMask::DROPPED | EventMask::CONNECTED));
}

/// No line is made that nobody reads.
#[test]
fn a_line_of_a_level_that_nobody_wants_is_not_made() {
    let minutes = Minutes::default();
    let network = watched_by([Clerk::new("a", EventMask::log(Level::Warn), &minutes)]);
    let mut turn = network.turn();
    for level in [Level::Error, Level::Info, Level::Debug] {
        network.engine.log(&mut turn, level, None, || panic!("{level} is made"));
    }
    network.engine.log(&mut turn, Level::Warn, None, || "made".to_owned());
    turn.finish();
    assert_eq!(read(&minutes), ["a: warn: made"]);
}

/// An in-process subscriber; whether it is called directly.
struct Note(Minutes, bool);

impl Sink for Note {
    fn push(&self, _message: &LocalMessage<'_>) -> bool {
        self.0.lock().unwrap().push("pushed".to_owned());
        true
    }

    fn wake(&self) {
        let what = if self.1 { "called" } else { "woken" };
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn is_direct(&self) -> bool {
        self.1
    }
}

impl DurabilityWaiter for Note {
    fn tell(&self, safe: Durability) {
        self.0.lock().unwrap().push(format!("safe: {safe:?}"));
    }
}

/// A connection that notes when it is written to.
struct Wire(Minutes);

impl Link for Wire {
    fn write(&self, buffers: &[IoSlice<'_>]) -> Written {
        self.0.lock().unwrap().push("written".to_owned());
        Written::Bytes(buffers.iter().map(|buffer| buffer.len()).sum())
    }

    fn wake(&self) {}

    fn finish(&self, _last: LastBytes, _cause: Cause) {}
}

/// The stages of the end of a turn, in their order, with what each finds done.
#[test]
fn a_turn_is_finished_stage_by_stage() {
    for explicitly in [true, false] {
        let minutes = Minutes::default();
        let engine: Arc<Mutex<Weak<Engine>>> = Arc::default();
        let told = {
            let (minutes, engine) = (Arc::clone(&minutes), Arc::clone(&engine));
            move |event: &Event| {
                let line = match event {
                    Event::Disconnected(_) => "told of the end".to_owned(),
                    Event::Delivered(about) => format!("told of {}", about.topic),
                    Event::Logged(line) => format!("told: {}", line.text),
                    _ => return,
                };
                let engine = engine.lock().unwrap().upgrade().unwrap();
                let published = engine.snapshot().messages_published;
                minutes.lock().unwrap().push(format!("{line} ({published} published)"));
            }
        };
        let wanted =
            Wanted { disconnected: true, delivered: true, log: Some(Level::Debug), ..Wanted::default() };
        let looks = Arc::clone(&minutes);
        let host = Toy::tells(wanted, told).also_looks(move |edit| {
            looks.lock().unwrap().push(format!("looks at {}", edit.topic()));
            true
        });
        let network = Network::hosted_by(Arc::new(host), &[]);
        *engine.lock().unwrap() = Arc::downgrade(&network.engine);
        let engine = &network.engine;
        let mut connection =
            Connection::new(engine, &mut network.turn(), Arc::new(Wire(Arc::clone(&minutes))), None);
        let connect = opts("hearer", V5).encode();
        connection.receive(engine, &mut network.turn(), &connect, None);
        let subscribe = {
            use midge::codec::packet::Packet;
            use midge::codec::properties::Properties;
            use midge::codec::subscribe::{Subscribe, SubscriptionRequest};
            let mut requests = Vec::new();
            SubscriptionRequest { filter: "w", options: SubscriptionOptions::default() }
                .encode(&mut requests);
            let id = crate::harness::id(1);
            let packet = Subscribe::from_encoded(id, Properties::EMPTY, &requests).unwrap();
            Packets::default().packet(V5, &Packet::Subscribe(packet)).0
        };
        connection.receive(engine, &mut network.turn(), &subscribe, None);
        let options = SubscriptionOptions::default();
        for direct in [true, false] {
            let note = Arc::new(Note(Arc::clone(&minutes), direct));
            engine.subscribe_local(&mut network.turn(), "w", options, 0, note).unwrap();
        }
        let mut leaver = opts("leaver", V5).will(LastWill::new("w", "")).on(&network);
        assert_eq!(leaver.next(), None::<Received>);
        read(&minutes);
        let mut turn = network.turn();
        engine.tell_when_safe(&mut turn, QoS::AtMostOnce, Arc::new(Note(Arc::clone(&minutes), false)));
        leaver.connection.lost(engine, &mut turn, Cause::ConnectionLost);
        let mut unheard = Publication::new(b"unheard", b"", Q0, false, Time::ZERO);
        engine.publish(&mut turn, Publisher::Host, TopicName::parse("unheard").unwrap(), &mut unheard);
        assert!(read(&minutes).is_empty());
        if explicitly {
            turn.finish();
        } else {
            std::mem::drop(turn);
        }
        let mut lines = read(&minutes);
        // The subscribers of a message are in no order.
        lines[1..3].sort();
        assert_eq!(
            lines,
            [
                "looks at w",
                "pushed",
                "pushed",
                "told of the end (2 published)",
                "told: client \"leaver\": the connection is lost (2 published)",
                "told of w (2 published)",
                "told: 1 message dropped: no_subscriber 1 (2 published)",
                "woken",
                "written",
                "called",
                "safe: Yes",
            ]
        );
    }
}
