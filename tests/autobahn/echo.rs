//! An echo over the layer of WebSocket, for the Autobahn test suite: `tests/autobahn/run.sh`.
//!
//! The layer carries a stream of bytes in binary frames, as MQTT wants it. Autobahn wants messages, and many of its cases
//! have text. So this program reads the headers of frames beside the layer: it notes where messages end, and with `--text`
//! it makes text frames binary on their way in, and their echoes text on their way out. What is valid, how pings and close
//! frames are answered, and when a connection ends is for the layer alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use midge::Config;
use midge::net::{ByteStack, ListenerLayers};

/// A peer that neither sends nor reads for so long is closed.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let text = words.iter().any(|word| word == "--text");
    let mut config = Config::new();
    for (key, value) in [("bind", "127.0.0.1:0"), ("transport", "ws"), ("ws_path", "/")] {
        config.set(&format!("listener.ws.{key}"), value).unwrap();
    }
    let listeners = &config.settings().listeners;
    let layers =
        ListenerLayers::new(listeners.iter().find(|listener| listener.name == "ws").unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    // Autobahn opens one connection at a time.
    for socket in listener.incoming().flatten() {
        let stack = layers.connect(socket.peer_addr().unwrap());
        thread::spawn(move || {
            let mut echo =
                Echo { stack, borders: Borders { text, ..Borders::default() }, carried: Vec::new() };
            let _gone = echo.run(&socket);
        });
    }
}

struct Echo {
    stack: ByteStack,
    borders: Borders,
    /// What belongs to messages that are not complete.
    carried: Vec<u8>,
}

impl Echo {
    fn run(&mut self, mut socket: &TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut room = [0; 16 * 1024];
        loop {
            let count = socket.read(&mut room)?;
            if count == 0 {
                return Ok(());
            }
            self.borders.pass(&mut room[..count]);
            self.stack.feed(&room[..count]);
            let outcome = self.read();
            while let Some(message) = self.borders.next(self.carried.len()) {
                let bytes: Vec<u8> = self.carried.drain(..message.len).collect();
                let sent = self.stack.take_output().unwrap();
                socket.write_all(&sent)?;
                socket.write_all(&self.encoded(&bytes, message.is_text))?;
            }
            socket.write_all(&self.stack.take_output().unwrap())?;
            if outcome.is_err() || self.stack.is_over() {
                break;
            }
        }
        // As the broker does: the peer reads the answer, and then closes.
        socket.shutdown(Shutdown::Write)?;
        while socket.read(&mut room)? > 0 {}
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let mut room = [0; 16 * 1024];
        loop {
            match self.stack.read(&mut room)? {
                0 => return Ok(()),
                count => self.carried.extend_from_slice(&room[..count]),
            }
        }
    }

    /// A message in the layer's frames, which become the frames of one message.
    fn encoded(&mut self, bytes: &[u8], is_text: bool) -> Vec<u8> {
        let (mut rest, mut frames) = (bytes, Vec::new());
        while !rest.is_empty() {
            let count = self.stack.write(rest).unwrap();
            rest = &rest[count..];
            frames.extend(self.stack.take_output().unwrap());
        }
        let mut at = 0;
        while at < frames.len() {
            let size = match usize::from(frames[at + 1]) {
                126 => 4 + usize::from(u16::from_be_bytes([frames[at + 2], frames[at + 3]])),
                short => 2 + short,
            };
            let opcode = match at {
                0 if is_text => 1,
                0 => 2,
                _ => 0,
            };
            let last = if at + size == frames.len() { 0x80 } else { 0 };
            frames[at] = last | opcode;
            at += size;
        }
        frames
    }
}

/// Where messages end in the bytes of a client.
#[derive(Default)]
struct Borders {
    /// Whether text frames become binary ones.
    text: bool,
    is_upgraded: bool,
    head: Vec<u8>,
    /// The number of bytes of the frame that have not come, after its header.
    left: u64,
    /// Whether the frame ends a message, once it is complete.
    is_last: bool,
    message: Message,
    complete: VecDeque<Message>,
}

#[derive(Clone, Copy, Default)]
struct Message {
    len: usize,
    is_text: bool,
}

impl Borders {
    /// The next message, if so many carried bytes have all of it.
    fn next(&mut self, carried: usize) -> Option<Message> {
        let is_here = self.complete.front().is_some_and(|message| message.len <= carried);
        if is_here { self.complete.pop_front() } else { None }
    }

    fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= count as u64;
                at += count;
                self.end_frame();
                continue;
            }
            if self.is_upgraded && self.head.is_empty() && bytes[at] & 0x0f == 1 {
                self.message.is_text = true;
                if self.text {
                    bytes[at] ^= 3;
                }
            }
            self.head.push(bytes[at]);
            at += 1;
            if !self.is_upgraded {
                self.is_upgraded = self.head.ends_with(b"\r\n\r\n");
                if self.is_upgraded {
                    self.head.clear();
                }
            } else {
                self.begin_frame();
            }
        }
    }

    /// Begins the frame whose header is complete.
    fn begin_frame(&mut self) {
        let [first, second, rest @ ..] = &self.head[..] else { return };
        let long = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if rest.len() < long + mask {
            return;
        }
        let len = match long {
            0 => u64::from(second & 0x7f),
            _ => rest[..long].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let is_control = first & 8 != 0;
        self.is_last = first & 0x80 != 0 && !is_control;
        self.left = len;
        if !is_control {
            self.message.len += usize::try_from(len).unwrap();
        }
        self.head.clear();
        self.end_frame();
    }

    fn end_frame(&mut self) {
        if self.left == 0 && std::mem::take(&mut self.is_last) {
            self.complete.push_back(std::mem::take(&mut self.message));
        }
    }
}
