//! The coarse timer wheel: keep-alive, retry and expiry deadlines, in ticks of 32 milliseconds.
//!
//! Ten levels of 64 slots; a slot of level `n` spans 64^n ticks, so the levels cover every [`Time`]. The highest bit in
//! which a timer's tick differs from the wheel's selects the level. So a timer is always in a slot ahead of the
//! wheel's own. When the wheel reaches that slot, the timer moves to a lower level or is due. One bitmap per level
//! marks the slots that hold timers, so that time without timers is skipped in one step.

use crate::time::Time;
use crate::time::blocks::Blocks;

/// The wheel's resolution in milliseconds: a deadline is rounded up to a multiple of it.
pub const TICK_MILLIS: u64 = 32;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 10 levels of 6 bits: more than the 59 bits that a tick of 32 ms can have.
const LEVELS: usize = 10;
/// Never reached: 36 million years of ticks of 1 ms.
const LAST_TICK: u64 = (1 << (LEVELS as u32 * SLOT_BITS)) - 1;
/// The list of timers whose tick had passed when they were inserted.
const OVERDUE: usize = LEVELS * SLOTS;
/// Ends a list.
const NONE: u32 = u32::MAX;

/// Identifies one inserted timer, and never a later one that reuses its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    serial: u32,
}

/// Timers, each with a key `K` and a deadline. Inserting and cancelling take constant time.
pub struct Wheel<K> {
    timers: Blocks<Timer<K>>,
    /// The first timer of each slot, `level * SLOTS + slot`, and of the overdue list.
    heads: Box<[u32]>,
    /// Bit `slot` of entry `level` is set while that slot holds a timer.
    occupied: [u64; LEVELS],
    /// The tick up to which all timers have fired.
    tick: u64,
    /// Counts insertions, to distinguish a timer from a later one in the same place.
    serial: u32,
    /// Milliseconds of a tick.
    resolution: u64,
}

/// A timer, linked to its neighbours in the same slot. 32 bytes with a `K` of 8.
struct Timer<K> {
    key: K,
    tick: u64,
    next: u32,
    previous: u32,
    serial: u32,
    /// Index into `Wheel::heads`.
    list: u16,
}

impl<K> Wheel<K> {
    /// An empty wheel at the time `now`.
    pub fn new(now: Time) -> Wheel<K> {
        Wheel::with_resolution(now, TICK_MILLIS)
    }

    /// An empty wheel at the time `now` that rounds no deadline, for a clock that is moved by hand.
    pub fn exact(now: Time) -> Wheel<K> {
        Wheel::with_resolution(now, 1)
    }

    fn with_resolution(now: Time, resolution: u64) -> Wheel<K> {
        Wheel {
            timers: Blocks::new(),
            heads: vec![NONE; OVERDUE + 1].into_boxed_slice(),
            occupied: [0; LEVELS],
            tick: tick_reached(now, resolution),
            serial: 0,
            resolution,
        }
    }

    /// Adds a timer. [`Wheel::advance`] returns its key at the first time not before `deadline`, rounded up to a tick.
    /// If the deadline has passed already, the next call returns it.
    ///
    /// The wheel holds up to 2^32 - 1 timers.
    pub fn insert(&mut self, deadline: Time, key: K) -> TimerId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let tick = deadline.as_millis().div_ceil(self.resolution).min(LAST_TICK);
        let index = self.timers.insert(Timer { key, tick, next: NONE, previous: NONE, serial, list: 0 });
        self.link(index, tick);
        TimerId { index, serial }
    }

    /// Removes a timer and returns its key; `None` if it has fired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        let timer = self.timers.get(id.index)?;
        if timer.serial != id.serial {
            return None;
        }
        self.unlink(id.index);
        self.timers.remove(id.index).map(|timer| timer.key)
    }

    /// Moves the wheel to `now` and appends the keys of all due timers to `due`, in the order of their ticks. Timers of
    /// one tick come in no particular order. A timer inserted after its tick had passed belongs to the tick of its
    /// insertion.
    ///
    /// A `now` before that of an earlier call is taken as the earlier one.
    pub fn advance(&mut self, now: Time, due: &mut Vec<K>) {
        self.collect(OVERDUE, due);
        let target = tick_reached(now, self.resolution);
        while let Some((level, slot, tick)) = self.next_slot()
            && tick <= target
        {
            self.tick = tick;
            if let Some(occupied) = self.occupied.get_mut(level) {
                *occupied &= !(1 << slot);
            }
            self.collect(level * SLOTS + slot, due);
        }
        self.tick = self.tick.max(target);
    }

    /// A time no later than the next due timer; `None` if there is no timer. It is later than the last `advance` unless
    /// a timer is overdue.
    ///
    /// At that time timers may only move to a lower level, so that `advance` returns no key.
    pub fn next_deadline(&self) -> Option<Time> {
        let tick = match self.heads.get(OVERDUE) {
            Some(&head) if head != NONE => self.tick,
            _ => self.next_slot()?.2,
        };
        Some(Time::from_millis(tick.saturating_mul(self.resolution)))
    }

    /// The number of timers.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first occupied slot ahead: level, slot and the tick at which it begins.
    ///
    /// Every timer of a level is due before every timer of a higher one. In the bits of the higher level, its tick is
    /// equal to the wheel's, and theirs are greater.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, occupied) = self.occupied.iter().enumerate().find(|(_, occupied)| **occupied != 0)?;
        let slot = occupied.trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let passed = self.tick >> shift >> SLOT_BITS << SLOT_BITS;
        Some((level, slot as usize, (passed | u64::from(slot)) << shift))
    }

    /// Empties a list: due timers go to `due`, the others to slots of lower levels.
    fn collect(&mut self, list: usize, due: &mut Vec<K>) {
        let Some(head) = self.heads.get_mut(list) else { return };
        let mut index = std::mem::replace(head, NONE);
        while let Some(timer) = self.timers.get(index) {
            let (next, tick) = (timer.next, timer.tick);
            if tick > self.tick {
                self.link(index, tick);
            } else {
                due.extend(self.timers.remove(index).map(|timer| timer.key));
            }
            index = next;
        }
    }

    /// Puts a timer into the list that its tick belongs to.
    fn link(&mut self, index: u32, tick: u64) {
        let list = if tick <= self.tick {
            OVERDUE
        } else {
            let level = (63 - (tick ^ self.tick).leading_zeros()) / SLOT_BITS;
            let slot = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
            if let Some(occupied) = self.occupied.get_mut(level as usize) {
                *occupied |= 1 << slot;
            }
            level as usize * SLOTS + slot
        };
        let Some(head) = self.heads.get_mut(list) else { return };
        let next = std::mem::replace(head, index);
        if let Some(timer) = self.timers.get_mut(next) {
            timer.previous = index;
        }
        if let Some(timer) = self.timers.get_mut(index) {
            timer.next = next;
            timer.previous = NONE;
            timer.list = list as u16;
        }
    }

    /// Takes a timer out of its list.
    fn unlink(&mut self, index: u32) {
        let Some(timer) = self.timers.get(index) else { return };
        let (next, previous, list) = (timer.next, timer.previous, usize::from(timer.list));
        if let Some(timer) = self.timers.get_mut(next) {
            timer.previous = previous;
        }
        if let Some(timer) = self.timers.get_mut(previous) {
            timer.next = next;
            return;
        }
        if let Some(head) = self.heads.get_mut(list) {
            *head = next;
        }
        if next == NONE
            && let Some(occupied) = self.occupied.get_mut(list / SLOTS)
        {
            *occupied &= !(1 << (list % SLOTS));
        }
    }
}

/// The last tick that has begun by `now`.
fn tick_reached(now: Time, resolution: u64) -> u64 {
    (now.as_millis() / resolution).min(LAST_TICK - 1)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    use super::{TICK_MILLIS, Timer, Wheel};
    use crate::time::Time;

    const YEAR: u64 = 365 * 24 * 3600 * 1000;

    fn advance(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(Time::from_millis(millis), &mut due);
        due
    }

    #[test]
    fn a_timer_fires_at_its_deadline_rounded_up_and_not_before() {
        let mut wheel = Wheel::new(Time::from_millis(7));
        wheel.insert(Time::from_millis(33), 1);
        assert_eq!(wheel.next_deadline(), Some(Time::from_millis(64)));
        assert!(advance(&mut wheel, 63).is_empty());
        assert!(!wheel.is_empty());
        assert_eq!(advance(&mut wheel, 64), [1]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_deadline_on_a_tick_is_not_rounded() {
        let mut wheel = Wheel::new(Time::ZERO);
        wheel.insert(Time::from_millis(64), 1);
        assert!(advance(&mut wheel, 63).is_empty());
        assert_eq!(advance(&mut wheel, 64), [1]);
    }

    #[test]
    fn a_past_deadline_fires_at_the_next_advance_even_without_progress() {
        let mut wheel = Wheel::new(Time::from_millis(1000));
        wheel.insert(Time::from_millis(10), 1);
        assert!(wheel.next_deadline() <= Some(Time::from_millis(1000)));
        assert_eq!(advance(&mut wheel, 1000), [1]);
        assert!(advance(&mut wheel, 1000).is_empty());
    }

    #[test]
    fn an_exact_wheel_rounds_no_deadline_and_never_reaches_the_last() {
        let mut wheel = Wheel::exact(Time::from_millis(7));
        wheel.insert(Time::from_millis(33), 1);
        let never = wheel.insert(Time::NEVER, 2);
        assert_eq!(wheel.next_deadline(), Some(Time::from_millis(33)));
        assert!(advance(&mut wheel, 32).is_empty());
        assert_eq!(advance(&mut wheel, 33), [1]);
        assert!(advance(&mut wheel, u64::MAX).is_empty());
        assert_eq!(wheel.cancel(never), Some(2));
        assert!(wheel.is_empty());
    }

    #[test]
    fn cancelling_returns_the_key_once() {
        let mut wheel = Wheel::new(Time::ZERO);
        let first = wheel.insert(Time::from_millis(100), 1);
        let second = wheel.insert(Time::from_millis(100), 2);
        let third = wheel.insert(Time::from_millis(100), 3);
        assert_eq!(wheel.cancel(second), Some(2));
        assert_eq!(wheel.cancel(second), None);
        assert_eq!(wheel.cancel(third), Some(3));
        assert_eq!(wheel.len(), 1);
        assert_eq!(advance(&mut wheel, 128), [1]);
        assert_eq!(wheel.cancel(first), None);
    }

    #[test]
    fn an_identifier_does_not_name_the_successor_in_its_place() {
        let mut wheel = Wheel::new(Time::ZERO);
        let first = wheel.insert(Time::from_millis(100), 1);
        assert_eq!(wheel.cancel(first), Some(1));
        let second = wheel.insert(Time::from_millis(100), 2);
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(wheel.cancel(second), Some(2));
    }

    #[test]
    fn cancelling_the_last_timer_of_a_slot_leaves_no_deadline() {
        let mut wheel = Wheel::new(Time::ZERO);
        for millis in [1, 5000, YEAR] {
            let id = wheel.insert(Time::from_millis(millis), 1);
            assert_eq!(wheel.cancel(id), Some(1));
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    /// The second is in front of the first until they move to different slots.
    #[test]
    fn a_timer_that_has_moved_to_a_lower_level_can_be_cancelled() {
        let mut wheel = Wheel::new(Time::ZERO);
        let first = wheel.insert(Time::from_millis(80 * TICK_MILLIS), 1);
        wheel.insert(Time::from_millis(70 * TICK_MILLIS), 2);
        assert!(advance(&mut wheel, 64 * TICK_MILLIS).is_empty());
        assert_eq!(wheel.cancel(first), Some(1));
        assert_eq!(advance(&mut wheel, 70 * TICK_MILLIS), [2]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_jump_of_centuries_finds_every_timer_in_order() {
        let mut wheel = Wheel::new(Time::ZERO);
        for years in (1..400).rev() {
            wheel.insert(Time::from_millis(years * YEAR), years as u32);
        }
        assert_eq!(advance(&mut wheel, 400 * YEAR), (1..400).collect::<Vec<u32>>());
    }

    #[test]
    fn a_timer_that_never_fires_can_be_cancelled() {
        let mut wheel = Wheel::new(Time::ZERO);
        let id = wheel.insert(Time::NEVER, 1);
        assert!(advance(&mut wheel, u64::MAX - 1).is_empty());
        assert_eq!(wheel.cancel(id), Some(1));
    }

    #[test]
    fn following_the_next_deadline_takes_few_steps() {
        let mut wheel = Wheel::new(Time::ZERO);
        wheel.insert(Time::from_millis(100 * YEAR), 1);
        let mut steps = 0;
        while let Some(next) = wheel.next_deadline() {
            advance(&mut wheel, next.as_millis());
            steps += 1;
        }
        assert!(steps <= 10, "{steps} steps");
    }

    #[test]
    fn a_timer_takes_32_bytes() {
        assert_eq!(size_of::<Timer<u64>>(), 32);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
        Follow,
    }

    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![0..200u64, 0..200_000u64, 0..YEAR, 0..300 * YEAR, Just(0)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => span().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Cancel),
            2 => span().prop_map(Step::Advance),
            1 => Just(Step::Follow),
        ]
    }

    proptest! {
        /// The model is a list of (tick, key), searched linearly.
        #[test]
        fn behaves_like_a_sorted_list(start in 0..YEAR, steps in vec(step(), 0..200)) {
            let mut now = start;
            let mut wheel = Wheel::new(Time::from_millis(now));
            let mut model: Vec<(u64, u32)> = Vec::new();
            let mut ids = Vec::new();
            for (key, step) in steps.into_iter().enumerate() {
                let key = key as u32;
                match step {
                    Step::Insert(span) => {
                        // A third of the deadlines lie in the past.
                        let deadline = if key.is_multiple_of(3) { now.saturating_sub(span) } else { now + span };
                        ids.push((wheel.insert(Time::from_millis(deadline), key), key));
                        let tick = deadline.div_ceil(TICK_MILLIS).max(now / TICK_MILLIS);
                        model.push((tick, key));
                    }
                    Step::Cancel(at) if !ids.is_empty() => {
                        let (id, key) = ids[at % ids.len()];
                        let expected = model.iter().position(|entry| entry.1 == key);
                        assert_eq!(wheel.cancel(id), expected.map(|at| model.swap_remove(at).1));
                    }
                    Step::Cancel(_) => {}
                    Step::Advance(_) | Step::Follow => {
                        now = match step {
                            Step::Advance(span) => now + span,
                            _ => wheel.next_deadline().map_or(now, |next| next.as_millis().max(now)),
                        };
                        let reached = now / TICK_MILLIS;
                        let mut expected: Vec<(u64, u32)> =
                            model.iter().copied().filter(|entry| entry.0 <= reached).collect();
                        model.retain(|entry| entry.0 > reached);
                        let mut due = Vec::new();
                        wheel.advance(Time::from_millis(now), &mut due);
                        let tick_of = |key: u32| expected.iter().find(|entry| entry.1 == key).unwrap().0;
                        let mut fired: Vec<(u64, u32)> = due.iter().map(|key| (tick_of(*key), *key)).collect();
                        assert!(fired.is_sorted_by_key(|entry| entry.0), "not in order of ticks: {fired:?}");
                        fired.sort_unstable();
                        expected.sort_unstable();
                        assert_eq!(fired, expected);
                    }
                }
                assert_eq!(wheel.len(), model.len());
                let earliest = model.iter().map(|entry| entry.0 * TICK_MILLIS).min();
                assert_eq!(wheel.next_deadline().is_some(), earliest.is_some());
                assert!(wheel.next_deadline().map(Time::as_millis) <= earliest);
            }
        }
    }
}
