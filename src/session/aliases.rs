//! Topic Aliases: numbers that stand for Topic Names on one connection [MQTT-3.3.2-7].

/// The aliases that a client has set.
#[derive(Debug, Default)]
pub struct AliasesIn {
    /// Topic Names; the index is the alias minus one.
    topics: Box<[Option<Box<str>>]>,
}

impl AliasesIn {
    /// Sets an alias. The caller has checked it against the Topic Alias Maximum.
    pub fn set(&mut self, alias: u16, topic: &str) {
        let at = usize::from(alias).saturating_sub(1);
        if at >= self.topics.len() {
            let mut topics = std::mem::take(&mut self.topics).into_vec();
            topics.resize(at + 1, None);
            self.topics = topics.into_boxed_slice();
        }
        if let Some(place) = self.topics.get_mut(at)
            && place.as_deref() != Some(topic)
        {
            *place = Some(topic.into());
        }
    }

    /// The Topic Name that an alias stands for.
    pub fn get(&self, alias: u16) -> Option<&str> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_deref()
    }
}

/// The aliases that the broker has set on one connection. The first topics that it sends get them, up to the number
/// that the client accepts.
#[derive(Debug, Default)]
pub struct AliasesOut {
    topics: Vec<Box<[u8]>>,
    maximum: u16,
}

/// How an outgoing PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By the Topic Name alone.
    Name,
    /// By the Topic Name, which sets this alias.
    Introduce(u16),
    /// By this alias alone.
    Alias(u16),
}

impl AliasesOut {
    /// The aliases of a connection that accepts `maximum` of them.
    pub fn new(maximum: u16) -> AliasesOut {
        AliasesOut { topics: Vec::new(), maximum }
    }

    /// How to name a topic in the next packet of this connection.
    /// [MQTT-3.3.2-11]
    pub fn name(&mut self, topic: &[u8]) -> Naming {
        if let Some(at) = self.topics.iter().position(|known| **known == *topic) {
            return Naming::Alias(at as u16 + 1);
        }
        if self.topics.len() >= usize::from(self.maximum) {
            return Naming::Name;
        }
        self.topics.push(topic.into());
        Naming::Introduce(self.topics.len() as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::{AliasesIn, AliasesOut, Naming};

    #[test]
    fn an_alias_is_replaced_by_its_latest_topic() {
        let mut aliases = AliasesIn::default();
        assert_eq!(aliases.get(1), None);
        assert_eq!(aliases.get(0), None);
        aliases.set(3, "a");
        aliases.set(3, "b");
        assert_eq!((aliases.get(3), aliases.get(2), aliases.get(4)), (Some("b"), None, None));
    }

    /// [MQTT-3.1.2-26], [MQTT-3.3.2-11]
    #[test]
    fn the_first_topics_get_aliases_up_to_the_maximum() {
        let mut aliases = AliasesOut::new(2);
        assert_eq!(aliases.name(b"a"), Naming::Introduce(1));
        assert_eq!(aliases.name(b"a"), Naming::Alias(1));
        assert_eq!(aliases.name(b"b"), Naming::Introduce(2));
        assert_eq!(aliases.name(b"c"), Naming::Name);
        assert_eq!(aliases.name(b"b"), Naming::Alias(2));
    }
}
