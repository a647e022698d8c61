//! The faults of one broker, and the choice of the fault that strikes a packet.

use std::time::Duration;

use crate::codec::reason::ReasonCode;
use crate::locks::Mutex;
use crate::net::testing::fault::{Effect, Fault};

/// The most faults of a broker; further ones are refused until some are cleared.
const MOST: usize = 10_000;

/// What happens to a packet to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultAction {
    Pass,
    Drop,
    Delay(Duration),
    Duplicate,
    /// Only this number of its bytes is sent, and nothing after it.
    Cut(usize),
}

/// The faults, in the order of injection: the first that applies to a packet strikes it.
#[derive(Default)]
pub(super) struct Faults {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    last: u64,
}

struct Entry {
    number: u64,
    fault: Fault,
    /// The cases, or bytes, that it has let pass.
    passed: u64,
    hits: u64,
}

impl Faults {
    /// Adds a fault; returns its number. `None` if there are too many.
    pub(super) fn add(&self, fault: Fault) -> Option<u64> {
        let mut table = self.table.lock();
        if table.entries.len() >= MOST {
            return None;
        }
        table.last += 1;
        let number = table.last;
        table.entries.push(Entry { number, fault, passed: 0, hits: 0 });
        Some(number)
    }

    /// Removes a fault; returns whether it existed.
    pub(super) fn remove(&self, number: u64) -> bool {
        let mut table = self.table.lock();
        let before = table.entries.len();
        table.entries.retain(|entry| entry.number != number);
        table.entries.len() < before
    }

    pub(super) fn clear(&self) {
        self.table.lock().entries.clear();
    }

    /// How often a fault has struck; `None` if there is no fault with this number.
    pub(super) fn hits(&self, number: u64) -> Option<u64> {
        let table = self.table.lock();
        table.entries.iter().find(|entry| entry.number == number).map(|entry| entry.hits)
    }

    /// The reason to refuse a client with, if a fault does.
    pub(super) fn refuses(&self, client_id: &str) -> Option<ReasonCode> {
        let mut table = self.table.lock();
        table.entries.iter_mut().find_map(|entry| match entry.fault.effect {
            Effect::Refuse(reason) => (entry.is_for(Some(client_id)) && entry.strikes()).then_some(reason),
            _ => None,
        })
    }

    /// What happens to a packet of `len` bytes to a client; `client_id` is `None` before CONNACK.
    pub(super) fn verdict(&self, client_id: Option<&str>, kind: u8, len: usize) -> FaultAction {
        let mut table = self.table.lock();
        let met = table.entries.iter_mut().filter(|entry| entry.is_for(client_id));
        met.filter_map(|entry| entry.meets(kind, len)).next().unwrap_or(FaultAction::Pass)
    }
}

impl Entry {
    /// Whether it may strike this client.
    fn is_for(&self, client_id: Option<&str>) -> bool {
        let exhausted = self.fault.times.is_some_and(|times| self.hits >= times);
        !exhausted && self.fault.client_id.as_deref().is_none_or(|named| client_id == Some(named))
    }

    /// Counts a case; returns whether it strikes.
    fn strikes(&mut self) -> bool {
        let strikes = self.passed >= self.fault.after;
        match strikes {
            true => self.hits += 1,
            false => self.passed += 1,
        }
        strikes
    }

    /// What it does to a packet, if it strikes it.
    fn meets(&mut self, kind: u8, len: usize) -> Option<FaultAction> {
        if let Effect::CutAfterBytes(bytes) = self.fault.effect {
            let left = bytes.saturating_sub(self.passed);
            if left > len as u64 {
                self.passed += len as u64;
                return None;
            }
            self.hits += 1;
            self.passed = 0;
            return Some(FaultAction::Cut(left as usize));
        }
        let fits = self.fault.packet.is_none_or(|packet| packet as u8 == kind);
        let is_refusal = matches!(self.fault.effect, Effect::Refuse(_));
        if is_refusal || !fits || !self.strikes() {
            return None;
        }
        match self.fault.effect {
            Effect::Drop => Some(FaultAction::Drop),
            Effect::Delay(by) => Some(FaultAction::Delay(by)),
            Effect::Duplicate => Some(FaultAction::Duplicate),
            Effect::Cut => Some(FaultAction::Cut(0)),
            Effect::Refuse(_) | Effect::CutAfterBytes(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultAction, Faults, MOST};
    use crate::codec::reason::ReasonCode;
    use crate::net::testing::PacketKind;

    const PUBACK: u8 = PacketKind::Puback as u8;
    const PINGRESP: u8 = PacketKind::Pingresp as u8;

    #[test]
    fn a_fault_meets_its_packets_of_its_client_after_and_as_often_as_it_says() {
        let faults = Faults::default();
        let number = faults.add(Fault::drop(PacketKind::Puback).client("a").after(1).times(2)).unwrap();
        let met = |client: &str, kind| faults.verdict(Some(client), kind, 4);
        assert_eq!(met("a", PUBACK), FaultAction::Pass);
        assert_eq!(met("b", PUBACK), FaultAction::Pass);
        assert_eq!(met("a", PINGRESP), FaultAction::Pass);
        assert_eq!(met("a", PUBACK), FaultAction::Drop);
        assert_eq!(met("a", PUBACK), FaultAction::Drop);
        assert_eq!(met("a", PUBACK), FaultAction::Pass);
        assert_eq!(faults.hits(number), Some(2));
        assert!(faults.remove(number) && !faults.remove(number));
        assert_eq!(faults.hits(number), None);
    }

    #[test]
    fn the_first_fault_that_fits_strikes_and_the_next_one_then() {
        let faults = Faults::default();
        faults.add(Fault::duplicate(None)).unwrap();
        let always = faults.add(Fault::cut_at(PacketKind::Pingresp).always()).unwrap();
        assert_eq!(faults.verdict(None, PINGRESP, 2), FaultAction::Duplicate);
        assert_eq!(faults.verdict(None, PINGRESP, 2), FaultAction::Cut(0));
        assert_eq!(faults.verdict(None, PINGRESP, 2), FaultAction::Cut(0));
        assert_eq!(faults.hits(always), Some(2));
        faults.clear();
        assert_eq!(faults.verdict(None, PINGRESP, 2), FaultAction::Pass);
    }

    #[test]
    fn bytes_are_counted_over_packets() {
        let faults = Faults::default();
        faults.add(Fault::cut_after_bytes(7)).unwrap();
        assert_eq!(faults.verdict(None, PUBACK, 4), FaultAction::Pass);
        assert_eq!(faults.verdict(None, PUBACK, 4), FaultAction::Cut(3));
        assert_eq!(faults.verdict(None, PUBACK, 4), FaultAction::Pass);
        faults.add(Fault::cut_after_bytes(4)).unwrap();
        assert_eq!(faults.verdict(None, PUBACK, 4), FaultAction::Cut(4), "at the end of the packet");
    }

    #[test]
    fn a_refusal_is_for_connect_alone_and_has_a_reason_that_connack_can_carry() {
        assert_eq!(Fault::refuse(ReasonCode::Success), None);
        assert_eq!(Fault::refuse(ReasonCode::SessionTakenOver), None);
        let faults = Faults::default();
        faults.add(Fault::refuse(ReasonCode::ServerBusy).unwrap().client("a")).unwrap();
        assert_eq!(faults.verdict(Some("a"), PacketKind::Connack as u8, 4), FaultAction::Pass);
        assert_eq!(faults.refuses("b"), None);
        assert_eq!(faults.refuses("a"), Some(ReasonCode::ServerBusy));
        assert_eq!(faults.refuses("a"), None);
    }

    #[test]
    fn there_is_a_bound() {
        let faults = Faults::default();
        assert!((0..MOST).all(|_| faults.add(Fault::drop(None)).is_some()));
        assert_eq!(faults.add(Fault::drop(None)), None);
    }
}
