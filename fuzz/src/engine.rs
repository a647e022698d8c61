//! Several connections, the host program and the clock, by a script.

use std::sync::Arc;

use midge::codec::ack::AckKind;
use midge::codec::reason::ReasonCode;
use midge::codec::topic::TopicName;
use midge::codec::version::Version;
use midge::engine::parts::subscriber::Publisher;
use midge::message::Publication;

use super::input::Input;
use super::packets;
use super::world::{Inbox, LateStore, World};

/// Connections at the same time.
const CONNECTIONS: usize = 5;
/// Subscriptions of the host program at the same time.
const LOCALS: usize = 4;

/// Settings and values to choose from; the first is harmless.
const SETTINGS: [(&str, &[&str]); 24] = [
    ("mqtt.receive_maximum", &["1024", "1", "2"]),
    ("mqtt.max_inflight", &["1024", "1", "2"]),
    ("mqtt.topic_alias_maximum", &["16", "0", "1"]),
    ("mqtt.topic_alias_maximum_outgoing", &["16", "0", "1"]),
    ("mqtt.max_packet_size", &["1MiB", "128B", "8200B"]),
    ("mqtt.max_topic_levels", &["128", "2"]),
    ("mqtt.max_subscriptions_per_client", &["1000", "1", "2"]),
    ("mqtt.max_qos", &["2", "1", "0"]),
    ("mqtt.retain", &["true", "false"]),
    ("mqtt.wildcard_subscriptions", &["true", "false"]),
    ("mqtt.shared_subscriptions", &["true", "false"]),
    ("mqtt.subscription_identifiers", &["true", "false"]),
    ("mqtt.allow_empty_client_id", &["true", "false"]),
    ("mqtt.keep_alive_max", &["0", "5s"]),
    ("session.max_expiry", &["100s", "10s", "0"]),
    ("session.max_sessions", &["100", "1", "2"]),
    ("session.max_queued_messages", &["1000", "0", "1", "3"]),
    ("session.max_queued_bytes", &["16MiB", "0", "400B"]),
    ("session.queue_overflow", &["drop_newest", "drop_oldest", "disconnect"]),
    ("session.queue_qos0", &["false", "true"]),
    ("session.max_outbox_bytes", &["1MiB", "64KiB"]),
    ("retained.max_messages", &["1000", "0", "1"]),
    ("retained.max_bytes", &["256MiB", "300B"]),
    ("sys.interval", &["0", "10s"]),
];

/// Target `engine`: clients and the host program do what the script says, right or wrong; after each step the gauges
/// agree with what is there, and at the end nothing is left.
pub fn engine(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = world(&mut input);
    let mut steps = 0;
    while !input.is_empty() && steps < 400 {
        step(&mut world, &mut input);
        world.check();
        steps += 1;
    }
    world.end();
}

fn world(input: &mut Input<'_>) -> World {
    let mut settings: Vec<(&str, &str)> = SETTINGS.iter().map(|(key, values)| (*key, values[0])).collect();
    for _ in 0..input.below(6) {
        let at = input.below(SETTINGS.len());
        settings[at].1 = input.pick(SETTINGS[at].1);
    }
    World::new(&settings, input.flag().then(|| Arc::new(LateStore::default())))
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let kind = input.below(20);
    match kind {
        0 | 1 => greet(world, input),
        2 => host_publish(world, input),
        3 => host_subscribe(world, input),
        4 if !world.locals.is_empty() => {
            let local = world.locals.swap_remove(input.below(world.locals.len()));
            world.engine.unsubscribe_local(&local);
        }
        5 => world.advance(input.pick(&[0, 1, 999, 1_500, 16_000, 100_000])),
        6 => world.commit(),
        7 => {
            world.engine.kick(&mut world.engine.turn(world.now), input.pick(&["a", "b", "c"]));
            world.settle();
        }
        8 if input.byte() == 255 => {
            world.engine.stop(&mut world.engine.turn(world.now));
            world.settle();
        }
        _ if !world.connections.is_empty() => {
            let at = input.below(world.connections.len());
            client(world, input, kind, at);
        }
        _ => greet(world, input),
    }
}

/// A connection is opened, and mostly CONNECT is sent.
fn greet(world: &mut World, input: &mut Input<'_>) {
    if world.connections.len() < CONNECTIONS {
        world.open();
        let mut bytes = Vec::new();
        packets::connect(input, &mut bytes);
        world.send(world.connections.len() - 1, &bytes, false);
    }
}

fn client(world: &mut World, input: &mut Input<'_>, kind: usize, at: usize) {
    match kind {
        4 => world.lose(at),
        8 => world.allow(at, Some(0)),
        9 => world.allow(at, input.pick(&[Some(1), Some(3), Some(40), None])),
        10 => world.allow(at, None),
        11 | 12 => acknowledge(world, at, 1, input.below(8) == 7),
        13 => acknowledge(world, at, usize::MAX, false),
        14 if world.line(at).finished().is_some() => world.lose(at),
        _ => {
            let version = world.connections[at].peer.version.unwrap_or(Version::V5);
            let mut bytes = Vec::new();
            let bits = input.byte();
            for _ in 0..=bits % 3 {
                packets::packet(input, version, &mut bytes);
            }
            let (now, later) = bytes.split_at(if bits & 32 != 0 { bytes.len() / 2 } else { bytes.len() });
            world.send(at, now, bits & 64 != 0);
            world.send(at, later, bits & 64 != 0);
        }
    }
}

/// The client answers the first messages that it has received; with an error, if it may.
fn acknowledge(world: &mut World, at: usize, count: usize, refuse: bool) {
    let peer = &mut world.connections[at].peer;
    let Some(version) = peer.version else { return };
    let mut bytes = Vec::new();
    for (kind, id) in peer.owed.drain(..count.min(peer.owed.len())) {
        let may_refuse = refuse && version.is_v5() && kind != AckKind::Pubcomp;
        let reason = if may_refuse { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
        packets::ack(kind, id, reason, version, &mut bytes);
    }
    world.send(at, &bytes, false);
}

fn host_publish(world: &mut World, input: &mut Input<'_>) {
    let (topic, qos, retain) = (input.pick(&packets::TOPICS), input.pick(&packets::QOS), input.flag());
    let (payload, mut properties) = (packets::payload(input), Vec::new());
    let expiry = input.pick(&[u64::MAX, 0, 1, 50]);
    if input.flag() {
        packets::message_properties(&mut Input::new(&[4 | 8 | 16]), &mut properties);
    }
    let mut publication = Publication::new(topic.as_bytes(), &payload, qos, retain, world.now);
    if !properties.is_empty() {
        publication.properties.push(&properties);
    }
    if expiry != u64::MAX {
        publication.expires_at = world.now.plus_secs(expiry);
    }
    let name = TopicName::parse(topic).unwrap();
    let mut turn = world.engine.turn(world.now);
    world.engine.publish(&mut turn, Publisher::Host, name, &mut publication);
    drop(turn);
    world.settle();
}

fn host_subscribe(world: &mut World, input: &mut Input<'_>) {
    let (filter, options, room) = (input.pick(&packets::FILTERS), packets::options(input), input.byte());
    if world.locals.len() < LOCALS {
        let sink = Inbox::new(filter, u64::from(room));
        let mut turn = world.engine.turn(world.now);
        if let Ok(local) = world.engine.subscribe_local(&mut turn, filter, options, input.byte().into(), sink)
        {
            world.locals.push(local);
        }
    }
}
