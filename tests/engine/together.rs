//! Messages that come together mean what they mean when they come one by one: to everybody who hears them, in every count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use midge::codec::ack::AckKind;
use midge::codec::packet::Packet;
use midge::codec::packet_id::PacketId;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::publish::Publish;
use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};
use midge::codec::version::Version;
use midge::engine::access::hooks::{Action, Verdict, Wanted};
use midge::engine::observe::mask::EventMask;
use midge::engine::observe::sink::{EventSink, Moment};
use midge::session::event::Level;
use midge::stats::Snapshot;

use crate::harness::{
    ALL, Client, Dice, Inbox, Message, Network, Onlooker, Opts, Packets, Pushed, Q0, Q1, Q2, QOS, Received,
    V5, V311, opts,
};
use crate::hooks::{Toy, everything};

/// What all clients and the host have received, and what was counted.
#[derive(Debug, PartialEq)]
struct Outcome {
    received: Vec<Vec<String>>,
    pushed: Vec<Pushed>,
    stats: Snapshot,
}

/// Messages to `t`, small, growing and empty, then one to `u` and another to `t`.
fn packets(version: Version, sizes: usize) -> Vec<Vec<u8>> {
    let messages = (0..12).map(|n| ("t", format!("{n}{}", "x".repeat(n * sizes))));
    let empty = [("t", String::new()), ("u", "other".to_owned()), ("t", "last".to_owned())];
    messages
        .chain(empty)
        .map(|(topic, payload)| Packets::default().publish(version, topic, &payload, Q0, 0).0)
        .collect()
}

/// Sends packets to clients of all kinds, `together` or one by one; how many clients were given some of them at once.
fn run(version: Version, packets: &[Vec<u8>], group: bool, together: bool) -> (Outcome, usize) {
    let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
    let mut publisher = opts("publisher", version).on(&network);
    let plain = SubscriptionOptions::with_qos(Q1);
    let mut others = vec![
        opts("old", V311).on(&network),
        opts("new", V5).on(&network),
        opts("identified", V5).on(&network),
        opts("twice", V5).on(&network),
        opts("short", V5).with(|p| _ = p.maximum_packet_size(30)).on(&network),
        opts("aliased", V5).with(|p| _ = p.topic_alias_maximum(2)).on(&network),
        opts("full", version).on(&network),
        opts("first member", version).on(&network),
        opts("second member", V311).on(&network),
    ];
    let member = if group { "$share/g/t" } else { "t" };
    for (client, filters) in others.iter_mut().zip([
        &["t"][..],
        &["t"],
        &[],
        &["t", "#"],
        &["+"],
        &["t"],
        &["t", "u", "fill"],
        &[member],
        &[member],
    ]) {
        for filter in filters {
            client.subscribe_with(filter, plain, 0);
        }
    }
    others[2].subscribe_with("t", plain, 7);
    if version == V5 {
        publisher.subscribe_with("t", SubscriptionOptions { no_local: true, ..plain }, 0);
    } else {
        publisher.subscribe("t", Q0);
    }
    let inbox = Inbox::new(100);
    network.engine.subscribe_local(&mut network.turn(), "t", plain, 0, inbox.clone()).unwrap();
    others[6].line.block();
    network.publish("fill", &"x".repeat(40_000), 0, false);
    let onlooker = Onlooker::at(&network, "#");
    let portions = if together { vec![packets.concat()] } else { packets.to_vec() };
    assert!(publisher.send_in_one_turn(&portions));
    others[6].line.open();
    others[6].writable();
    others.push(publisher);
    let received = others.iter_mut().map(|client| client.drain()).collect();
    (Outcome { received, pushed: inbox.take(), stats: network.stats() }, onlooker.leaders())
}

#[test]
fn a_burst_is_delivered_as_its_messages_are() {
    for version in [V311, V5] {
        for (sizes, falling) in [(1, false), (300, false), (900, false), (300, true), (900, true)] {
            for group in [false, true] {
                let mut packets = packets(version, sizes);
                if falling {
                    packets.reverse();
                }
                let what = format!("{version}, {sizes}, {falling}, {group}");
                let (one_by_one, none) = run(version, &packets, group, false);
                let (together, leaders) = run(version, &packets, group, true);
                assert!(together == one_by_one, "{what}: {:?} {:?}", together.stats, one_by_one.stats);
                // With a group each message is another member's: it is given to everybody one by one.
                assert_eq!((none, leaders >= 2), (0, !group), "{what}: {leaders}");
                assert_eq!(together.received[0].len(), 14, "{what}");
                let dropped = together.stats.messages_dropped_outbox_full;
                assert_eq!(dropped > 0, sizes == 900, "{dropped}: what fits in part is taken in part");
                assert_eq!(together.pushed.len(), 14);
            }
        }
    }
}

/// A group's members have their turns.
#[test]
fn a_burst_to_a_shared_subscription_goes_to_all_members() {
    let (outcome, _) = run(V311, &packets(V311, 1), true, true);
    assert_eq!([outcome.received[7].len(), outcome.received[8].len()], [7, 7]);
}

/// All that can be told apart from outside, in words.
#[derive(Default, PartialEq)]
struct Traces {
    /// What each client has received, and how it ended.
    clients: Vec<Vec<String>>,
    /// What the broker shows of the clients, before they read and afterwards.
    views: Vec<String>,
    pushed: Vec<Pushed>,
    wakes: usize,
    /// What the host was told and what a tap has seen.
    told: Vec<String>,
    stats: Vec<Snapshot>,
}

/// What happened in many comparisons.
#[derive(Default)]
struct Tally {
    leaders: usize,
    drops: Snapshot,
}

/// A tap that notes what it sees.
#[derive(Default)]
struct Eye(Mutex<Vec<String>>);

impl EventSink for Eye {
    fn mask(&self) -> EventMask {
        EventMask::PUBLISHING
    }

    fn moment(&self, moment: &Moment<'_>) {
        let Moment::Publishing(seen) = moment else { panic!("{moment:?}") };
        let line = format!("{} {} {:?} {}", seen.topic_name(), seen.payload.len(), seen.qos, seen.retain);
        self.0.lock().unwrap().push(line);
    }
}

/// A broker with a host or without.
fn broker(dice: &mut Dice) -> (Network, Option<Arc<Toy>>) {
    let settings = [
        ("session.max_outbox_bytes", "64KiB"),
        ("session.queue_qos0", dice.pick(&["true", "false"])),
        ("session.max_queued_messages", dice.pick(&["3", "1000"])),
        ("session.queue_overflow", dice.pick(&["drop_newest", "drop_oldest", "disconnect"])),
        ("mqtt.max_inflight", dice.pick(&["1", "20"])),
        ("mqtt.max_packet_size", dice.pick(&["1MiB", "1MiB", "10000", "700"])),
        ("mqtt.max_topic_levels", "3"),
    ];
    let toy = match dice.roll(12) {
        0 => Toy::wants(everything()),
        1 | 2 => Toy::wants(Wanted { dropped: true, ..Wanted::default() }),
        3 => Toy::wants(Wanted { log: Some(Level::Debug), ..Wanted::default() }),
        4 => {
            let asked = AtomicUsize::new(0);
            Toy::authorizes(move |request| {
                let publishes = request.action == Action::Publish;
                let denied = publishes && asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
                if denied { Verdict::Deny } else { Verdict::Allow }
            })
        }
        5 => Toy::looks(|edit| {
            let _ = edit.set_payload([edit.payload(), b"!"].concat());
            edit.payload().len() % 3 != 0
        }),
        _ => return (Network::with(&settings), None),
    };
    let toy = Arc::new(toy);
    (Network::hosted_by(toy.clone(), &settings), Some(toy))
}

/// Subscribes to some of what is published.
fn subscribe(client: &mut Client<'_>, dice: &mut Dice) {
    for _ in 0..1 + dice.roll(2) {
        let filter = dice.pick(&["t", "t", "t", "#", "+", "u/v", "u/#"]);
        let mut options = SubscriptionOptions::with_qos(dice.pick(&QOS));
        let mut identifier = 0;
        if client.version == V5 {
            options.no_local = dice.chance(30);
            options.retain_as_published = dice.chance(30);
            options.retain_handling = RetainHandling::DoNotSend;
            identifier = dice.pick(&[0, 0, 0, 7]);
        }
        client.subscribe_with(filter, options, identifier);
    }
}

/// A client in one of the states that make a difference; the last are away.
fn hearer<'n>(network: &'n Network, number: u64, group: bool, dice: &mut Dice) -> (Opts, Option<Client<'n>>) {
    let mut how = opts(&format!("hearer{number}"), dice.pick(&ALL));
    if dice.chance(50) {
        how = how.persistent();
    }
    if dice.chance(25) {
        let most = dice.pick(&[30, 40, 300]);
        how = how.with(|p| _ = p.maximum_packet_size(most));
    }
    if dice.chance(20) {
        how = how.with(|p| _ = p.topic_alias_maximum(1));
    }
    let mut client = how.on(network);
    subscribe(&mut client, dice);
    if group {
        client.subscribe("$share/g/t", Q1);
    }
    match dice.roll(8) {
        0..=3 => {}
        4 => client.line.allow(dice.roll(300) as usize),
        5 => {
            client.subscribe("fill", Q0);
            client.line.block();
            network.publish("fill", &"x".repeat(65_536 - dice.roll(400) as usize), 0, false);
        }
        6 => {
            client.hang_up();
            return (how, None);
        }
        _ => {
            client.hang_up();
            for qos in [1, 1, 0] {
                network.publish("t", "older", qos, false);
            }
            client = how.clone().resume().on(network);
        }
    }
    (how, Some(client))
}

/// A message to `t` whose Remaining Length is longer than it needs to be, which MQTT 5 does not allow.
const LONG_LENGTH: [u8; 7] = [0x30, 0x84, 0, 0, 1, b't', 0];

/// Some packets of a publisher, most of them messages of QoS 0 to one topic.
fn traffic(version: Version, dice: &mut Dice, next_id: &mut u16) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for _ in 0..1 + dice.roll(4) {
        let topic = dice.pick(&["t", "t", "t", "u/v", "$SYS/x", "nobody/hears"]);
        let topic = if dice.chance(2) { "a/b/too/deep" } else { topic };
        let size = dice.pick(&[0, 1, 10, 24, 34, 290, 600, 3000, 8180, 8192]);
        let shape = dice.roll(4);
        let mut properties = Vec::new();
        if version == V5 && dice.chance(20) {
            let mut writer = PropertyWriter::new(&mut properties);
            match dice.roll(4) {
                0 => writer.message_expiry_interval(9),
                1 => writer.user_property("a", "b"),
                2 => writer.payload_format_indicator(1),
                _ => writer.topic_alias(1 + dice.roll(2) as u16),
            };
        }
        let properties = Properties::from_encoded(&properties).unwrap();
        for n in 0..1 + dice.roll(7) as usize {
            let size = match shape {
                0 => size + n,
                1 => (size + 1).saturating_sub(n),
                2 => size + dice.roll(2) as usize,
                _ => size,
            };
            let payload: Vec<u8> = (0..size).map(|at| if at == 0 { b'0' + n as u8 } else { b'x' }).collect();
            let mut publish = Publish {
                dup: false,
                qos: Q0,
                retain: false,
                topic,
                packet_id: None,
                properties,
                payload: &payload,
            };
            match dice.roll(60) {
                0 => publish.retain = true,
                1 => publish.properties = Properties::EMPTY,
                2 if properties.topic_alias().is_some() => publish.topic = "",
                3 | 4 => {
                    publish.qos = dice.pick(&[Q1, Q2]);
                    publish.packet_id = PacketId::new(*next_id);
                    publish.dup = dice.chance(20);
                    *next_id += 1;
                }
                5 => packets.push(vec![0xC0, 0]),
                6 if version != V5 || dice.chance(20) => packets.push(LONG_LENGTH.to_vec()),
                7 if dice.chance(20) => packets.push(vec![0x30, 1, 0]),
                8 => packets.push(Packets::default().publish(version, "t", &"y".repeat(710), Q0, 0).0),
                _ => {}
            }
            packets.push(Packets::default().packet(version, &Packet::Publish(publish)).0);
        }
    }
    packets
}

fn line(packet: &Received) -> String {
    let Received::Publish(message) = packet else {
        return format!("{packet:?}");
    };
    let Message { topic, payload, qos, retain, dup, id, .. } = message;
    let begin = String::from_utf8_lossy(&payload[..payload.len().min(8)]);
    let properties = message.properties().raw();
    format!("{topic}: {begin} of {}, {qos:?} {id} {retain} {dup} {properties:?}", payload.len())
}

/// Reads and acknowledges all that comes.
fn read(client: &mut Client<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(packet) = client.next() {
        lines.push(line(&packet));
        if client.line.finished().is_some() {
            continue;
        }
        match packet {
            Received::Publish(Message { qos: Q1, id, .. }) => _ = client.send_ack(AckKind::Puback, id),
            Received::Publish(Message { qos: Q2, id, .. }) => _ = client.send_ack(AckKind::Pubrec, id),
            Received::Ack { kind: AckKind::Pubrel, id, .. } => _ = client.send_ack(AckKind::Pubcomp, id),
            _ => {}
        }
    }
    lines.push(format!("{:?}", client.line.finished()));
    lines
}

fn views(network: &Network) -> Vec<String> {
    let mut views = network.engine.clients();
    views.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    let show = |view| format!("{view:?}");
    views.iter().map(show).collect()
}

/// One story from a seed, with the publisher's packets `together` or one by one, in the same turns.
fn story(seed: u64, together: bool, tally: &mut Tally) -> Traces {
    let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    dice.roll(2);
    let (network, toy) = broker(dice);
    let version = dice.pick(&ALL);
    let mut publisher = opts("publisher", version).on(&network);
    if dice.chance(40) {
        subscribe(&mut publisher, dice);
    }
    let group = dice.chance(10);
    let hearers: Vec<_> = (0..1 + dice.roll(5)).map(|n| hearer(&network, n, group, dice)).collect();
    let inbox = Inbox::new(dice.pick(&[2, 1000]));
    if dice.chance(40) {
        let options = SubscriptionOptions::with_qos(Q1);
        network.engine.subscribe_local(&mut network.turn(), "t", options, 0, inbox.clone()).unwrap();
    }
    let onlooker = dice.chance(50).then(|| Onlooker::at(&network, "#"));
    let eye = Arc::new(Eye::default());
    if dice.chance(5) {
        network.engine.watch(eye.clone());
    }
    let mut cut = Vec::new();
    let mut id = 1;
    for turn in 0..1 + dice.roll(3) {
        let mut portions = traffic(version, dice, &mut id);
        let first = std::mem::take(&mut cut);
        if turn > 0 && !first.is_empty() {
            portions.insert(0, first);
        }
        if dice.chance(40)
            && let Some(last) = portions.last_mut()
        {
            cut = last.split_off(1 + dice.roll(last.len() as u64 - 1) as usize);
        }
        if together {
            portions = vec![portions.concat()];
        }
        publisher.send_in_one_turn(&portions);
    }
    let mut traces = Traces { stats: vec![network.stats()], views: views(&network), ..Traces::default() };
    traces.clients.push(read(&mut publisher));
    for (how, client) in hearers {
        let mut client = client.unwrap_or_else(|| how.resume().on(&network));
        client.line.open();
        client.writable();
        traces.clients.push(read(&mut client));
        client.hang_up();
    }
    traces.views.extend(views(&network));
    traces.stats.push(network.stats());
    (traces.pushed, traces.wakes) = (inbox.take(), inbox.take_wakes());
    traces.told.extend(toy.map_or_else(Vec::new, |toy| toy.heard()));
    traces.told.extend(eye.0.lock().unwrap().drain(..));
    // Of several clients another may be first, as their addresses will have it.
    traces.told.sort();
    // A member of a group may get a message twice.
    tally.leaders += onlooker.filter(|_| !group).map_or(0, |onlooker| onlooker.leaders());
    tally.add(&traces.stats[1]);
    traces
}

impl Tally {
    fn add(&mut self, stats: &Snapshot) {
        let drops = &mut self.drops;
        drops.messages_dropped_no_subscriber += stats.messages_dropped_no_subscriber;
        drops.messages_dropped_offline += stats.messages_dropped_offline;
        drops.messages_dropped_outbox_full += stats.messages_dropped_outbox_full;
        drops.messages_dropped_packet_too_large += stats.messages_dropped_packet_too_large;
        drops.messages_dropped_local_queue_full += stats.messages_dropped_local_queue_full;
        drops.messages_dropped_not_authorized += stats.messages_dropped_not_authorized;
        drops.protocol_errors += stats.protocol_errors;
    }
}

/// Where two traces differ first, in words.
fn difference(a: &Traces, b: &Traces) -> Option<String> {
    if a == b {
        return None;
    }
    let lists = |t: &Traces| {
        let stats =
            t.stats.iter().map(|stats| format!("{stats:#?}").lines().map(str::to_owned).collect::<Vec<_>>());
        let pushed = t.pushed.iter().map(|p| format!("{} {}", p.topic, p.payload.len())).collect();
        let rest = [t.views.clone(), pushed, vec![format!("{} wakes", t.wakes)], t.told.clone()];
        t.clients.iter().cloned().chain(rest).chain(stats).collect::<Vec<_>>()
    };
    let (a, b) = (lists(a), lists(b));
    for (a, b) in a.iter().zip(&b) {
        let at = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at));
        if let Some(at) = at {
            return Some(format!("{:?} is {:?} one by one", a.get(at), b.get(at)));
        }
    }
    Some("the payloads pushed to the host differ".to_owned())
}

/// Random publishers, hearers in random states, and all that they, the host and the counters can tell.
#[test]
fn what_comes_together_is_what_comes_one_by_one_whoever_hears_it() {
    let (mut together, mut one_by_one) = (Tally::default(), Tally::default());
    for seed in 0..400 {
        let difference = difference(&story(seed, true, &mut together), &story(seed, false, &mut one_by_one));
        assert_eq!(difference, None, "seed {seed}");
    }
    assert_eq!(one_by_one.leaders, 0);
    assert!(together.leaders > 50, "{} clients were given a burst at once", together.leaders);
    let drops = together.drops;
    let counts = [
        drops.messages_dropped_no_subscriber,
        drops.messages_dropped_offline,
        drops.messages_dropped_outbox_full,
        drops.messages_dropped_packet_too_large,
        drops.messages_dropped_local_queue_full,
        drops.messages_dropped_not_authorized,
        drops.protocol_errors,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
