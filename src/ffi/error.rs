//! Errors: why a call failed, in a sentence.

use std::ffi::{CString, c_char};

use crate::ffi::guard::{Failure, guard};
use crate::ffi::status::{MIDGE_STATUS_INVALID_ARGUMENT, help, midge_status};

/// Why a call failed. It belongs to the caller, who frees it by midge_error_free.
pub struct midge_error {
    code: midge_status,
    message: CString,
}

impl midge_error {
    pub(super) fn of(failure: &Failure) -> midge_error {
        let message = match &failure.message {
            // An inner NUL came from the caller's own text.
            Some(sentence) => CString::new(sentence.replace('\0', "\u{fffd}")).unwrap_or_default(),
            None => help(failure.status).to_owned(),
        };
        midge_error { code: failure.status, message }
    }
}

/// The sentence, which names the key, the argument or the address at fault, such as
/// "listener.tcp.bind: 127.0.0.1:1883: address in use". It lives as long as the error. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_error_message(error: *const midge_error) -> *const c_char {
    guard!({ error.as_ref().map_or(std::ptr::null(), |error| error.message.as_ptr()) }, else std::ptr::null())
}

/// The status that the failed call returned. INVALID_ARGUMENT for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_error_code(error: *const midge_error) -> midge_status {
    guard!(
        { error.as_ref().map_or(MIDGE_STATUS_INVALID_ARGUMENT, |error| error.code) },
        else MIDGE_STATUS_INVALID_ARGUMENT
    )
}

/// Frees an error. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_error_free(error: *mut midge_error) {
    guard!({ super::arguments::free(error) }, else ());
}

/// Frees a text that a call of Midge has given to the caller as `char *`. NULL is taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_string_free(text: *mut c_char) {
    guard!(
        {
            if !text.is_null() {
                drop(CString::from_raw(text));
            }
        },
        else ()
    );
}
