//! The test kit: a broker whose time the test moves, and that fails its clients when the test says so.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::reason::ReasonCode;
use crate::config::Config;
use crate::embed::Broker;
use crate::ffi::arguments::{Growing, flag, milliseconds, optional, options, slot, text, topic};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::config::midge_config;
use crate::ffi::error::midge_error;
use crate::ffi::guard::{Failure, guard};
use crate::ffi::queue::midge_batch;
use crate::ffi::status::{MIDGE_STATUS_NOT_CONNECTED, MIDGE_STATUS_OK, MIDGE_STATUS_TIMED_OUT, midge_status};
use crate::testing::{Crash, Disk, Fault, FaultId, PacketKind, TestBroker};

/// CONNECT is refused with `reason_code`. The client's session is not touched.
pub const MIDGE_FAULT_REFUSE: i32 = 1;
/// A packet to the client is lost.
pub const MIDGE_FAULT_DROP: i32 = 2;
/// A packet to the client comes `delay_ms` later, in the broker's time: others overtake it meanwhile.
pub const MIDGE_FAULT_DELAY: i32 = 3;
/// A packet to the client comes twice.
pub const MIDGE_FAULT_DUPLICATE: i32 = 4;
/// The connection is cut (a TCP reset, without DISCONNECT) in place of a packet to the client.
pub const MIDGE_FAULT_CUT: i32 = 5;
/// The connection is cut when `bytes` more bytes were sent to the client, in the middle of a packet if it falls so.
pub const MIDGE_FAULT_CUT_AFTER_BYTES: i32 = 6;

/// The disk works.
pub const MIDGE_DISK_WELL: i32 = 0;
/// Each flush of the log takes `delay_ms`, in the broker's time. What a commit acknowledges waits for it.
pub const MIDGE_DISK_SLOW: i32 = 1;
/// No flush of the log ends until the test sets something else, or stops the broker.
pub const MIDGE_DISK_HELD: i32 = 2;
/// Every write fails with ENOSPC until the test sets something else. Messages of QoS 1 and 2 are refused at once: with
/// 0x97 in MQTT 5, by the end of the connection in older versions.
pub const MIDGE_DISK_FULL: i32 = 3;
/// Every write fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
pub const MIDGE_DISK_WRITE_ERROR: i32 = 4;
/// Every flush fails with EIO. The store has failed then: nothing is acknowledged until the broker is restarted.
pub const MIDGE_DISK_FLUSH_ERROR: i32 = 5;

/// The process ends at once, as by kill -9. The system keeps what was written.
pub const MIDGE_CRASH_KILL: i32 = 1;
/// The power fails. What was written and not flushed is lost.
pub const MIDGE_CRASH_POWER_CUT: i32 = 2;

/// Packets of every kind.
pub const MIDGE_PACKET_ANY: i32 = 0;
/// The answer to CONNECT. The numbers are the packet types of MQTT.
pub const MIDGE_PACKET_CONNACK: i32 = 2;
/// A message.
pub const MIDGE_PACKET_PUBLISH: i32 = 3;
/// The answer to a QoS 1 message.
pub const MIDGE_PACKET_PUBACK: i32 = 4;
/// The first answer to a QoS 2 message.
pub const MIDGE_PACKET_PUBREC: i32 = 5;
/// The answer to the client's PUBREC.
pub const MIDGE_PACKET_PUBREL: i32 = 6;
/// The last answer to a QoS 2 message.
pub const MIDGE_PACKET_PUBCOMP: i32 = 7;
/// The answer to SUBSCRIBE.
pub const MIDGE_PACKET_SUBACK: i32 = 9;
/// The answer to UNSUBSCRIBE.
pub const MIDGE_PACKET_UNSUBACK: i32 = 11;
/// The answer to PINGREQ.
pub const MIDGE_PACKET_PINGRESP: i32 = 13;
/// The broker's goodbye (MQTT 5).
pub const MIDGE_PACKET_DISCONNECT: i32 = 14;
/// A step of an enhanced authentication (MQTT 5).
pub const MIDGE_PACKET_AUTH: i32 = 15;

/// Something that goes wrong between a broker in test mode and its clients. Begin with MIDGE_FAULT_INIT: once, for any
/// client, packets of every kind.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct midge_fault {
    /// Set by MIDGE_FAULT_INIT.
    pub struct_size: usize,
    /// A MIDGE_FAULT_... constant.
    pub action: i32,
    /// A MIDGE_PACKET_... constant: which packets to the client are concerned. MIDGE_PACKET_ANY for
    /// MIDGE_FAULT_REFUSE and MIDGE_FAULT_CUT_AFTER_BYTES.
    pub packet_type: i32,
    /// The client identifier; NULL is every client.
    pub client_id: *const c_char,
    /// Packets (or CONNECTs) that it might have met and does not, before the first that it does: 0 or more.
    pub after: i64,
    /// How often it strikes; 0 is until it is cleared.
    pub count: i64,
    /// For MIDGE_FAULT_DELAY: milliseconds of the broker's time, 0 or more. Otherwise 0.
    pub delay_ms: i64,
    /// For MIDGE_FAULT_CUT_AFTER_BYTES: 0 or more. Otherwise 0.
    pub bytes: i64,
    /// For MIDGE_FAULT_REFUSE: a reason code of MQTT 5 that CONNACK can carry as a failure, such as 0x87 Not
    /// authorized or 0x88 Server unavailable; older clients get the return code that stands for it. Otherwise 0.
    pub reason_code: i32,
    /// 0.
    pub reserved: i32,
}

// SAFETY: `repr(C)`, `struct_size` first, then integers and pointers only.
unsafe impl Growing for midge_fault {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        action: 0,
        packet_type: MIDGE_PACKET_ANY,
        client_id: std::ptr::null(),
        after: 0,
        count: 1,
        delay_ms: 0,
        bytes: 0,
        reason_code: 0,
        reserved: 0,
    };
}

/// Starts a broker in test mode, as midge_start does. It takes from clients and hosts what any broker takes, and does
/// what it would do; but its time stands still until midge_broker_advance moves it, it has faults if
/// midge_broker_inject says so, and it remembers what was published.
///
/// If listener.tcp.bind is left at its default (also with `config` NULL), the listener is at a free port of 127.0.0.1:
/// midge_broker_address tells which.
///
/// Errors: as midge_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_start_test(
    config: *const midge_config,
    out: *mut *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let broker = match config.as_ref() {
            Some(config) => TestBroker::start_with(&config.config, &config.hooks())?,
            None => TestBroker::start(&Config::new())?,
        };
        Ok(out.put_handle(midge_broker::of(broker.into_broker())))
    }, tells error)
}

/// Starts a durable broker in test mode, as midge_start_test does. Without the setting storage.path its directory is a
/// temporary one, which is removed when the broker and those that midge_broker_restart has made of it are freed.
///
/// Errors: as midge_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_start_test_durable(
    config: *const midge_config,
    out: *mut *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let broker = match config.as_ref() {
            Some(config) => Broker::builder(&config.config).hooks(config.hooks()).start_test_durable()?,
            None => TestBroker::start_durable(&Config::new())?,
        };
        Ok(out.put_handle(midge_broker::of(broker.into_broker())))
    }, tells error)
}

/// Ends a broker in test mode as a crash does; `crash` is a MIDGE_CRASH_... constant. From one moment on nothing more is
/// written to its disk and nothing more is sent; every connection is cut with a TCP reset, without DISCONNECT. Clients that
/// connect are refused until midge_broker_restart.
///
/// What is only in this process ends as with midge_stop without grace: a callback that runs is waited for, hooks are told of
/// the connections that have ended, queues close, and messages that wait for a commit are not acknowledged. Then all
/// calls say STATE; what was published can still be read. A broker without a directory forgets everything.
///
/// Errors: STATE, also if the broker is not in test mode, or has crashed or stopped before; IN_CALLBACK on a thread of a
/// broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_crash(broker: *mut midge_broker, crash: i32) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        broker.crash(match crash {
            MIDGE_CRASH_KILL => Crash::Kill,
            MIDGE_CRASH_POWER_CUT => Crash::PowerCut,
            number => {
                return Err(Failure::argument("crash", &format!("{number} is no MIDGE_CRASH_... constant")));
            }
        })?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Starts a broker in test mode again: with the same settings and hooks, at the same addresses, on the same directory. One
/// that runs is stopped first. The time goes on, also that of midge_broker_advance while the broker was down; so do the faults
/// between it and its clients, and the record of what was published. Its disk is MIDGE_DISK_WELL.
///
/// `*out` is a new handle. `broker` stays stopped, and can be freed before or after the other.
///
/// Errors: as midge_start; STATE if the broker is not in test mode; INVALID_ARGUMENT, also if it was restarted before;
/// IN_CALLBACK on a thread of a broker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_restart(
    broker: *mut midge_broker,
    out: *mut *mut midge_broker,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let broker = tested(broker)?.restart()?;
        Ok(out.put_handle(midge_broker::of(broker.into_broker())))
    }, concerns broker, tells error)
}

/// Sets what the disk of a durable broker in test mode does from now on, a MIDGE_DISK_... constant. A flush that waits is
/// concerned, too. `delay_ms` is for MIDGE_DISK_SLOW: milliseconds of the broker's time, 0 or more. Otherwise 0.
///
/// Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT, also if it has no directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_set_disk(
    broker: *mut midge_broker,
    disk: i32,
    delay_ms: i64,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        let by = Duration::from_millis(unsigned(delay_ms, "delay_ms")?);
        if disk != MIDGE_DISK_SLOW && delay_ms != 0 {
            return Err(Failure::argument("delay_ms", "is for MIDGE_DISK_SLOW"));
        }
        broker.set_disk(match disk {
            MIDGE_DISK_WELL => Disk::Well,
            MIDGE_DISK_SLOW => Disk::Slow(by),
            MIDGE_DISK_HELD => Disk::Held,
            MIDGE_DISK_FULL => Disk::Full,
            MIDGE_DISK_WRITE_ERROR => Disk::WriteError,
            MIDGE_DISK_FLUSH_ERROR => Disk::FlushError,
            number => {
                return Err(Failure::argument("disk", &format!("{number} is no MIDGE_DISK_... constant")));
            }
        })?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Moves the time of a broker in test mode on by `milliseconds`, at most a hundred years. Everything that is due in
/// between happens in its order and at its time: silent clients are disconnected, sessions and messages expire, delayed
/// wills are published, packets that a fault has delayed are sent. When this returns that has happened, what is to be
/// written to clients is written, as far as they take it, and connections that are to be closed are closed.
///
/// What clients have sent before the call is handled before the time moves. Their own clocks do not know of it: one
/// that is to ping every minute does not within an hour that passes at once. 0 moves no time, and has everything
/// handled that was sent.
///
/// The time of a broker that has crashed, and of a durable one that has stopped, can be moved until it is restarted.
///
/// Callbacks of subscriptions are not waited for. Errors: STATE, also if the broker is not in test mode; IN_CALLBACK on a
/// thread of a broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_advance(broker: *mut midge_broker, milliseconds: i64) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        broker.advance(Duration::from_millis(unsigned(milliseconds, "milliseconds")?))?;
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// The broker's time in milliseconds since it started, in test mode or not; -1 for NULL, in a forked child, and after
/// a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_time(broker: *const midge_broker) -> i64 {
    guard!(
        {
            live(broker).map_or(-1, |broker| i64::try_from(broker.uptime().as_millis()).unwrap_or(i64::MAX))
        },
        else -1
    )
}

/// Lets something go wrong from now on. If several faults fit a packet, the one that was injected first strikes. `*id`
/// (`id` may be NULL) names the fault for midge_broker_fault_hits and midge_broker_clear_fault.
///
/// Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT, also if 10000 faults were not
/// cleared. The sentence names the field.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_inject(
    broker: *mut midge_broker,
    fault: *const midge_fault,
    id: *mut u64,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        if fault.is_null() {
            return Err(Failure::argument("fault", "is NULL"));
        }
        let FaultId(number) = broker.inject(read(&options(fault)?)?)?;
        if let Some(id) = id.as_mut() {
            *id = number;
        }
        Ok(MIDGE_STATUS_OK)
    }, concerns broker, tells error)
}

/// Tells how often a fault has struck, 0 for one that was cleared. With a `count` of more than 0 it waits until the
/// fault has struck so often, or was cleared, for at most `timeout_ms` milliseconds of real time (less than 0: for
/// ever). `hits` may be NULL.
///
/// Returns OK; TIMED_OUT (also if it was cleared before), without writing `*hits`. Errors: STATE, also if the broker is
/// not in test mode; IN_CALLBACK if it is to wait on a thread of a broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_fault_hits(
    broker: *mut midge_broker,
    id: u64,
    count: u64,
    timeout_ms: i32,
    hits: *mut u64,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        if count > 0 && !broker.wait_for_hits(FaultId(id), count, patience(timeout_ms))? {
            return Ok(MIDGE_STATUS_TIMED_OUT);
        }
        if let Some(hits) = hits.as_mut() {
            *hits = broker.hits(FaultId(id));
        }
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Ends a fault; 0 is all of them, and has clients read again that midge_broker_pause stopped. One that was cleared
/// before is no error. Packets that a fault has delayed stay so.
///
/// Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_clear_fault(broker: *mut midge_broker, id: u64) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        match id {
            0 => broker.clear_faults(),
            id => drop(broker.clear_fault(FaultId(id))),
        }
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Cuts a client's connection with a TCP reset, without DISCONNECT. When this returns, the broker has dealt with the end
/// of the connection: the will is published or its delay runs.
///
/// Returns OK or NOT_CONNECTED. Errors: STATE, also if the broker is not in test mode; IN_CALLBACK on a thread of a
/// broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_cut(
    broker: *mut midge_broker,
    client_id: *const c_char,
) -> midge_status {
    guard!({
        let cut = tested(broker)?.cut(text(client_id, "client_id")?)?;
        Ok(if cut { MIDGE_STATUS_OK } else { MIDGE_STATUS_NOT_CONNECTED })
    }, concerns broker)
}

/// Stops reading what a client sends (`pause` 1), or reads it again (0): to the client it looks as if the broker hung.
/// Its keep alive runs in the broker's time.
///
/// Returns OK or NOT_CONNECTED. Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_pause(
    broker: *mut midge_broker,
    client_id: *const c_char,
    pause: i32,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        let client_id = text(client_id, "client_id")?;
        let there = match flag(pause, "pause")? {
            true => broker.pause_reading(client_id)?,
            false => broker.resume_reading(client_id)?,
        };
        Ok(if there { MIDGE_STATUS_OK } else { MIDGE_STATUS_NOT_CONNECTED })
    }, concerns broker)
}

/// Gives the messages that were published to topics that `filter` matches, oldest first: by clients, by the host, and
/// wills; whether or not anybody heard them. The `tag` of each is the broker's time of its publication, in
/// milliseconds. The batch, which may be empty, belongs to the caller, who frees it by midge_batch_free.
///
/// The settings queue.capacity and queue.max_bytes bound how many are remembered; the oldest are forgotten.
///
/// Errors: TOPIC; STATE, only if the broker is not in test mode or after a PANIC; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_published(
    broker: *mut midge_broker,
    filter: *const c_char,
    out: *mut *mut midge_batch,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let out = slot(out, "out")?;
        let batch = tested(broker)?.published_batch(topic(filter, "filter")?)?;
        Ok(out.put_handle(midge_batch::of(batch)))
    }, concerns broker, tells error)
}

/// Forgets what was published so far.
///
/// Errors: STATE, also if the broker is not in test mode; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_forget_published(broker: *mut midge_broker) -> midge_status {
    guard!({
        tested(broker)?.forget_published();
        Ok(MIDGE_STATUS_OK)
    }, concerns broker)
}

/// Waits until at least `count` messages were published to topics that `filter` matches, since the broker started or
/// midge_broker_forget_published, for at most `timeout_ms` milliseconds of real time (less than 0: for ever).
///
/// Returns OK or TIMED_OUT; then the sentence in `*error` says what was published instead (its code is TIMED_OUT).
/// Errors: TOPIC; STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK on a thread of a broker;
/// FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_wait_for(
    broker: *mut midge_broker,
    filter: *const c_char,
    count: usize,
    timeout_ms: i32,
    error: *mut *mut midge_error,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        let missing = broker.wait_for_or_why(topic(filter, "filter")?, count, patience(timeout_ms))?;
        match missing {
            None => Ok(MIDGE_STATUS_OK),
            Some(why) => Err(Failure { status: MIDGE_STATUS_TIMED_OUT, message: Some(why.to_string().into()) }),
        }
    }, concerns broker, tells error)
}

/// Waits until a client is connected (`connected` 1), or is not (0), for at most `timeout_ms` milliseconds of real time
/// (less than 0: for ever).
///
/// Returns OK or TIMED_OUT. Errors: STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK on a
/// thread of a broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_wait_for_client(
    broker: *mut midge_broker,
    client_id: *const c_char,
    connected: i32,
    timeout_ms: i32,
) -> midge_status {
    guard!({
        let broker = tested(broker)?;
        let client_id = text(client_id, "client_id")?;
        let so = match flag(connected, "connected")? {
            true => broker.wait_for_client(client_id, patience(timeout_ms))?,
            false => broker.wait_for_no_client(client_id, patience(timeout_ms))?,
        };
        Ok(if so { MIDGE_STATUS_OK } else { MIDGE_STATUS_TIMED_OUT })
    }, concerns broker)
}

/// Waits until a client or the host has subscribed to exactly this filter, for at most `timeout_ms` milliseconds of real
/// time (less than 0: for ever).
///
/// Returns OK or TIMED_OUT. Errors: TOPIC; STATE, also if the broker is not in test mode or stops meanwhile; IN_CALLBACK
/// on a thread of a broker; FORKED; INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_wait_for_subscription(
    broker: *mut midge_broker,
    filter: *const c_char,
    timeout_ms: i32,
) -> midge_status {
    guard!({
        let so = tested(broker)?.wait_for_subscription(topic(filter, "filter")?, patience(timeout_ms))?;
        Ok(if so { MIDGE_STATUS_OK } else { MIDGE_STATUS_TIMED_OUT })
    }, concerns broker)
}

/// The broker behind a handle, which must be one in test mode. What is returned holds it, so that the handle may be
/// freed while a call waits.
///
/// # Safety
/// `broker` is NULL or a live handle.
unsafe fn tested(broker: *const midge_broker) -> Result<TestBroker, Failure> {
    // SAFETY: the caller's.
    let broker: &Arc<_> = unsafe { live(broker) }?;
    Ok(TestBroker::of(broker)?)
}

/// How long a call waits.
fn patience(timeout_ms: i32) -> Duration {
    milliseconds(timeout_ms).unwrap_or(Duration::MAX)
}

/// The fault that C describes.
///
/// # Safety
/// Its `client_id` is NULL, or ends with NUL and lives as long as the call.
unsafe fn read(given: &midge_fault) -> Result<Fault, Failure> {
    let other = |fits: bool, name, what| match fits {
        true => Ok(()),
        false => Err(Failure::argument(name, what)),
    };
    let packet = match given.packet_type {
        MIDGE_PACKET_ANY => None,
        number => Some(packet_kind(number)?),
    };
    let any = packet.is_none();
    let by = Duration::from_millis(unsigned(given.delay_ms, "delay_ms")?);
    let bytes = unsigned(given.bytes, "bytes")?;
    let fault = match given.action {
        MIDGE_FAULT_REFUSE => {
            other(any, "packet_type", "is not for MIDGE_FAULT_REFUSE")?;
            let reason = u8::try_from(given.reason_code).ok().and_then(ReasonCode::from_u8);
            reason.and_then(Fault::refuse).ok_or_else(|| {
                let cause = format!("{} is no failure that CONNACK can carry", given.reason_code);
                Failure::argument("reason_code", &cause)
            })?
        }
        MIDGE_FAULT_DROP => Fault::drop(packet),
        MIDGE_FAULT_DELAY => Fault::delay(packet, by),
        MIDGE_FAULT_DUPLICATE => Fault::duplicate(packet),
        MIDGE_FAULT_CUT => Fault::cut_at(packet),
        MIDGE_FAULT_CUT_AFTER_BYTES => {
            other(any, "packet_type", "is not for MIDGE_FAULT_CUT_AFTER_BYTES")?;
            other(given.after == 0, "after", "is not for MIDGE_FAULT_CUT_AFTER_BYTES")?;
            Fault::cut_after_bytes(bytes)
        }
        number => {
            return Err(Failure::argument("action", &format!("{number} is no MIDGE_FAULT_... constant")));
        }
    };
    other(given.action == MIDGE_FAULT_DELAY || given.delay_ms == 0, "delay_ms", "is for MIDGE_FAULT_DELAY")?;
    other(
        given.action == MIDGE_FAULT_CUT_AFTER_BYTES || bytes == 0,
        "bytes",
        "is for MIDGE_FAULT_CUT_AFTER_BYTES",
    )?;
    let reason = given.action == MIDGE_FAULT_REFUSE || given.reason_code == 0;
    other(reason, "reason_code", "is for MIDGE_FAULT_REFUSE")?;
    other(given.reserved == 0, "reserved", "is not 0")?;
    let fault = fault.after(unsigned(given.after, "after")?);
    let fault = match unsigned(given.count, "count")? {
        0 => fault.always(),
        times => fault.times(times),
    };
    // SAFETY: the caller's.
    match unsafe { optional(given.client_id, "client_id") }? {
        None => Ok(fault),
        Some(client_id) => Ok(fault.client(client_id)),
    }
}

fn packet_kind(number: i32) -> Result<PacketKind, Failure> {
    Ok(match number {
        MIDGE_PACKET_CONNACK => PacketKind::Connack,
        MIDGE_PACKET_PUBLISH => PacketKind::Publish,
        MIDGE_PACKET_PUBACK => PacketKind::Puback,
        MIDGE_PACKET_PUBREC => PacketKind::Pubrec,
        MIDGE_PACKET_PUBREL => PacketKind::Pubrel,
        MIDGE_PACKET_PUBCOMP => PacketKind::Pubcomp,
        MIDGE_PACKET_SUBACK => PacketKind::Suback,
        MIDGE_PACKET_UNSUBACK => PacketKind::Unsuback,
        MIDGE_PACKET_PINGRESP => PacketKind::Pingresp,
        MIDGE_PACKET_DISCONNECT => PacketKind::Disconnect,
        MIDGE_PACKET_AUTH => PacketKind::Auth,
        _ => {
            let cause = format!("{number} is no packet that a server sends");
            return Err(Failure::argument("packet_type", &cause));
        }
    })
}

fn unsigned(number: i64, name: &str) -> Result<u64, Failure> {
    u64::try_from(number).map_err(|_| Failure::argument(name, &format!("{number} is less than 0")))
}
