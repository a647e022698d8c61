//! Brokers: start, stop, wait, addresses, clients.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::config::{Config, ListenAddress, Transport};
use crate::embed::{AdoptOptions, Broker};
use crate::ffi::arguments::{
    Growing, beyond, c_string, fill, free, given, milliseconds, optional, options as taken, slot, text,
};
use crate::ffi::config::midge_config;
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Concerned, Failure, guard};
use crate::ffi::listeners::listener_view;
use crate::ffi::status::{
    MIDGE_STATUS_FORKED, MIDGE_STATUS_IN_CALLBACK, MIDGE_STATUS_NOT_CONNECTED, MIDGE_STATUS_OK,
    MIDGE_STATUS_TIMED_OUT, midge_status,
};
use crate::ffi::views::midge_listener_view;
use crate::locks::Mutex;
use crate::runtime::on_own_thread;

/// A broker in this process. It belongs to the caller, who frees it by midge_broker_free.
pub struct midge_broker {
    broker: Arc<Broker>,
    /// The texts that were lent, which live as long as the handle. Each is there once.
    lent: Mutex<HashSet<CString>>,
    /// The address of the console, if there is one.
    console: Option<CString>,
}

impl midge_broker {
    pub(super) fn of(broker: Arc<Broker>) -> midge_broker {
        let console = broker.console_address().map(|address| c_string(&address.to_string()));
        midge_broker { broker, lent: Mutex::default(), console }
    }

    /// A text that lives as long as the handle.
    fn lend(&self, text: &str) -> &CStr {
        let text = c_string(text);
        let mut lent = self.lent.lock();
        if !lent.contains(&text) {
            lent.insert(text.clone());
        }
        let kept = lent.get(&text).map_or(c"", CString::as_c_str);
        // SAFETY: the text is on the heap, and nothing is removed from the set before the handle is freed.
        unsafe { CStr::from_ptr(kept.as_ptr()) }
    }
}

impl Concerned for midge_broker {
    fn abandon(&self) {
        self.broker.abandon();
    }
}

/// The broker behind a handle, of which calls may ask anything but to go on.
///
/// # Safety
/// `broker` is NULL or a live handle.
unsafe fn known<'a>(broker: *const midge_broker) -> Result<&'a midge_broker, Failure> {
    // SAFETY: the caller's.
    let handle = unsafe { given(broker, "broker") }?;
    if handle.broker.is_forked() { Err(Failure::of(MIDGE_STATUS_FORKED)) } else { Ok(handle) }
}

/// The broker behind a handle, for a call that waits: meanwhile the handle may be freed.
///
/// # Safety
/// `broker` is NULL or a live handle.
unsafe fn held_while_waiting(broker: *const midge_broker) -> Result<Arc<Broker>, Failure> {
    // SAFETY: the caller's. Nothing is read of the handle behind the fence.
    let inner = Arc::as_ptr(unsafe { &known(broker)?.broker });
    // A thread that frees the handle looks at the count first: if it sees this owner, all that was read came before.
    fence(Ordering::Release);
    // SAFETY: the pointer is of an Arc that the handle still owns, for it is not freed before this owner is counted.
    unsafe {
        Arc::increment_strong_count(inner);
        Ok(Arc::from_raw(inner))
    }
}

/// The broker behind a handle, unless a panic or a fork ended its use.
///
/// # Safety
/// `broker` is NULL or a live handle.
pub(super) unsafe fn live<'a>(broker: *const midge_broker) -> Result<&'a Arc<Broker>, Failure> {
    // SAFETY: the caller's.
    let handle = unsafe { known(broker) }?;
    handle.broker.check()?;
    Ok(&handle.broker)
}

/// As [`live`], held for a call in which a callback may free the handle, or another thread while it waits.
///
/// # Safety
/// `broker` is NULL or a live handle.
pub(super) unsafe fn held(broker: *const midge_broker) -> Result<Arc<Broker>, Failure> {
    // SAFETY: the caller's.
    unsafe { live(broker) }.map(Arc::clone)
}

/// Starts a broker. When this returns, every listener is bound and takes connections. `config` NULL is the default
/// configuration: one listener on 127.0.0.1:1883. The configuration may be changed or freed afterwards.
///
/// Errors: ADDRESS_IN_USE; CONFIG; IO; INVALID_ARGUMENT. The sentence names the setting.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_start(
    config: *const midge_config,
    out: *mut *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let broker = match config.as_ref() {
            Some(config) => Broker::start_with(&config.config, &config.hooks())?,
            None => Broker::start(&Config::new())?,
        };
        Ok(out.put_handle(midge_broker::of(Arc::new(broker))))
    }, tells error)
}

/// Stops a broker: no connection is taken any more, clients are told, what waits for clients and callbacks is given to
/// them, for at most `grace_ms` milliseconds (less than 0: the setting runtime.stop_grace); then every thread is
/// joined and every listener closed. From the beginning of the stop on, publishing, subscribing and kicking answer STATE.
///
/// When this returns, the hooks have been told all that has happened, the end of every connection included, and no hook or
/// callback runs any more or will: one that runs, also on another thread of the host, is waited for without a bound. So do
/// not hold a lock that one of them takes.
///
/// Stopping a stopped broker does nothing. Several threads may stop it at once, and all of them wait. The handle stays
/// valid; most calls answer STATE from then on.
///
/// Errors: IN_CALLBACK on a thread of a broker and in a hook; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_stop(broker: *mut midge_broker, grace_ms: i32) -> midge_status {
    guard!({
        let broker = held_while_waiting(broker)?;
        broker.stop(milliseconds(grace_ms))?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Stops a broker that has not been stopped, as midge_stop does with the default grace, and frees its handle. From a
/// callback it returns at once, and the broker stops in the background. NULL is taken. In a forked child nothing is
/// done.
///
/// Subscriptions and queues of the broker stay valid and are to be freed by the caller, before or after.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_free(broker: *mut midge_broker) {
    guard!(
        {
            if let Ok(handle) = known(broker) {
                // Also while other threads wait, which hold it, too.
                if handle.broker.stop(None).is_err() {
                    handle.broker.abandon();
                }
                // Behind what those have read of the handle who are counted as owners, and may still wait.
                let _owners = Arc::strong_count(&handle.broker);
                fence(Ordering::Acquire);
                free(broker);
            }
        },
        else ()
    );
}

/// Asks for a stop: midge_broker_wait returns, now and from now on. It stops nothing itself.
///
/// It is async-signal-safe: a signal handler may call it, as may a callback.
///
/// Errors: FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_request_stop(broker: *mut midge_broker) -> midge_status {
    guard!({
        match broker.as_ref() {
            // A sentence would need memory, which a signal handler must not ask for.
            None => return Err(Failure::of(super::status::MIDGE_STATUS_INVALID_ARGUMENT)),
            Some(broker) if broker.broker.is_forked() => return Err(Failure::of(MIDGE_STATUS_FORKED)),
            Some(broker) => broker.broker.request_stop(),
        }
        Ok(MIDGE_STATUS_OK)
    })
}

/// Waits until midge_broker_request_stop was called or the broker has stopped, for at most `timeout_ms` milliseconds
/// (less than 0: for ever).
///
/// Returns OK or TIMED_OUT. Errors: IN_CALLBACK on a thread of a broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_wait(broker: *mut midge_broker, timeout_ms: i32) -> midge_status {
    guard!({
        let broker = held_while_waiting(broker)?;
        if on_own_thread() {
            return Err(Failure::of(MIDGE_STATUS_IN_CALLBACK));
        }
        Ok(if broker.wait(milliseconds(timeout_ms)) { MIDGE_STATUS_OK } else { MIDGE_STATUS_TIMED_OUT })
    }, concerns broker)
}

/// The address of the listener `listener` ("tcp"; NULL is the first one) with the port that it has, such as
/// "127.0.0.1:53412" or "[::1]:1883". It lives as long as the broker's handle. NULL if there is no such listener, for
/// a NULL broker, and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_address(
    broker: *const midge_broker,
    listener: *const c_char,
) -> *const c_char {
    guard!(
        {
            let name = if listener.is_null() { None } else { text(listener, "listener").ok() };
            let wanted = |(known, _): &(String, ListenAddress)| {
                listener.is_null() || name.is_some_and(|name| known == name)
            };
            known(broker).map_or(std::ptr::null(), |handle| {
                let found = handle.broker.addresses().into_iter().find(wanted);
                found.map_or(std::ptr::null(), |(_, address)| handle.lend(&address.to_string()).as_ptr())
            })
        },
        else std::ptr::null()
    )
}

/// The address of the console with the port that it has, such as "127.0.0.1:18083": a browser finds it at "http://" and
/// this. It lives as long as the broker's handle. NULL if `console.listen` is off, for a NULL broker, and in a forked
/// child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_console_address(broker: *const midge_broker) -> *const c_char {
    guard!(
        {
            let console = known(broker).ok().and_then(|broker| broker.console.as_ref());
            console.map_or(std::ptr::null(), |address| address.as_ptr())
        },
        else std::ptr::null()
    )
}

/// The number of listeners. 0 for NULL and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_count(broker: *const midge_broker) -> usize {
    guard!({ known(broker).map_or(0, |handle| handle.broker.addresses().len()) }, else 0)
}

/// Describes the listener at `index`, from 0, in the order of the settings; those that were added come last. The texts live
/// as long as the broker's handle. A listener that is stopped leaves its place to the next: midge_broker_listeners makes a
/// list that does not change.
///
/// Errors: INVALID_ARGUMENT, also beyond the last; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_listener_at(
    broker: *const midge_broker,
    index: usize,
    out: *mut midge_listener_view,
) -> midge_status {
    guard!({
        let handle = known(broker)?;
        let view = handle.broker.listeners().into_iter().nth(index).ok_or_else(beyond)?;
        let (name, address) = (handle.lend(&view.name), handle.lend(&view.address.to_string()));
        fill(out, &listener_view(&view, name.to_bytes(), address.to_bytes()))
    })
}

/// Serves a client on a connected stream socket: a TCP connection that the host has accepted, or one end of a UNIX
/// socketpair. Its client counts as one of `listener`, or with NULL of none, and then only mqtt.max_connections bounds
/// it. The broker needs no listener for that: `listener.tcp.bind` may be "off".
///
/// On success the descriptor belongs to the broker and is not to be used any more, by no other thread either; on
/// failure it is still the caller's and open. The socket becomes non-blocking, which its duplicates share.
///
/// Errors: INVALID_ARGUMENT if it is no connected stream socket, or there is no such listener; IO if the limit
/// of connections without a client is reached, or the system refuses; STATE; FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_adopt_fd(
    broker: *mut midge_broker,
    fd: i32,
    listener: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = live(broker)?;
        let listener = optional(listener, "listener")?;
        if fd < 0 {
            return Err(Failure::argument("fd", "is less than 0"));
        }
        broker.adopt_duplicate(BorrowedFd::borrow_raw(fd), &AdoptOptions { listener, transport: None })?;
        // The broker has its own duplicate.
        drop(OwnedFd::from_raw_fd(fd));
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// How a connection is adopted. MIDGE_ADOPT_OPTIONS_INIT has the defaults, which are those of midge_broker_adopt_fd.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_adopt_options {
    /// Set by MIDGE_ADOPT_OPTIONS_INIT.
    pub struct_size: usize,
    /// The listener whose client it is; NULL is none.
    pub listener: *const c_char,
    /// What lies between MQTT and the socket: a value of "listener.*.transport", with the other settings of `listener`.
    /// NULL is nothing.
    pub transport: *const c_char,
}

// SAFETY: `repr(C)`, `struct_size` first, then pointers only.
unsafe impl Growing for midge_adopt_options {
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), listener: std::ptr::null(), transport: std::ptr::null() };
}

/// As midge_broker_adopt_fd, with options: a connection that the host has accepted may speak TLS or WebSocket. `options`
/// NULL is the default.
///
/// Errors: those of midge_broker_adopt_fd; CONFIG if the settings of the listener do not fit the transport;
/// INVALID_ARGUMENT also if there is no such transport, or it needs settings and there is no listener.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_adopt_fd_with(
    broker: *mut midge_broker,
    fd: i32,
    options: *const midge_adopt_options,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = live(broker)?;
        let options = taken(options)?;
        let listener = optional(options.listener, "listener")?;
        let transport = match optional(options.transport, "transport")? {
            None => None,
            Some(name) => Some(
                Transport::named(name)
                    .ok_or_else(|| Failure::argument("transport", "is not tcp, tls, ws, wss or auto"))?,
            ),
        };
        if fd < 0 {
            return Err(Failure::argument("fd", "is less than 0"));
        }
        broker.adopt_duplicate(BorrowedFd::borrow_raw(fd), &AdoptOptions { listener, transport })?;
        // The broker has its own duplicate.
        drop(OwnedFd::from_raw_fd(fd));
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Disconnects a client; one that speaks MQTT 5 is told 0x98, Administrative action. Its session stays, as if the
/// connection had broken.
///
/// Returns OK or NOT_CONNECTED. Errors: STATE; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_kick(
    broker: *mut midge_broker,
    client_id: *const c_char,
) -> midge_status {
    guard!({
        let kicked = held(broker)?.kick(text(client_id, "client_id")?)?;
        Ok(if kicked { MIDGE_STATUS_OK } else { MIDGE_STATUS_NOT_CONNECTED })
    }, concerns broker)
}

/// Copies the store of the setting storage.path to a directory, which storage.path may name afterwards. The broker goes
/// on meanwhile.
///
/// The copy has all that was acknowledged before the call, and perhaps some of what came later: the state of one moment.
/// The directory is created if it does not exist, and must not have a store; there is one in it when the copy is whole.
/// The call waits until the copy is on stable storage, so it does not belong into a callback.
///
/// Errors: IO if the broker has no store, or the store cannot be read; STATE; FORKED; INVALID_ARGUMENT, also if the
/// directory cannot be written or has a store. The sentence names the file or directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_backup(
    broker: *mut midge_broker,
    path: *const c_char,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = held_while_waiting(broker)?;
        broker.backup(text(path, "path")?)?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Reads the files of all certificates again: of the listeners with TLS, and of the console. New connections get the new
/// certificates; connections that exist stay as they are. The files are also read by themselves, within half a minute after
/// they have changed. The call reads files, so it does not belong into a callback.
///
/// Errors: CONFIG if a file is missing, malformed, or does not fit the others: for that listener everything stays as it
/// was, and the sentence names the setting and the file. STATE; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_reload_certificates(
    broker: *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = held_while_waiting(broker)?;
        broker.reload_certificates()?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Reads the files of the authorities again, `access.password_file` and `access.acl_file`. What they say holds at once, for
/// clients that connect from now on and for what those that are connected do. The files are also read by themselves,
/// within half a minute after they have changed. The call reads files, so it does not belong into a callback.
///
/// Errors: CONFIG if a file is missing or malformed: what it contained before still holds, and the sentence names the
/// setting, the file and the line. STATE; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_reload_access(
    broker: *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = held_while_waiting(broker)?;
        broker.reload_access()?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

#[cfg(test)]
pub(super) mod tests {
    use std::ptr::null_mut;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::{midge_broker, midge_broker_free, midge_broker_wait, midge_start};
    use crate::ffi::config::{midge_config_free, midge_config_new, midge_config_set};
    use crate::ffi::status::MIDGE_STATUS_OK;

    /// A broker on a free port, as C starts it.
    pub(in crate::ffi) fn start() -> *mut midge_broker {
        let (mut config, mut broker) = (null_mut(), null_mut());
        // SAFETY: as C would call it: live places for outputs, NUL-ended texts, handles that are freed once.
        unsafe {
            assert_eq!(midge_config_new(&mut config), MIDGE_STATUS_OK);
            let (key, value) = (c"listener.tcp.bind".as_ptr(), c"127.0.0.1:0".as_ptr());
            assert_eq!(midge_config_set(config, key, value, null_mut()), MIDGE_STATUS_OK);
            assert_eq!(midge_start(config, &mut broker, null_mut()), MIDGE_STATUS_OK);
            midge_config_free(config);
        }
        broker
    }

    /// The only use of a handle that is allowed while it is freed.
    #[test]
    fn freeing_a_broker_stops_it_although_a_thread_waits_for_its_end() {
        let broker = start();
        // SAFETY: as C would call it: a live handle that is freed once.
        unsafe {
            let shared = Arc::clone(&(*broker).broker);
            let handle = AtomicPtr::new(broker);
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| midge_broker_wait(handle.load(Ordering::Relaxed), 20_000));
                while Arc::strong_count(&shared) < 3 {
                    std::thread::yield_now();
                }
                midge_broker_free(broker);
                assert_eq!(waiting.join().unwrap(), MIDGE_STATUS_OK);
            });
        }
    }
}
