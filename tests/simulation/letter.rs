//! The messages of a simulation: each payload tells its number, and can be checked byte by byte.

/// A message as the model knows it. The number 0 is an empty payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub number: u64,
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// When it expires, in milliseconds.
    pub expires: u64,
}

/// The payload of a message of `size` bytes, at least 8; none for the number 0.
pub fn payload(number: u64, size: usize) -> Vec<u8> {
    if number == 0 {
        return Vec::new();
    }
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(size.max(8), number as u8);
    bytes
}

/// The number that a payload tells.
pub fn number_of(payload: &[u8]) -> u64 {
    let Some((head, rest)) = payload.split_first_chunk::<8>() else {
        assert!(payload.is_empty(), "a payload was cut: {payload:?}");
        return 0;
    };
    let number = u64::from_be_bytes(*head);
    assert!(rest.iter().all(|byte| *byte == number as u8), "the payload of {number} was changed");
    number
}

/// Whether a filter without a share name matches a topic: the definition, as simple as it can be.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+')) {
        return false;
    }
    let topic: Vec<&str> = topic.split('/').collect();
    let filter: Vec<&str> = filter.split('/').collect();
    for (at, level) in filter.iter().enumerate() {
        match (*level, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == *name => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}
