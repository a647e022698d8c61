//! WebSocket: the head of the request, and frames, read a second time by the rules of RFC 6455.

use midge::net::ByteStack;

use super::input::Input;
use super::layers::{Layers, PEER, connect, damage, in_any_cut, pieces, run};

thread_local! {
    static WEBSOCKET: Layers = const { Layers::new() };
}

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
const LINES: [&str; 16] = [
    "Host: a",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: mqtt",
    "Sec-WebSocket-Protocol: soap, mqttv3.1",
    "Origin: https://a.example",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "upgrade:WEBSOCKET",
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    " folded",
    ": ",
    "X: \t \u{e9}",
];

/// Target `websocket`: a request is refused or accepted by its head alone; what frames carry, and how they are answered,
/// is what the rules say.
pub fn websocket(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    if input.below(4) > 0 {
        head(&mut input, &mut bytes);
        frames(&mut input, &mut bytes);
        damage(&mut input, &mut bytes);
    }
    bytes.extend(input.rest());
    let open = || connect(&WEBSOCKET, &[("transport", "ws")], PEER);
    let outcome = in_any_cut(open, &bytes, data);
    let (head, answers) = split(&outcome.sent);
    assert_eq!(head.starts_with(b"HTTP/1.1 101 "), outcome.is_open);
    if !outcome.is_open {
        assert!(outcome.failure.is_some() && outcome.carried.is_empty() && answers.is_empty());
        return;
    }
    let model = Model::of(split(&bytes).1);
    assert_eq!(outcome.carried, model.carried);
    assert_eq!(answers, model.answers);
    assert_eq!(outcome.failure.is_some(), model.has_failed);
    assert!(outcome.is_over || outcome.failure.is_some());

    // What is written meanwhile comes between the answers, and changes none.
    let mut script = pieces(data);
    let mut written = Vec::new();
    let beside = run(open(), &bytes, pieces(data), |stack| write(stack, &mut script, &mut written));
    assert_eq!((&beside.carried, &beside.failure), (&outcome.carried, &outcome.failure));
    let (controls, carried) = taken_apart(split(&beside.sent).1);
    assert_eq!(controls, answers);
    // After a goodbye nothing is sent.
    let has_closed = model.has_closed;
    assert!(if has_closed { written.starts_with(&carried) } else { written == carried });
}

fn write(stack: &mut ByteStack, script: &mut impl FnMut() -> usize, written: &mut Vec<u8>) {
    if !stack.is_open() || written.len() > 100_000 {
        return;
    }
    for _ in 0..script() % 4 {
        let size = match script() % 8 {
            7 => (script() * script()).min(70_000),
            small => small,
        };
        let bytes: Vec<u8> = (0..size).map(|place| (written.len() + place) as u8).collect();
        let count = stack.write(&bytes).unwrap();
        written.extend(&bytes[..count]);
    }
}

/// The head of HTTP, and what follows it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let has_body = bytes.starts_with(b"HTTP/1.1 4");
    bytes.split_at(if has_body { bytes.len() } else { end })
}

/// Appends a request, mostly the right one.
pub fn head(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    if input.below(8) > 0 {
        bytes.extend(REQUEST);
        return;
    }
    let method = input.pick(&["GET", "GET", "POST", "PRI"]);
    let path = input.pick(&["/mqtt", "/mqtt?a=b", "/", "/mqtt/", "*", "http://a/mqtt"]);
    let version = input.pick(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
    bytes.extend(format!("{method} {path} {version}\r\n").as_bytes());
    let (changed, by) = (input.below(6), input.pick(&LINES));
    for (place, line) in LINES.iter().enumerate().take(6) {
        let line = if place == changed { by } else { line };
        bytes.extend(format!("{line}\r\n").as_bytes());
    }
    bytes.extend(b"\r\n");
}

/// Appends frames, most of them right.
pub fn frames(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    let mut is_open = false;
    for _ in 0..input.below(12) {
        let opcode = match (input.below(16), is_open) {
            (0, _) => input.byte(),
            (1 | 2, _) => 0x89,
            (3, _) => 0x8a,
            (4, _) => {
                let code =
                    input.pick(&[0, 999, 1000, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000u16]);
                let reason = input.bytes(2);
                let payload = [&code.to_be_bytes(), reason].concat();
                let payload = &payload[..input.pick(&[payload.len(), payload.len(), 0, 1])];
                frame(0x88, payload, input, bytes);
                continue;
            }
            (5..=8, true) => 0x00,
            (_, true) => 0x80,
            (5..=8, false) => 0x02,
            (_, false) => 0x82,
        };
        match opcode {
            0x02 => is_open = true,
            0x80 => is_open = false,
            _ => {}
        }
        let size = input.pick(&[0, 1, 2, 3, 7, 8, 9, 64, 124, 125, 126, 127, 128, 300, 65_535, 65_536]);
        let is_rare = size > 300 && input.below(4) > 0;
        let size = if is_rare || opcode >= 0x88 { size.min(126) } else { size };
        let payload: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        frame(opcode, &payload, input, bytes);
    }
}

fn frame(first: u8, payload: &[u8], input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    bytes.push(first);
    let masked = if input.below(64) == 63 { 0 } else { 0x80 };
    // A length in a longer form than it needs, sometimes.
    let form = match payload.len() + if input.below(64) == 63 { 65_536 } else { 0 } {
        0..126 => 0,
        126..65_536 => 126,
        _ => 127,
    };
    match form {
        126 => {
            bytes.push(masked | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
        127 => {
            bytes.push(masked | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
        _ => bytes.push(masked | payload.len() as u8),
    }
    if masked == 0 {
        bytes.extend(payload);
        return;
    }
    let mask = [input.byte(), input.byte(), 0x55, 0xaa];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(place, byte)| byte ^ mask[place % 4]));
}

/// What frames of a client mean.
#[derive(Default)]
struct Model {
    carried: Vec<u8>,
    /// Pongs, and the close frame.
    answers: Vec<u8>,
    has_failed: bool,
    has_closed: bool,
}

impl Model {
    fn of(bytes: &[u8]) -> Model {
        let mut model = Model::default();
        if let Err(code) = model.read(bytes) {
            model.has_failed = true;
            model.close(&code.to_be_bytes());
        }
        model
    }

    fn close(&mut self, payload: &[u8]) {
        self.answers.extend([0x88, payload.len() as u8]);
        self.answers.extend(payload);
        self.has_closed = true;
    }

    /// The code of the rule that is broken.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), u16> {
        let mut in_message = false;
        while let [first, rest @ ..] = bytes {
            let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
            let is_control = opcode >= 8;
            if first & 0x70 != 0 || !matches!(opcode, 0..=2 | 8..=10) || (is_control && !is_last) {
                return Err(1002);
            }
            let [second, rest @ ..] = rest else { return Ok(()) };
            let short = usize::from(second & 0x7f);
            if second & 0x80 == 0 || (is_control && short > 125) {
                return Err(1002);
            }
            let more = match short {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            if rest.len() < more {
                return Ok(());
            }
            let (long, rest) = rest.split_at(more);
            let long = long.iter().fold(0u64, |len, byte| len << 8 | u64::from(*byte));
            if (more == 2 && long < 126) || (more == 8 && (long < 65_536 || long >> 63 != 0)) {
                return Err(1002);
            }
            let len = if more == 0 { short } else { usize::try_from(long).unwrap() };
            if rest.len() < 4 {
                return Ok(());
            }
            let (mask, rest) = rest.split_at(4);
            let (payload, later) = rest.split_at(len.min(rest.len()));
            let payload: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            bytes = later;
            if is_control {
                if payload.len() < len {
                    return Ok(());
                }
                if self.obey(opcode, &payload)? {
                    return Ok(());
                }
                continue;
            }
            match opcode {
                1 => return Err(1003),
                2 if in_message => return Err(1002),
                0 if !in_message => return Err(1002),
                _ => {}
            }
            in_message = !is_last;
            self.carried.extend(payload);
        }
        Ok(())
    }

    /// Returns whether the client has said goodbye.
    fn obey(&mut self, opcode: u8, payload: &[u8]) -> Result<bool, u16> {
        match (opcode, payload) {
            (9, payload) => {
                self.answers.extend([0x8a, payload.len() as u8]);
                self.answers.extend(payload);
            }
            (8, []) => self.close(&[]),
            (8, [_]) => return Err(1002),
            (8, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                let is_free = (1000..1016).contains(&code) && ![1004, 1005, 1006, 1015].contains(&code);
                if !is_free && !(3000..5000).contains(&code) {
                    return Err(1002);
                }
                std::str::from_utf8(reason).map_err(|_| 1007u16)?;
                self.close(&[*high, *low]);
            }
            _ => {}
        }
        Ok(opcode == 8)
    }
}

/// The control frames of the server, as they are, and what its data frames carry.
fn taken_apart(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut controls, mut carried) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let (size, len) = match usize::from(bytes[1]) {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            len => (2, len),
        };
        assert!(size == if len > 125 { 4 } else { 2 }, "a length not in its shortest form");
        let (frame, rest) = bytes.split_at(size + len);
        match frame[0] {
            0x82 => carried.extend(&frame[size..]),
            0x88 | 0x8a => controls.extend(frame),
            first => panic!("a frame that begins with {first:#x}"),
        }
        bytes = rest;
    }
    (controls, carried)
}
