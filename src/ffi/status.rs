//! Status codes: what a call answers.

use std::ffi::{CStr, c_char};

/// What a call answers: 0 is success, less than 0 a failure, more than 0 an answer that is no failure.
pub type midge_status = i32;

/// The call did what it says.
pub const MIDGE_STATUS_OK: midge_status = 0;
/// The time ran out before there was something to return.
pub const MIDGE_STATUS_TIMED_OUT: midge_status = 1;
/// The queue has ended, and every message was taken.
pub const MIDGE_STATUS_CLOSED: midge_status = 2;
/// No client of this name is connected.
pub const MIDGE_STATUS_NOT_CONNECTED: midge_status = 3;
/// No client of this name has a session.
pub const MIDGE_STATUS_NO_SESSION: midge_status = 4;
/// An argument is NULL, out of its range, not UTF-8, or too large.
pub const MIDGE_STATUS_INVALID_ARGUMENT: midge_status = -1;
/// A setting is unknown, has a wrong value, or does not fit to another.
pub const MIDGE_STATUS_CONFIG: midge_status = -2;
/// A listener's address is in use.
pub const MIDGE_STATUS_ADDRESS_IN_USE: midge_status = -3;
/// The system refused a file, a socket, a thread or memory.
pub const MIDGE_STATUS_IO: midge_status = -4;
/// A topic name or a topic filter is not valid.
pub const MIDGE_STATUS_TOPIC: midge_status = -5;
/// The broker has stopped.
pub const MIDGE_STATUS_STATE: midge_status = -6;
/// The call would wait for the callback that makes it.
pub const MIDGE_STATUS_IN_CALLBACK: midge_status = -7;
/// The process was forked from the one that started the broker.
pub const MIDGE_STATUS_FORKED: midge_status = -8;
/// A defect of Midge was met; the broker concerned is stopped and answers STATE from now on.
pub const MIDGE_STATUS_PANIC: midge_status = -9;

/// One line of the table: a status, its name, and a sentence about it.
struct Line {
    status: midge_status,
    name: &'static CStr,
    help: &'static CStr,
}

/// Every status.
const TABLE: &[Line] = &[
    Line { status: MIDGE_STATUS_OK, name: c"OK", help: c"the call did what it says" },
    Line {
        status: MIDGE_STATUS_TIMED_OUT,
        name: c"TIMED_OUT",
        help: c"the time ran out before there was something to return",
    },
    Line {
        status: MIDGE_STATUS_CLOSED,
        name: c"CLOSED",
        help: c"the queue has ended, and every message was taken",
    },
    Line {
        status: MIDGE_STATUS_NOT_CONNECTED,
        name: c"NOT_CONNECTED",
        help: c"no client of this name is connected",
    },
    Line {
        status: MIDGE_STATUS_NO_SESSION,
        name: c"NO_SESSION",
        help: c"no client of this name has a session",
    },
    Line {
        status: MIDGE_STATUS_INVALID_ARGUMENT,
        name: c"INVALID_ARGUMENT",
        help: c"an argument is NULL, out of its range, not UTF-8, or too large",
    },
    Line {
        status: MIDGE_STATUS_CONFIG,
        name: c"CONFIG",
        help: c"a setting is unknown, has a wrong value, or does not fit to another",
    },
    Line {
        status: MIDGE_STATUS_ADDRESS_IN_USE,
        name: c"ADDRESS_IN_USE",
        help: c"a listener's address is in use",
    },
    Line {
        status: MIDGE_STATUS_IO,
        name: c"IO",
        help: c"the system refused a file, a socket, a thread or memory",
    },
    Line { status: MIDGE_STATUS_TOPIC, name: c"TOPIC", help: c"a topic name or a topic filter is not valid" },
    Line { status: MIDGE_STATUS_STATE, name: c"STATE", help: c"the broker has stopped" },
    Line {
        status: MIDGE_STATUS_IN_CALLBACK,
        name: c"IN_CALLBACK",
        help: c"the call would wait for the callback that makes it",
    },
    Line {
        status: MIDGE_STATUS_FORKED,
        name: c"FORKED",
        help: c"the process was forked from the one that started the broker",
    },
    Line {
        status: MIDGE_STATUS_PANIC,
        name: c"PANIC",
        help: c"a defect of Midge was met; the broker concerned is stopped",
    },
];

/// The version of the library, such as "0.1.0". It may differ from MIDGE_VERSION, that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn midge_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The name of a status, such as "TOPIC"; "UNKNOWN" for a number that is none. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn midge_status_name(status: midge_status) -> *const c_char {
    line(status).map_or(c"UNKNOWN", |line| line.name).as_ptr()
}

/// A status in a few words, such as "the broker has stopped". Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn midge_status_help(status: midge_status) -> *const c_char {
    line(status).map_or(c"this number is no status of this version of Midge", |line| line.help).as_ptr()
}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

fn line(status: midge_status) -> Option<&'static Line> {
    TABLE.iter().find(|line| line.status == status)
}

/// The words for a status, for an error that has no sentence of its own.
pub(super) fn help(status: midge_status) -> &'static CStr {
    line(status).map_or(c"", |line| line.help)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::CStr;

    use super::{TABLE, midge_version};

    #[test]
    fn every_constant_is_a_line_of_the_table() {
        let constants: BTreeMap<String, i32> = include_str!("status.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const MIDGE_STATUS_"))
            .filter_map(|line| line.strip_suffix(';')?.split_once(": midge_status = "))
            .map(|(name, number)| (name.to_owned(), number.parse().unwrap()))
            .collect();
        let lines = TABLE.iter().map(|line| (line.name.to_str().unwrap().to_owned(), line.status));
        assert_eq!(lines.collect::<BTreeMap<_, _>>(), constants);
        assert_eq!(constants.len(), TABLE.len());
    }

    #[test]
    fn the_version_is_the_crate_s() {
        // SAFETY: the function returns a static string.
        let version = unsafe { CStr::from_ptr(midge_version()) };
        assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
