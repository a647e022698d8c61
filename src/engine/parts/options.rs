//! The settings that the engine uses.

use std::time::Duration;

use crate::codec::qos::QoS;
use crate::config::{LostRights, OtherUser, QueueOverflow, Settings};
use crate::session::delivery::Limits;
use crate::session::queue::{Bounds, Overflow};

/// As many full outboxes may wait for connections that have ended.
const ENDING_OUTBOXES: usize = 16;

/// The engine's options, fixed for its lifetime. Each has the meaning of the setting of the same name.
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
    pub max_user_properties: usize,
    pub max_topic_length: usize,
    pub max_subscriptions_per_client: usize,
    pub max_shared_subscriptions_per_client: usize,
    pub max_subscription_bytes_per_client: usize,
    pub max_client_id_length: usize,
    pub max_qos: QoS,
    pub retain: bool,
    pub wildcard_subscriptions: bool,
    pub shared_subscriptions: bool,
    pub subscription_identifiers: bool,
    pub response_information: Box<str>,
    pub allow_empty_client_id: bool,
    pub max_session_expiry: u32,
    pub max_sessions: usize,
    pub other_user: OtherUser,
    pub lost_rights: LostRights,
    pub retained_messages: usize,
    pub retained_bytes: u64,
    pub sys_interval: Duration,
    pub hooks_deadline: Duration,
    pub publisher_hold: Duration,
    pub hooks_max_waiting: usize,
    pub limits: Limits,
    /// The most bytes that wait for connections that have ended, of all of them together.
    pub ending_bytes: usize,
}

impl Options {
    /// The options from the settings.
    pub fn new(settings: &Settings) -> Options {
        let s = settings;
        Options {
            connect_timeout: s.mqtt.connect_timeout,
            max_packet_size: s.mqtt.max_packet_size,
            keep_alive_max: u16::try_from(s.mqtt.keep_alive_max.as_secs()).unwrap_or(u16::MAX),
            receive_maximum: s.mqtt.receive_maximum,
            max_inflight: s.mqtt.max_inflight,
            topic_alias_maximum: s.mqtt.topic_alias_maximum,
            topic_alias_maximum_outgoing: s.mqtt.topic_alias_maximum_outgoing,
            max_topic_levels: s.mqtt.max_topic_levels,
            max_user_properties: s.mqtt.max_user_properties,
            max_topic_length: s.mqtt.max_topic_length,
            max_subscriptions_per_client: s.mqtt.max_subscriptions_per_client,
            max_shared_subscriptions_per_client: s.mqtt.max_shared_subscriptions_per_client,
            max_subscription_bytes_per_client: usize::try_from(s.mqtt.max_subscription_bytes_per_client)
                .unwrap_or(usize::MAX),
            max_client_id_length: s.mqtt.max_client_id_length,
            max_qos: QoS::from_u8(s.mqtt.max_qos).unwrap_or(QoS::ExactlyOnce),
            retain: s.mqtt.retain,
            wildcard_subscriptions: s.mqtt.wildcard_subscriptions,
            shared_subscriptions: s.mqtt.shared_subscriptions,
            subscription_identifiers: s.mqtt.subscription_identifiers,
            response_information: s.mqtt.response_information.as_str().into(),
            allow_empty_client_id: s.mqtt.allow_empty_client_id,
            max_session_expiry: s
                .session
                .max_expiry
                .map_or(u32::MAX, |d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX)),
            max_sessions: s.session.max_sessions,
            other_user: s.session.other_user,
            lost_rights: s.access.lost_rights,
            retained_messages: s.retained.max_messages,
            retained_bytes: s.retained.max_bytes,
            sys_interval: s.sys.interval,
            hooks_deadline: s.hooks.deadline,
            publisher_hold: s.session.publisher_hold,
            hooks_max_waiting: s.hooks.max_waiting,
            ending_bytes: s.session.max_outbox_bytes.saturating_mul(ENDING_OUTBOXES),
            limits: Limits {
                queue: Bounds {
                    messages: s.session.max_queued_messages.unwrap_or(usize::MAX),
                    bytes: usize::try_from(s.session.max_queued_bytes).unwrap_or(usize::MAX),
                    overflow: match s.session.queue_overflow {
                        QueueOverflow::DropNewest => Overflow::DropNewest,
                        QueueOverflow::DropOldest => Overflow::DropOldest,
                        QueueOverflow::Disconnect => Overflow::Disconnect,
                    },
                },
                // Enough for a busy client, although nothing may wait for one that is offline.
                window_bytes: usize::try_from(s.session.max_queued_bytes)
                    .unwrap_or(usize::MAX)
                    .max(s.session.max_outbox_bytes),
                outbox_bytes: s.session.max_outbox_bytes,
                queue_qos0: s.session.queue_qos0,
                holds: !s.session.publisher_hold.is_zero(),
            },
        }
    }
}
