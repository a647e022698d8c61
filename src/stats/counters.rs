//! The statistics themselves: one list of fields, `$SYS` topics and help texts.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use crate::stats::define::{stats, sys_topic};
use crate::stats::drop_reason::DropReason;
use crate::stats::table::{Stat, StatKind};

/// Every statistic, in the order of the list.
pub(super) fn all() -> &'static [Stat] {
    TABLE
}

impl Counters {
    /// Raises `gauge` by `n`. For `ClientsConnected` it also updates the maximum.
    pub fn increase(&self, gauge: Gauge, n: u64) {
        let now = self.cell(gauge).fetch_add(signed(n), Relaxed).saturating_add(signed(n));
        if gauge == Gauge::ClientsConnected {
            self.clients_maximum.fetch_max(u64::try_from(now).unwrap_or(0), Relaxed);
        }
    }

    /// Lowers `gauge` by `n`. Threads may raise and lower in any order: a value below 0 reads as 0 until it recovers.
    pub fn decrease(&self, gauge: Gauge, n: u64) {
        self.cell(gauge).fetch_sub(signed(n), Relaxed);
    }

    /// Sets `gauge` to `n`, for gauges that a table knows exactly.
    pub fn set(&self, gauge: Gauge, n: u64) {
        self.cell(gauge).store(signed(n), Relaxed);
        if gauge == Gauge::ClientsConnected {
            self.clients_maximum.fetch_max(n, Relaxed);
        }
    }

    /// The value of `gauge`.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        u64::try_from(self.cell(gauge).load(Relaxed)).unwrap_or(0)
    }
}

stats! {
    counters {
        connections_accepted, "connections/accepted",
            "Connections that clients opened.";
        connections_refused, "connections/refused",
            "Connections that did not become a client: beyond a limit, or with a CONNECT that was refused, \
             malformed or came too late.";
        connections_closed, "connections/closed",
            "Connections that ended, for any reason.";
        takeovers, "connections/takeovers",
            "Connections closed because their client connected again.";
        keep_alive_timeouts, "connections/keep_alive_timeouts",
            "Connections closed because their client was silent for one and a half times its keep alive.";
        protocol_errors, "connections/protocol_errors",
            "Connections closed because of a malformed packet or one that the protocol does not allow.";
        packets_received, "messages/received",
            "MQTT packets of any type received from clients.";
        packets_sent, "messages/sent",
            "MQTT packets of any type sent to clients.";
        bytes_received, "bytes/received",
            "Bytes received from clients.";
        bytes_sent, "bytes/sent",
            "Bytes sent to clients.";
        publish_received, "publish/messages/received",
            "PUBLISH packets received from clients.";
        publish_sent, "publish/messages/sent",
            "PUBLISH packets sent to clients, including those that were sent again.";
        publish_bytes_received, "publish/bytes/received",
            "Bytes of payload in the PUBLISH packets received from clients.";
        publish_bytes_sent, "publish/bytes/sent",
            "Bytes of payload in the PUBLISH packets sent to clients.";
        publish_resent, "publish/messages/resent",
            "PUBLISH packets sent again to a client that reconnected before it had acknowledged them.";
        acknowledgements_received, "acknowledgements/received",
            "QoS 1 and QoS 2 messages that clients acknowledged in full, by PUBACK or PUBCOMP.";
        acknowledgements_sent, "acknowledgements/sent",
            "QoS 1 and QoS 2 messages that the broker acknowledged in full, by PUBACK or PUBCOMP.";
        messages_published, "messages/published",
            "Application messages published by clients, by the host program, and as Wills.";
        messages_delivered, "messages/delivered",
            "Application messages handed to receivers, clients and subscriptions inside the host program, one for \
             each receiver.";
        wills_published, "wills/published",
            "Will messages published because a connection ended without a normal DISCONNECT.";
        sessions_expired, "clients/expired",
            "Sessions that expired before their client reconnected.";
        hooks_failed, "hooks/failed",
            "Hook calls that failed, and deferred decisions that were not made in time; each such \
             decision is a denial.";
        notices_lost, "hooks/lost",
            "Notices for the host program that were lost because hooks.max_waiting was reached.";
    }
    dropped {
        NoSubscriber, messages_dropped_no_subscriber;
        Offline, messages_dropped_offline;
        QueueFull, messages_dropped_queue_full;
        OutboxFull, messages_dropped_outbox_full;
        PacketTooLarge, messages_dropped_packet_too_large;
        Expired, messages_dropped_expired;
        NotAuthorized, messages_dropped_not_authorized;
        RetainedFull, messages_dropped_retained_full;
        LocalQueueFull, messages_dropped_local_queue_full;
        SessionEnded, messages_dropped_session_ended;
        Host, messages_dropped_host;
        Cleared, messages_dropped_cleared;
    }
    gauges {
        ClientsConnected, clients_connected, "clients/connected",
            "Connected clients.";
        Sessions, sessions, "clients/total",
            "Sessions, of connected and of offline clients.";
        Subscriptions, subscriptions, "subscriptions/count",
            "Subscriptions of all sessions and of the host program.";
        RetainedMessages, retained_messages, "retained messages/count",
            "Topics with a retained message.";
        RetainedBytes, retained_bytes, "retained messages/bytes",
            "Bytes of the retained messages.";
        MessagesQueued, messages_queued, "messages/queued",
            "Messages that wait for offline or busy clients, one for each client.";
    }
    derived {
        Counter, messages_dropped, "publish/messages/dropped",
            "Messages dropped for any reason, one for each receiver that did not get one.", Snapshot::messages_dropped;
        Gauge, clients_maximum, "clients/maximum",
            "Largest number of clients connected at the same time.", |snapshot| snapshot.clients_maximum;
        Gauge, clients_disconnected, "clients/disconnected",
            "Sessions of offline clients.",
            |snapshot| snapshot.sessions.saturating_sub(snapshot.clients_connected);
    }
}

fn add(cell: &AtomicU64, n: u64) {
    if n != 0 {
        cell.fetch_add(n, Relaxed);
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::{Counters, Counts, Gauge};
    use crate::stats::drop_reason::DropReason;
    use crate::stats::table::{find, table};

    #[test]
    fn a_turn_is_added_field_by_field() {
        let counters = Counters::default();
        let mut counts = Counts { packets_received: 2, bytes_received: 70, ..Counts::default() };
        counts.drop(DropReason::NoSubscriber, 1);
        counters.add(&counts);
        counters.add(&counts);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.packets_received, snapshot.bytes_received), (4, 140));
        assert_eq!((snapshot.messages_dropped_no_subscriber, snapshot.messages_dropped()), (2, 2));
        assert_eq!(snapshot.packets_sent, 0);
    }

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            let counters = Counters::default();
            let mut counts = Counts::default();
            counts.drop(*reason, index as u64 + 1);
            counters.add(&counts);
            let snapshot = counters.snapshot();
            assert_eq!(snapshot.dropped(*reason), index as u64 + 1, "{reason}");
            assert_eq!(snapshot.messages_dropped(), index as u64 + 1, "{reason}");
            let stat = find(&format!("messages_dropped_{reason}")).unwrap();
            assert_eq!((stat.get)(&snapshot), index as u64 + 1, "{reason}");
            assert!(stat.sys_topic.unwrap().ends_with(&format!("/dropped/{reason}")));
        }
    }

    #[test]
    fn explanations_begin_with_the_name_and_are_one_sentence() {
        for reason in DropReason::ALL {
            let (name, rest) = reason.explanation().split_once(": ").unwrap();
            assert_eq!(name.replace(' ', "_"), reason.name());
            assert!(rest.ends_with('.') && rest.matches(". ").count() == 0, "{rest}");
        }
    }

    #[test]
    fn gauges_rise_fall_and_never_read_below_zero() {
        let counters = Counters::default();
        counters.decrease(Gauge::Sessions, 1);
        assert_eq!(counters.snapshot().sessions, 0);
        counters.increase(Gauge::Sessions, 3);
        assert_eq!(counters.gauge(Gauge::Sessions), 2);
        counters.set(Gauge::RetainedBytes, 77);
        assert_eq!(counters.snapshot().retained_bytes, 77);
        for gauge in Gauge::ALL {
            counters.set(*gauge, 5);
            counters.increase(*gauge, 2);
            assert_eq!(counters.gauge(*gauge), 7);
        }
    }

    #[test]
    fn the_maximum_of_clients_stays() {
        let counters = Counters::default();
        counters.increase(Gauge::ClientsConnected, 2);
        counters.decrease(Gauge::ClientsConnected, 2);
        counters.increase(Gauge::ClientsConnected, 1);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.clients_connected, snapshot.clients_maximum), (1, 2));
    }

    #[test]
    fn derived_statistics() {
        let counters = Counters::default();
        counters.set(Gauge::Sessions, 5);
        counters.set(Gauge::ClientsConnected, 2);
        let value = |name| (find(name).unwrap().get)(&counters.snapshot());
        assert_eq!(value("clients_disconnected"), 3);
        assert_eq!(value("clients_maximum"), 2);
        assert_eq!(value("messages_dropped"), 0);
    }

    #[test]
    fn threads_lose_nothing() {
        let counters = Counters::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let counts = Counts { publish_sent: 3, ..Counts::default() };
                    (0..1000).for_each(|_| counters.add(&counts));
                });
            }
        });
        assert_eq!(counters.snapshot().publish_sent, 12_000);
    }

    #[test]
    fn names_and_topics_are_unique() {
        let names: BTreeSet<_> = table().iter().map(|stat| stat.name).collect();
        assert_eq!(names.len(), table().len());
        let topics: Vec<_> = table().iter().filter_map(|stat| stat.sys_topic).collect();
        assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len());
        assert!(topics.iter().all(|topic| topic.starts_with("$SYS/broker/")));
    }

    #[test]
    fn every_field_of_a_snapshot_is_in_the_table() {
        let shown = format!("{:?}", Counters::default().snapshot());
        let fields = shown.matches(": ").count();
        let derived_without_a_field = 2;
        assert_eq!(table().len(), fields + derived_without_a_field);
        for stat in
            table().iter().filter(|stat| !["messages_dropped", "clients_disconnected"].contains(&stat.name))
        {
            assert!(shown.contains(&format!("{}: ", stat.name)), "{}", stat.name);
        }
    }
}
