//! The reasons for dropping a message; each has a counter and an explanation.

use std::fmt;

use crate::stats::define::drop_reasons;

drop_reasons! {
    NoSubscriber, "no_subscriber",
        "no subscriber: nobody had subscribed to the topic when the message was published.";
    Offline, "offline",
        "offline: the subscriber was not connected, and QoS 0 messages wait only if session.queue_qos0 is on.";
    QueueFull, "queue_full",
        "queue full: the session of the subscriber already held session.max_queued_messages messages or \
         session.max_queued_bytes bytes.";
    OutboxFull, "outbox_full",
        "outbox full: the subscriber read too slowly, and the bytes to write to it reached session.max_outbox_bytes.";
    PacketTooLarge, "packet_too_large",
        "packet too large: the message was larger than the Maximum Packet Size that the subscriber accepts.";
    Expired, "expired",
        "expired: the Message Expiry Interval ended before the message could be delivered.";
    NotAuthorized, "not_authorized",
        "not authorized: a client published below $SYS, which only the broker may, or the host program did \
         not allow it.";
    RetainedFull, "retained_full",
        "retained full: the message was delivered but not retained, because it exceeded retained.max_messages or \
         retained.max_bytes.";
    LocalQueueFull, "local_queue_full",
        "local queue full: a queue of the host program was full, because its messages were not taken fast enough.";
    SessionEnded, "session_ended",
        "session ended: the message was waiting in a session that expired, was replaced by a clean one, or was ended \
         by the host program or an administrator.";
    Host, "host",
        "host: the host program looked at the message and dropped it.";
    Cleared, "cleared",
        "cleared: the message was waiting in a queue that the host program or an administrator cleared.";
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
