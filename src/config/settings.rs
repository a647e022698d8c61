//! The settings themselves: one list of fields, kinds, defaults and help texts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::address::ListenAddress;
use crate::config::define::settings;
use crate::config::kind::Kind;
use crate::config::proxy_protocol::ProxyProtocol;
use crate::config::rights::{LostRights, SubscribeCheck};
use crate::config::secret::Secret;
use crate::config::table::{Access, Setting};
use crate::config::tls::ClientCertificates;
use crate::config::transport::Transport;
use crate::config::value::{Field, Value};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const MANY: u64 = u32::MAX as u64;

/// The password of the tutorial, which is public.
pub(crate) const TUTORIAL_PASSWORD: &str = "public";

/// What happens to a message for a session whose queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueOverflow {
    /// The new message is dropped for this session.
    DropNewest,
    /// The oldest waiting messages are dropped until the new one fits.
    DropOldest,
    /// The client is disconnected; while it is away, the new message is dropped.
    Disconnect,
}

/// What happens to a client whose Client Identifier has the session of another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherUser {
    /// It is refused.
    Refuse,
    /// The session ends, and the client begins a new one.
    StartClean,
}

/// Whether a client without a user name may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anonymous {
    /// It may, unless there is a password file; no listener beyond loopback starts without an authority.
    Auto,
    /// It may, and nothing more is needed.
    Allowed,
    /// It may not.
    Refused,
}

/// Whether what was committed survives a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageSync {
    /// Every commit is flushed to the disk.
    Always,
    /// Commits are left to the system.
    Never,
}

/// What happens when the store's files are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnDamage {
    /// The broker does not start.
    Refuse,
    /// The files are kept beside, and the broker starts with an empty store.
    SetAside,
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

impl Field for OtherUser {
    const BLANK: Self = OtherUser::Refuse;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            OtherUser::Refuse => "refuse",
            OtherUser::StartClean => "start_clean",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("refuse") => Some(OtherUser::Refuse),
            Value::Choice("start_clean") => Some(OtherUser::StartClean),
            _ => None,
        }
    }
}

impl Field for StorageSync {
    const BLANK: Self = StorageSync::Always;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            StorageSync::Always => "always",
            StorageSync::Never => "never",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("always") => Some(StorageSync::Always),
            Value::Choice("never") => Some(StorageSync::Never),
            _ => None,
        }
    }
}

impl Field for OnDamage {
    const BLANK: Self = OnDamage::Refuse;

    fn to_value(&self) -> Value {
        Value::Choice(match self {
            OnDamage::Refuse => "refuse",
            OnDamage::SetAside => "set_aside",
        })
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("refuse") => Some(OnDamage::Refuse),
            Value::Choice("set_aside") => Some(OnDamage::SetAside),
            _ => None,
        }
    }
}

settings! {
    listener, "Ports and Unix domain sockets for MQTT clients. A listener exists as soon as one of its settings is given; the listener `tcp` \
        exists from the start, and `listener.tcp.bind = \"off\"` removes it." {

        bind: Option<ListenAddress> = "127.0.0.1:1883", Kind::ListenAddress,
            "Address and port to listen on. Port 0 takes a free port, which the broker reports after it has \
             started. `unix:/path` is a Unix domain socket; `unix:@name` is one without a file, on Linux. `systemd` \
             takes the socket of this listener's name that the service manager passes. With `off` the listener does \
             not exist. The default is that of the listener `tcp`; \
             every other listener needs a value. Danger: `0.0.0.0` and `[::]` accept connections from every \
             machine that can reach this one.";
        max_connections: Option<u32> = "unlimited", Kind::integer(1, MANY).or_unlimited(),
            "Maximum number of connected clients of this listener; further ones are refused. \
             `mqtt.max_connections` limits all listeners together.";
        unix_mode: u32 = "0660", Kind::Mode,
            "Rights of the file of a Unix domain socket: a client needs the right to write. Danger: with `0666`, \
             every user of this machine can connect.";
        unix_owner: String = "", Kind::Text,
            "Owner of the file of a Unix domain socket: a user, `user:group` or `:group`, by name or by number. \
             If it is empty, the file belongs to the user of the broker's process. Only a privileged process can \
             give it to another user.";
        transport: Transport = "tcp", Kind::Choice(Transport::NAMES),
            "What lies between MQTT and the socket. `tcp`: nothing. `tls`: TLS. `ws`: WebSocket. `wss`: WebSocket \
             over TLS. `auto`: the first bytes of each connection decide. A broker whose library is built without \
             the transport does not start. Danger: with `tcp` and `ws`, passwords and messages are readable on the \
             way.";
        ws_path: String = "/mqtt", Kind::Text,
            "Path at which a listener with `ws`, `wss` or `auto` speaks WebSocket. A request for another path is answered with \
             404. What follows a `?` is not looked at.";
        ws_origins: String = "", Kind::Text,
            "Origins whose web pages may connect by WebSocket, such as `https://example.org`, separated by spaces or \
             commas. Pages of other origins are answered with 403. Clients that are not browsers send no Origin and may \
             connect. Danger: if it is empty, a page of any origin may connect from a browser that reaches this \
             listener.";
        proxy_protocol: ProxyProtocol = "off", Kind::Choice(ProxyProtocol::NAMES),
            "Whether connections come through a proxy that tells the client's address (PROXY protocol, version 1 or 2). \
             `required`: each connection begins with such a header, and the address in it is the client's everywhere. \
             `off`: a connection with such a header is refused.";
        proxy_from: String = "", Kind::Text,
            "Addresses and networks of the proxies, such as `10.0.0.7 192.168.1.0/24`, separated by spaces or commas. \
             Other peers are refused. Needed with `proxy_protocol` required. Danger: every peer in these networks can \
             claim any address.";
        certificate: String = "", Kind::Text,
            "PEM file with the broker's certificate, followed by those of intermediate authorities. Several files, \
             separated by commas, are several certificates: a client gets the one for the server name that it asks \
             for, else the first. TLS needs one. Changed files are read within half a minute, and connections stay.";
        key: String = "", Kind::Text,
            "PEM file with the private key of the certificate (RSA, ECDSA or Ed25519; without a password), or several \
             files in the order of the certificates. An empty text: each certificate's file contains its key, too. \
             Danger: who reads this file can pose as the broker.";
        client_certificate: ClientCertificates = "none", Kind::Choice(&["none", "optional", "required"]),
            "Whether clients present certificates. `none`: the broker asks for none. `optional`: a client may present \
             one. `required`: a client without one is refused. A certificate that was not issued by the authorities \
             of `client_ca`, is not valid now, or is revoked, is refused in any case.";
        client_ca: String = "", Kind::Text,
            "PEM file with the certificates of the authorities that issue the clients' certificates. Danger: every \
             client with a certificate of one of them is accepted.";
        client_crl: String = "", Kind::Text,
            "PEM files, separated by commas, with revocation lists of those authorities. A client whose certificate \
             is in one of them is refused. Danger: if the list of its issuer is missing or has expired, a client is \
             refused, too.";
    }

    runtime: RuntimeSettings, "Threads, and stopping the broker." {
        worker_threads: usize = "1", Kind::integer(1, 64),
            "Threads that serve the network. More than one helps when one processor is too slow for the \
             traffic. Cost: each has a stack and buffers of its own.";
        stop_grace: Duration = "1s", Kind::duration(0, HOUR),
            "Longest time that a stopping broker waits for connections to send their queued packets. With 0 \
             they are closed at once.";
    }

    mqtt: MqttSettings, "Limits and features that the broker offers to MQTT clients." {
        max_connections: Option<u32> = "unlimited", Kind::integer(1, MANY).or_unlimited(),
            "Maximum number of connected clients, over all listeners. Further ones are refused (Quota \
             exceeded). A client that takes its own session over needs no second place. Danger: if it is \
             unlimited, the process's limit of open files is the only limit.";
        max_pending_connections: Option<u32> = "1024", Kind::integer(1, MANY).or_unlimited(),
            "Maximum number of connections whose client is not let in yet. When it is reached, a new connection \
             takes the place of the oldest one that has sent no CONNECT, which is closed, counted and logged. If \
             there is none, the new one is closed. Danger: with `unlimited`, silent peers can use up the \
             process's open files.";
        connect_timeout: Duration = "10s", Kind::duration(100, HOUR),
            "Time in which a new connection must send a complete CONNECT packet; else it is closed. Danger: \
             with a long time, silent peers can hold connections.";
        max_packet_size: u32 = "2MiB", Kind::size(128, 256 * MIB),
            "Largest packet that a client may send, header included. A client that sends a larger one is \
             disconnected, and the log says so. MQTT 5 clients are told (Maximum Packet Size). Cost: a \
             connection may use that much memory while a packet arrives. A message larger than \
             `session.max_queued_bytes` cannot wait for a client that is busy or offline. The will of a client is as \
             large at most, and stays as long as its session waits for it.";
        keep_alive_max: Duration = "0", Kind::duration(SECOND, 65_535 * SECOND).or_zero().in_steps_of(SECOND),
            "Longest keep alive. An MQTT 5 client that asks for more, or for none, is told to use this one \
             (Server Keep Alive). With 0 the client decides. Clients of older versions cannot be told. They \
             are let in, and use their own value.";
        receive_maximum: u16 = "100", Kind::integer(1, 65_535),
            "Unacknowledged QoS 1 and QoS 2 messages that a client may have in flight to the broker. MQTT 5 \
             clients are told (Receive Maximum); a client that sends more is disconnected. Cost: the packet \
             identifiers of unfinished QoS 2 exchanges are kept in memory.";
        max_inflight: u16 = "100", Kind::integer(1, 65_535),
            "Unacknowledged QoS 1 and QoS 2 messages that the broker has in flight to a client; further ones \
             wait in the session's queue. The client's Receive Maximum may lower it. None is added to those in \
             flight from `session.max_queued_bytes` or `session.max_outbox_bytes` on, whichever is more. Cost: \
             these messages are kept in memory, to be sent again.";
        topic_alias_maximum: u16 = "16", Kind::integer(0, 65_535),
            "Topic aliases that an MQTT 5 client may use in messages that it publishes. With 0 it may use \
             none. Cost: a connection may hold that many topics.";
        topic_alias_maximum_outgoing: u16 = "16", Kind::integer(0, 65_535),
            "Topic aliases that the broker uses in messages to an MQTT 5 client. The client's Topic Alias \
             Maximum may lower it. Cost: a connection may hold that many topics.";
        max_topic_levels: usize = "256", Kind::integer(1, 32_768),
            "Maximum number of levels of a topic name or topic filter, separated by slashes. Packets with \
             more are refused. Cost: each level of a filter takes memory unless another filter begins with \
             the same levels. Matching a message looks at no more levels than the filters have together.";
        max_topic_length: usize = "65535", Kind::integer(1, 65_535),
            "Maximum length of a topic name or topic filter, in bytes. Packets with longer ones are refused.";
        max_user_properties: usize = "1000", Kind::integer(0, MANY),
            "Maximum number of user properties of a message or a will. A message of QoS 1 or 2 with more is \
             answered with Quota exceeded and not delivered; a client that publishes one of QoS 0, or has such \
             a will, is disconnected or refused. Cost: a program that reads a message makes an object of each.";
        max_subscriptions_per_client: usize = "100000", Kind::integer(1, MANY),
            "Maximum number of subscriptions of one client; further ones are refused with Quota exceeded. \
             Cost: each takes memory for its filter, in the session and in the table of subscriptions.";
        max_shared_subscriptions_per_client: usize = "1000", Kind::integer(1, MANY),
            "Maximum number of shared subscriptions of one client; further ones are refused with Quota exceeded. \
             A client gets a copy of a message by each that matches, so one message costs as many deliveries.";
        max_subscription_bytes_per_client: u64 = "64MiB", Kind::size(KIB, 1024 * GIB),
            "Maximum bytes of memory for the subscriptions of one client; further ones are refused with Quota \
             exceeded. Each takes its filter and about 160 bytes, a shared one its filter twice and about 320 \
             bytes. Cost: each client may use as much memory.";
        max_client_id_length: usize = "1024", Kind::integer(23, 65_535),
            "Maximum length of a client identifier, in bytes. A longer one is refused with Client Identifier \
             not valid.";
        max_qos: u8 = "2", Kind::integer(0, 2),
            "Highest QoS at which clients may publish; MQTT 5 clients are told (Maximum QoS). Subscriptions \
             are granted at most this QoS.";
        retain: bool = "true", Kind::Bool,
            "Whether clients may publish retained messages; MQTT 5 clients are told (Retain Available).";
        wildcard_subscriptions: bool = "true", Kind::Bool,
            "Whether topic filters may use the wildcards `+` and `#`; MQTT 5 clients are told (Wildcard \
             Subscription Available).";
        shared_subscriptions: bool = "true", Kind::Bool,
            "Whether clients may share a subscription with `$share/<group>/<filter>`; MQTT 5 clients are \
             told (Shared Subscription Available).";
        subscription_identifiers: bool = "true", Kind::Bool,
            "Whether MQTT 5 clients may give subscriptions an identifier; they are told (Subscription \
             Identifiers Available).";
        response_information: String = "", Kind::Text,
            "Text that MQTT 5 clients get when they ask for it (Response Information), usually the prefix of \
             the topics for responses to them, such as `replies`. An empty text sends none.";
        allow_empty_client_id: bool = "true", Kind::Bool,
            "Whether a client may connect without a client identifier; the broker then assigns one. MQTT \
             3.1.1 allows that only with Clean Session.";
    }

    session: SessionSettings, "State and messages that the broker keeps for a client that is offline or slow." {
        max_expiry: Option<Duration> = "never", Kind::duration(0, 49_710 * DAY).or_unlimited().in_steps_of(SECOND),
            "Longest time that a session is kept after its client has disconnected. It caps the Session \
             Expiry Interval of MQTT 5 clients. It is the expiry of sessions that older clients open without \
             Clean Session. With 0 every session ends with its connection. Danger: with `never`, sessions of \
             clients that never return stay until `session.max_sessions` is reached.";
        max_sessions: usize = "1000000", Kind::integer(1, MANY),
            "Maximum number of sessions, of connected and of offline clients. A client that needs one more \
             is refused. Cost: memory for each session and its queue.";
        other_user: OtherUser = "refuse", Kind::Choice(&["refuse", "start_clean"]),
            "What happens to a client that connects with the client identifier of another user's session. A \
             session is bound to the user name with which an authority, such as the hook `authenticate`, let \
             its client in. `refuse` refuses the client (Client Identifier not valid). `start_clean` ends the \
             session and gives the client a new one. Danger: with `start_clean` each user can end the \
             sessions of all others.";
        max_queued_messages: Option<usize> = "1000", Kind::integer(0, MANY).or_unlimited(),
            "Maximum number of messages that wait in one session while its client is offline or has a full \
             window. With 0 none waits. Danger: with `unlimited`, `session.max_queued_bytes` is the only \
             limit.";
        max_queued_bytes: u64 = "16MiB", Kind::size(0, 1024 * GIB),
            "Maximum bytes of messages that wait in one session. Each counts with its topic, its properties, its \
             subscription identifiers, and about 200 bytes for its place. Cost: each session may use as much \
             memory, and as much for messages in flight (`mqtt.max_inflight`).";
        queue_overflow: QueueOverflow = "drop_newest", Kind::Choice(&["drop_newest", "drop_oldest", "disconnect"]),
            "What happens to a QoS 1 or QoS 2 message for a session whose queue is full. `drop_newest` drops \
             that message. `drop_oldest` drops the oldest waiting ones until it fits. `disconnect` closes \
             the connection of the slow client, and drops the message if the client is offline. Every drop \
             is counted.";
        publisher_hold: Duration = "1s", Kind::duration(10, 60 * SECOND).or_zero(),
            "Longest time that the acknowledgement of a QoS 1 or QoS 2 message waits while the queue of a \
             connected subscriber is more than a quarter full. Publishers that wait for acknowledgements then send \
             no faster than the subscriber takes. A subscriber that keeps them waiting for so long is not \
             waited for again until seven eighths of its queue are free. With 0 no acknowledgement waits.";
        queue_qos0: bool = "false", Kind::Bool,
            "Whether QoS 0 messages wait for offline clients, as those of QoS 1 and 2 do. Cost: they use \
             room in the queue.";
        max_outbox_bytes: usize = "1MiB", Kind::size(64 * KIB, GIB),
            "Maximum bytes that wait to be written to one connection while its client reads slowly. Beyond \
             that, QoS 0 messages to it are dropped and counted, and those of QoS 1 and 2 stay in the \
             session's queue. Cost: each slow client may use as much memory. Connections that have ended may \
             use 16 times as much, all together; beyond that, what waits for one that ends is not sent.";
    }

    retained: RetainedSettings, "Limits of the retained messages." {
        max_messages: usize = "1000000", Kind::integer(0, MANY),
            "Maximum number of topics with a retained message. When it is reached, the message of a new \
             topic is delivered but not retained, and counted as dropped.";
        max_bytes: u64 = "256MiB", Kind::size(0, 1024 * GIB),
            "Maximum bytes of all retained messages together. Each counts with its topic twice, its properties, and \
             about 260 bytes for its place. A message that would exceed it is delivered \
             but not retained, and counted as dropped. The older retained message of its topic is removed.";
    }

    storage: StorageSettings, "The store of what outlives the broker: retained messages, sessions and what waits in them." {
        path: String = "", Kind::Text,
            "Directory of the store, which the broker makes if it does not exist. One broker at a time uses it. \
             What an acknowledgement stands for is in its files before the acknowledgement is sent. An empty text \
             keeps everything in memory: it ends with the broker. Cost: a flush of the disk for each group of \
             changes, and about 70 MiB on the disk and 50 MiB of memory beside the messages.";
        sync: StorageSync = "always", Kind::Choice(&["always", "never"]),
            "Whether each commit is flushed to the disk. `always` survives a loss of power. `never` leaves the \
             writing to the system, which is faster. Danger: with `never`, what was acknowledged survives the end \
             of the process, and not a crash of the system or a loss of power.";
        on_damage: OnDamage = "refuse", Kind::Choice(&["refuse", "set_aside"]),
            "What happens when files of the store are damaged or missing. `refuse`: the broker does not start, and \
             the error names the file. `set_aside`: they are renamed, the broker starts with an empty store, and \
             the log says so. Danger: with `set_aside`, sessions and messages are lost without a person's word.";
        log_size: u64 = "32MiB", Kind::size(64 * KIB, GIB),
            "Size of each of the two files of the store's log. Cost: twice as much on the disk, and up to as much \
             memory. With small files the tables are written more often.";
        memory: usize = "16MiB", Kind::size(0, GIB),
            "Bytes of queued messages of sessions that the store keeps, with the size that they have for \
             `session.max_queued_bytes`, that stay in memory. Beyond that a message is only on the disk, \
             with 40 to 80 bytes of memory, until it is next. A message counts once for each queue. Half of it is for \
             clients that are away. Messages of shared subscriptions stay in memory beyond it. Cost: a message that is \
             on the disk is read before it is sent.";
    }

    sys: SysSettings, "The statistics topics below `$SYS`." {
        interval: Duration = "10s", Kind::duration(SECOND, DAY).or_zero(),
            "Time between two publications of the counters below `$SYS/broker`. With 0 they are not \
             published. Cost: a short interval causes traffic to every client that subscribes to `$SYS/#`.";
    }

    queue: QueueSettings, "Queues of subscriptions inside the host program; a subscription may set other limits." {
        capacity: usize = "10000", Kind::integer(1, MANY),
            "Maximum number of messages that wait in a queue of the host. The policy for further ones is set \
             when the queue is created.";
        max_bytes: u64 = "64MiB", Kind::size(KIB, 1024 * GIB),
            "Maximum bytes of messages that wait in a queue of the host. Cost: each queue may use as much \
             memory.";
    }

    console: ConsoleSettings, "The console: pages for a browser, an HTTP API and metrics, served by the broker itself." {
        listen: Option<SocketAddr> = "off", Kind::Address,
            "Address and port of the console, usually port 18083. Port 0 takes a free port. With `off` there \
             is no console. It needs `console.password`, or `console.tutorial`. Danger: without \
             `console.certificate` the console speaks HTTP without encryption. For other machines, set one, or put \
             a proxy with TLS or a tunnel in front of it.";
        certificate: String = "", Kind::Text,
            "PEM file with the console's certificate, followed by those of intermediate authorities, or several files \
             separated by commas, as for a listener. The console then speaks HTTPS alone. An empty text: HTTP.";
        key: String = "", Kind::Text,
            "PEM file with the private key of the console's certificate, or several files in the order of the \
             certificates. An empty text: each certificate's file contains its key, too.";
        tutorial: bool = "false", Kind::Bool,
            "For learning, on a loopback address only: the password of `console.user` is `public` unless \
             another is set, and the console shows the first steps.";
        user: String = "admin", Kind::Text,
            "Name of the administrator, who may see and do everything.";
        password: Secret = "", Kind::Secret,
            "Password of `console.user`. Danger: the configuration contains it in clear text; \
             `console.password_file` keeps it apart.";
        password_file: String = "", Kind::Text,
            "File whose first line is the password of `console.user`. It is read when the broker starts.";
        viewer_user: String = "viewer", Kind::Text,
            "Name of the read-only user, who may see everything and change nothing.";
        viewer_password: Secret = "", Kind::Secret,
            "Password of `console.viewer_user`. Without one there is no such user.";
        viewer_password_file: String = "", Kind::Text,
            "File whose first line is the password of `console.viewer_user`. It is read when the broker \
             starts.";
        hosts: String = "", Kind::Text,
            "Host names, separated by commas, by which browsers and scrapers reach the console, such as \
             broker.example.org. IP addresses and `localhost` are always allowed. Requests for any other \
             name are refused, so that another website cannot reach the console through a host name of its \
             own.";
        trusted_proxies: String = "", Kind::Text,
            "IP addresses, separated by commas, of proxies in front of the console. Of them, the last address \
             in X-Forwarded-For is the client's, whose wrong passwords count. With X-Forwarded-Proto: https, \
             the login's cookie is `Secure`. Danger: the proxy must set both headers itself.";
        session_expiry: Duration = "12h", Kind::duration(60 * SECOND, 30 * DAY),
            "Time after which an unused login ends.";
        max_connections: usize = "128", Kind::integer(1, 65_535),
            "Maximum number of connections to the console; an open page uses one or two. At the limit, the \
             oldest idle connection without a login is closed for a new one. If there is none, the new one \
             is closed.";
        io_timeout: Duration = "20s", Kind::duration(10, HOUR),
            "Time in which a client must send the head of a request, then its body, and read some of the \
             response. Else the connection is closed. An idle connection is closed after the same time.";
        max_topics: usize = "50000", Kind::integer(1, MANY),
            "Maximum number of topics in the tree of published topics. Further ones are left out, and the \
             tree says so. The tree exists only while it is viewed.";
        max_topic_bytes: u64 = "64MiB", Kind::size(KIB, 1024 * GIB),
            "Maximum bytes of topics and last payloads in the tree of published topics. When it is full, its \
             topics stay, and payloads are left out.";
        max_live_messages: usize = "500", Kind::integer(1, 1_000_000),
            "Maximum number of messages that wait for one viewer of the live messages. A viewer that reads \
             too slowly is told how many it missed. Cost: up to 4 KiB of payload per message.";
        max_live_bytes: u64 = "16MiB", Kind::size(64 * KIB, 1024 * GIB),
            "Maximum bytes of the messages that wait for all viewers of the live messages together; an \
             eighth of it for one viewer. A message that does not fit is missed, as beyond \
             `console.max_live_messages`.";
        events: usize = "2000", Kind::integer(100, 10_000_000),
            "Events (connected, disconnected, subscribed, refused, ...) that the console keeps, and as many \
             dropped messages. Older ones are discarded. Cost: at most 600 bytes each; longer client \
             identifiers, topics and texts are cut.";
    }

    access: AccessSettings, "Access: who may connect, publish and subscribe. docs/access.md has examples." {
        anonymous: Anonymous = "auto", Kind::Choice(Anonymous::NAMES),
            "Whether a client without a user name may connect. `auto`: it may, unless there is an \
             `access.password_file`; a listener that other machines can reach does not start without a file or a hook \
             that decides. `true`: it may, and such a listener starts. `false`: it may not. Danger: with `true` and \
             without files and hooks, everybody who reaches a listener may do everything.";
        authorities: String = "hooks, passwords, acl", Kind::Text,
            "The order in which those are asked that decide, separated by commas: `hooks` are the functions of the host \
             program, `passwords` is `access.password_file`, `acl` is `access.acl_file`. The first that has an opinion \
             decides; those without a file or a hook have none.";
        password_file: String = "", Kind::Text,
            "File with users and hashes of their passwords, as `midge passwd` and mosquitto_passwd write it. A client \
             with another user name or password is refused. A changed file is read within half a minute; one with an \
             error is not used, and the log names the line. Danger: who can write this file can connect as anybody.";
        acl_file: String = "", Kind::Text,
            "File with rules of which topics each client may publish and subscribe to, as mosquitto reads it. What no \
             rule allows is denied. A changed file is read within half a minute; one with an error is not used, and the \
             log names the line.";
        subscribe: SubscribeCheck = "covered", Kind::Choice(SubscribeCheck::NAMES),
            "How `access.acl_file` checks subscriptions. `covered`: a topic filter is refused (Not authorized) unless the \
             client may read every topic that it matches. `delivery`: every filter is accepted, and each message is checked \
             when it is delivered, as mosquitto does. Cost of `delivery`: a client remembers its right to at most eight \
             topics of up to 256 bytes.";
        lost_rights: LostRights = "disconnect", Kind::Choice(LostRights::NAMES),
            "What becomes of a connected client whose subscription a changed `access.acl_file` does not allow any more. \
             `disconnect`: the subscription ends, and the connection with it (Not authorized). `unsubscribe`: the \
             subscription ends, and the client is not told.";
        max_waiting: usize = "256", Kind::integer(1, 65_535),
            "Maximum number of clients that wait while passwords of others are verified. Further ones are refused (Quota \
             exceeded). Cost: each may have a password of 64 KiB. A verification that waits longer than \
             `hooks.deadline` refuses its client.";
    }

    hooks: HooksSettings, "Hooks: functions of the host program that decide for the broker or receive its notices." {
        deadline: Duration = "5s", Kind::duration(1, HOUR),
            "Time limit of a deferred decision; after it the answer is a denial. Packets of the client \
             concerned wait for the decision; other clients are not affected. For a CONNECT, \
             `mqtt.connect_timeout` applies as well.";
        max_waiting: usize = "100000", Kind::integer(1, MANY),
            "Maximum number of notices that wait while the hook that receives them runs. Further ones are \
             lost, and counted. Cost: each takes memory for a client identifier and a topic.";
    }
}
