//! Shapes that several chapters share: borrowed bytes, and the views of things.

use std::ffi::c_void;

use crate::ffi::arguments::Growing;
use crate::ffi::tls::midge_tls_view;

/// Bytes that Midge lends: a text is UTF-8 and does not end with NUL. `data` is NULL if there is no value at all;
/// an empty value has a `data` that is not NULL, and that must not be read. How long they live stands at the function
/// that returns them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_bytes {
    /// The first byte.
    pub data: *const c_void,
    /// The number of bytes.
    pub len: usize,
}

impl midge_bytes {
    pub(super) const NONE: midge_bytes = midge_bytes { data: std::ptr::null(), len: 0 };
}

/// Called once with the `user_data` that is no longer used.
pub type midge_free_fn = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// One setting of the table of settings.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_setting_view {
    /// Set by MIDGE_SETTING_VIEW_INIT.
    pub struct_size: usize,
    /// The key, such as "mqtt.max_qos"; "listener.*.bind" stands for one setting of every listener.
    pub key: midge_bytes,
    /// "boolean", "integer", "duration", "size", "choice", "address", "mode", "text" or "secret".
    pub kind: midge_bytes,
    /// The default, as text.
    pub default_value: midge_bytes,
    /// The values that it takes, in words.
    pub range: midge_bytes,
    /// What it does, what it costs, and what is dangerous about it.
    pub help: midge_bytes,
}

/// One listener of a broker.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_listener_view {
    /// Set by MIDGE_LISTENER_VIEW_INIT.
    pub struct_size: usize,
    /// The name in its settings: "tcp" for `listener.tcp.bind`.
    pub name: midge_bytes,
    /// The address, such as "127.0.0.1:53412", "[::1]:1883", "unix:/run/midge.sock" or "unix:@midge".
    pub address: midge_bytes,
    /// The transport: "tcp", "tls", "ws", "wss" or "auto".
    pub transport: midge_bytes,
    /// "accepting", "paused" or "stopped".
    pub state: midge_bytes,
    /// The clients that are connected by it.
    pub connections: u64,
    /// The most clients that may be; -1 is no limit.
    pub max_connections: i64,
    /// The connections that it has accepted.
    pub accepted: u64,
    /// The connections that were refused because a limit was reached.
    pub refused: u64,
    /// The connections that were closed before their handshake was complete.
    pub handshake_failures: u64,
    /// The number of their reasons, which midge_listeners_failure_at tells.
    pub failure_reasons: u64,
}

/// Why handshakes of a listener have failed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_handshake_failure_view {
    /// Set by MIDGE_HANDSHAKE_FAILURE_VIEW_INIT.
    pub struct_size: usize,
    /// The reason in words.
    pub reason: midge_bytes,
    /// How many have failed for it.
    pub count: u64,
}

/// A message as a row of midge_batch_views.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_message_view {
    /// The size of a row.
    pub struct_size: usize,
    /// The topic name.
    pub topic: midge_bytes,
    /// The payload.
    pub payload: midge_bytes,
    /// The tag of the queue's subscription that the message came by.
    pub tag: u64,
    /// Seconds that were left to the message when it was queued; -1 if it does not expire.
    pub message_expiry_interval: i64,
    /// The QoS of the delivery: 0, 1 or 2.
    pub qos: i32,
    /// 1 if the message was retained when the subscription was made (or, with `retain_as_published`, if it was
    /// published so), otherwise 0.
    pub retained: i32,
    /// 1 if the message has a content type, a response topic, correlation data, user properties, subscription
    /// identifiers or a payload that is marked as text, which midge_batch_at and midge_message_... tell; otherwise 0.
    pub has_properties: i32,
    /// 0.
    pub reserved: i32,
}

/// A client that is connected, or whose session waits for it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_client_view {
    /// Set by MIDGE_CLIENT_VIEW_INIT.
    pub struct_size: usize,
    /// The client identifier.
    pub client_id: midge_bytes,
    /// The user name, while connected; NULL if it gave none.
    pub username: midge_bytes,
    /// The peer's address, while connected; otherwise NULL.
    pub address: midge_bytes,
    /// When it connected, in milliseconds since the broker started; -1 if it is not connected.
    pub connected_since_ms: i64,
    /// Seconds that the session outlives its connection; -1 is for ever.
    pub session_expiry_interval: i64,
    /// Subscriptions of the session.
    pub subscriptions: u64,
    /// Messages that wait for it.
    pub queued: u64,
    /// Messages that it has not yet acknowledged.
    pub inflight: u64,
    /// Application messages received from it.
    pub received_messages: u64,
    /// Application messages sent to it.
    pub sent_messages: u64,
    /// 1 if it is connected, otherwise 0.
    pub connected: i32,
    /// The protocol level of the current or last connection: 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
    pub protocol_version: i32,
    /// 1 if it connected with Clean Start or Clean Session, otherwise 0.
    pub clean_start: i32,
    /// The keep alive in force, in seconds; 0 is none.
    pub keep_alive: i32,
    /// How the connection is secured, with the client's certificate, while connected; NULL without TLS.
    pub tls: *const midge_tls_view,
    /// The user of the process at the other end of a Unix domain socket, as the system tells it, while connected; -1 if it is no such peer.
    pub uid: i64,
    /// Its group; -1 as above.
    pub gid: i64,
    /// Its number, 0 if the system does not say; -1 as above.
    pub pid: i64,
}

/// A subscription of a client or of the host program.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_subscription_view {
    /// Set by MIDGE_SUBSCRIPTION_VIEW_INIT.
    pub struct_size: usize,
    /// The topic filter, with `$share/<group>/` if it is shared.
    pub filter: midge_bytes,
    /// The client identifier; NULL for the host program.
    pub client_id: midge_bytes,
    /// The subscription identifier; 0 is none.
    pub identifier: i64,
    /// The highest QoS of a delivery: 0, 1 or 2.
    pub qos: i32,
    /// 1 if messages that the subscriber publishes itself are left out, otherwise 0.
    pub no_local: i32,
    /// 1 if RETAIN is passed on as it was published, otherwise 0.
    pub retain_as_published: i32,
    /// A MIDGE_RETAIN_... constant.
    pub retain_handling: i32,
}

/// One statistic of the table of statistics.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_stat_view {
    /// Set by MIDGE_STAT_VIEW_INIT.
    pub struct_size: usize,
    /// The name, such as "messages_dropped_no_subscriber".
    pub name: midge_bytes,
    /// "counter" if it only grows, or "gauge".
    pub kind: midge_bytes,
    /// The topic that it is published to; NULL if to none.
    pub sys_topic: midge_bytes,
    /// What is counted, in which unit.
    pub help: midge_bytes,
    /// Its value in the statistics that were given; 0 if none were.
    pub value: u64,
}

// SAFETY: `repr(C)`, `struct_size` first, then pointers and integers only.
unsafe impl Growing for midge_setting_view {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        key: midge_bytes::NONE,
        kind: midge_bytes::NONE,
        default_value: midge_bytes::NONE,
        range: midge_bytes::NONE,
        help: midge_bytes::NONE,
    };
}

// SAFETY: as above.
unsafe impl Growing for midge_listener_view {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        name: midge_bytes::NONE,
        address: midge_bytes::NONE,
        transport: midge_bytes::NONE,
        state: midge_bytes::NONE,
        connections: 0,
        max_connections: -1,
        accepted: 0,
        refused: 0,
        handshake_failures: 0,
        failure_reasons: 0,
    };
}

// SAFETY: as above.
unsafe impl Growing for midge_handshake_failure_view {
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), reason: midge_bytes::NONE, count: 0 };
}

// SAFETY: as above.
unsafe impl Growing for midge_client_view {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        client_id: midge_bytes::NONE,
        username: midge_bytes::NONE,
        address: midge_bytes::NONE,
        connected_since_ms: -1,
        session_expiry_interval: 0,
        subscriptions: 0,
        queued: 0,
        inflight: 0,
        received_messages: 0,
        sent_messages: 0,
        connected: 0,
        protocol_version: 0,
        clean_start: 0,
        keep_alive: 0,
        tls: std::ptr::null(),
        uid: -1,
        gid: -1,
        pid: -1,
    };
}

// SAFETY: as above.
unsafe impl Growing for midge_subscription_view {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        filter: midge_bytes::NONE,
        client_id: midge_bytes::NONE,
        identifier: 0,
        qos: 0,
        no_local: 0,
        retain_as_published: 0,
        retain_handling: 0,
    };
}

// SAFETY: as above.
unsafe impl Growing for midge_stat_view {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        name: midge_bytes::NONE,
        kind: midge_bytes::NONE,
        sys_topic: midge_bytes::NONE,
        help: midge_bytes::NONE,
        value: 0,
    };
}

/// What the host gave for its callback, or with a payload; freed when this is dropped.
pub(super) struct UserData {
    pointer: *mut c_void,
    free: midge_free_fn,
}

// SAFETY: the header says on which threads callbacks and free functions run; the host gives what may go there.
unsafe impl Send for UserData {}
// SAFETY: as above; of functions that run on several threads at once, the header says so.
unsafe impl Sync for UserData {}

impl UserData {
    pub(super) fn new(pointer: *mut c_void, free: midge_free_fn) -> UserData {
        UserData { pointer, free }
    }

    /// The pointer; a method, so that a closure holds the whole and not only this field.
    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the host's function for the host's pointer, called once, as a drop happens once.
            unsafe { free(self.pointer) };
        }
    }
}
