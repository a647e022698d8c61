//! Cutting a stream of bytes into packets by their fixed headers.

use crate::codec::error::DecodeError;
use crate::codec::reason::ReasonCode;
use crate::codec::wire::varint_len;

/// The largest Remaining Length, in bytes: what follows the fixed header of a packet.
pub const MAX_REMAINING_LENGTH: u32 = crate::codec::wire::MAX_VARINT;

/// One packet, cut out of the stream and not yet decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The first byte: the packet type in the upper four bits, the flags in the lower.
    pub first: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
    /// The fixed header and the body.
    pub whole: &'a [u8],
}

impl Frame<'_> {
    /// Whether the Remaining Length is in its shortest form. A longer one ends in a zero byte.
    #[inline]
    pub fn is_shortest(&self) -> bool {
        let header = self.whole.len() - self.body.len();
        header <= 2 || self.whole.get(header - 1) != Some(&0)
    }
}

/// What the beginning of a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A whole packet; the next one begins `whole.len()` bytes later.
    Complete(Frame<'a>),
    /// The beginning of a packet.
    Partial {
        /// Bytes, from the start of the packet, that must be there before another call can return more. That is
        /// the size of the packet once its header has arrived, one more than now before that.
        need: usize,
    },
}

/// Why a packet is refused by its header.
pub const TOO_LARGE: DecodeError =
    DecodeError::new(ReasonCode::PacketTooLarge, "the packet is larger than the maximum packet size");

/// The packet at the start of `input`.
///
/// `max_packet_size` is in bytes and counts the fixed header.
///
/// # Errors
/// `PacketTooLarge` as soon as the header announces more than `max_packet_size`; `MalformedPacket` if the Remaining
/// Length has more than four bytes.
#[inline]
pub fn split(input: &[u8], max_packet_size: u32) -> Result<Framing<'_>, DecodeError> {
    let Some((&first, after_first)) = input.split_first() else {
        return Ok(Framing::Partial { need: 1 });
    };
    let mut remaining = 0usize;
    for (i, &byte) in after_first.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return cut(input, first, i + 2, remaining, max_packet_size);
        }
    }
    if after_first.len() >= 4 {
        return Err(DecodeError::malformed("the remaining length has more than four bytes"));
    }
    Ok(Framing::Partial { need: input.len() + 1 })
}

/// The size of a packet with this Remaining Length, header included.
pub const fn packet_len(remaining: usize) -> usize {
    1 + varint_len(remaining) + remaining
}

/// The packet type, 0 to 15, in the first byte of a packet.
#[inline]
pub const fn packet_type(first: u8) -> u8 {
    first >> 4
}

#[inline]
fn cut(
    input: &[u8],
    first: u8,
    header: usize,
    remaining: usize,
    max: u32,
) -> Result<Framing<'_>, DecodeError> {
    let total = header + remaining;
    if total > max as usize {
        // [MQTT-3.2.2-15]
        return Err(TOO_LARGE);
    }
    match (input.get(..total), input.get(header..total)) {
        (Some(whole), Some(body)) => Ok(Framing::Complete(Frame { first, body, whole })),
        _ => Ok(Framing::Partial { need: total }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Framing, packet_type, split};
    use crate::codec::reason::ReasonCode;

    #[test]
    fn a_packet_is_cut_and_what_follows_is_left() {
        let input = [0x30, 2, 7, 8, 0xC0, 0];
        let Framing::Complete(frame) = split(&input, 4).unwrap() else { panic!("not complete") };
        assert_eq!(frame, Frame { first: 0x30, body: &[7, 8], whole: &input[..4] });
        assert_eq!(packet_type(frame.first), 3);
        let Framing::Complete(frame) = split(&input[4..], 4).unwrap() else { panic!("not complete") };
        assert_eq!(frame, Frame { first: 0xC0, body: &[], whole: &[0xC0, 0] });
    }

    #[test]
    fn a_partial_packet_says_how_much_it_needs() {
        let cases: [(&[u8], usize); 6] = [
            (&[], 1),
            (&[0x30], 2),
            (&[0x30, 0x80], 3),
            (&[0x30, 0x80, 0x80, 0x80], 5),
            (&[0x30, 5], 7),
            (&[0x30, 0x80, 1, 0, 0], 131),
        ];
        for (input, need) in cases {
            assert_eq!(split(input, u32::MAX), Ok(Framing::Partial { need }), "{input:?}");
        }
    }

    #[test]
    fn a_packet_too_large_is_refused_by_its_header() {
        assert_eq!(split(&[0x30, 9], 10).unwrap_err().reason, ReasonCode::PacketTooLarge);
        assert_eq!(split(&[0x30, 8], 10), Ok(Framing::Partial { need: 10 }));
        let largest = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(split(&largest, u32::MAX), Ok(Framing::Partial { need: 268_435_460 }));
        assert_eq!(split(&largest, 268_435_459).unwrap_err().reason, ReasonCode::PacketTooLarge);
    }

    #[test]
    fn a_fourth_length_byte_that_continues_is_malformed() {
        let error = split(&[0x30, 0x80, 0x80, 0x80, 0x80], u32::MAX).unwrap_err();
        assert_eq!(error.reason, ReasonCode::MalformedPacket);
    }
}
