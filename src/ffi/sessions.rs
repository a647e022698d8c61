//! Sessions of clients: ending one, looking into its queue, clearing it.

use std::ffi::c_char;

use crate::ffi::arguments::{free, slot, text};
use crate::ffi::broker::{held, live, midge_broker};
use crate::ffi::guard::guard;
use crate::ffi::message::midge_message;
use crate::ffi::status::{MIDGE_STATUS_NO_SESSION, MIDGE_STATUS_OK, midge_status};

/// Messages of a session's queue at one moment. It belongs to the caller, who frees it by midge_queued_free.
pub struct midge_queued {
    messages: Vec<midge_message>,
}

/// Ends the session of a client, whether it is connected or away, as its expiry would: its subscriptions go, its will is
/// published, what waits for a shared subscription goes to another member, the rest is dropped. A client that is connected
/// is disconnected; one that speaks MQTT 5 is told 0x98, Administrative action.
///
/// Returns OK or NO_SESSION. Errors: STATE; FORKED; INVALID_ARGUMENT; IO if it is done, but the store that keeps the session
/// has failed, so that a restart undoes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_end_session(
    broker: *mut midge_broker,
    client_id: *const c_char,
) -> midge_status {
    guard!({
        let ended = held(broker)?.end_session(text(client_id, "client_id")?)?;
        Ok(if ended { MIDGE_STATUS_OK } else { MIDGE_STATUS_NO_SESSION })
    }, concerns broker)
}

/// Lists the oldest messages that wait in the queue of a client's session, at most `most` of them, oldest first. They stay
/// in the queue. Messages that were sent and are not acknowledged are not in it. Large payloads are shared, the rest is
/// copied.
///
/// Returns OK or NO_SESSION. Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_queued(
    broker: *const midge_broker,
    client_id: *const c_char,
    most: usize,
    out: *mut *mut midge_queued,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let queued = live(broker)?.queued(text(client_id, "client_id")?, most)?;
        Ok(match queued {
            Some(messages) => out.put_handle(midge_queued {
                messages: messages.into_iter().map(midge_message::owning).collect(),
            }),
            None => MIDGE_STATUS_NO_SESSION,
        })
    }, concerns broker)
}

/// Drops what waits in the queue of a client's session; `dropped`, which may be NULL, gets the number of messages. They are
/// counted as messages_dropped_cleared. Messages that were sent and are not acknowledged stay.
///
/// Returns OK or NO_SESSION. Errors: STATE; FORKED; INVALID_ARGUMENT; IO if it is done, but the store that keeps the session
/// has failed, so that a restart undoes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_clear_queue(
    broker: *mut midge_broker,
    client_id: *const c_char,
    dropped: *mut usize,
) -> midge_status {
    guard!({
        let Some(messages) = held(broker)?.clear_queue(text(client_id, "client_id")?)? else {
            return Ok(MIDGE_STATUS_NO_SESSION);
        };
        if let Some(dropped) = dropped.as_mut() {
            *dropped = messages;
        }
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// The number of messages in the list. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queued_count(queued: *const midge_queued) -> usize {
    guard!({ queued.as_ref().map_or(0, |list| list.messages.len()) }, else 0)
}

/// The message at `index`, from 0. It lives as long as the list and must not be freed. NULL beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queued_at(queued: *const midge_queued, index: usize) -> *const midge_message {
    guard!(
        {
            queued
                .as_ref()
                .and_then(|list| list.messages.get(index))
                .map_or(std::ptr::null(), std::ptr::from_ref)
        },
        else std::ptr::null()
    )
}

/// Frees a list of queued messages. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_queued_free(queued: *mut midge_queued) {
    guard!({ free(queued) }, else ());
}
