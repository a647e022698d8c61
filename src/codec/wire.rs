//! The data types of the wire: integers, strings, binary data (MQTT 5, section 1.5), read and written.

use crate::codec::error::DecodeError;
use crate::codec::packet_id::PacketId;

/// The largest value of a Variable Byte Integer.
pub(crate) const MAX_VARINT: u32 = 268_435_455;
/// The largest length, in bytes, of a string or of binary data.
pub(crate) const MAX_FIELD: usize = 65_535;

/// A cursor over bytes that have arrived. What it returns borrows from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

const ENDS_EARLY: DecodeError = DecodeError::malformed("the packet ends in the middle of a field");

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The bytes not yet read.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Errors unless everything has been read.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::malformed("bytes follow the end of the packet"))
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A Variable Byte Integer in its shortest form.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 { Ok(u32::from(first)) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Result<u32, DecodeError> {
        let mut value = u32::from(first & 0x7F);
        for shift in [7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte == 0 {
                // [MQTT-1.5.5-1]
                return Err(DecodeError::malformed("a variable byte integer is not in its shortest form"));
            }
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::malformed("a variable byte integer has more than four bytes"))
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Binary Data: two bytes of length and the bytes.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 Encoded String without U+0000.
    pub(crate) fn utf8(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        // The bytes are checked, but not changed [MQTT-1.5.4-3], [MQTT3-1.5.3-3].
        // [MQTT-1.5.4-1], [MQTT3-1.5.3-1]
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::malformed("a string is not UTF-8"))?;
        if bytes.contains(&0) {
            // [MQTT-1.5.4-2]
            return Err(DecodeError::malformed("a string holds U+0000"));
        }
        Ok(text)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        // [MQTT-2.2.1-3]
        PacketId::new(self.u16()?).ok_or(DecodeError::malformed("the packet identifier is 0"))
    }
}

/// The number of bytes of `value` as a Variable Byte Integer.
#[inline]
pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends `value` as a Variable Byte Integer. A value above [`MAX_VARINT`] becomes [`MAX_VARINT`].
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: usize) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => out.extend(varint(value)),
    }
}

#[inline]
pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends Binary Data, cut after [`MAX_FIELD`] bytes.
pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..MAX_FIELD).unwrap_or(bytes);
    put_u16(out, u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(bytes);
}

/// Appends a UTF-8 Encoded String, cut at the last character that ends within [`MAX_FIELD`] bytes.
pub(crate) fn put_utf8(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_FIELD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_binary(out, text.as_bytes().get(..end).unwrap_or_default());
}

/// Appends a packet: the first byte, the Remaining Length and what `body` writes.
pub(crate) fn put_packet(out: &mut Vec<u8>, first: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(first);
    let length_at = out.len();
    out.push(0);
    body(out);
    let length = out.len() - length_at - 1;
    out.splice(length_at..=length_at, varint(length));
}

/// The bytes of a Variable Byte Integer.
fn varint(value: usize) -> impl Iterator<Item = u8> {
    let value = u32::try_from(value).unwrap_or(MAX_VARINT).min(MAX_VARINT);
    let length = varint_len(value as usize);
    (0..length).map(move |i| {
        let group = ((value >> (7 * i)) & 0x7F) as u8;
        if i + 1 < length { group | 0x80 } else { group }
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_FIELD, Reader, put_packet, put_utf8, put_varint, varint_len};
    use crate::codec::reason::ReasonCode;

    /// [MQTT-1.5.5-1]
    #[test]
    fn variable_byte_integers_have_the_lengths_of_table_1_1() {
        let cases: [(usize, &[u8]); 8] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 1]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 1]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(varint_len(value), bytes.len());
            assert_eq!(Reader::new(bytes).varint().unwrap() as usize, value);
        }
    }

    /// [MQTT-1.5.5-1]
    #[test]
    fn variable_byte_integers_too_long_are_malformed() {
        for bytes in [&[0x80, 0][..], &[0xFF, 0x80, 0], &[0xFF, 0xFF, 0xFF, 0xFF, 1], &[0x80], &[]] {
            let error = Reader::new(bytes).varint().unwrap_err();
            assert_eq!(error.reason, ReasonCode::MalformedPacket, "{bytes:?}");
        }
    }

    /// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT3-1.5.3-1], [MQTT3-1.5.3-2], [MQTT3-1.5.3-3]
    #[test]
    fn strings_are_utf8_without_nul() {
        assert_eq!(Reader::new(&[0, 2, 0xC3, 0xA9]).utf8().unwrap(), "é");
        // [MQTT-1.5.4-3]: a byte order mark is a character like any other.
        assert_eq!(Reader::new(&[0, 3, 0xEF, 0xBB, 0xBF]).utf8().unwrap(), "\u{FEFF}");
        for bytes in [&[0, 1, 0][..], &[0, 1, 0xFF], &[0, 3, 0xED, 0xA0, 0x80], &[0, 3, b'a'], &[0]] {
            let error = Reader::new(bytes).utf8().unwrap_err();
            assert_eq!(error.reason, ReasonCode::MalformedPacket, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_string_is_cut_at_a_character() {
        let mut out = Vec::new();
        put_utf8(&mut out, &format!("{}é", "a".repeat(MAX_FIELD - 1)));
        assert_eq!(Reader::new(&out).utf8().unwrap(), "a".repeat(MAX_FIELD - 1));
    }

    #[test]
    fn the_remaining_length_grows_in_place() {
        for (body, header) in [(0, vec![0x30, 0]), (127, vec![0x30, 127]), (128, vec![0x30, 0x80, 1])] {
            let mut out = vec![9];
            put_packet(&mut out, 0x30, |out| out.resize(out.len() + body, 7));
            let expected = [vec![9], header, vec![7; body]].concat();
            assert_eq!(out, expected);
        }
    }
}
