//! Decisions: what a hook answers, at once or later.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::reason::ReasonCode;
use crate::embed::{Answer, Decision, Verdict, defer};
use crate::ffi::arguments::{bytes, given};
use crate::ffi::guard::{Failure, guard};
use crate::ffi::hooks::{MIDGE_ALLOW, MIDGE_CONTINUE, MIDGE_DEFER, MIDGE_DENY};
use crate::ffi::status::{MIDGE_STATUS_FORKED, MIDGE_STATUS_OK, MIDGE_STATUS_STATE, midge_status};
use crate::locks::Mutex;
use crate::runtime::generation;

/// The longest data of enhanced authentication, in bytes.
const LONGEST_DATA: usize = 65_535;

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

/// Decides about a client that authenticates by a method, and frees the handle: MIDGE_ALLOW, which lets it in, or
/// MIDGE_CONTINUE, which asks it for more. `data` of `len` bytes, at most 65,535, is what it is told; it is copied, and may
/// be NULL if `len` is 0. Denials are given by midge_decision_resolve. The hook itself may call it, and answer MIDGE_DEFER.
///
/// MIDGE_CONTINUE denies where there is no enhanced authentication going on; MIDGE_ALLOW allows there, and the client is
/// not told of `data`.
///
/// Errors: as midge_decision_resolve.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_decision_resolve_auth(
    decision: *mut midge_decision,
    verdict: i32,
    data: *const c_void,
    len: usize,
) -> midge_status {
    guard!({
        given(decision, "decision")?;
        if len > LONGEST_DATA {
            let cause = format!("{len} is more than MQTT carries, 65,535 bytes");
            return Err(Failure::argument("len", &cause));
        }
        let data = bytes(data, len, "data")?.to_vec();
        let verdict = match verdict {
            MIDGE_ALLOW => Verdict::AllowWith(data),
            MIDGE_CONTINUE => Verdict::Continue(data),
            _ => return Err(Failure::argument("verdict", "is neither MIDGE_ALLOW nor MIDGE_CONTINUE")),
        };
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
pub(super) fn ask(hook: impl FnOnce(*mut midge_decision) -> i32) -> Answer {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::{defer, generation, midge_decision};
    use crate::locks::Mutex;

    #[test]
    fn a_handle_that_is_given_back_is_no_longer_counted_and_counts_once() {
        let (decision, _deferred) = defer();
        let decision = Mutex::new(Some(decision));
        let open =
            Arc::new(midge_decision { decision, spent: AtomicBool::new(false), generation: generation() });
        let handle = Arc::into_raw(Arc::clone(&open));
        for is_there in [true, false] {
            // SAFETY: the handle is the host's the first time, and counted by `open` the second.
            let spent = unsafe { midge_decision::spend(handle) };
            assert_eq!(spent.unwrap_or_default().is_some(), is_there);
            assert_eq!(Arc::strong_count(&open), 1);
        }
    }
}
