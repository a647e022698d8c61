//! A host that ends a connection in the very hook that is about it.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use midge::codec::ack::AckKind;
use midge::codec::auth::Auth;
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::access::edit::Edit;
use midge::engine::access::hooks::{AccessRequest, Answer, ConnectRequest, Host, Passage, Verdict, Wanted};
use midge::engine::connection::state::Connection;
use midge::engine::core::state::Engine;
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::{EventSink, Moment};
use midge::session::event::Event;
use midge::session::link::Cause;
use midge::time::Time;

use crate::harness::{ALL, LastWill, Line, Network, Packets, Q0, Q1, Q2, Received, V5, opts};

/// Ends the connection of `victim` in one of its hooks, once, and allows everything.
#[derive(Default)]
struct Kicker {
    engine: OnceLock<Weak<Engine>>,
    /// The hook, or the notice, in which it acts.
    hook: Mutex<&'static str>,
    /// Whether another connection of the client takes it over instead.
    takes_over: bool,
    /// For each time that it has acted: whether the client was there.
    acted: Mutex<Vec<bool>>,
    /// The hooks that were called, and the notices.
    called: Mutex<Vec<&'static str>>,
    /// The connections and lines with which it has taken over.
    taken: Mutex<Vec<(Connection, Arc<Line>)>>,
    wanted: Wanted,
}

impl Kicker {
    fn in_hook(hook: &'static str, wanted: Wanted) -> Kicker {
        Kicker { hook: Mutex::new(hook), wanted, ..Kicker::default() }
    }

    fn network(self) -> (Network, Arc<Kicker>) {
        let kicker = Arc::new(self);
        let network = Network::hosted_by(kicker.clone(), &[]);
        kicker.engine.set(Arc::downgrade(&network.engine)).unwrap();
        (network, kicker)
    }

    fn call(&self, hook: &'static str) {
        self.called.lock().unwrap().push(hook);
        if *self.hook.lock().unwrap() != hook {
            return;
        }
        *self.hook.lock().unwrap() = "";
        let engine = self.engine.get().unwrap().upgrade().unwrap();
        let mut turn = engine.turn(Time::ZERO);
        let acted = match self.takes_over {
            false => engine.kick(&mut turn, "victim"),
            true => {
                let line = Arc::new(Line::default());
                let mut connection = Connection::new(&engine, &mut turn, line.clone(), None);
                let connect = opts("victim", V5).persistent().encode();
                let progress = connection.receive(&engine, &mut turn, &connect, None);
                self.taken.lock().unwrap().push((connection, line));
                progress.open
            }
        };
        self.acted.lock().unwrap().push(acted);
    }

    /// Whether the client was there when it acted, which was once.
    fn acted(&self) -> bool {
        let acted = std::mem::take(&mut *self.acted.lock().unwrap());
        assert_eq!(acted.len(), 1, "it has acted {} times", acted.len());
        acted[0]
    }

    fn called(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.called.lock().unwrap())
    }
}

impl Host for Kicker {
    fn wanted(&self) -> Wanted {
        self.wanted
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        self.call(if request.reauthenticates { "authenticate again" } else { "authenticate" });
        match request.auth_method {
            Some(_) => Verdict::AllowWith(b"welcome".to_vec()).into(),
            None => Verdict::Allow.into(),
        }
    }

    fn authorize(&self, _request: &AccessRequest<'_>) -> Answer {
        self.call("authorize");
        Verdict::Allow.into()
    }

    fn on_publish(&self, _edit: &mut Edit<'_>) -> Passage {
        self.call("on_publish");
        Passage::Pass
    }

    fn tell(&self, notice: &Event) {
        self.call(match notice {
            Event::Connected(_) => "connected",
            Event::Disconnected(_) => "disconnected",
            Event::Subscribed(_) => "subscribed",
            Event::Unsubscribed(_) => "unsubscribed",
            Event::Delivered(_) => "delivered",
            Event::Dropped(_) => "dropped",
            other => panic!("{other:?}"),
        });
    }
}

fn decides() -> Wanted {
    Wanted { authenticate: true, authorize: true, on_publish: true, ..Wanted::default() }
}

fn is_told() -> Wanted {
    Wanted {
        connected: true,
        disconnected: true,
        subscribed: true,
        unsubscribed: true,
        delivered: true,
        dropped: true,
        ..Wanted::default()
    }
}

/// A client that is let in is none yet: its older connection is kicked, and it gets the session.
#[test]
fn the_hook_that_lets_a_client_in_kicks_its_older_connection() {
    for version in ALL {
        for hook in ["authenticate", "authorize"] {
            let (network, kicker) = Kicker::in_hook("", decides()).network();
            let connect = opts("victim", version).persistent().will(LastWill::new("w", "gone"));
            let mut older = connect.on(&network);
            older.subscribe("t", Q1);
            *kicker.hook.lock().unwrap() = hook;
            let mut newer = connect.on(&network);
            assert!(kicker.acted(), "{hook}");
            assert_eq!(older.line.finished(), Some(Cause::Kicked));
            assert_eq!((newer.line.finished(), network.stats().takeovers), (None, 0));
            network.publish("t", "x", 1, false);
            assert_eq!(newer.drain(), ["x"]);
            // Nobody of that name is there.
            newer.hang_up();
            *kicker.hook.lock().unwrap() = hook;
            let _back = connect.on(&network);
            assert!(!kicker.acted(), "{hook}");
        }
    }
}

/// Nothing of the packet is done, nor of those behind it, and what the hook has not asked is not asked.
#[test]
fn a_message_about_whose_client_the_hook_changes_its_mind_is_not_published() {
    for version in ALL {
        for qos in [Q0, Q1, Q2] {
            for (hook, asked) in
                [("authorize", &["authorize"][..]), ("on_publish", &["authorize", "on_publish"])]
            {
                let (network, kicker) = Kicker::in_hook("", decides()).network();
                let mut victim = opts("victim", version).persistent().on(&network);
                victim.line.take();
                *kicker.hook.lock().unwrap() = hook;
                kicker.called();
                let number = if qos > Q0 { 1 } else { 0 };
                let packets = Packets::default().publish(version, "t", "x", qos, number);
                assert!(!victim.send_bytes(&packets.publish(version, "t", "y", Q1, 2).0));
                assert!(kicker.acted());
                assert_eq!(kicker.called(), asked);
                if version == V5 {
                    let reason = ReasonCode::AdministrativeAction;
                    assert_eq!(victim.next(), Some(Received::Disconnect(reason)), "{hook} {qos:?}");
                }
                victim.expect_nothing();
                victim.hang_up();
                let stats = network.stats();
                assert_eq!(
                    (stats.messages_published, stats.acknowledgements_sent, stats.protocol_errors),
                    (0, 0, 0)
                );
                assert_eq!((stats.messages_dropped(), stats.hooks_failed), (0, 0));
                // The identifier is not known: the same message is a new one.
                let mut victim = opts("victim", version).persistent().on(&network);
                if qos == Q2 {
                    victim.send_publish("t", "x", Q2, 1);
                    victim.expect_ack(AckKind::Pubrec, 1);
                    assert_eq!(network.stats().messages_published, 1);
                }
            }
        }
    }
}

#[test]
fn a_subscription_about_whose_client_the_hook_changes_its_mind_is_not_made() {
    for version in ALL {
        let (network, kicker) = Kicker::in_hook("authorize", decides()).network();
        network.publish("t", "kept", 1, true);
        let mut victim = opts("victim", version).persistent().on(&network);
        let options = SubscriptionOptions::with_qos(Q1);
        victim.send_subscribe(&[("t", options), ("u", options)], 0);
        assert!(kicker.acted());
        if version == V5 {
            assert_eq!(victim.next(), Some(Received::Disconnect(ReasonCode::AdministrativeAction)));
        }
        victim.expect_nothing();
        victim.hang_up();
        assert_eq!((network.stats().sessions, network.stats().subscriptions), (1, 0), "{version}");
        let mut victim = opts("victim", version).persistent().on(&network);
        victim.subscribe("t", Q1);
        assert_eq!(victim.drain(), ["kept"]);
    }
}

/// A client that authenticates again gets no answer, and the connection that has taken it over gets none, either.
#[test]
fn a_client_that_authenticates_again_is_ended_by_the_hook() {
    for takes_over in [false, true] {
        let kicker = Kicker { takes_over, ..Kicker::in_hook("authenticate again", decides()) };
        let (network, kicker) = kicker.network();
        let connect = opts("victim", V5).persistent().with(|p| _ = p.authentication_method("word"));
        let mut victim = connect.on(&network);
        let mut properties = Vec::new();
        PropertyWriter::new(&mut properties).authentication_method("word");
        let properties = Properties::from_encoded(&properties).unwrap();
        assert!(!victim.send(&Packet::Auth(Auth { reason: ReasonCode::ReAuthenticate, properties })));
        assert!(kicker.acted());
        let reason = match takes_over {
            true => ReasonCode::SessionTakenOver,
            false => ReasonCode::AdministrativeAction,
        };
        assert_eq!(victim.next(), Some(Received::Disconnect(reason)));
        victim.expect_nothing();
        victim.hang_up();
        for (_connection, line) in &*kicker.taken.lock().unwrap() {
            let bytes = line.take();
            let (first, length) = Received::split_off(&bytes, V5).unwrap();
            assert!(matches!(first, Received::Connack { reason: ReasonCode::Success, .. }), "{first:?}");
            assert_eq!(length, bytes.len(), "more than CONNACK came: {bytes:02x?}");
            assert_eq!(line.finished(), None);
        }
    }
}

/// What is told has happened: the client has its answer, and is gone then.
#[test]
fn a_client_is_kicked_when_the_host_is_told_of_it() {
    for version in ALL {
        for hook in ["connected", "subscribed", "unsubscribed", "delivered", "dropped"] {
            let (network, kicker) = Kicker::in_hook(hook, is_told()).network();
            let mut victim = opts("victim", version).on(&network);
            if hook != "connected" {
                victim.subscribe("t", Q1);
            }
            match hook {
                "unsubscribed" => _ = victim.unsubscribe(&["t"]),
                "delivered" => {
                    network.publish("t", "x", 1, false);
                    let message = victim.expect_message("t", "x");
                    victim.acknowledge(&message);
                }
                "dropped" => _ = victim.publish("nobody", "x", Q1),
                _ => {}
            }
            assert!(kicker.acted(), "{hook}");
            if version == V5 {
                assert_eq!(
                    victim.next(),
                    Some(Received::Disconnect(ReasonCode::AdministrativeAction)),
                    "{hook}"
                );
            }
            victim.expect_nothing();
            assert_eq!(victim.line.finished(), Some(Cause::Kicked), "{hook}");
            assert!(!victim.send(&Packet::Pingreq), "{hook}");
            victim.hang_up();
            let ends = kicker.called().into_iter().filter(|call| *call == "disconnected").count();
            assert_eq!(ends, 1, "{hook}");
            let stats = network.stats();
            assert_eq!((stats.sessions, stats.clients_connected, stats.subscriptions), (0, 0, 0), "{hook}");
            assert_eq!((stats.hooks_failed, network.engine.timers_running()), (0, 0), "{hook}");
        }
    }
}

/// Who is gone is not there to be kicked.
#[test]
fn a_client_cannot_be_kicked_when_the_host_is_told_of_its_end() {
    for version in ALL {
        let (network, kicker) = Kicker::in_hook("disconnected", is_told()).network();
        opts("victim", version).persistent().on(&network).hang_up();
        assert!(!kicker.acted());
        assert_eq!(kicker.called(), ["connected", "disconnected"]);
        assert_eq!((network.stats().sessions, network.stats().hooks_failed), (1, 0));
    }
}

/// Ends the victim's connection when its first message has been published, before the message is acknowledged.
struct AfterTheMessage(Mutex<Option<Weak<Engine>>>);

impl EventSink for AfterTheMessage {
    fn mask(&self) -> EventMask {
        EventMask::PUBLISHED
    }

    fn moment(&self, moment: &Moment<'_>) {
        if matches!(moment, Moment::Published(message) if message.client_id == Some("victim")) {
            let Some(engine) = self.0.lock().unwrap().take() else { return };
            let engine = engine.upgrade().unwrap();
            engine.kick(&mut engine.turn(Time::ZERO), "victim");
        }
    }
}

/// A message whose client has had no PUBREC is known when the client sends it again: what a hook has allowed is published
/// and remembered in one step.
#[test]
fn a_message_that_a_hook_has_allowed_is_published_once_when_its_connection_ends() {
    let asks = [
        Wanted::default(),
        Wanted { authorize: true, ..Wanted::default() },
        Wanted { on_publish: true, ..Wanted::default() },
        decides(),
    ];
    for (version, wanted) in ALL.into_iter().flat_map(|version| asks.map(|wanted| (version, wanted))) {
        let (network, _kicker) = Kicker::in_hook("", wanted).network();
        let sink = AfterTheMessage(Mutex::new(Some(Arc::downgrade(&network.engine))));
        network.engine.watch(Arc::new(sink));
        let mut reader = opts("reader", V5).on(&network);
        reader.subscribe("t", Q0);
        let connect = opts("victim", version).persistent();
        let mut first = connect.on(&network);
        first.send_publish("t", "x", Q2, 7);
        assert_eq!(first.line.finished(), Some(Cause::Kicked));
        let mut second = connect.on(&network);
        second.send_publish("t", "x", Q2, 7);
        assert_eq!(second.complete(Q2, 7), ReasonCode::Success);
        assert_eq!(reader.drain(), ["x"], "{version:?} {wanted:?}");
    }
}
