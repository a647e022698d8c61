//! The latest verdicts about topics, so that an authority is not asked about each message.

/// The topics that are remembered.
const REMEMBERED: usize = 8;
/// A longer topic is not remembered.
const LONGEST: usize = 256;

/// The latest verdicts about topics. They hold as long as the rights have not changed.
#[derive(Debug)]
pub struct Verdicts<V> {
    /// The version of the rights that the verdicts are of.
    version: u64,
    entries: Vec<(Box<[u8]>, V)>,
    /// The place of the oldest verdict.
    oldest: usize,
}

impl<V> Default for Verdicts<V> {
    fn default() -> Verdicts<V> {
        Verdicts { version: 0, entries: Vec::new(), oldest: 0 }
    }
}

impl<V: Copy> Verdicts<V> {
    /// The verdict about a topic: the one that was given last by the same `version` of the rights, or that of `ask`.
    pub fn about(&mut self, version: u64, topic: &[u8], ask: impl FnOnce() -> V) -> V {
        if self.version != version {
            *self = Verdicts { version, ..Verdicts::default() };
        }
        if let Some((_, verdict)) = self.entries.iter().find(|(known, _)| **known == *topic) {
            return *verdict;
        }
        let verdict = ask();
        if topic.len() <= LONGEST {
            let entry = (topic.into(), verdict);
            match self.entries.get_mut(self.oldest) {
                Some(place) => *place = entry,
                None => self.entries.push(entry),
            }
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, REMEMBERED, Verdicts};

    /// Whether the authority is asked about a topic.
    fn asks(verdicts: &mut Verdicts<bool>, version: u64, topic: &[u8], answer: bool) -> bool {
        let mut asked = false;
        let verdict = verdicts.about(version, topic, || {
            asked = true;
            answer
        });
        assert_eq!(verdict, answer);
        asked
    }

    #[test]
    fn a_verdict_is_remembered_until_the_rights_change() {
        let mut verdicts = Verdicts::default();
        assert!(asks(&mut verdicts, 0, b"a", true));
        assert!(asks(&mut verdicts, 0, b"b", false));
        assert!(!asks(&mut verdicts, 0, b"a", true) && !asks(&mut verdicts, 0, b"b", false));
        assert!(asks(&mut verdicts, 1, b"a", false));
        assert!(!asks(&mut verdicts, 1, b"a", false));
    }

    #[test]
    fn few_topics_are_remembered_and_no_long_one() {
        let mut verdicts = Verdicts::default();
        let long = [b'x'; LONGEST + 1];
        assert!(asks(&mut verdicts, 0, &long, true) && asks(&mut verdicts, 0, &long, true));
        for topic in 0..=REMEMBERED as u8 {
            assert!(asks(&mut verdicts, 0, &[topic], true));
        }
        assert!(asks(&mut verdicts, 0, &[0], true), "the oldest one has made room");
        assert!(!asks(&mut verdicts, 0, &[REMEMBERED as u8], true));
        assert_eq!(verdicts.entries.len(), REMEMBERED);
    }
}
