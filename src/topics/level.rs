//! The text of a topic level in 16 bytes.

use slab::Slab;

/// The text of a level. Up to 15 bytes are stored inline; longer texts are in a slab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    /// The text and zeros, or the index in the slab.
    bytes: [u8; SHORT],
    /// The length of the text, or [`LONG`].
    len: u8,
}

/// The text of a level, prepared for a lookup.
pub(super) struct Wanted<'t> {
    text: &'t [u8],
    pub(super) hash: u64,
    /// The form that nodes store, if the text is short.
    short: Option<Level>,
}

/// Bytes that are stored inline.
const SHORT: usize = 15;

/// The length that marks a text in the slab.
const LONG: u8 = u8::MAX;

impl Level {
    /// The text; `long` is the slab that it was stored with.
    pub(super) fn text<'l>(&'l self, long: &'l Slab<Box<[u8]>>) -> &'l [u8] {
        let text = match self.place() {
            Some(place) => long.get(place).map(|text| &**text),
            None => self.bytes.get(..usize::from(self.len)),
        };
        text.unwrap_or_default()
    }

    /// Removes it from the slab.
    pub(super) fn forget(self, long: &mut Slab<Box<[u8]>>) {
        if let Some(place) = self.place() {
            long.try_remove(place);
        }
    }

    fn place(&self) -> Option<usize> {
        let place = self.bytes.first_chunk().filter(|_| self.len == LONG)?;
        Some(u64::from_le_bytes(*place) as usize)
    }
}

impl<'t> Wanted<'t> {
    /// A text with its hash.
    #[inline]
    pub(super) fn new(text: &'t [u8], hash: u64) -> Wanted<'t> {
        let mut bytes = [0; SHORT];
        let short = bytes.get_mut(..text.len()).map(|place| place.copy_from_slice(text));
        Wanted { text, hash, short: short.map(|()| Level { bytes, len: text.len() as u8 }) }
    }

    /// Whether `level` has this text.
    #[inline]
    pub(super) fn is(&self, level: &Level, long: &Slab<Box<[u8]>>) -> bool {
        match &self.short {
            Some(short) => level == short,
            None => level.place().and_then(|place| long.get(place)).is_some_and(|text| **text == *self.text),
        }
    }

    /// The form that a node stores; a long text goes into the slab.
    pub(super) fn store(&self, long: &mut Slab<Box<[u8]>>) -> Level {
        self.short.unwrap_or_else(|| {
            let mut bytes = [0; SHORT];
            if let Some(place) = bytes.first_chunk_mut() {
                *place = (long.insert(self.text.into()) as u64).to_le_bytes();
            }
            Level { bytes, len: LONG }
        })
    }
}

#[cfg(test)]
mod tests {
    use slab::Slab;

    use super::{Level, Wanted};

    #[test]
    fn short_and_long_texts_are_told_apart() {
        assert_eq!(size_of::<Level>(), 16);
        let texts: Vec<Vec<u8>> = (0..40).flat_map(|len| [vec![0; len], vec![b'x'; len]]).skip(1).collect();
        let mut long = Slab::new();
        let levels: Vec<Level> = texts.iter().map(|text| Wanted::new(text, 0).store(&mut long)).collect();
        for (level, text) in levels.iter().zip(&texts) {
            assert_eq!(level.text(&long), text);
            for other in &texts {
                assert_eq!(Wanted::new(other, 0).is(level, &long), other == text);
            }
        }
        levels.into_iter().for_each(|level| level.forget(&mut long));
        assert!(long.is_empty());
    }
}
