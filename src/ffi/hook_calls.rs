//! How the host's hooks are called: what floor 7 tells of is lent to them as the structs of the header.

use std::sync::Arc;

use crate::codec::subscribe::SubscriptionOptions;
use crate::embed::{
    AccessRequest, Action, Arrival, Cause, ConnectRequest, Delivered, Departure, Dropped, Edit, Hooks,
    MessageView, Passage, Subscribed, Unsubscribed,
};
use crate::ffi::arguments::{borrowed, borrowed_or_null};
use crate::ffi::decision::ask;
use crate::ffi::edit::midge_edit;
use crate::ffi::hooks::{
    MIDGE_ACTION_PUBLISH, MIDGE_ACTION_SUBSCRIBE, MIDGE_ALLOW, MIDGE_CAUSE_CONNECTION_LOST,
    MIDGE_CAUSE_DISCONNECTED, MIDGE_CAUSE_KEEP_ALIVE, MIDGE_CAUSE_KICKED, MIDGE_CAUSE_REFUSED,
    MIDGE_CAUSE_STOPPING, MIDGE_CAUSE_TAKEN_OVER, midge_access_request, midge_connect_request,
    midge_connection_view, midge_delivery_view, midge_disconnection_view, midge_hooks, midge_publish_request,
};
use crate::ffi::message::midge_message;
use crate::ffi::process::Process;
use crate::ffi::tls::LentTls;
use crate::ffi::views::{UserData, midge_bytes, midge_subscription_view};
use crate::session::peer::Peer;

/// The hooks as floor 7 takes them.
pub(super) fn functions(given: &midge_hooks, user_data: Arc<UserData>) -> Hooks {
    let mut hooks = Hooks::new();
    if let Some(hook) = given.authenticate {
        let data = Arc::clone(&user_data);
        hooks = hooks.authenticate(move |request| {
            let address = Address::of(request.address);
            let tls = request.tls.map(LentTls::of);
            let request = connect_request(request, &address, tls.as_deref());
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
            let tls = arrival.tls.as_deref().map(LentTls::of);
            // SAFETY: as above.
            unsafe { hook(&connection(arrival, &address, tls.as_deref()), data.pointer()) };
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

/// A peer and its address as text, which lives while a hook is called.
struct Address {
    text: Option<String>,
    process: Process,
}

impl Address {
    fn of(peer: Option<Peer>) -> Address {
        Address { text: peer.map(|peer| peer.to_string()), process: Process::of(peer) }
    }

    fn lend(&self) -> midge_bytes {
        text(self.text.as_deref())
    }
}

fn text(text: Option<&str>) -> midge_bytes {
    borrowed_or_null(text.map(str::as_bytes))
}

fn connect_request(
    request: &ConnectRequest<'_>,
    address: &Address,
    tls: Option<&LentTls>,
) -> midge_connect_request {
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
        auth_method: text(request.auth_method),
        auth_data: borrowed_or_null(request.auth_data),
        auth_step: i32::try_from(request.auth_step).unwrap_or(i32::MAX),
        reauthenticates: i32::from(request.reauthenticates),
        tls: LentTls::lend(tls),
        uid: address.process.uid,
        gid: address.process.gid,
        pid: address.process.pid,
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
        uid: address.process.uid,
        gid: address.process.gid,
        pid: address.process.pid,
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

fn connection(arrival: &Arrival, address: &Address, tls: Option<&LentTls>) -> midge_connection_view {
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
        tls: LentTls::lend(tls),
        uid: address.process.uid,
        gid: address.process.gid,
        pid: address.process.pid,
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
