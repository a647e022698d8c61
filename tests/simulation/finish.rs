//! The end of a simulation: the network heals, everything owed arrives, everything is closed, nothing is left.

use std::collections::BTreeMap;

use midge::codec::disconnect::Disconnect;
use midge::codec::packet::Packet;
use midge::codec::properties::Properties;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::stats::DropReason;

use crate::client::Wish;
use crate::sink::Everything;
use crate::world::World;

impl World {
    /// Brings everybody back, over connections without faults, and lets everything arrive that is owed.
    pub fn heal(&mut self) {
        self.note(|| "the network heals".to_owned());
        self.draining = true;
        (0..self.clients.len()).for_each(|client| self.rejoin(client, false));
        self.settle(false);
        while self.step() {}
        for (at, client) in self.clients.iter().enumerate() {
            let conn = client.conn.unwrap_or_else(|| panic!("c{at} is not connected"));
            let lossy = self.model.lossy;
            let now = self.now;
            let session = &self.model.sessions[&at];
            let missing = session
                .owed
                .missing(|e| e.is_shared || e.is_ambiguous || e.is_known || e.expires <= now || lossy);
            assert!(missing.is_empty(), "c{at} on {conn} has not got {missing:#?}");
            let full_to = self.conns[conn].full_to.unwrap_or(u64::MAX);
            let missing = session.casual.missing(|e| {
                e.is_shared
                    || e.is_ambiguous
                    || e.expires <= now
                    || e.via != Some(conn)
                    || e.batch <= full_to
                    || lossy
            });
            assert!(missing.is_empty(), "c{at} on {conn} has not got {missing:#?}");
            let history = &self.model.history;
            let missing: Vec<&str> =
                session.walks.iter().flat_map(|walk| history.missing(walk, conn)).collect();
            assert!(missing.is_empty() || lossy, "c{at} on {conn} has not got what is retained: {missing:?}");
            let open: Vec<u64> = client.outgoing.iter().map(|o| o.letter.number).collect();
            assert!(open.is_empty(), "c{at} on {conn}: not acknowledged: {open:?}");
            assert!(client.incoming.is_empty(), "c{at} on {conn}: not released: {:?}", client.incoming);
        }
        for (number, obligation) in
            self.model.obligations.iter().filter(|(_, o)| !o.frail && o.claims + o.doubted < o.groups)
        {
            let alive = |(client, generation): &(usize, u64)| {
                self.model.sessions.get(client).is_some_and(|s| s.generation == *generation)
            };
            assert!(
                self.model.lossy || !obligation.candidates.iter().all(alive),
                "no member of a shared subscription has got {number}: {:?}",
                obligation.candidates
            );
        }
        for view in self.engine.clients() {
            assert_eq!((view.queued, view.inflight), (0, 0), "{}", view.client_id);
            assert!(view.connected, "{}", view.client_id);
        }
        let count: usize = self.engine.snapshot().subscriptions as usize;
        let expected: usize = self.model.sessions.values().map(|s| s.count()).sum();
        assert_eq!(count, expected + 1, "subscriptions");
        self.compare_retained();
    }

    /// A new subscription gets exactly the last retained message of each topic.
    pub fn compare_retained(&self) {
        let fresh = Everything::subscribe(&self.engine);
        let heard: BTreeMap<String, (u64, u8)> =
            fresh.take().into_iter().map(|(number, topic, qos)| (topic, (number, qos))).collect();
        let plain = self.model.retained.iter().filter(|(topic, _)| !topic.starts_with('$'));
        let expected: BTreeMap<String, (u64, u8)> =
            plain.map(|(topic, letter)| (topic.clone(), (letter.number, letter.qos))).collect();
        assert_eq!(heard, expected, "retained messages");
        assert_eq!(self.engine.snapshot().retained_messages, self.model.retained.len() as u64);
        fresh.unsubscribe(&self.engine);
    }

    /// Ends every session and lets all time pass: nothing is left of anybody.
    pub fn close(&mut self) {
        (0..self.clients.len()).for_each(|client| self.rejoin(client, true));
        self.settle(false);
        while self.step() {}
        for client in 0..self.clients.len() {
            let mut out = Vec::new();
            let goodbye =
                Disconnect { reason: ReasonCode::NormalDisconnection, properties: Properties::EMPTY };
            Packet::Disconnect(goodbye).encode(self.clients[client].version, &mut out);
            self.send(client, out);
            self.clients[client].conn = None;
        }
        while self.step() {}
        while self.next_tick() != u64::MAX {
            self.tick();
            while self.step() {}
        }
        for conn in 0..self.conns.len() {
            self.server_lost(conn);
        }
        self.sink.unsubscribe(&self.engine);
        let stats = self.engine.snapshot();
        assert_eq!((stats.sessions, stats.subscriptions), (0, 0), "sessions, subscriptions");
        assert_eq!((stats.clients_connected, stats.messages_queued), (0, 0), "connected, queued");
        assert_eq!(self.engine.timers_running(), 0, "timers");
        assert_eq!(stats.connections_accepted, stats.connections_closed, "connections");
        assert_eq!(stats.wills_published, self.model.wills, "wills");
        assert_eq!(stats.sessions_expired, self.model.expired, "expired sessions");
        assert_eq!(stats.takeovers, self.takeovers, "take-overs");
        let coverage = &mut self.coverage;
        coverage.wills = stats.wills_published;
        coverage.expired_sessions = stats.sessions_expired;
        coverage.overflows = stats.dropped(DropReason::QueueFull);
        coverage.expired_messages = stats.dropped(DropReason::Expired);
        coverage.virtual_seconds = self.now / 1000;
    }

    /// Connects over a connection without faults.
    pub fn rejoin(&mut self, client: usize, clean: bool) {
        let version = self.clients[client].version;
        let wish = Wish {
            version,
            clean,
            keep_alive: 0,
            expiry: if clean { 0 } else { u32::MAX },
            receive_maximum: if version == Version::V5 { 5 } else { u16::MAX },
            alias_maximum: 0,
            will: None,
        };
        self.join(client, &wish);
    }
}
