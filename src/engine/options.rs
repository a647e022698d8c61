//! What the engine takes from the settings.

use std::time::Duration;

use crate::codec::qos::QoS;
use crate::config::{QueueOverflow, Settings};
use crate::session::outbound::Limits;
use crate::session::queue::{Bounds, Overflow};

/// Packets of a version that states no limit are read up to the protocol's largest, 256 MiB.
pub const LARGEST_PACKET: u32 = 268_435_455 + 5;

/// The engine's options, fixed for its life. Their meaning is that of the settings of the same name.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the setting of its name, documented in the table of settings")]
pub struct Options {
    pub connect_timeout: Duration,
    pub max_packet_size: u32,
    pub keep_alive_max: u16,
    pub receive_maximum: u16,
    pub max_inflight: u16,
    pub topic_alias_maximum: u16,
    pub topic_alias_maximum_outgoing: u16,
    pub max_topic_levels: usize,
    pub max_topic_length: usize,
    pub max_subscriptions_per_client: usize,
    pub max_client_id_length: usize,
    pub max_qos: QoS,
    pub retain: bool,
    pub wildcard_subscriptions: bool,
    pub shared_subscriptions: bool,
    pub subscription_identifiers: bool,
    pub allow_empty_client_id: bool,
    pub max_session_expiry: u32,
    pub max_sessions: usize,
    pub retained_messages: usize,
    pub retained_bytes: u64,
    pub sys_interval: Duration,
    pub limits: Limits,
}

impl Options {
    /// The options that the settings state.
    pub fn new(settings: &Settings) -> Options {
        let s = settings;
        Options {
            connect_timeout: s.connect_timeout,
            max_packet_size: s.max_packet_size.min(LARGEST_PACKET),
            keep_alive_max: s.keep_alive_max,
            receive_maximum: s.receive_maximum,
            max_inflight: s.max_inflight,
            topic_alias_maximum: s.topic_alias_maximum,
            topic_alias_maximum_outgoing: s.topic_alias_maximum_outgoing,
            max_topic_levels: s.max_topic_levels as usize,
            max_topic_length: s.max_topic_length as usize,
            max_subscriptions_per_client: s.max_subscriptions_per_client as usize,
            max_client_id_length: s.max_client_id_length as usize,
            max_qos: QoS::from_u8(s.max_qos).unwrap_or(QoS::ExactlyOnce),
            retain: s.retain,
            wildcard_subscriptions: s.wildcard_subscriptions,
            shared_subscriptions: s.shared_subscriptions,
            subscription_identifiers: s.subscription_identifiers,
            allow_empty_client_id: s.allow_empty_client_id,
            max_session_expiry: s
                .max_session_expiry
                .map_or(u32::MAX, |d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX)),
            max_sessions: s.max_sessions as usize,
            retained_messages: s.retained_max_messages as usize,
            retained_bytes: s.retained_max_bytes,
            sys_interval: s.sys_interval,
            limits: Limits {
                queue: Bounds {
                    messages: s.max_queued_messages.map_or(usize::MAX, |n| n as usize),
                    bytes: s.max_queued_bytes.map_or(usize::MAX, |n| n as usize),
                    overflow: match s.queue_overflow {
                        QueueOverflow::DropNewest => Overflow::DropNewest,
                        QueueOverflow::DropOldest => Overflow::DropOldest,
                        QueueOverflow::Disconnect => Overflow::Disconnect,
                    },
                },
                outbox_bytes: s.max_outbox_bytes as usize,
                queue_qos0: s.queue_qos0,
            },
        }
    }
}
