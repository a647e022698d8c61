//! What a client receives, checked against what it is owed.

use midge::codec::ack::AckKind;
use midge::codec::properties::Properties;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;

use crate::letter::{Letter, number_of};
use crate::owed::Entry;
use crate::received::{Message, Received};
use crate::world::World;

impl World {
    /// Handles every whole packet that has arrived on the connection of a client.
    pub fn listen(&mut self, conn: usize, committed: u64) {
        let client = self.conns[conn].client;
        let version = self.conns[conn].version;
        while self.clients[client].conn == Some(conn) {
            let Some((packet, length)) = Received::split_off(&self.clients[client].arrived, version) else {
                break;
            };
            self.clients[client].arrived.drain(..length);
            self.note(|| format!("down {conn} (c{client}) {packet:?}").chars().take(260).collect());
            let ready = self.clients[client].ready;
            match packet {
                Received::Connack { present, reason, properties } => {
                    assert!(!ready && reason == ReasonCode::Success, "CONNACK {reason:?} on {conn}");
                    self.connack(conn, present, &properties, committed);
                }
                _ if !ready => panic!("connection {conn}: {packet:?} before CONNACK"),
                Received::Publish(message) => self.message(conn, &message),
                Received::Ack { kind, id, reason } => self.acknowledged(conn, kind, id, reason, committed),
                Received::Suback { reasons, .. } => {
                    assert!(reasons.iter().all(|reason| *reason <= 2), "{reasons:?}");
                }
                Received::Unsuback { .. } | Received::Pingresp | Received::Disconnect(_) => {}
                Received::Auth { .. } => panic!("AUTH for a client that has no method"),
            }
        }
        if self.draining {
            let answers = self.clients[client].answer(usize::MAX);
            self.send(client, answers);
        }
    }

    fn connack(&mut self, conn: usize, present: bool, properties: &[u8], committed: u64) {
        let client = self.conns[conn].client;
        let truth = self.conns[conn].present.unwrap();
        let position = self.conns[conn].position;
        assert!(position <= committed, "CONNACK on {conn} before its record {position} was committed");
        if self.conns[conn].version == Version::V31 {
            // MQTT 3.1 does not tell; the client is told by the model.
            assert!(!present);
        } else {
            assert_eq!(present, truth, "Session Present on connection {conn}");
        }
        let properties = Properties::from_encoded(properties).unwrap();
        self.clients[client].alias_room = properties.topic_alias_maximum().unwrap_or(0);
        self.coverage.connects += 1;
        self.coverage.resumed += u64::from(truth);
        // A session that began with a CONNACK which did not arrive is not the one whose state the client has: it would
        // have to know, and MQTT does not tell.
        let generation = self.conns[conn].generation;
        let same = std::mem::replace(&mut self.clients[client].generation, generation) == generation;
        if !(truth && same) {
            self.committed.forget(client);
        }
        let again = self.clients[client].resume(truth && same);
        self.coverage.publications_resumed += self.clients[client].outgoing.len() as u64;
        self.send(client, again);
    }

    fn message(&mut self, conn: usize, message: &Message) {
        let at = self.conns[conn].client;
        let client = &mut self.clients[at];
        let number = number_of(&message.payload);
        let mut topic = message.topic.clone();
        if let Some(alias) = message.properties().topic_alias() {
            assert!((1..=client.alias_maximum).contains(&alias), "alias {alias}");
            if topic.is_empty() {
                topic = client.aliases_in[&alias].clone();
                self.coverage.aliased += 1;
            }
            client.aliases_in.insert(alias, topic.clone());
        }
        let id = message.id;
        if message.qos > QoS::AtMostOnce {
            client.window.insert(id);
            let (open, most) = (client.window.len(), client.window_maximum);
            assert!(open <= most, "connection {conn}: {open} messages of {most} [MQTT-3.3.4-9]");
        }
        let known = match message.qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => {
                client.answers.push_back((AckKind::Puback, id));
                message.dup && client.seen.insert(id, number) == Some(number)
            }
            QoS::ExactlyOnce => {
                client.answers.push_back((AckKind::Pubrec, id));
                let before = client.incoming.insert(id, number);
                assert!(before.is_none_or(|before| before == number), "identifier {id} is in use");
                before.is_some()
            }
        };
        if message.qos == QoS::AtLeastOnce {
            client.seen.insert(id, number);
        }
        if message.dup {
            let session = self.session_of(conn);
            let done = session.acknowledged.get(&id).is_some_and(|before| *before < conn);
            assert!(!done, "connection {conn}: {number} was acknowledged and came again");
        }
        if known {
            assert!(message.dup, "connection {conn}: {number} came again without DUP [MQTT-3.3.1-1]");
            self.coverage.duplicates += 1;
            return;
        }
        let letter = Letter { number, topic, qos: message.qos.as_u8(), retain: message.retain, expires: 0 };
        self.first(conn, &letter, message.identifiers());
    }

    /// A message that has arrived for the first time.
    fn first(&mut self, conn: usize, letter: &Letter, identifiers: Vec<u32>) {
        let mut arrived = Entry::new(letter, letter.qos, 0);
        (arrived.retain, arrived.identifiers) = (letter.retain, identifiers);
        let (now, lossy) = (self.now, self.model.lossy);
        let (swift, full_to) = (self.conns[conn].swift, self.conns[conn].full_to.unwrap_or(u64::MAX));
        let identified = self.conns[conn].version.is_v5();
        if letter.retain && self.walked(conn, &arrived, identified) {
            self.coverage.deliveries += 1;
            self.coverage.retained_deliveries += 1;
            return;
        }
        let session = self.session_of(conn);
        let may_be_left_out = |entry: &Entry| {
            let casual = letter.qos == 0 && (!swift || entry.via != Some(conn) || entry.batch <= full_to);
            entry.is_shared || entry.is_known || entry.is_ambiguous || entry.expires <= now || lossy || casual
        };
        let list = if letter.qos == 0 { &mut session.casual } else { &mut session.owed };
        let Some(entry) = list.take(&arrived, identified, may_be_left_out) else {
            let explained = list.explain(letter.number, may_be_left_out);
            panic!("connection {conn}: unexpected {arrived:?}; {explained}");
        };
        if letter.qos > 0 {
            let (client, generation) = (self.conns[conn].client, self.conns[conn].generation);
            self.committed.heard(client, generation, letter.number);
        }
        self.coverage.deliveries += 1;
        self.coverage.retained_deliveries += u64::from(letter.retain);
        if entry.is_shared {
            self.coverage.shared_deliveries += 1;
            let obligation = self.model.obligations.entry(letter.number).or_default();
            obligation.claims += u32::from(letter.qos > 0);
            let (claims, groups) = (obligation.claims, obligation.groups + obligation.handed_on);
            // What may be left out for other reasons is not always told from its likes.
            let vague = letter.number == 0 || letter.qos == 0 || entry.expires != u64::MAX || lossy;
            assert!(
                claims <= groups || vague,
                "{letter:?} went to {claims} members of {groups} shared subscriptions"
            );
        }
    }

    /// Whether a message is one of the retained messages of a subscription, and not the next of the others.
    fn walked(&mut self, conn: usize, arrived: &Entry, identified: bool) -> bool {
        let session = self.session_of(conn);
        let list = if arrived.qos == 0 { &session.casual } else { &session.owed };
        if list.is_next(arrived, identified) {
            return false;
        }
        let doubtful = list.has_alike(arrived, identified);
        let is_shared = doubtful && list.has_alike_shared(arrived, identified);
        let mut walks = std::mem::take(&mut session.walks);
        let taken = self.model.history.take(&mut walks, arrived, identified, doubtful);
        let session = self.session_of(conn);
        session.walks = walks;
        if taken {
            let list = if arrived.qos == 0 { &mut session.casual } else { &mut session.owed };
            list.doubt(arrived, identified);
            if doubtful {
                let (client, generation) = (self.conns[conn].client, self.conns[conn].generation);
                self.committed.doubt(client, generation, arrived.number);
                if let Some(obligation) = self.model.obligations.get_mut(&arrived.number) {
                    obligation.doubted += u32::from(is_shared);
                }
            }
        }
        taken
    }

    /// The session that a connection has, or had.
    fn session_of(&mut self, conn: usize) -> &mut crate::model::Session {
        let (client, generation) = (self.conns[conn].client, self.conns[conn].generation);
        let model = &mut self.model;
        let live = model.sessions.get(&client).is_some_and(|s| s.generation == generation);
        let place = if live { &mut model.sessions } else { &mut model.ghosts };
        let session = place.get_mut(&client).unwrap();
        assert_eq!(session.generation, generation, "connection {conn} is of an older session");
        session
    }

    fn acknowledged(&mut self, conn: usize, kind: AckKind, id: u16, reason: ReasonCode, committed: u64) {
        assert!(!reason.is_error() || reason == ReasonCode::PacketIdentifierNotFound, "{kind:?} {reason:?}");
        let at = self.conns[conn].client;
        let client = &mut self.clients[at];
        let find = |qos: u8, released: bool| {
            client.outgoing.iter().position(|o| o.letter.qos == qos && o.released == released)
        };
        match kind {
            AckKind::Puback | AckKind::Pubrec => {
                let qos = if kind == AckKind::Puback { 1 } else { 2 };
                // [MQTT-4.6.0-2], [MQTT-4.6.0-3]: in the order of the PUBLISH packets.
                let first = find(qos, false).map(|at| client.outgoing[at].id);
                assert_eq!(first, Some(id), "connection {conn}: {kind:?} out of order");
                let at = find(qos, false).unwrap();
                let number = client.outgoing[at].letter.number;
                assert!(self.model.accepted.contains(&number), "{kind:?} for {number}, which did not come");
                let record = self.positions.get(&number).copied().unwrap_or(0);
                assert!(
                    number == 0 || record <= committed,
                    "{kind:?} for {number} before its record {record} was committed"
                );
                if qos == 1 {
                    client.outgoing.remove(at);
                } else {
                    client.outgoing[at].released = true;
                    let mut out = Vec::new();
                    client.encode_ack(AckKind::Pubrel, id, &mut out);
                    self.send(self.conns[conn].client, out);
                }
            }
            AckKind::Pubcomp => {
                let at = client.outgoing.iter().position(|o| o.id == id && o.released);
                let at = at.unwrap_or_else(|| panic!("connection {conn}: PUBCOMP {id} for nothing"));
                client.outgoing.remove(at);
            }
            AckKind::Pubrel => {
                client.incoming.remove(&id);
                client.answers.push_back((AckKind::Pubcomp, id));
            }
        }
    }
}
