//! What an explanation foretells, on both sides of each bound.

use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicName;
use midge::engine::parts::admission::{Draft, Refusal};
use midge::engine::parts::subscriber::Publisher;
use midge::engine::view::explain::{Explanation, Fate, Question, Receiver};
use midge::message::Publication;
use midge::session::queue::PLACE;
use midge::stats::DropReason;
use midge::time::Time;

use crate::harness::{ALL, Inbox, Network, Q0, Q1, Q2, QOS, V5, V311, opts};

/// A question of the host about a message with an empty payload.
fn about(topic: &str, qos: QoS) -> Question<'_> {
    let topic = TopicName::parse(topic).unwrap();
    let message = Draft {
        topic,
        qos,
        retain: false,
        payload_len: 0,
        properties_len: 0,
        expires: false,
        user_properties: 0,
    };
    Question { message, publisher: None }
}

/// The same question about a message that differs.
fn with<'q>(question: Question<'q>, change: impl FnOnce(&mut Draft<'q>)) -> Question<'q> {
    let mut message = question.message;
    change(&mut message);
    Question { message, ..question }
}

fn refusal(network: &Network, question: &Question<'_>) -> Option<Refusal> {
    network.engine.explain(network.now(), question).refused
}

/// The only receiver.
fn receiver(network: &Network, question: &Question<'_>) -> Receiver {
    let Explanation { refused, mut receivers } = network.engine.explain(network.now(), question);
    assert_eq!((refused, receivers.len()), (None, 1), "{question:?}");
    receivers.remove(0)
}

/// What is foretold of a message to `t`; then it is published, and what is foretold happens.
#[track_caller]
fn foretold(network: &Network, qos: QoS, payload_len: usize) -> Fate {
    let fate = receiver(
        network,
        &with(about("t", qos), |message| {
            message.payload_len = payload_len;
        }),
    )
    .fate;
    let before = network.stats();
    network.publish("t", &"x".repeat(payload_len), qos.as_u8(), false);
    let after = network.stats();
    match fate {
        Fate::Sent => assert_eq!(after.messages_delivered, before.messages_delivered + 1, "{fate:?}"),
        Fate::QueuedWhileAway | Fate::QueuedWhileBusy => {
            assert_eq!(after.messages_queued, before.messages_queued + 1, "{fate:?}");
        }
        Fate::Dropped(reason) => assert_eq!(after.dropped(reason), before.dropped(reason) + 1, "{fate:?}"),
        Fate::Overflowed => {
            assert_eq!(after.messages_dropped_queue_full, before.messages_dropped_queue_full + 1);
        }
        Fate::NoLocal => panic!("the host is no client"),
    }
    fate
}

#[test]
fn a_message_is_foretold_to_be_refused_beyond_each_bound_and_not_at_it() {
    let of = |key: &str, value: &str| Network::with(&[(key, value)]);
    let levels = of("mqtt.max_topic_levels", "3");
    assert_eq!(refusal(&levels, &about("a/b/c", Q0)), None);
    assert_eq!(refusal(&levels, &about("a/b/c/d", Q0)), Some(Refusal::TopicTooDeep(3)));
    let length = of("mqtt.max_topic_length", "5");
    assert_eq!(refusal(&length, &about("abcde", Q0)), None);
    assert_eq!(refusal(&length, &about("abcdef", Q0)), Some(Refusal::TopicTooLong(5)));
    for most in QOS {
        let network = of("mqtt.max_qos", &most.as_u8().to_string());
        for qos in QOS {
            let expected = (qos > most).then_some(Refusal::QosTooHigh(qos));
            assert_eq!(refusal(&network, &about("t", qos)), expected);
        }
    }
    // Fixed header 2, topic 3, identifier 2, property length 1.
    let size = of("mqtt.max_packet_size", "128B");
    for (payload_len, properties_len, fits) in
        [(120, 0, true), (121, 0, false), (100, 20, true), (100, 21, false)]
    {
        let question = with(about("t", Q1), |message| {
            message.payload_len = payload_len;
            message.properties_len = properties_len;
        });
        assert_eq!(
            refusal(&size, &question),
            (!fits).then_some(Refusal::TooLarge { len: 129, most: 128 }),
            "{question:?}"
        );
    }
}

#[test]
fn what_only_the_broker_may_or_nobody_may_is_foretold_to_be_refused() {
    let network = Network::new();
    assert_eq!(refusal(&network, &about("$SYS/x", Q0)), Some(Refusal::BrokersTopic));
    for topic in ["$SYS", "$SYSX/x", "a/$SYS/x"] {
        assert_eq!(refusal(&network, &about(topic, Q0)), None, "{topic}");
    }
    let retained = with(about("t", Q0), |message| {
        message.retain = true;
    });
    assert_eq!(refusal(&network, &retained), None);
    let network = Network::with(&[("mqtt.retain", "false")]);
    assert_eq!(refusal(&network, &retained), Some(Refusal::RetainOff));
    assert_eq!(refusal(&network, &about("t", Q0)), None);
}

/// The QoS of the delivery is the lower one, and that of the best subscription.
#[test]
fn the_qos_of_the_delivery_is_foretold() {
    for published in QOS {
        for granted in QOS {
            let network = Network::new();
            let mut client = opts("a", V311).on(&network);
            client.subscribe("t", granted);
            assert_eq!(receiver(&network, &about("t", published)).qos, published.min(granted));
            client.subscribe("#", Q1);
            let heard = receiver(&network, &about("t", published));
            assert_eq!(heard.qos, published.min(granted.max(Q1)));
            assert_eq!((heard.client_id.as_deref(), heard.filters.len()), (Some("a"), 2));
        }
    }
}

/// The size is exact: a packet as large as the client takes is sent, one byte more is dropped.
#[test]
fn a_packet_that_the_client_does_not_take_is_foretold() {
    // Fixed header 2, topic 3, property length 1; an identifier of 2 with QoS 1.
    for (qos, fits) in [(Q0, 44), (Q1, 42), (Q2, 42)] {
        let network = Network::new();
        let mut small = opts("small", V5).with(|p| _ = p.maximum_packet_size(50)).on(&network);
        small.subscribe("t", Q2);
        assert_eq!(foretold(&network, qos, fits), Fate::Sent);
        assert_eq!(foretold(&network, qos, fits + 1), Fate::Dropped(DropReason::PacketTooLarge));
        let with_properties = with(about("t", qos), |message| {
            message.payload_len = fits - 9;
            message.properties_len = 10;
        });
        let fate = receiver(&network, &with_properties).fate;
        assert_eq!(fate, Fate::Dropped(DropReason::PacketTooLarge));
    }
}

/// A Subscription Identifier takes two to five bytes, an expiry five, and an alias, which may be sent, three.
#[test]
fn a_packet_with_properties_of_the_delivery_is_measured_exactly() {
    for (identifiers, len) in [
        (&[][..], 0),
        (&[127], 2),
        (&[128], 3),
        (&[16_383], 3),
        (&[16_384], 4),
        (&[2_097_152], 5),
        (&[7, 16_384], 6),
    ] {
        for (expires, aliases) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
            let network = Network::new();
            let limits =
                opts("small", V5).with(|p| _ = p.maximum_packet_size(60).topic_alias_maximum(aliases));
            let mut small = limits.on(&network);
            if identifiers.is_empty() {
                small.subscribe("t", Q0);
            }
            for (identifier, filter) in identifiers.iter().zip(["t", "+"]) {
                small.subscribe_with(filter, SubscriptionOptions::with_qos(Q0), *identifier);
            }
            // Fixed header 2, topic 3, property length 1.
            let fits = 54 - len - if expires { 5 } else { 0 } - 3 * usize::from(aliases);
            let outcome = |payload_len| {
                let question = with(about("t", Q0), |message| {
                    message.payload_len = payload_len;
                    message.expires = expires;
                });
                let fate = receiver(&network, &question).fate;
                let payload = vec![b'x'; payload_len];
                let mut publication = Publication::new(b"t", &payload, Q0, false, network.now());
                if expires {
                    publication.expires_at = Time::from_millis(9000);
                }
                let before = network.stats().messages_delivered;
                let name = question.message.topic;
                network.engine.publish(&mut network.turn(), Publisher::Host, name, &mut publication);
                (fate, network.stats().messages_delivered - before)
            };
            let what = format!("{identifiers:?} {expires} {aliases}");
            assert_eq!(outcome(fits + 1), (Fate::Dropped(DropReason::PacketTooLarge), 0), "{what}");
            assert_eq!(outcome(fits), (Fate::Sent, 1), "{what}");
        }
    }
}

/// In a full queue messages that have expired make room for a new one.
#[test]
fn a_queue_that_is_full_of_expired_messages_is_foretold_to_have_room() {
    let network = Network::with(&[("session.max_queued_messages", "1")]);
    let mut client = opts("a", V5).persistent().on(&network);
    client.subscribe("t", Q1);
    client.hang_up();
    let mut publication = Publication::new(b"t", b"", Q1, false, network.now());
    publication.expires_at = Time::from_millis(2000);
    let name = TopicName::parse("t").unwrap();
    network.engine.publish(&mut network.turn(), Publisher::Host, name, &mut publication);
    network.advance_millis(1999);
    assert_eq!(foretold(&network, Q1, 1), Fate::Dropped(DropReason::QueueFull));
    network.advance_millis(1);
    assert_eq!(receiver(&network, &about("t", Q1)).fate, Fate::QueuedWhileAway);
    network.publish("t", "x", 1, false);
    assert_eq!(network.stats().messages_dropped_expired, 1);
    assert_eq!(foretold(&network, Q1, 1), Fate::Dropped(DropReason::QueueFull));
}

/// What the host's queue has no room for is dropped.
#[test]
fn a_queue_of_the_host_that_is_full_is_foretold() {
    let network = Network::new();
    let options = SubscriptionOptions::with_qos(Q1);
    network.engine.subscribe_local(&mut network.turn(), "t", options, 0, Inbox::new(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(foretold(&network, Q1, 1), Fate::Sent);
    }
    assert_eq!(foretold(&network, Q1, 1), Fate::Dropped(DropReason::LocalQueueFull));
}

#[test]
fn what_waits_for_a_client_that_is_away_is_foretold() {
    for version in ALL {
        for (setting, qos0) in
            [("false", Fate::Dropped(DropReason::Offline)), ("true", Fate::QueuedWhileAway)]
        {
            let network = Network::with(&[("session.queue_qos0", setting)]);
            let mut client = opts("a", version).persistent().on(&network);
            client.subscribe("t", Q2);
            client.hang_up();
            assert_eq!(foretold(&network, Q0, 1), qos0, "{version}");
            assert_eq!(foretold(&network, Q1, 1), Fate::QueuedWhileAway, "{version}");
        }
    }
}

/// A queue is full when it holds as many messages as it may, and what happens then is a setting.
#[test]
fn a_queue_that_is_full_by_number_is_foretold() {
    let full = Fate::Dropped(DropReason::QueueFull);
    for (overflow, away, busy) in [
        ("drop_newest", full, full),
        ("drop_oldest", Fate::QueuedWhileAway, Fate::QueuedWhileBusy),
        ("disconnect", full, Fate::Overflowed),
    ] {
        let settings = [("session.max_queued_messages", "2"), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut client = opts("a", V5).persistent().receive_maximum(1).on(&network);
        client.subscribe("t", Q1);
        assert_eq!(foretold(&network, Q1, 1), Fate::Sent);
        assert_eq!(foretold(&network, Q1, 1), Fate::QueuedWhileBusy);
        assert_eq!(foretold(&network, Q1, 1), Fate::QueuedWhileBusy);
        assert_eq!(receiver(&network, &about("t", Q1)).fate, busy, "{overflow}");
        client.hang_up();
        assert_eq!(receiver(&network, &about("t", Q1)).fate, away, "{overflow}");
        // QoS 0 is no matter of the queue.
        assert_eq!(receiver(&network, &about("t", Q0)).fate, Fate::Dropped(DropReason::Offline));
    }
}

/// And when it holds as many bytes; what would not fit into an empty queue displaces nothing.
#[test]
fn a_queue_that_is_full_by_bytes_is_foretold() {
    let size = PLACE + Publication::new(b"t", &[0; 100], Q1, false, Time::ZERO).message().size();
    let full = Fate::Dropped(DropReason::QueueFull);
    for (overflow, second) in [("drop_newest", full), ("drop_oldest", Fate::QueuedWhileAway)] {
        let bytes = format!("{size}B");
        let settings = [("session.max_queued_bytes", bytes.as_str()), ("session.queue_overflow", overflow)];
        let network = Network::with(&settings);
        let mut client = opts("a", V5).persistent().on(&network);
        client.subscribe("t", Q1);
        client.hang_up();
        assert_eq!(foretold(&network, Q1, 101), full, "{overflow}");
        let properties = with(about("t", Q1), |message| {
            message.payload_len = 100;
            message.properties_len = 1;
        });
        assert_eq!(receiver(&network, &properties).fate, full, "{overflow}");
        assert_eq!(foretold(&network, Q1, 100), Fate::QueuedWhileAway, "{overflow}");
        assert_eq!(
            receiver(
                &network,
                &with(about("t", Q1), |message| {
                    message.payload_len = 100;
                })
            )
            .fate,
            second
        );
        assert_eq!(
            receiver(
                &network,
                &with(about("t", Q1), |message| {
                    message.payload_len = 101;
                })
            )
            .fate,
            full
        );
    }
    let network =
        Network::with(&[("session.max_queued_messages", "0"), ("session.queue_overflow", "drop_oldest")]);
    let mut client = opts("a", V5).persistent().on(&network);
    client.subscribe("t", Q1);
    client.hang_up();
    assert_eq!(foretold(&network, Q1, 1), full);
}

/// 64 packets of 1 KiB fill an outbox of 64 KiB: one more finds no room.
#[test]
fn a_client_that_reads_slowly_is_foretold() {
    for version in ALL {
        for (qos, then) in [
            (Q0, Fate::Dropped(DropReason::OutboxFull)),
            (Q1, Fate::QueuedWhileBusy),
            (Q2, Fate::QueuedWhileBusy),
        ] {
            let network = Network::with(&[("session.max_outbox_bytes", "64KiB")]);
            let mut client = opts("a", version).on(&network);
            client.subscribe("t", Q2);
            client.line.block();
            // Fixed header 3, topic 3, perhaps an identifier and a property length.
            let head = 6 + 2 * usize::from(qos > Q0) + usize::from(version.is_v5());
            for _ in 0..64 {
                assert_eq!(foretold(&network, qos, 1024 - head), Fate::Sent, "{version} {qos:?}");
            }
            assert_eq!(foretold(&network, qos, 1024 - head), then, "{version} {qos:?}");
        }
    }
}

/// A QoS 0 message does not overtake one of QoS 0 that waits.
#[test]
fn a_qos_0_message_behind_others_that_wait_is_foretold() {
    let network = Network::with(&[("session.queue_qos0", "true")]);
    let mut client = opts("a", V5).persistent().receive_maximum(1).on(&network);
    client.subscribe("t", Q1);
    client.hang_up();
    for qos in [Q1, Q1, Q0] {
        assert_eq!(foretold(&network, qos, 1), Fate::QueuedWhileAway);
    }
    let _client = opts("a", V5).persistent().receive_maximum(1).on(&network);
    assert_eq!(foretold(&network, Q0, 1), Fate::QueuedWhileBusy);
}

#[test]
fn no_local_is_foretold() {
    let no_local = |qos| SubscriptionOptions { no_local: true, ..SubscriptionOptions::with_qos(qos) };
    let network = Network::new();
    let mut client = opts("a", V5).on(&network);
    client.subscribe_with("t", no_local(Q2), 0);
    let by = |publisher| receiver(&network, &Question { publisher, ..about("t", Q2) });
    assert_eq!(by(Some("a")).fate, Fate::NoLocal);
    assert_eq!(by(Some("b")).fate, Fate::Sent);
    assert_eq!(by(None).fate, Fate::Sent);
    // By another subscription it gets the message, with the QoS of that one.
    client.subscribe("#", Q1);
    let heard = by(Some("a"));
    assert_eq!((heard.fate, heard.qos, heard.filters.len()), (Fate::Sent, Q1, 2));
    assert_eq!(by(Some("b")).qos, Q2);

    let network = Network::new();
    let inbox = Inbox::new(9);
    network.engine.subscribe_local(&mut network.turn(), "t", no_local(Q1), 0, inbox).unwrap();
    let by = |publisher| receiver(&network, &Question { publisher, ..about("t", Q2) });
    assert_eq!(by(None).fate, Fate::NoLocal);
    let heard = by(Some("a"));
    assert_eq!((heard.fate, heard.qos, heard.client_id), (Fate::Sent, Q1, None));
    assert_eq!(heard.filters, [("t".to_owned(), no_local(Q1))]);
}

/// The fittest member is named: who is sent the message before who is busy, and that one before who is away.
#[test]
fn the_member_of_a_group_that_is_foretold_is_the_fittest() {
    let network = Network::new();
    let member = |id| opts(id, V5).persistent().receive_maximum(1).on(&network);
    let join = |id| {
        let mut client = member(id);
        client.subscribe("$share/g/t", Q1);
        client
    };
    let named = || {
        let heard = receiver(&network, &about("t", Q1));
        assert_eq!((heard.group.as_deref(), heard.filters[0].0.as_str()), (Some("g"), "$share/g/t"));
        (heard.client_id.unwrap(), heard.fate)
    };
    join("away").hang_up();
    assert_eq!(named(), ("away".to_owned(), Fate::QueuedWhileAway));
    let mut busy = join("busy");
    busy.subscribe("own", Q1);
    network.publish("own", "x", 1, false);
    assert_eq!(named(), ("busy".to_owned(), Fate::QueuedWhileBusy));
    let ready = join("ready");
    assert_eq!(named(), ("ready".to_owned(), Fate::Sent));
    ready.hang_up();
    busy.hang_up();
    assert_eq!(named().1, Fate::QueuedWhileAway);
}

/// Clients, subscriptions of the host and groups: each is one.
#[test]
fn subscribers_of_a_topic_are_counted() {
    let network = Network::new();
    let count = || network.engine.subscribers_of(TopicName::parse("t").unwrap());
    assert_eq!(count(), 0);
    let mut client = opts("a", V5).on(&network);
    for filter in ["t", "+", "$share/g/t"] {
        client.subscribe(filter, Q0);
    }
    let mut other = opts("b", V5).on(&network);
    other.subscribe("$share/g/t", Q0);
    let options = SubscriptionOptions::default();
    for _ in 0..2 {
        network.engine.subscribe_local(&mut network.turn(), "t", options, 0, Inbox::new(9)).unwrap();
    }
    assert_eq!(count(), 1 + 2 + 1);
    assert_eq!(network.engine.explain(network.now(), &about("t", Q0)).receivers.len(), 4);
}
