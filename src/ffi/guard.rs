//! The way from a body to an answer: failures become statuses and error objects, panics stop at the boundary.

use std::borrow::Cow;
use std::io;

use crate::config::{ConfigError, ErrorKind};
use crate::embed::Error;
use crate::ffi::error::midge_error;
use crate::ffi::status::{
    MIDGE_STATUS_ADDRESS_IN_USE, MIDGE_STATUS_CONFIG, MIDGE_STATUS_FORKED, MIDGE_STATUS_IN_CALLBACK,
    MIDGE_STATUS_INVALID_ARGUMENT, MIDGE_STATUS_IO, MIDGE_STATUS_PANIC, MIDGE_STATUS_STATE,
    MIDGE_STATUS_TOPIC, midge_status,
};

/// What a fallible body returns.
pub(super) type CallResult = Result<midge_status, Failure>;

/// Why a call fails.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: midge_status,
    /// The sentence; `None`: the one of the status.
    pub(super) message: Option<Cow<'static, str>>,
}

impl Failure {
    /// INVALID_ARGUMENT: `argument` is wrong because of `cause`.
    pub(super) fn argument(argument: &str, cause: &str) -> Failure {
        Failure {
            status: MIDGE_STATUS_INVALID_ARGUMENT,
            message: Some(format!("{argument}: {cause}").into()),
        }
    }

    pub(super) fn of(status: midge_status) -> Failure {
        Failure { status, message: None }
    }

    fn saying(status: midge_status, error: &dyn std::error::Error) -> Failure {
        Failure { status, message: Some(error.to_string().into()) }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let status = if error.kind() == ErrorKind::Io { MIDGE_STATUS_IO } else { MIDGE_STATUS_CONFIG };
        Failure::saying(status, &error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match &error {
            Error::Config(_) => MIDGE_STATUS_CONFIG,
            Error::Bind { source, .. } | Error::BindConsole { source, .. }
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                MIDGE_STATUS_ADDRESS_IN_USE
            }
            Error::Bind { .. }
            | Error::BindConsole { .. }
            | Error::Storage(_)
            | Error::Start(_)
            | Error::System { .. } => MIDGE_STATUS_IO,
            Error::Topic { .. } | Error::Filter { .. } => MIDGE_STATUS_TOPIC,
            Error::Argument { .. } => MIDGE_STATUS_INVALID_ARGUMENT,
            Error::Stopped | Error::NotInTestMode => MIDGE_STATUS_STATE,
            Error::InCallback => MIDGE_STATUS_IN_CALLBACK,
            Error::Forked => MIDGE_STATUS_FORKED,
        };
        Failure::saying(status, &error)
    }
}

/// A handle behind which there is a broker, that a panic ends.
pub(super) trait Concerned {
    fn abandon(&self);
}

/// The answer of a fallible body.
///
/// # Safety
/// `error` says where an error object goes: NULL, or a place that may be written to.
pub(super) unsafe fn answer(
    outcome: std::thread::Result<CallResult>,
    error: impl FnOnce() -> *mut *mut midge_error,
    abandon: impl FnOnce(),
) -> midge_status {
    let failure = match outcome {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(_) => {
            abandon();
            Failure::of(MIDGE_STATUS_PANIC)
        }
    };
    let error = error();
    if !error.is_null() {
        // SAFETY: not NULL, and the caller of the C function keeps it writable, as the header says.
        unsafe { error.write(Box::into_raw(Box::new(midge_error::of(&failure)))) };
    }
    failure.status
}

/// Runs a body so that no panic leaves it.
///
/// - `guard!({ body }, else value)`: the body's value, or `value` after a panic;
/// - `guard!({ body })`: the body is an [`CallResult`]; the status. `, concerns handle` names the handle whose broker a
///   panic ends, `, tells error` where the error object goes, which is looked at only after a failure.
macro_rules! guard {
    ($body:block, else $default:expr) => {
        // SAFETY: what C hands over is as the head of the header demands; the caller keeps that.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unsafe { $body }))
            .unwrap_or_else(|_| $default)
    };
    ($body:block) => {
        crate::ffi::guard::guard!(@ $body, std::ptr::null_mut(), || ())
    };
    ($body:block, tells $error:expr) => {
        crate::ffi::guard::guard!(@ $body, $error, || ())
    };
    ($body:block, concerns $handle:expr) => {
        crate::ffi::guard::guard!(@ $body, std::ptr::null_mut(), || crate::ffi::guard::end($handle.as_ref()))
    };
    ($body:block, concerns $handle:expr, tells $error:expr) => {
        crate::ffi::guard::guard!(@ $body, $error, || crate::ffi::guard::end($handle.as_ref()))
    };
    (@ $body:block, $error:expr, $abandon:expr) => {{
        let body = || -> crate::ffi::guard::CallResult {
            // SAFETY: what C hands over is as the head of the header demands; the caller keeps that.
            unsafe { $body }
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: as above.
        unsafe { crate::ffi::guard::answer(outcome, || $error, $abandon) }
    }};
}

/// Ends the broker behind a handle, if there is one.
pub(super) fn end<H: Concerned>(handle: Option<&H>) {
    if let Some(handle) = handle {
        // A panic in here would be the second one: what can be done was done.
        let _ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handle.abandon()));
    }
}

pub(super) use guard;

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use crate::ffi::broker::tests::start;
    use crate::ffi::broker::{live, midge_broker, midge_broker_free, midge_broker_wait, midge_stop};
    use crate::ffi::error::{midge_error, midge_error_code, midge_error_free};
    use crate::ffi::publish::midge_publish;
    use crate::ffi::queue::{midge_queue, midge_queue_free, midge_queue_new, midge_queue_poll};
    use crate::ffi::status::{
        MIDGE_STATUS_CLOSED, MIDGE_STATUS_OK, MIDGE_STATUS_PANIC, MIDGE_STATUS_STATE, midge_status,
    };

    fn panics(broker: *mut midge_broker, error: *mut *mut midge_error) -> midge_status {
        guard!({
            live(broker)?;
            panic!("a defect, for the test")
        }, concerns broker, tells error)
    }

    #[test]
    fn a_panic_is_a_status_and_the_broker_is_stopped_and_never_continued() {
        let (broker, other) = (start(), start());
        let mut queue: *mut midge_queue = null_mut();
        let mut error = null_mut();
        // SAFETY: as C would call it; each handle is freed once.
        unsafe {
            assert_eq!(midge_queue_new(broker, null(), &mut queue), MIDGE_STATUS_OK);
            assert_eq!(panics(broker, &mut error), MIDGE_STATUS_PANIC);
            assert_eq!(midge_error_code(error), MIDGE_STATUS_PANIC);
            midge_error_free(error);
            let publish = |broker| midge_publish(broker, c"a".as_ptr(), null(), 0, null());
            assert_eq!(publish(broker), MIDGE_STATUS_STATE);
            assert_eq!(midge_broker_wait(broker, -1), MIDGE_STATUS_OK);
            // The stop in the background closes the queue.
            assert_eq!(midge_queue_poll(queue, 1, -1, &mut null_mut()), MIDGE_STATUS_CLOSED);
            assert_eq!(midge_stop(broker, 0), MIDGE_STATUS_OK);
            assert_eq!(publish(other), MIDGE_STATUS_OK);
            midge_broker_free(broker);
            midge_queue_free(queue);
            midge_broker_free(other);
        }
    }

    #[test]
    fn a_panic_without_a_status_is_the_value_for_it() {
        let some: *mut midge_broker = null_mut();
        assert_eq!(guard!({ some.as_ref().map_or_else(|| panic!("for the test"), |_| 1) }, else 7), 7);
        assert_eq!(panics(null_mut(), null_mut()), super::MIDGE_STATUS_INVALID_ARGUMENT);
    }
}
