//! Statistics: what was counted, and what is there now.

use crate::ffi::arguments::{Growing, beyond, borrowed, borrowed_or_null, fill, options};
use crate::ffi::broker::{live, midge_broker};
use crate::ffi::guard::guard;
use crate::ffi::status::midge_status;
use crate::ffi::views::midge_stat_view;
use crate::stats::{Snapshot, StatKind, table};

/// The statistics of a broker at one moment. Begin with MIDGE_STATS_INIT. What midge_stat_at knows, it knows from the
/// same table that documents and topics below $SYS are written from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct midge_stats {
    /// Set by MIDGE_STATS_INIT.
    pub struct_size: usize,
    /// How long the broker has been running, in milliseconds.
    pub uptime_ms: u64,
    /// When the broker started, in seconds since 1970.
    pub started_unix: u64,
    /// Connections that clients opened.
    pub connections_accepted: u64,
    /// Connections that did not become a client: beyond a limit, or with a CONNECT that was refused, was
    /// malformed or came too late.
    pub connections_refused: u64,
    /// Connections that ended, for whatever reason.
    pub connections_closed: u64,
    /// Connections closed because their client connected again.
    pub takeovers: u64,
    /// Connections closed because their client was silent for one and a half times its keep alive.
    pub keep_alive_timeouts: u64,
    /// Connections closed because of a malformed packet or one that the protocol does not allow.
    pub protocol_errors: u64,
    /// MQTT packets of any type received from clients.
    pub packets_received: u64,
    /// MQTT packets of any type sent to clients.
    pub packets_sent: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
    /// Bytes sent to clients.
    pub bytes_sent: u64,
    /// PUBLISH packets received from clients.
    pub publish_received: u64,
    /// PUBLISH packets sent to clients, with those that were sent again.
    pub publish_sent: u64,
    /// Bytes of payload in the PUBLISH packets received from clients.
    pub publish_bytes_received: u64,
    /// Bytes of payload in the PUBLISH packets sent to clients.
    pub publish_bytes_sent: u64,
    /// PUBLISH packets sent again to a client that came back before it had acknowledged them.
    pub publish_resent: u64,
    /// QoS 1 and QoS 2 messages that clients acknowledged in full, by PUBACK or PUBCOMP.
    pub acknowledgements_received: u64,
    /// QoS 1 and QoS 2 messages that the broker acknowledged in full, by PUBACK or PUBCOMP.
    pub acknowledgements_sent: u64,
    /// Application messages taken from clients, from the host program, and from Wills.
    pub messages_published: u64,
    /// Application messages handed to receivers, clients and subscriptions inside the host program, one for
    /// each receiver.
    pub messages_delivered: u64,
    /// Will messages published because a client went without a word.
    pub wills_published: u64,
    /// Sessions that ended because their client did not come back in time.
    pub sessions_expired: u64,
    /// Messages dropped: nobody had subscribed to the topic when the message was published.
    pub messages_dropped_no_subscriber: u64,
    /// Messages dropped: the subscriber was away, and QoS 0 messages do not wait for it unless
    /// session.queue_qos0 is on.
    pub messages_dropped_offline: u64,
    /// Messages dropped: the session of the subscriber already held session.max_queued_messages messages or
    /// session.max_queued_bytes bytes.
    pub messages_dropped_queue_full: u64,
    /// Messages dropped: the subscriber read too slowly, and session.max_outbox_bytes were waiting to be
    /// written to it.
    pub messages_dropped_outbox_full: u64,
    /// Messages dropped: the message was larger than the Maximum Packet Size that the subscriber takes.
    pub messages_dropped_packet_too_large: u64,
    /// Messages dropped: the Message Expiry Interval ended before the message could be delivered.
    pub messages_dropped_expired: u64,
    /// Messages dropped: a client published below $SYS, where only the broker may, or where the host program does
    /// not allow it.
    pub messages_dropped_not_authorized: u64,
    /// Messages dropped: the message was delivered but not retained, because of retained.max_messages or
    /// retained.max_bytes.
    pub messages_dropped_retained_full: u64,
    /// Messages dropped: a queue inside the host program was not emptied fast enough.
    pub messages_dropped_local_queue_full: u64,
    /// Messages dropped: the message was waiting in a session that expired, was replaced by a clean one, or was ended.
    pub messages_dropped_session_ended: u64,
    /// Clients that are connected.
    pub clients_connected: u64,
    /// Sessions, of connected clients and of clients that are away.
    pub sessions: u64,
    /// Subscriptions of all sessions and of the host program.
    pub subscriptions: u64,
    /// Topics with a retained message.
    pub retained_messages: u64,
    /// Bytes of the retained messages.
    pub retained_bytes: u64,
    /// Messages that wait for clients that are away or busy, one for each of them.
    pub messages_queued: u64,
    /// Largest number of clients that were connected at the same time.
    pub clients_maximum: u64,
    /// Calls of a function of the host program that failed, and decisions that it had not made in time; each
    /// decision of these is a denial.
    pub hooks_failed: u64,
    /// Notices for the host program that were lost because hooks.max_waiting others waited.
    pub notices_lost: u64,
    /// Messages dropped: the host program looked at the message and dropped it.
    pub messages_dropped_host: u64,
    /// Messages dropped: the host program or an administrator cleared the queue that the message was waiting in.
    pub messages_dropped_cleared: u64,
}

/// Reads the statistics. `out->struct_size` must be set, as MIDGE_STATS_INIT does; fields that this version of Midge
/// does not have become 0. They can still be read after the broker was stopped.
///
/// Errors: INVALID_ARGUMENT; FORKED; STATE after a PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_broker_stats(
    broker: *const midge_broker,
    out: *mut midge_stats,
) -> midge_status {
    guard!({
        let broker = live(broker)?;
        let uptime = u64::try_from(broker.uptime().as_millis()).unwrap_or(u64::MAX);
        fill(out, &midge_stats::of(&broker.stats(), uptime, broker.started_unix()))
    }, concerns broker)
}

/// The number of statistics in the table of all statistics.
#[unsafe(no_mangle)]
pub extern "C" fn midge_stat_count() -> usize {
    table().len()
}

/// Describes the statistic at `index`, from 0, with its value in `stats`, which may be NULL. The texts live for ever.
/// The table has some that are sums of others and no field of midge_stats, such as "messages_dropped".
///
/// Errors: INVALID_ARGUMENT, also beyond the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn midge_stat_at(
    stats: *const midge_stats,
    index: usize,
    out: *mut midge_stat_view,
) -> midge_status {
    guard!({
        let stat = table().get(index).ok_or_else(beyond)?;
        let snapshot = options(stats)?.snapshot();
        fill(
            out,
            &midge_stat_view {
                struct_size: size_of::<midge_stat_view>(),
                name: borrowed(stat.name.as_bytes()),
                kind: borrowed(match stat.kind {
                    StatKind::Counter => b"counter",
                    StatKind::Gauge => b"gauge",
                }),
                sys_topic: borrowed_or_null(stat.sys_topic.map(str::as_bytes)),
                help: borrowed(stat.help.as_bytes()),
                value: (stat.get)(&snapshot),
            },
        )
    })
}

/// Writes what copies statistics between `midge_stats` and [`Snapshot`], from the list of those that both have.
macro_rules! copy_statistics {
    ($( $field:ident, )*) => {
        // SAFETY: `repr(C)`, `struct_size` first, then integers only.
        unsafe impl Growing for midge_stats {
            const DEFAULT: Self =
                Self { struct_size: size_of::<Self>(), uptime_ms: 0, started_unix: 0, $( $field: 0, )* };
        }

        impl midge_stats {
            /// A snapshot in the shape of C. A new statistic does not compile until it stands in the list, and at the
            /// end of `midge_stats`.
            fn of(snapshot: &Snapshot, uptime_ms: u64, started_unix: u64) -> midge_stats {
                let Snapshot { $( $field, )* } = *snapshot;
                midge_stats { struct_size: size_of::<midge_stats>(), uptime_ms, started_unix, $( $field, )* }
            }

            fn snapshot(&self) -> Snapshot {
                let midge_stats { struct_size: _, uptime_ms: _, started_unix: _, $( $field, )* } = *self;
                Snapshot { $( $field, )* }
            }
        }
    };
}

copy_statistics! {
    connections_accepted,
    connections_refused,
    connections_closed,
    takeovers,
    keep_alive_timeouts,
    protocol_errors,
    packets_received,
    packets_sent,
    bytes_received,
    bytes_sent,
    publish_received,
    publish_sent,
    publish_bytes_received,
    publish_bytes_sent,
    publish_resent,
    acknowledgements_received,
    acknowledgements_sent,
    messages_published,
    messages_delivered,
    wills_published,
    sessions_expired,
    messages_dropped_no_subscriber,
    messages_dropped_offline,
    messages_dropped_queue_full,
    messages_dropped_outbox_full,
    messages_dropped_packet_too_large,
    messages_dropped_expired,
    messages_dropped_not_authorized,
    messages_dropped_retained_full,
    messages_dropped_local_queue_full,
    messages_dropped_session_ended,
    clients_connected,
    sessions,
    subscriptions,
    retained_messages,
    retained_bytes,
    messages_queued,
    clients_maximum,
    hooks_failed,
    notices_lost,
    messages_dropped_host,
    messages_dropped_cleared,
}
