//! Frames of WebSocket (RFC 6455, 5.2): their headers, and their masks.

use crate::net::transport::layer::Buffer;
use crate::net::transport::websocket::close::Violation;

/// The most bytes of a control frame's payload.
pub(super) const CONTROL: usize = 125;

/// The longest length that stands in the second byte, and what stands there before a length of two or eight bytes.
const SHORT: u8 = 125;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 >= Opcode::Close as u8
    }
}

/// The header of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Whether it is the last frame of its message.
    pub(super) is_last: bool,
    /// The number of bytes that it carries.
    pub(super) len: u64,
    pub(super) mask: [u8; 4],
    /// The number of bytes of the header itself.
    pub(super) size: usize,
}

impl Header {
    /// The header at the beginning of `bytes`; `None` if it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else {
            return match bytes {
                &[first] => kind(first).map(|_| None),
                _ => Ok(None),
            };
        };
        let opcode = kind(first)?;
        let is_last = first & LAST != 0;
        if second & MASKED == 0 {
            return Err(Violation::UNMASKED);
        }
        let short = second & !MASKED;
        if opcode.is_control() && short > SHORT {
            return Err(Violation::CONTROL_LENGTH);
        }
        let Some((len, rest)) = length(short, rest)? else {
            return Ok(None);
        };
        let Some(&mask) = rest.first_chunk() else {
            return Ok(None);
        };
        let size = bytes.len() - rest.len() + mask.len();
        Ok(Some(Header { opcode, is_last, len, mask, size }))
    }
}

/// What the first byte of a header says.
fn kind(first: u8) -> Result<Opcode, Violation> {
    if first & RESERVED != 0 {
        return Err(Violation::RESERVED_BITS);
    }
    let opcode = Opcode::of(first & 0x0f).ok_or(Violation::RESERVED_OPCODE)?;
    if opcode.is_control() && first & LAST == 0 {
        return Err(Violation::CONTROL_FRAGMENT);
    }
    Ok(opcode)
}

/// The length, and what follows it; `None` if it is incomplete.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (len, rest, least) = match short {
        TWO_BYTES => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), rest, u64::from(SHORT) + 1)
        }
        EIGHT_BYTES => {
            let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), rest, u64::from(u16::MAX) + 1)
        }
        short => (u64::from(short), rest, 0),
    };
    if len < least {
        return Err(Violation::LENGTH_FORM);
    }
    if i64::try_from(len).is_err() {
        return Err(Violation::LENGTH_BOUND);
    }
    Ok(Some((len, rest)))
}

/// Removes the mask, or puts it on.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends the header of a frame to the client, which has no mask.
pub(super) fn begin(opcode: Opcode, len: u16, output: &mut Buffer) {
    let first = LAST | opcode as u8;
    match u8::try_from(len) {
        Ok(len) if len <= SHORT => output.append(&[first, len]),
        _ => {
            let [high, low] = len.to_be_bytes();
            output.append(&[first, TWO_BYTES, high, low]);
        }
    }
}

/// Appends `bytes` to the binary frame at the end of the output, which carries `open` bytes; 0 begins a frame. Returns
/// the number of bytes that it carries now, which the caller keeps within 65,535.
pub(super) fn extend(open: u16, bytes: &[u8], output: &mut Buffer) -> u16 {
    let len = open.saturating_add(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    if open == 0 {
        if len > 0 {
            begin(Opcode::Binary, len, output);
        }
    } else {
        let was_short = open <= u16::from(SHORT);
        let is_short = len <= u16::from(SHORT);
        if was_short && !is_short {
            output.append(&[0; 2]);
        }
        let size = usize::from(open) + if is_short { 2 } else { 4 };
        let from = output.len().saturating_sub(size);
        let frame = output.bytes_mut().get_mut(from..).unwrap_or_default();
        if was_short && !is_short {
            frame.copy_within(2..size - 2, 4);
        }
        let [high, low] = len.to_be_bytes();
        match frame {
            [_, short, ..] if is_short => *short = low,
            [_, form, second, third, ..] => (*form, *second, *third) = (TWO_BYTES, high, low),
            _ => {}
        }
    }
    output.append(bytes);
    len
}
