//! The layer of WebSocket (RFC 6455): binary frames on the one side, MQTT on the other.

mod close;
mod frame;
mod handshake;

use std::sync::Arc;
use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Layer, LayerError, Raw};
use crate::net::transport::websocket::close::{Close, Violation};
use crate::net::transport::websocket::frame::{Header, Opcode};
use crate::net::transport::websocket::handshake::Head;
pub(super) use crate::net::transport::websocket::handshake::Upgrade;

/// The most bytes that one frame to the client carries.
const CARRIED: usize = u16::MAX as usize;

/// One connection of WebSocket. It has no buffer of its own: an unfinished header or control frame waits in the input.
pub(in crate::net) struct WebSocket {
    upgrade: Arc<Upgrade>,
    head: Head,
    /// The number of bytes of the current data frame that have not arrived.
    left: u64,
    /// The mask of the next byte comes first.
    mask: [u8; 4],
    /// The number of bytes in the frame at the end of the output, which the next write continues.
    open: u16,
    /// Whether a message has begun whose last frame has not come.
    fragmented: bool,
    /// Whether a close frame was sent: nothing follows it.
    closed: bool,
}

impl WebSocket {
    pub(in crate::net) fn new(upgrade: Arc<Upgrade>) -> WebSocket {
        WebSocket {
            upgrade,
            head: Head::default(),
            left: 0,
            mask: [0; 4],
            open: 0,
            fragmented: false,
            closed: false,
        }
    }

    /// Moves bytes of the current frame to `room`; returns their number.
    fn carry(&mut self, raw: &mut Raw, room: &mut [u8]) -> usize {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
        let Some(room) = room.get_mut(..most) else { return 0 };
        let count = raw.input.take(room);
        frame::unmask(room.get_mut(..count).unwrap_or_default(), self.mask);
        self.mask.rotate_left(count % 4);
        self.left -= count as u64;
        count
    }

    /// Begins the next frame of the input; a control frame is answered. `false`: it is incomplete.
    fn begin(&mut self, raw: &mut Raw) -> Result<bool, Violation> {
        let Some(header) = Header::parse(raw.input.bytes())? else {
            return Ok(false);
        };
        if header.opcode.is_control() {
            return self.obey(&header, raw);
        }
        match (header.opcode, self.fragmented) {
            // [MQTT-6.0.0-1], [MQTT3-6.0.0-1]
            (Opcode::Text, _) => return Err(Violation::TEXT),
            (Opcode::Continuation, false) => return Err(Violation::STRAY_CONTINUATION),
            (Opcode::Binary, true) => return Err(Violation::UNFINISHED),
            _ => {}
        }
        // Neither frames nor messages are aligned with packets [MQTT-6.0.0-2], [MQTT3-6.0.0-2].
        self.fragmented = !header.is_last;
        self.left = header.len;
        self.mask = header.mask;
        raw.input.consume(header.size);
        Ok(true)
    }

    fn obey(&mut self, header: &Header, raw: &mut Raw) -> Result<bool, Violation> {
        let mut payload = [0; frame::CONTROL];
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let (Some(bytes), Some(payload)) =
            (raw.input.bytes().get(header.size..header.size.saturating_add(len)), payload.get_mut(..len))
        else {
            return Ok(false);
        };
        payload.copy_from_slice(bytes);
        frame::unmask(payload, header.mask);
        match header.opcode {
            Opcode::Ping => self.control(Opcode::Pong, payload, raw),
            Opcode::Close => {
                let close = Close::parse(payload)?;
                self.say_goodbye(&close, raw);
                raw.has_ended = true;
            }
            _ => {}
        }
        raw.input.consume(header.size + len);
        Ok(true)
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8], raw: &mut Raw) {
        self.open = 0;
        let len = u16::try_from(payload.len()).unwrap_or_default();
        frame::begin(opcode, len, &mut raw.output);
        raw.output.append(payload);
    }

    /// Sends a close frame, unless one was sent.
    fn say_goodbye(&mut self, close: &Close, raw: &mut Raw) {
        if !self.closed {
            self.control(Opcode::Close, close.payload(), raw);
            self.closed = true;
        }
    }
}

impl Layer for WebSocket {
    fn name(&self) -> &'static str {
        "websocket"
    }

    fn handshake(&mut self, raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        let Some(len) = std::task::ready!(self.head.poll_end(raw))? else {
            return Poll::Ready(Err(handshake::refuse_size(&mut raw.output)));
        };
        let head = raw.input.bytes().get(..len).unwrap_or_default();
        let outcome = self.upgrade.answer(head, &mut raw.output);
        raw.input.consume(len);
        Poll::Ready(outcome)
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        let mut count = 0;
        loop {
            if self.closed {
                // What follows a goodbye is ignored.
                raw.input.consume(raw.input.len());
                return Ok(count);
            }
            let Some(rest) = room.get_mut(count..).filter(|rest| !rest.is_empty()) else {
                return Ok(count);
            };
            if self.left > 0 {
                match self.carry(raw, rest) {
                    0 => return Ok(count),
                    more => count += more,
                }
                continue;
            }
            match self.begin(raw) {
                Ok(true) => {}
                Ok(false) => return Ok(count),
                // What was carried before is read first.
                Err(_) if count > 0 => return Ok(count),
                Err(violation) => {
                    self.say_goodbye(&violation.close(), raw);
                    return Err(LayerError::new(violation.cause));
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        if self.closed {
            // The client has said that it reads no more.
            return Ok(bytes.len());
        }
        if usize::from(self.open) == CARRIED {
            self.open = 0;
        }
        let bytes = bytes.get(..CARRIED - usize::from(self.open)).unwrap_or(bytes);
        self.open = frame::extend(self.open, bytes, &mut raw.output);
        Ok(bytes.len())
    }

    fn flush(&mut self, _raw: &mut Raw) -> Result<(), LayerError> {
        self.open = 0;
        Ok(())
    }

    fn close(&mut self, raw: &mut Raw) {
        self.say_goodbye(&Close::NORMAL, raw);
    }
}
