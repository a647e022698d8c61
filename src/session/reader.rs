//! What a session knows of its right to receive, in a broker that checks it at each delivery.

use std::sync::Arc;

/// The topics whose verdict a session remembers.
const REMEMBERED: usize = 8;
/// A longer topic is asked about each time.
const LONGEST: usize = 256;

/// The receiving client of a session, and the latest verdicts about topics.
#[derive(Debug, Default)]
pub struct Reader {
    /// The User Name of the attached or last connection.
    user: Option<Arc<str>>,
    /// The version of the rights that the verdicts are of.
    version: u64,
    verdicts: Vec<(Box<[u8]>, bool)>,
    /// The place of the oldest verdict.
    oldest: usize,
}

impl Reader {
    /// A client with this User Name.
    pub fn new(user: Option<Arc<str>>) -> Reader {
        Reader { user, ..Reader::default() }
    }

    /// Whether the client may receive messages of a topic: as it was when it was asked last by the same `version` of the
    /// rights, or as `ask` says.
    pub fn may_receive(
        &mut self,
        version: u64,
        topic: &[u8],
        ask: impl FnOnce(Option<&str>) -> bool,
    ) -> bool {
        if self.version != version {
            self.version = version;
            self.verdicts.clear();
            self.oldest = 0;
        }
        if let Some((_, verdict)) = self.verdicts.iter().find(|(known, _)| **known == *topic) {
            return *verdict;
        }
        let verdict = ask(self.user.as_deref());
        if topic.len() <= LONGEST {
            self.remember(topic, verdict);
        }
        verdict
    }

    fn remember(&mut self, topic: &[u8], verdict: bool) {
        let entry = (topic.into(), verdict);
        match self.verdicts.get_mut(self.oldest) {
            Some(place) => *place = entry,
            None => self.verdicts.push(entry),
        }
        self.oldest = (self.oldest + 1) % REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, REMEMBERED, Reader};

    /// Whether the reader asks about a topic.
    fn asks(reader: &mut Reader, version: u64, topic: &[u8], answer: bool) -> bool {
        let mut asked = false;
        let verdict = reader.may_receive(version, topic, |user| {
            assert_eq!(user, Some("ann"));
            asked = true;
            answer
        });
        assert_eq!(verdict, answer);
        asked
    }

    #[test]
    fn a_verdict_is_remembered_until_the_rights_change() {
        let mut reader = Reader::new(Some("ann".into()));
        assert!(asks(&mut reader, 0, b"a", true));
        assert!(asks(&mut reader, 0, b"b", false));
        assert!(!asks(&mut reader, 0, b"a", true) && !asks(&mut reader, 0, b"b", false));
        assert!(asks(&mut reader, 1, b"a", false));
        assert!(!asks(&mut reader, 1, b"a", false));
    }

    #[test]
    fn few_topics_are_remembered_and_no_long_one() {
        let mut reader = Reader::new(Some("ann".into()));
        let long = [b'x'; LONGEST + 1];
        assert!(asks(&mut reader, 0, &long, true) && asks(&mut reader, 0, &long, true));
        for topic in 0..=REMEMBERED as u8 {
            assert!(asks(&mut reader, 0, &[topic], true));
        }
        assert!(asks(&mut reader, 0, &[0], true), "the oldest one has made room");
        assert!(!asks(&mut reader, 0, &[REMEMBERED as u8], true));
        assert_eq!(reader.verdicts.len(), REMEMBERED);
    }
}
