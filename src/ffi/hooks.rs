//! Hooks: functions of the host that decide for the broker, and that it tells what happens.

use std::ffi::c_void;
use std::sync::Arc;

use crate::ffi::arguments::{Growing, given_mut, options};
use crate::ffi::config::midge_config;
use crate::ffi::decision::midge_decision;
use crate::ffi::edit::midge_edit;
use crate::ffi::guard::guard;
use crate::ffi::hook_calls::functions;
use crate::ffi::message::midge_message;
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::tls::midge_tls_view;
use crate::ffi::views::{UserData, midge_bytes, midge_free_fn, midge_subscription_view};

/// A hook's answer: yes.
pub const MIDGE_ALLOW: i32 = 0;
/// A hook's answer: no. The client is told 0x86, Bad User Name or Password, if it wants to be let in, otherwise 0x87,
/// Not authorized; older versions of MQTT as far as they can say it.
pub const MIDGE_DENY: i32 = 1;
/// A hook's answer: later, by midge_decision_resolve.
pub const MIDGE_DEFER: i32 = 2;
/// The verdict of midge_decision_resolve_auth that asks the client for more. No hook answers with it.
pub const MIDGE_CONTINUE: i32 = 3;

/// A client wants to publish.
pub const MIDGE_ACTION_PUBLISH: i32 = 0;
/// A client wants to subscribe.
pub const MIDGE_ACTION_SUBSCRIBE: i32 = 1;

/// The client has sent DISCONNECT.
pub const MIDGE_CAUSE_DISCONNECTED: i32 = 0;
/// The peer has closed the connection, or it broke.
pub const MIDGE_CAUSE_CONNECTION_LOST: i32 = 1;
/// The client has broken a rule; the reason code says which.
pub const MIDGE_CAUSE_REFUSED: i32 = 2;
/// The client was silent for one and a half times its keep alive.
pub const MIDGE_CAUSE_KEEP_ALIVE: i32 = 3;
/// The client has connected again.
pub const MIDGE_CAUSE_TAKEN_OVER: i32 = 4;
/// The host has kicked the client.
pub const MIDGE_CAUSE_KICKED: i32 = 5;
/// The broker stops.
pub const MIDGE_CAUSE_STOPPING: i32 = 6;

/// A client that wants to be let in. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_connect_request {
    /// The size of the struct.
    pub struct_size: usize,
    /// The number of the connection, which no other connection of this broker has.
    pub connection: u64,
    /// The client identifier; empty if the client leaves the choice to the broker.
    pub client_id: midge_bytes,
    /// The user name; NULL if it gave none.
    pub username: midge_bytes,
    /// The password, any bytes; NULL if it gave none.
    pub password: midge_bytes,
    /// The peer's address; NULL if it did not come over a network.
    pub address: midge_bytes,
    /// The name of the listener that it came by; NULL if by none.
    pub listener: midge_bytes,
    /// 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
    pub protocol_version: i32,
    /// 1 with Clean Start or Clean Session, otherwise 0.
    pub clean_start: i32,
    /// The keep alive that it asks for, in seconds; 0 is none.
    pub keep_alive: i32,
    /// 0.
    pub reserved: i32,
    /// The method of enhanced authentication that it wants to use (MQTT 5); NULL if none. Then MIDGE_ALLOW refuses it with
    /// 0x8C, Bad authentication method, so that a hook that knows passwords only does not let it in unseen: answer with
    /// midge_decision_resolve_auth, or deny.
    pub auth_method: midge_bytes,
    /// What it says by the method, with CONNECT or AUTH, any bytes; NULL if nothing.
    pub auth_data: midge_bytes,
    /// How often it was answered by MIDGE_CONTINUE in this exchange.
    pub auth_step: i32,
    /// 1 if it has been let in and authenticates again, otherwise 0. Then `password` is NULL.
    pub reauthenticates: i32,
    /// How the connection is secured, with the client's certificate; NULL without TLS.
    pub tls: *const midge_tls_view,
    /// The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
    pub uid: i64,
    /// Its group; -1 as above.
    pub gid: i64,
    /// Its number, 0 if the system does not say; -1 as above.
    pub pid: i64,
}

/// A client that wants to publish or to subscribe. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_access_request {
    /// The size of the struct.
    pub struct_size: usize,
    /// The client identifier; empty with the will of a client that leaves the choice to the broker.
    pub client_id: midge_bytes,
    /// The user name; NULL if it gave none.
    pub username: midge_bytes,
    /// The peer's address; NULL if it did not come over a network.
    pub address: midge_bytes,
    /// The topic name to publish to, or the topic filter, with `$share/<group>/` if it is shared, to subscribe to.
    pub topic: midge_bytes,
    /// A MIDGE_ACTION_... constant.
    pub action: i32,
    /// The QoS of the message, or the highest one that is asked for.
    pub qos: i32,
    /// 1 if the message is to be retained, otherwise 0.
    pub retain: i32,
    /// 1 if it is the will of a client that connects, otherwise 0.
    pub is_will: i32,
    /// The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
    pub uid: i64,
    /// Its group; -1 as above.
    pub gid: i64,
    /// Its number, 0 if the system does not say; -1 as above.
    pub pid: i64,
}

/// A client's message before it is published. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_publish_request {
    /// The size of the struct.
    pub struct_size: usize,
    /// The client identifier.
    pub client_id: midge_bytes,
    /// The user name; NULL if it gave none, and with a will.
    pub username: midge_bytes,
    /// The message as the client has sent it. `midge_message_retained` tells whether it is to be retained.
    pub message: *const midge_message,
    /// 1 if it is the will of a client that is gone, otherwise 0.
    pub is_will: i32,
    /// 0.
    pub reserved: i32,
}

/// A client that has been let in. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_connection_view {
    /// The size of the struct.
    pub struct_size: usize,
    /// The number of the connection, which no other connection of this broker has.
    pub connection: u64,
    /// The client identifier, which the broker may have chosen.
    pub client_id: midge_bytes,
    /// The user name; NULL if it gave none.
    pub username: midge_bytes,
    /// The peer's address; NULL if it did not come over a network.
    pub address: midge_bytes,
    /// The name of the listener that it came by; NULL if by none.
    pub listener: midge_bytes,
    /// 3 (MQTT 3.1), 4 (MQTT 3.1.1) or 5 (MQTT 5).
    pub protocol_version: i32,
    /// 1 with Clean Start or Clean Session, otherwise 0.
    pub clean_start: i32,
    /// 1 if it has resumed a session, otherwise 0.
    pub session_present: i32,
    /// The keep alive in force, in seconds; 0 is none.
    pub keep_alive: i32,
    /// How the connection is secured, with the client's certificate; NULL without TLS.
    pub tls: *const midge_tls_view,
    /// The user of the process at the other end of a Unix domain socket, as the system tells it; -1 if it is no such peer.
    pub uid: i64,
    /// Its group; -1 as above.
    pub gid: i64,
    /// Its number, 0 if the system does not say; -1 as above.
    pub pid: i64,
}

/// A client whose connection has ended. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_disconnection_view {
    /// The size of the struct.
    pub struct_size: usize,
    /// The number of the connection.
    pub connection: u64,
    /// The client identifier.
    pub client_id: midge_bytes,
    /// Why it has ended, in words; empty if the cause says it all.
    pub why: midge_bytes,
    /// A MIDGE_CAUSE_... constant.
    pub cause: i32,
    /// With MIDGE_CAUSE_REFUSED the reason code of MQTT 5, otherwise 0.
    pub reason_code: i32,
}

/// A message that was delivered or dropped. It lives until the hook returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_delivery_view {
    /// The size of the struct.
    pub struct_size: usize,
    /// The client that has it, or that does not get it, or that has published it if nobody does; NULL for the host.
    pub client_id: midge_bytes,
    /// The topic name; empty if it was dropped while it was on the disk alone (`storage.memory`).
    pub topic: midge_bytes,
    /// Why it was dropped, such as "queue_full", as in the statistics "messages_dropped_..."; NULL if it was delivered.
    pub reason: midge_bytes,
    /// The QoS of the delivery; -1 if it was dropped.
    pub qos: i32,
    /// 0.
    pub reserved: i32,
}

/// Decides whether a client is let in: MIDGE_ALLOW, MIDGE_DENY, MIDGE_DEFER, or a reason code of MQTT 5, 0x80 and above,
/// which denies with it. Any other number denies. `decision` is of use only with MIDGE_DEFER, which gives it to the host.
///
/// A client of MQTT 5 may want to authenticate by a method (`auth_method`). The hook then resolves the decision by
/// midge_decision_resolve_auth, at once or later, and answers MIDGE_DEFER. After MIDGE_CONTINUE it is called again with what
/// the client answers, with the same number of the connection, until it lets the client in or denies. The client may
/// authenticate again later; if that fails, its connection ends. A client that goes in the middle is not told of: an
/// exchange has the setting mqtt.connect_timeout to come to an end.
pub type midge_authenticate_fn = Option<
    unsafe extern "C" fn(
        request: *const midge_connect_request,
        decision: *mut midge_decision,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Decides whether a client may publish to a topic or subscribe to a filter, as midge_authenticate_fn does.
pub type midge_authorize_fn = Option<
    unsafe extern "C" fn(
        request: *const midge_access_request,
        decision: *mut midge_decision,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Looks at a client's message, and may change it by `edit`: MIDGE_ALLOW publishes it, any other number drops it; the
/// client is acknowledged as if it had been published.
pub type midge_on_publish_fn = Option<
    unsafe extern "C" fn(
        request: *const midge_publish_request,
        edit: *mut midge_edit,
        user_data: *mut c_void,
    ) -> i32,
>;

/// Is told of a client that has been let in.
pub type midge_on_connected_fn =
    Option<unsafe extern "C" fn(view: *const midge_connection_view, user_data: *mut c_void)>;

/// Is told of a client whose connection has ended.
pub type midge_on_disconnected_fn =
    Option<unsafe extern "C" fn(view: *const midge_disconnection_view, user_data: *mut c_void)>;

/// Is told that a client has subscribed or unsubscribed; of the latter only the filter and the client are told. The end
/// of a session is no unsubscribing.
pub type midge_on_subscription_fn =
    Option<unsafe extern "C" fn(view: *const midge_subscription_view, user_data: *mut c_void)>;

/// Is told of a message that was delivered or dropped.
pub type midge_on_delivery_fn =
    Option<unsafe extern "C" fn(view: *const midge_delivery_view, user_data: *mut c_void)>;

/// Functions of the host, any of which may be NULL: then everybody is let in, everything is allowed, nothing is told,
/// and it costs nothing. Begin with MIDGE_HOOKS_INIT.
///
/// They are called on the broker's threads, and on a thread of the host that publishes. They may publish, subscribe,
/// kick and ask for statistics; midge_stop answers IN_CALLBACK. They must not block, for the thread serves others, must
/// not throw, and must not wait for what the broker is to do meanwhile. The first three are called on several threads at
/// once, the others one after the other, in the order in which things have happened.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_hooks {
    /// Set by MIDGE_HOOKS_INIT.
    pub struct_size: usize,
    /// What each function is given.
    pub user_data: *mut c_void,
    /// Called once with `user_data` when no function will be called any more: when the configuration, its copies, and
    /// the brokers that were started with them are freed, with their queues and subscriptions.
    pub free_user_data: midge_free_fn,
    /// The client that is let in.
    pub authenticate: midge_authenticate_fn,
    /// What clients may publish and subscribe to. The will of a client is asked about when it connects.
    pub authorize: midge_authorize_fn,
    /// What becomes of the messages and wills of clients. Messages of the host pass without.
    pub on_publish: midge_on_publish_fn,
    /// A client has been let in.
    pub on_connected: midge_on_connected_fn,
    /// A client's connection has ended.
    pub on_disconnected: midge_on_disconnected_fn,
    /// A client has subscribed.
    pub on_subscribed: midge_on_subscription_fn,
    /// A client has unsubscribed.
    pub on_unsubscribed: midge_on_subscription_fn,
    /// A client has a message: one of QoS 0 was sent to it, another it has acknowledged.
    pub on_delivered: midge_on_delivery_fn,
    /// A message was dropped, once for each receiver.
    pub on_dropped: midge_on_delivery_fn,
}

// SAFETY: `repr(C)`, `struct_size` first, then pointers that may be NULL.
unsafe impl Growing for midge_hooks {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        user_data: std::ptr::null_mut(),
        free_user_data: None,
        authenticate: None,
        authorize: None,
        on_publish: None,
        on_connected: None,
        on_disconnected: None,
        on_subscribed: None,
        on_unsubscribed: None,
        on_delivered: None,
        on_dropped: None,
    };
}

/// Sets the hooks of the brokers that are started with a configuration from now on; NULL: none. Hooks that were set
/// before are replaced. A copy of the configuration has the same hooks.
///
/// `free_user_data` is called exactly once, also if this fails; not if `hooks` cannot be read, because its struct_size
/// is wrong.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_set_hooks(
    config: *mut midge_config,
    hooks: *const midge_hooks,
) -> midge_status {
    guard!({
        let hooks = options(hooks)?;
        let user_data = UserData::new(hooks.user_data, hooks.free_user_data);
        given_mut(config, "config")?.hooks = functions(&hooks, Arc::new(user_data));
        Ok(MIDGE_STATUS_OK)
    })
}
