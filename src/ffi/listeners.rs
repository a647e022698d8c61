//! Listeners of a running broker: added, stopped, paused, listed.

use std::ffi::c_char;

use crate::embed::{Connections, ListenerView};
use crate::ffi::arguments::{beyond, borrowed, fill, free, given, slot, text};
use crate::ffi::broker::{held, live, midge_broker};
use crate::ffi::config::midge_config;
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::views::{midge_handshake_failure_view, midge_listener_view};

/// The connections of a listener that is stopped go on.
pub const MIDGE_CONNECTIONS_KEEP: i32 = 0;
/// The clients of a listener that is stopped are disconnected.
pub const MIDGE_CONNECTIONS_DISCONNECT: i32 = 1;

/// The listeners of a broker at one moment. It belongs to the caller, who frees it by midge_listeners_free.
pub struct midge_listeners {
    /// Each with its address as text.
    listeners: Vec<(ListenerView, String)>,
}

/// Adds the listener `name` with its settings in `config`: "listener.<name>.bind" and the others of that listener. What
/// else the configuration has is not read. midge_broker_address tells the port that it has.
///
/// Errors: INVALID_ARGUMENT, also if there is a listener of this name; CONFIG; ADDRESS_IN_USE; IO; STATE; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_add(
    broker: *mut midge_broker,
    name: *const c_char,
    config: *const midge_config,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = live(broker)?;
        broker.add_listener(text(name, "name")?, &given(config, "config")?.config)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Closes the listener `name`. `connections` says what becomes of those that it has accepted: MIDGE_CONNECTIONS_KEEP or
/// MIDGE_CONNECTIONS_DISCONNECT, which tells clients that speak MQTT 5 0x98, Administrative action; their sessions stay.
/// The name and the address are free again when this returns; in a callback the address is soon after.
///
/// Errors: INVALID_ARGUMENT, also if there is no listener of this name; STATE; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_stop(
    broker: *mut midge_broker,
    name: *const c_char,
    connections: i32,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let connections = match connections {
            MIDGE_CONNECTIONS_KEEP => Connections::Keep,
            MIDGE_CONNECTIONS_DISCONNECT => Connections::Disconnect,
            _ => return Err(Failure::argument("connections", "is no MIDGE_CONNECTIONS_... constant")),
        };
        held(broker)?.stop_listener(text(name, "name")?, connections)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Lets the listener `name` accept no connection for now; those that exist go on. Clients that connect wait in the
/// system's queue until midge_broker_listener_resume. Pausing a paused listener does nothing.
///
/// Errors: those of midge_broker_listener_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_pause(
    broker: *mut midge_broker,
    name: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        live(broker)?.pause_listener(text(name, "name")?)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Lets the paused listener `name` accept again, those first that have waited. Nothing happens if it is not paused.
///
/// Errors: those of midge_broker_listener_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_resume(
    broker: *mut midge_broker,
    name: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        live(broker)?.resume_listener(text(name, "name")?)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Lists the listeners: those of the settings in their order, then those that were added. After midge_stop all of them are
/// stopped.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listeners(
    broker: *const midge_broker,
    out: *mut *mut midge_listeners,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let with_address = |view: ListenerView| {
            let address = view.address.to_string();
            (view, address)
        };
        let listeners = live(broker)?.listeners().into_iter().map(with_address).collect();
        Ok(out.put_handle(midge_listeners { listeners }))
    }, concerns broker)
}

/// The number of listeners in the list. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_listeners_count(listeners: *const midge_listeners) -> usize {
    guard!({ listeners.as_ref().map_or(0, |list| list.listeners.len()) }, else 0)
}

/// Describes the listener at `index`, from 0. The texts live as long as the list.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_listeners_at(
    listeners: *const midge_listeners,
    index: usize,
    out: *mut midge_listener_view,
) -> midge_status {
    guard!({
        let list = given(listeners, "listeners")?;
        let (view, address) = list.listeners.get(index).ok_or_else(beyond)?;
        fill(out, &listener_view(view, view.name.as_bytes(), address.as_bytes()))
    })
}

/// Describes a reason why handshakes of the listener at `index` have failed; `reason` counts from 0, and the most frequent
/// comes first. The text lives as long as the list.
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_listeners_failure_at(
    listeners: *const midge_listeners,
    index: usize,
    reason: usize,
    out: *mut midge_handshake_failure_view,
) -> midge_status {
    guard!({
        let list = given(listeners, "listeners")?;
        let (view, _) = list.listeners.get(index).ok_or_else(beyond)?;
        let (reason, count) = view.handshake_failures.get(reason).ok_or_else(beyond)?;
        fill(
            out,
            &midge_handshake_failure_view {
                struct_size: size_of::<midge_handshake_failure_view>(),
                reason: borrowed(reason.as_bytes()),
                count: *count,
            },
        )
    })
}

/// Frees a list of listeners. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_listeners_free(listeners: *mut midge_listeners) {
    guard!({ free(listeners) }, else ());
}

/// A listener as C sees it; the texts are lent.
pub(super) fn listener_view(view: &ListenerView, name: &[u8], address: &[u8]) -> midge_listener_view {
    midge_listener_view {
        struct_size: size_of::<midge_listener_view>(),
        name: borrowed(name),
        address: borrowed(address),
        transport: borrowed(view.transport.as_bytes()),
        state: borrowed(view.state.name().as_bytes()),
        connections: u64::from(view.connections),
        max_connections: view.max_connections.map_or(-1, i64::from),
        accepted: view.accepted,
        refused: view.refused,
        handshake_failures: view.handshake_failures.iter().map(|(_, count)| count).sum(),
        failure_reasons: view.handshake_failures.len() as u64,
    }
}
