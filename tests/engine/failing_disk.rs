//! A whole broker over a disk of which one operation fails, whichever it is: at the start, in the middle of its work, when
//! it stops. It never panics, never acknowledges what is lost, and the next start on the same disk has everything.
//!
//! `FAILING_DISK=all` tries every operation, and not only some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use midge::codec::ack::AckKind;
use midge::codec::qos::QoS;
use midge::codec::reason::ReasonCode;
use midge::codec::subscribe::SubscriptionOptions;
use midge::storage::durable::{DurableOptions, DurableStore};
use midge::storage::{Store, StoreError};
use midge::time::WallTime;

use crate::harness::{Client, Network, Packets, Q1, Q2, Received, V5, V311, opts};
use crate::sim_disk::{EIO, ENOSPC, Fault, SimDisk};

/// What the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// One operation fails: EIO.
    Fails,
    /// From one operation on there is no space; the store does not try again.
    Full,
    /// One operation finds no space; the store tries again.
    FullForAMoment,
    /// One read fails: EIO.
    Unreadable,
}

/// What the clients know, across the lives of the broker.
#[derive(Clone, Default)]
struct Known {
    /// Whether the subscription was acknowledged.
    subscribed: bool,
    sent: u32,
    /// Messages that were acknowledged while the subscription was there.
    acknowledged: BTreeSet<u32>,
    /// Messages that have come, by their QoS.
    came: BTreeMap<u32, QoS>,
    /// The last retained message that was acknowledged.
    retained: Option<u32>,
    /// QoS 2 messages that have come and are not released, by their Packet Identifier.
    holding: BTreeMap<u16, u32>,
    /// Whether the store had failed when the broker stopped.
    failed: bool,
}

/// A broker and its store.
struct Life {
    network: Network,
    store: Arc<DurableStore>,
}

impl Life {
    fn begin(disk: &SimDisk, retries: bool) -> Result<Life, StoreError> {
        let options = DurableOptions {
            salt: [7; 16],
            log_bytes: 4096,
            now: WallTime::default(),
            retry_millis: retries.then_some(1),
        };
        let store = Arc::new(DurableStore::open(Arc::new(disk.clone()), options)?.with_memory(100));
        let network =
            Network::with_store(&[("mqtt.max_inflight", "3")], Arc::clone(&store) as Arc<dyn Store>);
        let restored = network.engine.restore(&mut network.turn());
        restored.map_err(|error| StoreError::Failed { cause: error.to_string() })?;
        Ok(Life { network, store })
    }

    /// What the threads of the store do.
    fn commit(&self) {
        self.store.commit();
        match self.store.failed() {
            Some(error) => self.network.engine.store_failed(&mut self.network.turn(), &error),
            None => self.network.engine.committed(&mut self.network.turn(), self.store.committed()),
        }
        while let Some(request) = self.store.take_request() {
            let read = self.network.engine.read_stored(request);
            self.network.engine.give_stored(&mut self.network.turn(), read);
        }
    }

    /// A clean stop, which the disk may not allow.
    fn end(self) -> Option<StoreError> {
        self.network.engine.stop(&mut self.network.turn());
        self.store.close();
        let failed = self.store.failed();
        let _may_fail = self.store.finish();
        failed
    }
}

fn number(payload: &[u8]) -> u32 {
    std::str::from_utf8(payload).unwrap().trim_end_matches('.').parse().unwrap()
}

impl Known {
    /// The subscriber takes what has come, and acknowledges most of it.
    fn hear(&mut self, client: &mut Client<'_>, acknowledges_all: bool) {
        while let Some(packet) = client.next() {
            match packet {
                Received::Connack { present, reason, .. } => {
                    assert_eq!((present, reason), (self.subscribed, ReasonCode::Success), "Session Present");
                }
                Received::Suback { reasons, .. } => self.subscribed = reasons == [2],
                Received::Publish(message) if message.retain => {}
                Received::Publish(message) => {
                    let number = number(&message.payload);
                    let is_held = message.qos == Q2 && self.holding.get(&message.id) == Some(&number);
                    let before = self.came.insert(number, message.qos);
                    assert!(before != Some(Q2) || is_held, "{number} came twice at QoS 2");
                    let later = self.came.range(number + 1..).any(|(_, qos)| *qos == message.qos);
                    assert!(before.is_some() || !later, "{number} came after a later one");
                    if message.qos == Q2 {
                        self.holding.insert(message.id, number);
                    }
                    if acknowledges_all || !number.is_multiple_of(4) {
                        let kind = if message.qos == Q2 { AckKind::Pubrec } else { AckKind::Puback };
                        client.send_ack(kind, message.id);
                    }
                }
                Received::Ack { kind: AckKind::Pubrel, id, .. } => {
                    self.holding.remove(&id);
                    client.send_ack(AckKind::Pubcomp, id);
                }
                Received::Disconnect(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The publisher takes its answers.
    fn learn(&mut self, client: &mut Client<'_>) {
        while let Some(packet) = client.next() {
            match packet {
                Received::Connack { reason, .. } => assert_eq!(reason, ReasonCode::Success),
                Received::Ack { kind: AckKind::Puback, id, .. } if id % 5 == 0 => {
                    self.retained = Some(u32::from(id));
                }
                Received::Ack { kind: AckKind::Puback | AckKind::Pubrec, id, .. } => {
                    self.acknowledged.insert(u32::from(id));
                    client.send_ack(AckKind::Pubrel, id);
                }
                Received::Ack { kind: AckKind::Pubcomp, .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn publish(&mut self, client: &mut Client<'_>) {
        self.sent += 1;
        let (number, id) = (self.sent, self.sent as u16);
        let payload = format!("{number}{}", ".".repeat(if number % 3 == 0 { 600 } else { 20 }));
        let qos = if number % 2 == 0 { Q1 } else { Q2 };
        let (topic, qos) = if number % 5 == 0 { ("r", Q1) } else { ("t", qos) };
        let mut packet = Packets::default().publish(V311, topic, &payload, qos, id).0;
        packet[0] |= u8::from(topic == "r");
        client.send_bytes(&packet);
    }

    /// A life of the broker: clients come, work, and the broker stops. If it does not start, the sentence names a file.
    fn live(&mut self, disk: &SimDisk, retries: bool) {
        let life = match Life::begin(disk, retries) {
            Ok(life) => life,
            Err(error) => {
                let sentence = error.to_string();
                assert!(sentence.contains("/sim/"), "{sentence}");
                self.failed = true;
                return;
            }
        };
        let mut subscriber = opts("s", V5).persistent().begin(&life.network);
        let mut publisher = opts("p", V311).begin(&life.network);
        life.commit();
        self.hear(&mut subscriber, false);
        if !self.subscribed {
            subscriber.send_subscribe(&[("t", SubscriptionOptions::with_qos(Q2))], 0);
            life.commit();
            self.hear(&mut subscriber, false);
        }
        for step in 0..24 {
            if self.subscribed {
                self.publish(&mut publisher);
            }
            if step % 3 == 2 {
                life.commit();
                self.hear(&mut subscriber, false);
                self.learn(&mut publisher);
            }
        }
        life.commit();
        self.learn(&mut publisher);
        self.hear(&mut subscriber, false);
        drop((subscriber, publisher));
        self.failed = life.end().is_some();
    }

    /// A life over a disk without faults, in which everything that is owed comes.
    fn settle(&mut self, disk: &SimDisk, what: &str) {
        let life = Life::begin(disk, false).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut subscriber = opts("s", V5).persistent().begin(&life.network);
        let knew = self.subscribed;
        if !knew {
            // The session may be there, although nobody was told.
            life.commit();
            let Some(Received::Connack { reason: ReasonCode::Success, .. }) = subscriber.next() else {
                panic!("{what}: no CONNACK");
            };
            return assert!(life.end().is_none());
        }
        let mut heard = usize::MAX;
        while std::mem::replace(&mut heard, self.came.len() + self.holding.len())
            != self.came.len() + self.holding.len()
            || life.store.appended() > life.store.committed()
        {
            life.commit();
            self.hear(&mut subscriber, true);
        }
        let lost: Vec<&u32> =
            self.acknowledged.iter().filter(|number| !self.came.contains_key(number)).collect();
        assert!(lost.is_empty(), "{what}: {lost:?} were acknowledged and never came");
        let page = life.network.engine.retained_page(None, 10);
        let kept = page.first().map(|message| number(message.payload()));
        assert!(
            kept >= self.retained,
            "{what}: {kept:?} is retained, and {:?} was acknowledged",
            self.retained
        );
        drop(subscriber);
        assert!(life.end().is_none());
    }
}

/// One run; what the clients know in the end.
fn run(base: &(SimDisk, Known), trouble: Trouble, at: u64, crashes: bool) -> Known {
    let (disk, mut known) = (base.0.copy(), base.1.clone());
    match trouble {
        Trouble::Fails => disk.fault_at(at, Fault::Error(EIO)),
        Trouble::Full => disk.fault_at(at, Fault::Errors(ENOSPC)),
        Trouble::FullForAMoment => disk.fault_at(at, Fault::Error(ENOSPC)),
        Trouble::Unreadable => disk.fault_at_read(at, EIO),
    }
    known.live(&disk, trouble == Trouble::FullForAMoment);
    let worked = known.clone();
    let disk = if crashes { disk.crash(at) } else { disk.restart() };
    known.settle(&disk, &format!("{trouble:?} at {at}, {}", if crashes { "power cut" } else { "restart" }));
    worked
}

/// Every operation of a life fails, one in each run, or some of them.
fn each(base: &(SimDisk, Known)) -> [usize; 2] {
    let disk = base.0.copy();
    base.1.clone().live(&disk, false);
    let all = std::env::var("FAILING_DISK").is_ok_and(|all| all == "all");
    let (mut runs, mut failed) = (0, 0);
    for (place, trouble) in
        [Trouble::Fails, Trouble::Full, Trouble::FullForAMoment, Trouble::Unreadable].into_iter().enumerate()
    {
        let count = if trouble == Trouble::Unreadable { disk.reads() } else { disk.operations() };
        for at in (0..count).skip(if all { 0 } else { place }).step_by(if all { 1 } else { 7 }) {
            let known = run(base, trouble, at, at % 2 == 0);
            (runs, failed) = (runs + 1, failed + usize::from(known.failed));
            if all {
                run(base, trouble, at, at % 2 == 1);
            }
        }
    }
    [runs, failed]
}

#[test]
fn any_operation_of_the_disk_may_fail_before_there_is_a_store() {
    let [runs, failed] = each(&(SimDisk::new(1), Known::default()));
    println!("{runs} runs, in {failed} of which the store failed or the broker did not start");
    assert!(runs > 30 && failed > runs / 4, "{failed} of {runs}");
}

#[test]
fn any_operation_of_the_disk_may_fail_over_a_store_that_is_in_use() {
    let (disk, mut known) = (SimDisk::new(2), Known::default());
    known.live(&disk, false);
    let before = known.acknowledged.len();
    assert!(before > 10, "{before} acknowledged in a life without a fault");
    let [runs, failed] = each(&(disk, known));
    println!("{runs} runs, in {failed} of which the store failed or the broker did not start");
    assert!(runs > 30 && failed > runs / 4, "{failed} of {runs}");
}
