//! Changing a client's message before it is published.

use std::ffi::{c_char, c_void};

use crate::codec::properties::Properties;
use crate::embed::{Edit, EditError, Error};
use crate::ffi::arguments::{bytes, flag, given_mut, qos, text, topic};
use crate::ffi::guard::{Failure, guard};
use crate::ffi::publish::{error_of, midge_publish_options, read};
use crate::ffi::status::{MIDGE_STATUS_INVALID_ARGUMENT, MIDGE_STATUS_OK, midge_status};

/// A client's message before it is published. It is lent to `on_publish`: it lives until that returns, and only the
/// thread that was called may use it. What is set takes the place of what the client sent.
pub struct midge_edit {
    edit: *mut Edit<'static>,
}

impl midge_edit {
    /// Lends an edit for the length of a call.
    pub(super) fn lend<T>(edit: &mut Edit<'_>, to: impl FnOnce(*mut midge_edit) -> T) -> T {
        to(&mut midge_edit { edit: std::ptr::from_mut(edit).cast() })
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Failure {
        Error::from(error).into()
    }
}

/// The edit behind a handle.
///
/// # Safety
/// `edit` is NULL, or was lent to the call that goes on.
unsafe fn host_buffers<'e>(edit: *mut midge_edit) -> Result<&'e mut Edit<'static>, Failure> {
    // SAFETY: the caller's: the pointer is that of `lend`, whose caller has the only reference and does not use it
    // before the call returns.
    unsafe { given_mut(edit, "edit")?.edit.as_mut() }.ok_or(Failure::of(MIDGE_STATUS_INVALID_ARGUMENT))
}

/// Publishes to another topic. Whether the client may is not asked.
///
/// Errors: TOPIC; INVALID_ARGUMENT, also below $SYS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_set_topic(edit: *mut midge_edit, topic: *const c_char) -> midge_status {
    guard!({
        host_buffers(edit)?.set_topic(self::topic(topic, "topic")?)?;
        Ok(MIDGE_STATUS_OK)
    })
}

/// Publishes another payload, which is copied. `payload` may be NULL if `len` is 0.
///
/// Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_set_payload(
    edit: *mut midge_edit,
    payload: *const c_void,
    len: usize,
) -> midge_status {
    guard!({
        host_buffers(edit)?.set_payload(bytes(payload, len, "payload")?)?;
        Ok(MIDGE_STATUS_OK)
    })
}

/// Publishes with another QoS: 0, 1 or 2. What the client is acknowledged stays as it is.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_set_qos(edit: *mut midge_edit, qos: i32) -> midge_status {
    guard!({
        host_buffers(edit)?.set_qos(self::qos(qos)?)?;
        Ok(MIDGE_STATUS_OK)
    })
}

/// Sets whether the message is retained (1) or not (0).
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_set_retain(edit: *mut midge_edit, retain: i32) -> midge_status {
    guard!({
        host_buffers(edit)?.set_retain(flag(retain, "retain")?)?;
        Ok(MIDGE_STATUS_OK)
    })
}

/// Adds a user property behind those that are there.
///
/// Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_add_user_property(
    edit: *mut midge_edit,
    name: *const c_char,
    value: *const c_char,
) -> midge_status {
    guard!({
        host_buffers(edit)?.add_user_property(text(name, "name")?, text(value, "value")?)?;
        Ok(MIDGE_STATUS_OK)
    })
}

/// Replaces everything but the topic and the payload: QoS, RETAIN, and all properties. NULL is the defaults. If it
/// fails, nothing is replaced. Nobody is counted: `receivers` is not written.
///
/// Errors: INVALID_ARGUMENT, also if the message is larger than mqtt.max_packet_size and than the client's was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_edit_set_options(
    edit: *mut midge_edit,
    options: *const midge_publish_options,
) -> midge_status {
    guard!({
        let edit = host_buffers(edit)?;
        let how = read(options)?;
        let properties = how.encode()?;
        let properties = Properties::from_validated(&properties);
        edit.set_all(how.qos, how.retain, how.message_expiry_interval, properties)?;
        Ok(MIDGE_STATUS_OK)
    }, tells error_of(options))
}
