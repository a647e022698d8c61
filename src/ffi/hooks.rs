//! Hooks: functions of the host that decide for the broker, and that it tells what happens.

use std::ffi::c_void;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::codec::reason::ReasonCode;
use crate::codec::subscribe::SubscriptionOptions;
use crate::embed::{
    AccessRequest, Action, Answer, Arrival, Cause, ConnectRequest, Decision, Delivered, Departure, Dropped,
    Edit, Hooks, MessageView, Passage, Subscribed, Unsubscribed, Verdict, defer,
};
use crate::ffi::arguments::{Growing, borrowed, borrowed_or_null, given, given_mut, options};
use crate::ffi::config::midge_config;
use crate::ffi::edit::midge_edit;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::message::midge_message;
use crate::ffi::status::{MIDGE_STATUS_FORKED, MIDGE_STATUS_OK, MIDGE_STATUS_STATE, midge_status};
use crate::ffi::views::{UserData, midge_bytes, midge_free_fn, midge_subscription_view};
use crate::runtime::generation;

/// A hook's answer: yes.
pub const MIDGE_ALLOW: i32 = 0;
/// A hook's answer: no. The client is told 0x86, Bad User Name or Password, if it wants to be let in, otherwise 0x87,
/// Not authorized; older versions of MQTT as far as they can say it.
pub const MIDGE_DENY: i32 = 1;
/// A hook's answer: later, by midge_decision_resolve.
pub const MIDGE_DEFER: i32 = 2;

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
    /// The topic name.
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
    /// Who is let in.
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

/// A decision that a hook has answered with MIDGE_DEFER. It belongs to the host, who resolves or frees it once, on any
/// thread. Meanwhile the client's packets wait in their order, and those of other clients do not. What is not decided
/// within the setting hooks.deadline is denied.
pub struct midge_decision {
    decision: Mutex<Option<Decision>>,
    /// Whether the host has given the handle back.
    spent: AtomicBool,
    generation: u32,
}

/// Decides, and frees the handle: MIDGE_ALLOW, MIDGE_DENY, or a reason code of MQTT 5, 0x80 and above, which denies with
/// it. The hook itself may call it, and answer MIDGE_DEFER.
///
/// Errors: STATE if that is of no use any more, for the time is over, the client is gone or the broker has stopped;
/// INVALID_ARGUMENT, which leaves the decision open; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_decision_resolve(decision: *mut midge_decision, verdict: i32) -> midge_status {
    guard!({
        given(decision, "decision")?;
        let verdict = self::verdict(verdict)
            .ok_or_else(|| Failure::argument("verdict", &format!("{verdict} is no verdict")))?;
        let in_time = midge_decision::spend(decision)?.is_some_and(|decision| decision.resolve(verdict));
        Ok(if in_time { MIDGE_STATUS_OK } else { MIDGE_STATUS_STATE })
    })
}

/// Frees a decision; one that is not resolved denies. NULL is taken. In a forked child nothing is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_decision_free(decision: *mut midge_decision) {
    guard!(
        {
            if !decision.is_null() {
                drop(midge_decision::spend(decision));
            }
        },
        else ()
    );
}

impl midge_decision {
    /// Takes the handle back from the host, with the decision that was not made yet.
    ///
    /// # Safety
    /// `handle` is one that the host has, and gives back; or one that `ask` still counts.
    unsafe fn spend(handle: *const midge_decision) -> Result<Option<Decision>, Failure> {
        // SAFETY: the caller's. A count of our own, so that nothing is freed while it is looked at.
        let open = unsafe {
            Arc::increment_strong_count(handle);
            Arc::from_raw(handle)
        };
        if open.generation != generation() {
            return Err(Failure::of(MIDGE_STATUS_FORKED));
        }
        let decision = open.decision.lock().take();
        if !open.spent.swap(true, Ordering::AcqRel) {
            // SAFETY: the handle's own count, which `ask` has given away; only who finds it unspent takes it back.
            drop(unsafe { Arc::from_raw(handle) });
        }
        Ok(decision)
    }
}

/// Lends a decision to a hook, whose answer says whether the host keeps it.
fn ask(hook: impl FnOnce(*mut midge_decision) -> i32) -> Answer {
    let (decision, deferred) = defer();
    let open = Arc::new(midge_decision {
        decision: Mutex::new(Some(decision)),
        spent: AtomicBool::new(false),
        generation: generation(),
    });
    let handle = Arc::into_raw(Arc::clone(&open));
    match hook(handle.cast_mut()) {
        MIDGE_DEFER => Answer::Later(deferred),
        answer => {
            // SAFETY: `open` counts it; the host has not kept it, or has spent it.
            let _unused = unsafe { midge_decision::spend(handle) };
            Answer::Now(verdict(answer).unwrap_or(Verdict::Deny))
        }
    }
}

/// The verdict of a number.
fn verdict(number: i32) -> Option<Verdict> {
    match number {
        MIDGE_ALLOW => Some(Verdict::Allow),
        MIDGE_DENY => Some(Verdict::Deny),
        code => {
            let reason = u8::try_from(code).ok().and_then(ReasonCode::from_u8)?;
            reason.is_error().then_some(Verdict::DenyWith(reason))
        }
    }
}

/// The hooks as floor 7 takes them.
fn functions(given: &midge_hooks, user_data: Arc<UserData>) -> Hooks {
    let mut hooks = Hooks::new();
    if let Some(hook) = given.authenticate {
        let data = Arc::clone(&user_data);
        hooks = hooks.authenticate(move |request| {
            let address = Address::of(request.address);
            let request = connect_request(request, &address);
            // SAFETY: the host's function with the host's pointer, which lives as long as this closure; what it is lent
            // lives until it returns.
            ask(|decision| unsafe { hook(&request, decision, data.pointer()) })
        });
    }
    if let Some(hook) = given.authorize {
        let data = Arc::clone(&user_data);
        hooks = hooks.authorize(move |request| {
            let address = Address::of(request.address);
            let request = access_request(request, &address);
            // SAFETY: as above.
            ask(|decision| unsafe { hook(&request, decision, data.pointer()) })
        });
    }
    if let Some(hook) = given.on_publish {
        let data = Arc::clone(&user_data);
        hooks = hooks.on_publish(move |edit| {
            // SAFETY: as above.
            let answer = look(edit, |request, edit| unsafe { hook(request, edit, data.pointer()) });
            if answer == MIDGE_ALLOW { Passage::Pass } else { Passage::Drop }
        });
    }
    if let Some(hook) = given.on_connected {
        let data = Arc::clone(&user_data);
        hooks = hooks.on_connected(move |arrival| {
            let address = Address::of(arrival.address);
            // SAFETY: as above.
            unsafe { hook(&connection(arrival, &address), data.pointer()) };
        });
    }
    if let Some(hook) = given.on_disconnected {
        let data = Arc::clone(&user_data);
        // SAFETY: as above.
        hooks = hooks.on_disconnected(move |gone| unsafe { hook(&disconnection(gone), data.pointer()) });
    }
    if let Some(hook) = given.on_subscribed {
        let data = Arc::clone(&user_data);
        // SAFETY: as above.
        hooks = hooks.on_subscribed(move |new| unsafe { hook(&subscribed(new), data.pointer()) });
    }
    if let Some(hook) = given.on_unsubscribed {
        let data = Arc::clone(&user_data);
        // SAFETY: as above.
        hooks = hooks.on_unsubscribed(move |old| unsafe { hook(&unsubscribed(old), data.pointer()) });
    }
    if let Some(hook) = given.on_delivered {
        let data = Arc::clone(&user_data);
        // SAFETY: as above.
        hooks = hooks.on_delivered(move |one| unsafe { hook(&delivered(one), data.pointer()) });
    }
    if let Some(hook) = given.on_dropped {
        let data = user_data;
        // SAFETY: as above.
        hooks = hooks.on_dropped(move |one| unsafe { hook(&dropped(one), data.pointer()) });
    }
    hooks
}

/// An address as text, which lives while a hook is called.
struct Address(Option<String>);

impl Address {
    fn of(address: Option<SocketAddr>) -> Address {
        Address(address.map(|address| address.to_string()))
    }

    fn lend(&self) -> midge_bytes {
        text(self.0.as_deref())
    }
}

fn text(text: Option<&str>) -> midge_bytes {
    borrowed_or_null(text.map(str::as_bytes))
}

fn connect_request(request: &ConnectRequest<'_>, address: &Address) -> midge_connect_request {
    midge_connect_request {
        struct_size: size_of::<midge_connect_request>(),
        connection: request.connection,
        client_id: borrowed(request.client_id.as_bytes()),
        username: text(request.username),
        password: borrowed_or_null(request.password),
        address: address.lend(),
        listener: text(request.listener),
        protocol_version: i32::from(request.version as u8),
        clean_start: i32::from(request.clean_start),
        keep_alive: i32::from(request.keep_alive),
        reserved: 0,
    }
}

fn access_request(request: &AccessRequest<'_>, address: &Address) -> midge_access_request {
    midge_access_request {
        struct_size: size_of::<midge_access_request>(),
        client_id: borrowed(request.client_id.as_bytes()),
        username: text(request.username),
        address: address.lend(),
        topic: borrowed(request.topic.as_bytes()),
        action: match request.action {
            Action::Publish => MIDGE_ACTION_PUBLISH,
            Action::Subscribe => MIDGE_ACTION_SUBSCRIBE,
        },
        qos: i32::from(request.qos.as_u8()),
        retain: i32::from(request.retain),
        is_will: i32::from(request.is_will),
    }
}

/// Lends a message and the means to change it.
fn look(edit: &mut Edit<'_>, hook: impl FnOnce(*const midge_publish_request, *mut midge_edit) -> i32) -> i32 {
    let (original, is_will) = (edit.original(), edit.is_will());
    let (client_id, username) = (edit.client_id().to_owned(), edit.username().map(str::to_owned));
    midge_message::lend(&MessageView::of(&original), |message| {
        let request = midge_publish_request {
            struct_size: size_of::<midge_publish_request>(),
            client_id: borrowed(client_id.as_bytes()),
            username: text(username.as_deref()),
            message,
            is_will: i32::from(is_will),
            reserved: 0,
        };
        midge_edit::lend(edit, |edit| hook(&request, edit))
    })
}

fn connection(arrival: &Arrival, address: &Address) -> midge_connection_view {
    midge_connection_view {
        struct_size: size_of::<midge_connection_view>(),
        connection: arrival.connection,
        client_id: borrowed(arrival.client_id.as_bytes()),
        username: text(arrival.username.as_deref()),
        address: address.lend(),
        listener: text(arrival.listener.as_deref()),
        protocol_version: i32::from(arrival.version as u8),
        clean_start: i32::from(arrival.clean_start),
        session_present: i32::from(arrival.session_present),
        keep_alive: i32::from(arrival.keep_alive),
    }
}

fn disconnection(gone: &Departure) -> midge_disconnection_view {
    let (cause, reason) = match gone.cause {
        Cause::Disconnected => (MIDGE_CAUSE_DISCONNECTED, 0),
        // A connection that has a session does not end for its CONNECT.
        Cause::ConnectionLost | Cause::ConnectTimeout => (MIDGE_CAUSE_CONNECTION_LOST, 0),
        Cause::Refused(reason) => (MIDGE_CAUSE_REFUSED, i32::from(reason.as_u8())),
        Cause::KeepAliveTimeout => (MIDGE_CAUSE_KEEP_ALIVE, 0),
        Cause::SessionTakenOver => (MIDGE_CAUSE_TAKEN_OVER, 0),
        Cause::Kicked => (MIDGE_CAUSE_KICKED, 0),
        Cause::ServerShuttingDown => (MIDGE_CAUSE_STOPPING, 0),
    };
    midge_disconnection_view {
        struct_size: size_of::<midge_disconnection_view>(),
        connection: gone.connection,
        client_id: borrowed(gone.client_id.as_bytes()),
        why: borrowed(gone.why.as_bytes()),
        cause,
        reason_code: reason,
    }
}

fn subscription(
    client_id: &str,
    filter: &str,
    options: SubscriptionOptions,
    identifier: u32,
) -> midge_subscription_view {
    midge_subscription_view {
        struct_size: size_of::<midge_subscription_view>(),
        filter: borrowed(filter.as_bytes()),
        client_id: borrowed(client_id.as_bytes()),
        identifier: i64::from(identifier),
        qos: i32::from(options.qos.as_u8()),
        no_local: i32::from(options.no_local),
        retain_as_published: i32::from(options.retain_as_published),
        retain_handling: i32::from(options.retain_handling as u8),
    }
}

fn subscribed(new: &Subscribed) -> midge_subscription_view {
    subscription(&new.client_id, &new.filter, new.options, new.identifier)
}

fn unsubscribed(old: &Unsubscribed) -> midge_subscription_view {
    subscription(&old.client_id, &old.filter, SubscriptionOptions::default(), 0)
}

fn delivered(one: &Delivered) -> midge_delivery_view {
    midge_delivery_view {
        struct_size: size_of::<midge_delivery_view>(),
        client_id: borrowed(one.client_id.as_bytes()),
        topic: borrowed(one.topic.as_bytes()),
        reason: midge_bytes::NONE,
        qos: i32::from(one.qos.as_u8()),
        reserved: 0,
    }
}

fn dropped(one: &Dropped) -> midge_delivery_view {
    midge_delivery_view {
        struct_size: size_of::<midge_delivery_view>(),
        client_id: text(one.client_id.as_deref()),
        topic: borrowed(one.topic.as_bytes()),
        reason: borrowed(one.reason.name().as_bytes()),
        qos: -1,
        reserved: 0,
    }
}
