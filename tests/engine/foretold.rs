//! What an explanation foretells is what then happens, to every subscriber: stories from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use midge::codec::ack::AckKind;
use midge::codec::properties::{Properties, PropertyWriter};
use midge::codec::qos::QoS;
use midge::codec::subscribe::{RetainHandling, SubscriptionOptions};
use midge::codec::topic::TopicName;
use midge::engine::access::hooks::Wanted;
use midge::engine::parts::admission::Draft;
use midge::engine::parts::subscriber::Publisher;
use midge::engine::view::explain::{Fate, Question, Receiver};
use midge::message::Publication;
use midge::stats::DropReason;

use crate::harness::{ALL, Client, Dice, Inbox, Network, Opts, QOS, Received, V5, opts};
use crate::hooks::Toy;

/// A client's messages: those sent and those that wait.
type Counts = BTreeMap<String, (u64, usize)>;

/// A broker whose bounds are met soon.
fn broker(dice: &mut Dice) -> (Network, Arc<Toy>) {
    let settings = [
        ("session.max_outbox_bytes", "64KiB"),
        ("session.queue_qos0", dice.pick(&["true", "false"])),
        ("session.max_queued_messages", dice.pick(&["0", "1", "3", "1000"])),
        ("session.max_queued_bytes", dice.pick(&["600B", "2000B", "1MiB"])),
        ("session.queue_overflow", dice.pick(&["drop_newest", "drop_oldest", "disconnect"])),
        ("mqtt.max_inflight", dice.pick(&["1", "2", "20"])),
    ];
    let toy = Arc::new(Toy::wants(Wanted { dropped: true, ..Wanted::default() }));
    (Network::hosted_by(toy.clone(), &settings), toy)
}

fn options(dice: &mut Dice, v5: bool) -> (SubscriptionOptions, u32) {
    let mut options = SubscriptionOptions::with_qos(dice.pick(&QOS));
    options.retain_handling = RetainHandling::DoNotSend;
    options.retain_as_published = v5 && dice.chance(30);
    let identifier = if v5 { dice.pick(&[0, 0, 7, 127, 128, 16_384, 2_097_152]) } else { 0 };
    (options, identifier)
}

/// A client with subscriptions of its own or in a group, in one of the states that make a difference.
fn hearer<'n>(network: &'n Network, number: u64, dice: &mut Dice) -> (Opts, Option<Client<'n>>) {
    let version = dice.pick(&ALL);
    let mut how = opts(&format!("hearer{number}"), version);
    if dice.chance(60) {
        how = how.persistent();
    }
    if dice.chance(30) {
        let most = dice.pick(&[30, 40, 60, 300]);
        how = how.with(|p| _ = p.maximum_packet_size(most));
    }
    if dice.chance(20) {
        how = how.with(|p| _ = p.topic_alias_maximum(1));
    }
    let mut client = how.on(network);
    // One that is in a group and outside of it has changed when the second message comes.
    let filters: &[&str] = match dice.roll(3) {
        0 => &["$share/g/t/+"],
        1 => &["t/+"],
        _ => &["t/+", "t/#", "#"],
    };
    for filter in filters {
        let (mut options, identifier) = options(dice, version == V5);
        options.no_local = version == V5 && !filter.starts_with('$') && dice.chance(30);
        client.subscribe_with(filter, options, identifier);
    }
    match dice.roll(8) {
        0..=3 => {}
        4 => client.line.allow(dice.roll(300) as usize),
        5 => {
            client.subscribe("fill", QoS::AtMostOnce);
            client.line.block();
            network.publish("fill", &"x".repeat(65_536 - dice.roll(400) as usize), 0, false);
        }
        _ => {
            client.hang_up();
            return (how, None);
        }
    }
    (how, Some(client))
}

/// What is to be published.
struct Letter {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    properties: Vec<u8>,
    expiry: Option<u32>,
}

impl Letter {
    fn new(number: u64, dice: &mut Dice) -> Letter {
        let mut properties = Vec::new();
        if dice.chance(30) {
            PropertyWriter::new(&mut properties).user_property("a", &"b".repeat(dice.roll(9) as usize));
        }
        Letter {
            topic: format!("t/{number}"),
            payload: vec![b'x'; dice.pick(&[0, 10, 14, 20, 22, 34, 290, 600, 3000])],
            qos: dice.pick(&QOS),
            retain: dice.chance(20),
            properties,
            expiry: dice.pick(&[None, None, Some(2), Some(1000)]),
        }
    }

    fn explain(&self, network: &Network, publisher: Option<&str>) -> Vec<Receiver> {
        let message = Draft {
            topic: TopicName::parse(&self.topic).unwrap(),
            qos: self.qos,
            retain: self.retain,
            payload_len: self.payload.len(),
            properties_len: self.properties.len(),
            expires: self.expiry.is_some(),
            user_properties: 0,
        };
        let explanation = network.engine.explain(network.now(), &Question { message, publisher });
        assert_eq!(explanation.refused, None);
        explanation.receivers
    }

    /// Publishes for the host; what has become of it before anything is written.
    fn publish(&self, network: &Network) -> Counts {
        let mut turn = network.turn();
        let mut publication =
            Publication::new(self.topic.as_bytes(), &self.payload, self.qos, self.retain, network.now());
        publication.properties = Properties::from_encoded(&self.properties).unwrap().forwardable().collect();
        if let Some(seconds) = self.expiry {
            publication.expires_at = network.now().plus_secs(u64::from(seconds));
        }
        let name = TopicName::parse(&self.topic).unwrap();
        network.engine.publish(&mut turn, Publisher::Host, name, &mut publication);
        counts(network)
    }

    /// Has a client publish.
    fn publish_by(&self, client: &mut Client<'_>) {
        client.send_with(&self.topic, &self.payload, self.qos, self.retain, |p| {
            for (name, value) in Properties::from_encoded(&self.properties).unwrap().user_properties() {
                p.user_property(name, value);
            }
            if let Some(seconds) = self.expiry {
                p.message_expiry_interval(seconds);
            }
        });
    }
}

fn counts(network: &Network) -> Counts {
    let clients = network.engine.clients();
    clients.into_iter().map(|client| (client.client_id, (client.sent_messages, client.queued))).collect()
}

/// What the host was told of messages that subscribers miss.
fn drops(toy: &Toy) -> Vec<String> {
    let mut told = toy.heard();
    told.retain(|line| !line.ends_with(&format!(": {}", DropReason::NoSubscriber)));
    told
}

/// Compares what was foretold of a message with what became of it. `exact`: nothing was written in between.
fn compare(
    what: &str,
    topic: &str,
    receivers: &[Receiver],
    (before, after): (&Counts, &Counts),
    drops: &[String],
    exact: bool,
) {
    let fates: BTreeMap<&str, Fate> =
        receivers.iter().filter_map(|heard| Some((heard.client_id.as_deref()?, heard.fate))).collect();
    let lost = |client: &str| {
        let begin = format!("{client} misses {topic}: ");
        drops.iter().find_map(|line| line.strip_prefix(&begin).map(str::to_owned))
    };
    for (client, (sent, queued)) in before {
        let Some((sent_then, queued_then)) = after.get(client) else { continue };
        let fate = fates.get(client.as_str());
        let reason = match fate {
            Some(Fate::Dropped(reason)) => Some(reason.to_string()),
            Some(Fate::Overflowed) => Some(DropReason::QueueFull.to_string()),
            _ => None,
        };
        let what =
            format!("{what}, {client}: {fate:?}, {sent} {queued} -> {sent_then} {queued_then}, {drops:?}");
        // What waits for a client that is there may be sent, or found too large, at the end of the turn.
        let lost = lost(client).filter(|lost| {
            let too_large = DropReason::PacketTooLarge.to_string();
            *lost != too_large || !matches!(fate, Some(Fate::QueuedWhileBusy))
        });
        assert_eq!(lost, reason, "{what}");
        let gone = format!("{client} misses ");
        let others =
            drops.iter().filter(|line| line.starts_with(&gone)).count() - usize::from(reason.is_some());
        if exact {
            let is_sent = matches!(fate, Some(Fate::Sent));
            assert_eq!(*sent_then, sent + u64::from(is_sent), "{what}");
            let waits = matches!(fate, Some(Fate::QueuedWhileAway | Fate::QueuedWhileBusy));
            // Others made room for it, or had expired.
            let most = queued + usize::from(waits);
            assert!(*queued_then <= most && queued_then + others >= most, "{what}");
        }
    }
}

/// One story: clients and subscriptions of the host in many states, and what becomes of some messages.
fn story(seed: u64, tally: &mut BTreeMap<String, usize>) {
    let dice = &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    dice.roll(2);
    let (network, toy) = broker(dice);
    let mut hearers: Vec<_> = (0..1 + dice.roll(6)).map(|n| hearer(&network, n, dice)).collect();
    let mut inboxes = Vec::new();
    for _ in 0..dice.roll(3) {
        let inbox = Inbox::new(dice.roll(6) as usize);
        let filter = dice.pick(&["t/+", "$share/g/t/+", "$share/h/t/+"]);
        let (mut options, identifier) = options(dice, true);
        options.no_local = dice.chance(20);
        network
            .engine
            .subscribe_local(&mut network.turn(), filter, options, identifier, inbox.clone())
            .unwrap();
        inboxes.push(inbox);
    }
    toy.heard();
    for number in 0..20 {
        if dice.chance(10) {
            network.advance(3);
        }
        if dice.chance(15)
            && let (_, Some(client)) = &mut hearers[0]
        {
            // Some room again.
            client.line.open();
            client.writable();
            while let Some(packet) = client.next() {
                if let Received::Publish(message) = packet
                    && message.qos == QoS::AtLeastOnce
                {
                    client.send_ack(AckKind::Puback, message.id);
                }
            }
        }
        toy.heard();
        let letter = Letter::new(number, dice);
        let what = format!("seed {seed}, message {number}");
        let by = dice.roll(hearers.len() as u64 * 3) as usize;
        let pushed = |inboxes: &[Arc<Inbox>]| inboxes.iter().map(|inbox| inbox.len()).sum::<usize>();
        let (before, local) = (counts(&network), pushed(&inboxes));
        let receivers;
        let alive = |client: &Client<'_>| client.line.finished().is_none();
        match hearers.get_mut(by).and_then(|(_, client)| client.as_mut()).filter(|client| alive(client)) {
            Some(client) if client.version == V5 && client.line.has_room() => {
                let id = format!("hearer{by}");
                receivers = letter.explain(&network, Some(&id));
                letter.publish_by(client);
                compare(&what, &letter.topic, &receivers, (&before, &counts(&network)), &drops(&toy), false);
            }
            _ => {
                receivers = letter.explain(&network, None);
                let after = letter.publish(&network);
                compare(&what, &letter.topic, &receivers, (&before, &after), &drops(&toy), true);
            }
        }
        let for_host = receivers.iter().filter(|heard| heard.client_id.is_none());
        let taken = for_host.filter(|heard| heard.fate == Fate::Sent).count();
        assert_eq!(pushed(&inboxes), local + taken, "{what}: {receivers:?}");
        for heard in &receivers {
            *tally.entry(format!("{:?}", heard.fate)).or_default() += 1;
            if heard.group.is_some() {
                *tally.entry(format!("group {:?}", heard.fate)).or_default() += 1;
            }
        }
    }
}

#[test]
fn what_is_foretold_happens_to_every_subscriber() {
    let mut tally = BTreeMap::new();
    (0..500).for_each(|seed| story(seed, &mut tally));
    for fate in [
        "Sent",
        "QueuedWhileAway",
        "QueuedWhileBusy",
        "Overflowed",
        "NoLocal",
        "Dropped(QueueFull)",
        "Dropped(Offline)",
        "Dropped(OutboxFull)",
        "Dropped(PacketTooLarge)",
        "Dropped(LocalQueueFull)",
        "group Sent",
        "group QueuedWhileAway",
        "group QueuedWhileBusy",
        "group Dropped(QueueFull)",
        "group Dropped(LocalQueueFull)",
    ] {
        assert!(tally.get(fate).is_some_and(|count| *count >= 20), "{fate}: {tally:?}");
    }
}
