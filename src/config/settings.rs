//! The settings themselves: one list of fields, kinds, defaults and help texts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::define::settings;
use crate::config::kind::Kind;
use crate::config::secret::Secret;
use crate::config::table::{Access, Setting};
use crate::config::value::{Field, Value};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const MANY: u64 = u32::MAX as u64;

/// What happens to a message for a session whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueOverflow {
    /// The new message is dropped for this session.
    DropNewest,
    /// The oldest waiting messages are dropped until the new one fits.
    DropOldest,
    /// The client is disconnected; while it is away, the new message is dropped.
    Disconnect,
}

/// Every setting, in the order of the list.
pub(super) fn all() -> &'static [Setting] {
    TABLE
}

impl Field for QueueOverflow {
    const BLANK: Self = QueueOverflow::DropNewest;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            QueueOverflow::DropNewest => "drop_newest",
            QueueOverflow::DropOldest => "drop_oldest",
            QueueOverflow::Disconnect => "disconnect",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("drop_newest") => Some(QueueOverflow::DropNewest),
            Value::Choice("drop_oldest") => Some(QueueOverflow::DropOldest),
            Value::Choice("disconnect") => Some(QueueOverflow::Disconnect),
            _ => None,
        }
    }
}

settings! {
    listener, "A door for MQTT over TCP. A listener exists as soon as one of its settings is given; the listener `tcp` \
        exists from the start, and `listener.tcp.bind = \"off\"` removes it." {

        bind: Option<SocketAddr> = "127.0.0.1:1883", Kind::Address,
            "Address and port to listen on. Port 0 takes a free port, which the broker tells when it has started. \
             With `off` the listener does not exist. The default is that of the listener `tcp`; every other listener needs a value. \
             Danger: `0.0.0.0` and `[::]` let in every machine that can reach this one.";
        max_connections: Option<u32> = "unlimited", Kind::integer(1, MANY).or_unlimited(),
            "Connections that this listener holds at the same time; further ones are closed at once. \
             `mqtt.max_connections` bounds all listeners together.";
    }

    runtime: RuntimeSettings, "Threads, and how the broker stops." {
        worker_threads: usize = "1", Kind::integer(1, 64),
            "Threads that serve the network. More help when one processor is not enough for the traffic. \
             Cost: each has a stack and buffers of its own.";
        stop_grace: Duration = "1s", Kind::duration(0, HOUR),
            "Longest time that stopping the broker waits for connections to send what is queued. \
             With 0 they are closed at once.";
    }

    mqtt: MqttSettings, "What the broker takes from clients, and what it tells them about itself." {
        max_connections: Option<u32> = "unlimited", Kind::integer(1, MANY).or_unlimited(),
            "Clients connected at the same time, over all listeners. One more is refused. Danger: without a bound, the limit of open files of the process is the bound.";
        connect_timeout: Duration = "10s", Kind::duration(100, HOUR),
            "Time that a new connection has until its CONNECT packet is complete, then it is closed. \
             Danger: a long time lets silent peers hold connections.";
        max_packet_size: u32 = "1MiB", Kind::size(128, 256 * MIB),
            "Largest packet that a client may send, header included; a client that sends a larger one is disconnected. \
             MQTT 5 clients are told (Maximum Packet Size). Cost: a connection may hold that much while a packet \
             arrives. A message larger than `session.max_queued_bytes` cannot wait for a client that is busy or away.";
        keep_alive_max: Duration = "0", Kind::duration(SECOND, 65_535 * SECOND).or_zero().in_steps_of(SECOND),
            "Longest keep alive. An MQTT 5 client that asks for more, or for none, is told to use this one (Server \
             Keep Alive). With 0 the client decides. Clients of older versions cannot be told and keep their own.";
        receive_maximum: u16 = "1024", Kind::integer(1, 65_535),
            "QoS 1 and QoS 2 messages that a client may send before the first of them is acknowledged. MQTT 5 clients \
             are told (Receive Maximum), and one that sends more is disconnected. Cost: the packet identifiers of unfinished \
             QoS 2 exchanges are held in memory.";
        max_inflight: u16 = "1024", Kind::integer(1, 65_535),
            "QoS 1 and QoS 2 messages that the broker sends to a client before the first of them is acknowledged; \
             further ones wait in the session's queue. A client's own Receive Maximum may lower it. \
             Cost: these messages are held in memory to be sent again.";
        topic_alias_maximum: u16 = "16", Kind::integer(0, 65_535),
            "Topic aliases that an MQTT 5 client may use for what it publishes. With 0 it may use none. \
             Cost: a connection may hold that many topics.";
        topic_alias_maximum_outgoing: u16 = "16", Kind::integer(0, 65_535),
            "Topic aliases that the broker uses towards an MQTT 5 client that accepts them; the client's own Topic \
             Alias Maximum may lower it. Cost: a connection may hold that many topics.";
        max_topic_levels: usize = "128", Kind::integer(1, 32_768),
            "Levels of a topic name or a topic filter, counted between slashes. Packets with more are refused. \
             Cost: matching takes time in proportion to it.";
        max_topic_length: usize = "65535", Kind::integer(1, 65_535),
            "Bytes of a topic name or a topic filter. Packets with more are refused.";
        max_subscriptions_per_client: usize = "100000", Kind::integer(1, MANY),
            "Subscriptions that one client may hold; one more is refused with Quota exceeded. Cost: each takes memory \
             for its filter, in the session and in the table of subscriptions.";
        max_client_id_length: usize = "1024", Kind::integer(23, 65_535),
            "Bytes of a client identifier. A longer one is refused with Client Identifier not valid.";
        max_qos: u8 = "2", Kind::integer(0, 2),
            "Highest QoS at which clients may publish; MQTT 5 clients are told (Maximum QoS). Subscriptions are granted \
             at most this QoS.";
        retain: bool = "true", Kind::Bool,
            "Whether clients may publish retained messages; MQTT 5 clients are told (Retain Available).";
        wildcard_subscriptions: bool = "true", Kind::Bool,
            "Whether topic filters may have the wildcards `+` and `#`; MQTT 5 clients are told (Wildcard Subscription \
             Available).";
        shared_subscriptions: bool = "true", Kind::Bool,
            "Whether clients may share a subscription by `$share/<group>/<filter>`; MQTT 5 clients are told (Shared \
             Subscription Available).";
        subscription_identifiers: bool = "true", Kind::Bool,
            "Whether MQTT 5 clients may give subscriptions an identifier; they are told (Subscription Identifiers \
             Available).";
        response_information: String = "", Kind::Text,
            "Text that MQTT 5 clients are told when they ask for it (Response Information): by custom the beginning of the \
             topics for answers to them, such as `replies`. Without a text there is no such information.";
        allow_empty_client_id: bool = "true", Kind::Bool,
            "Whether a client may connect without a client identifier and be given one by the broker. MQTT 3.1.1 \
             allows that only with Clean Session.";
    }

    session: SessionSettings, "What the broker keeps for a client that is away or slow." {
        max_expiry: Option<Duration> = "never", Kind::duration(0, 49_710 * DAY).or_unlimited().in_steps_of(SECOND),
            "Longest time that a session is kept after its client has gone. It caps the Session Expiry Interval of \
             MQTT 5 clients, and is the expiry of every session that an older client opens without Clean Session. \
             With 0 every session ends with its connection. Danger: with `never`, sessions of clients that do not \
             come back stay until `session.max_sessions` is reached.";
        max_sessions: usize = "1000000", Kind::integer(1, MANY),
            "Sessions at the same time, of connected clients and of clients that are away; a client that would need \
             one more is refused. Cost: memory of each session and of its queue.";
        max_queued_messages: Option<usize> = "1000", Kind::integer(0, MANY).or_unlimited(),
            "Messages that wait in one session because its client is away or has a full window. With 0 none waits. \
             Danger: unlimited leaves `session.max_queued_bytes` as the only bound.";
        max_queued_bytes: u64 = "16MiB", Kind::size(0, 1024 * GIB),
            "Bytes of messages that wait in one session. Cost: each session may take as much memory.";
        queue_overflow: QueueOverflow = "drop_newest", Kind::Choice(&["drop_newest", "drop_oldest", "disconnect"]),
            "What happens to a QoS 1 or QoS 2 message for a session whose queue is full. `drop_newest` drops that \
             message; `drop_oldest` drops the oldest waiting ones until it fits; `disconnect` closes the connection of \
             the slow client, and drops the message if there is no connection. Every drop is counted.";
        queue_qos0: bool = "false", Kind::Bool,
            "Whether QoS 0 messages wait for clients that are away, as those of QoS 1 and 2 do. \
             Cost: they take places in the queue.";
        max_outbox_bytes: usize = "1MiB", Kind::size(64 * KIB, GIB),
            "Bytes that wait to be written to one connection because its client reads slowly. Beyond that, QoS 0 \
             messages to it are dropped and counted, and those of QoS 1 and 2 stay in the session's queue. \
             Cost: each slow client may take as much memory.";
    }

    retained: RetainedSettings, "The retained messages of all topics." {
        max_messages: usize = "1000000", Kind::integer(0, MANY),
            "Topics that have a retained message. When there are that many, the message of a new topic is delivered \
             but not retained, and counted as dropped.";
        max_bytes: u64 = "256MiB", Kind::size(0, 1024 * GIB),
            "Bytes of all retained messages together. A message that would go beyond is delivered but not retained, \
             and counted as dropped; an older one of its topic is not retained any more either.";
    }

    sys: SysSettings, "The topics below `$SYS`." {
        interval: Duration = "10s", Kind::duration(SECOND, DAY).or_zero(),
            "Time between two publications of the counters below `$SYS/broker`. With 0 there are none. \
             Cost: a short interval makes traffic for every client that subscribes to `$SYS/#`.";
    }

    queue: QueueSettings, "The queues of subscriptions inside the host program; a subscription may ask for other bounds." {
        capacity: usize = "10000", Kind::integer(1, MANY),
            "Messages that wait for a thread of the host to take them. What happens to one more is chosen when the \
             queue is made.";
        max_bytes: u64 = "64MiB", Kind::size(KIB, 1024 * GIB),
            "Bytes of messages that wait for a thread of the host to take them. Cost: each queue may take as much \
             memory.";
    }

    console: ConsoleSettings, "The console: pages for a browser, an HTTP API and metrics, served by the broker itself." {
        listen: Option<SocketAddr> = "off", Kind::Address,
            "Address and port of the console; by custom port 18083. Port 0 takes a free port. With `off` there is no \
             console. It needs `console.password`, or `console.tutorial`. Danger: the console speaks HTTP without encryption: beyond this \
             machine, put a proxy with TLS in front of it, or a tunnel.";
        tutorial: bool = "false", Kind::Bool,
            "For learning, on an address of this machine alone: the password of `console.user` is `public` unless \
             another is set, and the console shows the first steps.";
        user: String = "admin", Kind::Text,
            "Who may see and do everything.";
        password: Secret = "", Kind::Secret,
            "The password of `console.user`. Danger: this text stands in the configuration; `console.password_file` \
             keeps it apart.";
        password_file: String = "", Kind::Text,
            "A file whose first line is the password of `console.user`. It is read when the broker starts.";
        viewer_user: String = "viewer", Kind::Text,
            "Who may see everything and change nothing.";
        viewer_password: Secret = "", Kind::Secret,
            "The password of `console.viewer_user`. Without one there is no such user.";
        viewer_password_file: String = "", Kind::Text,
            "A file whose first line is the password of `console.viewer_user`. It is read when the broker starts.";
        hosts: String = "", Kind::Text,
            "Names, with commas between them, by which browsers and scrapers reach the console, such as \
             broker.example.org. Addresses and `localhost` need not be named; requests for any other name are refused, \
             so that a foreign page cannot reach the console through a name of its own.";
        session_expiry: Duration = "12h", Kind::duration(60 * SECOND, 30 * DAY),
            "Time after which a login that is not used ends.";
        max_connections: usize = "128", Kind::integer(1, 65_535),
            "Connections to the console at the same time; a page that is open has one or two. Further ones are closed \
             at once.";
        io_timeout: Duration = "20s", Kind::duration(10, HOUR),
            "Time in which the head of a request must have come, and its body, and some of an answer must have been \
             taken; else the connection is closed, as is one on which nothing is asked for so long.";
        max_topics: usize = "50000", Kind::integer(1, MANY),
            "Topics that the tree of published topics holds while somebody looks at it. Further ones are left out, and \
             the tree says so.";
        max_topic_bytes: u64 = "32MiB", Kind::size(KIB, 1024 * GIB),
            "Bytes of topics and last payloads that the tree of published topics holds. When it is full, topics that it \
             holds stay, and payloads are left out.";
        max_live_messages: usize = "500", Kind::integer(1, 1_000_000),
            "Messages that wait for one viewer of the live messages. A viewer that reads more slowly is told how many \
             it has missed. Cost: of each, up to 4 KiB of the payload.";
        events: usize = "2000", Kind::integer(100, 10_000_000),
            "Events (connected, disconnected, subscribed, refused, ...) that the console remembers; and as many drops of \
             messages. Older ones are forgotten. Cost: a few hundred bytes each.";
    }

    hooks: HooksSettings, "Functions of the host program that decide for the broker, and that it is told things by." {
        deadline: Duration = "5s", Kind::duration(1, HOUR),
            "Time that a deferred decision has; then it is a denial. The packets of the client that it is about wait \
             until then, and those of other clients go on. A CONNECT has no longer than `mqtt.connect_timeout`.";
        max_waiting: usize = "100000", Kind::integer(1, MANY),
            "Notices that wait while the function that is told them runs. One more is lost, and counted. Cost: each \
             takes memory for a client identifier and a topic.";
    }
}
