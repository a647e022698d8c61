//! The log: lines that the broker writes for people, given to a function of the host.

use std::ffi::c_void;
use std::sync::Arc;

use crate::embed::{Level, Log, LogLine};
use crate::ffi::arguments::{borrowed, borrowed_or_null, given_mut};
use crate::ffi::config::midge_config;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::status::{MIDGE_STATUS_OK, midge_status};
use crate::ffi::views::{UserData, midge_bytes, midge_free_fn};

/// Something has failed that is to work: a hook was too late, or no connection can be accepted.
pub const MIDGE_LOG_ERROR: i32 = 0;
/// A client or a message did not get what it wanted: refused, ended for breaking a rule, dropped for want of room.
pub const MIDGE_LOG_WARN: i32 = 1;
/// What an operator wants to know: started, stopped, clients that come and go.
pub const MIDGE_LOG_INFO: i32 = 2;
/// What helps to find a fault: subscriptions, connections before their CONNECT, messages that nobody wanted.
pub const MIDGE_LOG_DEBUG: i32 = 3;

/// A line of the log. It lives until the function returns, with all that it points to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_log_view {
    /// The size of the struct.
    pub struct_size: usize,
    /// What has happened, one line, with the client. What clients have named stands in quotes, with escapes.
    pub text: midge_bytes,
    /// The client that it is about; NULL if it is about none.
    pub client_id: midge_bytes,
    /// A MIDGE_LOG_... constant.
    pub level: i32,
    /// 0.
    pub reserved: i32,
}

/// Is given a line of the log.
pub type midge_log_fn = Option<unsafe extern "C" fn(line: *const midge_log_view, user_data: *mut c_void)>;

/// Lets the brokers that are started with a configuration from now on give lines of their log to `log`: those of `level`
/// and of the levels before it, from MIDGE_LOG_ERROR to MIDGE_LOG_DEBUG. `log` NULL: none, which costs nothing. A log that
/// was set before is replaced. A copy of the configuration has the same log.
///
/// `log` is called as the functions of midge_hooks are, for one line of a broker after the other: on the broker's threads,
/// and on a thread of the host that starts or stops it, publishes or kicks. It may call Midge, but midge_stop answers
/// IN_CALLBACK. Dropped messages are summed up: a line at once, then one in ten seconds.
///
/// `free_user_data`, which may be NULL, is called exactly once with `user_data` when `log` will not be called any more,
/// also if this fails.
///
/// Errors: INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_config_set_log(
    config: *mut midge_config,
    level: i32,
    log: midge_log_fn,
    user_data: *mut c_void,
    free_user_data: midge_free_fn,
) -> midge_status {
    guard!({
        let user_data = UserData::new(user_data, free_user_data);
        let config = given_mut(config, "config")?;
        let level = usize::try_from(level)
            .ok()
            .and_then(|index| Level::ALL.get(index))
            .ok_or_else(|| Failure::argument("level", &format!("{level} is no MIDGE_LOG_... constant")))?;
        config.log = log.map(|log| function(*level, log, user_data));
        Ok(MIDGE_STATUS_OK)
    })
}

/// The function as floor 7 takes it.
fn function(
    level: Level,
    log: unsafe extern "C" fn(*const midge_log_view, *mut c_void),
    user_data: UserData,
) -> Log {
    // SAFETY: the host's function with the host's pointer, which lives as long as this closure; what it is lent lives
    // until it returns.
    (level, Arc::new(move |line| unsafe { log(&view(line), user_data.pointer()) }))
}

fn view(line: &LogLine) -> midge_log_view {
    midge_log_view {
        struct_size: size_of::<midge_log_view>(),
        text: borrowed(line.text.as_bytes()),
        client_id: borrowed_or_null(line.client_id.as_deref().map(str::as_bytes)),
        level: match line.level {
            Level::Error => MIDGE_LOG_ERROR,
            Level::Warn => MIDGE_LOG_WARN,
            Level::Info => MIDGE_LOG_INFO,
            Level::Debug => MIDGE_LOG_DEBUG,
        },
        reserved: 0,
    }
}
