//! Lists: the clients, the subscriptions and the retained messages of a broker at one moment.

use std::ffi::c_char;

use crate::codec::subscribe::RetainHandling;
use crate::engine::view::clients::{ClientView, SubscriptionView};
use crate::ffi::arguments::{beyond, borrowed, borrowed_or_null, fill, free, given, slot, topic};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::guard::guard;
use crate::ffi::message::midge_message;
use crate::ffi::process::Process;
use crate::ffi::status::midge_status;
use crate::ffi::subscribe::{MIDGE_RETAIN_DO_NOT_SEND, MIDGE_RETAIN_SEND, MIDGE_RETAIN_SEND_IF_NEW};
use crate::ffi::tls::LentTls;
use crate::ffi::views::{midge_client_view, midge_subscription_view};

/// The clients of a broker at one moment. It belongs to the caller, who frees it by midge_clients_free.
pub struct midge_clients {
    clients: Vec<ListedClient>,
}

/// A client, and what its view points to.
struct ListedClient {
    /// Before the client, so that it is dropped before what it points to.
    tls: Option<Box<LentTls>>,
    client: ClientView,
    address: Option<String>,
}

/// The subscriptions of a broker at one moment. It belongs to the caller, who frees it by midge_subscriptions_free.
pub struct midge_subscriptions {
    subscriptions: Vec<SubscriptionView>,
}

/// The retained messages of a broker at one moment. It belongs to the caller, who frees it by midge_retained_free.
pub struct midge_retained {
    messages: Vec<midge_message>,
}

/// Lists every client that is connected or has a session, in no order.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_clients(
    broker: *const midge_broker,
    out: *mut *mut midge_clients,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let listed = |client: ClientView| {
            let tls = client.tls.as_deref().map(LentTls::of);
            let address = client.address.map(|address| address.to_string());
            ListedClient { tls, client, address }
        };
        let clients = live(broker)?.clients().into_iter().map(listed).collect();
        Ok(out.put_handle(midge_clients { clients }))
    }, concerns broker)
}

/// The number of clients in the list. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_clients_count(clients: *const midge_clients) -> usize {
    guard!({ clients.as_ref().map_or(0, |clients| clients.clients.len()) }, else 0)
}

/// Describes the client at `index`, from 0. The texts live as long as the list.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_clients_at(
    clients: *const midge_clients,
    index: usize,
    out: *mut midge_client_view,
) -> midge_status {
    guard!({
        let listed = given(clients, "clients")?.clients.get(index).ok_or_else(beyond)?;
        fill(out, &client_view(listed))
    })
}

/// Frees a list of clients. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_clients_free(clients: *mut midge_clients) {
    guard!({ free(clients) }, else ());
}

/// Lists every subscription, of clients and of the host, in no order.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_subscriptions(
    broker: *const midge_broker,
    out: *mut *mut midge_subscriptions,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let subscriptions = live(broker)?.subscriptions();
        Ok(out.put_handle(midge_subscriptions { subscriptions }))
    }, concerns broker)
}

/// The number of subscriptions in the list. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_subscriptions_count(subscriptions: *const midge_subscriptions) -> usize {
    guard!({ subscriptions.as_ref().map_or(0, |list| list.subscriptions.len()) }, else 0)
}

/// Describes the subscription at `index`, from 0. The texts live as long as the list.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_subscriptions_at(
    subscriptions: *const midge_subscriptions,
    index: usize,
    out: *mut midge_subscription_view,
) -> midge_status {
    guard!({
        let list = given(subscriptions, "subscriptions")?;
        fill(out, &subscription_view(list.subscriptions.get(index).ok_or_else(beyond)?))
    })
}

/// Frees a list of subscriptions. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_subscriptions_free(subscriptions: *mut midge_subscriptions) {
    guard!({ free(subscriptions) }, else ());
}

/// Lists the retained messages whose topics match a filter, in the order of their topics; with a filter that begins
/// with "$SYS/" those of the broker itself. Large payloads are shared, the rest is copied.
///
/// Errors: TOPIC; INVALID_ARGUMENT, also for a shared subscription's filter; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_retained(
    broker: *const midge_broker,
    filter: *const c_char,
    out: *mut *mut midge_retained,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let messages = live(broker)?.retained(topic(filter, "filter")?)?;
        Ok(out.put_handle(midge_retained { messages: messages.into_iter().map(midge_message::owning).collect() }))
    }, concerns broker)
}

/// The number of messages in the list. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_retained_count(retained: *const midge_retained) -> usize {
    guard!({ retained.as_ref().map_or(0, |list| list.messages.len()) }, else 0)
}

/// The message at `index`, from 0. It lives as long as the list and must not be freed. NULL beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_retained_at(
    retained: *const midge_retained,
    index: usize,
) -> *const midge_message {
    guard!(
        {
            retained
                .as_ref()
                .and_then(|list| list.messages.get(index))
                .map_or(std::ptr::null(), std::ptr::from_ref)
        },
        else std::ptr::null()
    )
}

/// Frees a list of retained messages. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_retained_free(retained: *mut midge_retained) {
    guard!({ free(retained) }, else ());
}

fn client_view(listed: &ListedClient) -> midge_client_view {
    let ListedClient { tls, client, address } = listed;
    let process = Process::of(client.address);
    let since = client.connected_since.map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    midge_client_view {
        struct_size: size_of::<midge_client_view>(),
        client_id: borrowed(client.client_id.as_bytes()),
        username: borrowed_or_null(client.username.as_deref().map(str::as_bytes)),
        address: borrowed_or_null(address.as_deref().map(str::as_bytes)),
        connected_since_ms: since.unwrap_or(-1),
        session_expiry_interval: match client.session_expiry {
            u32::MAX => -1,
            seconds => seconds.into(),
        },
        subscriptions: client.subscriptions as u64,
        queued: client.queued as u64,
        inflight: client.inflight as u64,
        received_messages: client.received_messages,
        sent_messages: client.sent_messages,
        connected: client.connected.into(),
        protocol_version: client.version as i32,
        clean_start: client.clean_start.into(),
        keep_alive: client.keep_alive.into(),
        tls: LentTls::lend(tls.as_deref()),
        uid: process.uid,
        gid: process.gid,
        pid: process.pid,
    }
}

fn subscription_view(subscription: &SubscriptionView) -> midge_subscription_view {
    let options = &subscription.options;
    midge_subscription_view {
        struct_size: size_of::<midge_subscription_view>(),
        filter: borrowed(subscription.filter.as_bytes()),
        client_id: borrowed_or_null(subscription.client_id.as_deref().map(str::as_bytes)),
        identifier: subscription.identifier.into(),
        qos: options.qos.as_u8().into(),
        no_local: options.no_local.into(),
        retain_as_published: options.retain_as_published.into(),
        retain_handling: match options.retain_handling {
            RetainHandling::SendAlways => MIDGE_RETAIN_SEND,
            RetainHandling::SendIfNew => MIDGE_RETAIN_SEND_IF_NEW,
            RetainHandling::DoNotSend => MIDGE_RETAIN_DO_NOT_SEND,
        },
    }
}
