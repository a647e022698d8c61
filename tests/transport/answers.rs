//! What layers say by themselves, peers that only make them speak, and the bounds of both.

use std::io::{ErrorKind, Read, Write};
use std::task::Poll;

use socket2::SockRef;

use super::pieces::Pair;
use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Layer, LayerError, Raw};
use crate::net::transport::stack::Stack;
use crate::net::transport::{Descriptor, Layered, Received};

/// More than the layers read from a socket at once.
const PORTION: usize = 17 * 1024;

/// Carries nothing: it answers an `a` a hundred times, keeps an `x`, and ignores what else the peer sends.
struct Control {
    last_word: &'static [u8],
}

impl Layer for Control {
    fn name(&self) -> &'static str {
        "control"
    }

    fn handshake(&mut self, _raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, raw: &mut Raw, _room: &mut [u8]) -> Result<usize, LayerError> {
        while let Some(&byte) = raw.input.bytes().first().filter(|byte| **byte != b'x') {
            if byte == b'a' {
                raw.output.append(&[b'A'; 100]);
            }
            raw.input.consume(1);
        }
        Ok(0)
    }

    /// Takes a few bytes at once.
    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        let bytes = &bytes[..bytes.len().min(7)];
        raw.output.append(bytes);
        Ok(bytes.len())
    }

    fn close(&mut self, raw: &mut Raw) {
        raw.output.append(self.last_word);
    }
}

fn control(last_word: &'static [u8]) -> Box<dyn Layer> {
    Box::new(Control { last_word })
}

fn receive(layered: &Layered, descriptor: &Descriptor) -> Received {
    layered.receive(descriptor, &mut [0; 100])
}

/// Nobody has to write for it, nor to read more.
#[test]
fn an_answer_is_sent_at_once() {
    let mut pair = Pair::over(vec![control(b"")]);
    pair.peer.write_all(b"a").unwrap();
    assert_eq!(receive(&pair.layered, &pair.descriptor), Received::Blocked);
    let mut answer = [0; 100];
    pair.peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'A'; 100]);
}

/// Other connections come between its portions.
#[test]
fn a_peer_that_sends_nothing_to_carry_is_left_after_some_portions() {
    let mut pair = Pair::over(vec![control(b"")]);
    SockRef::from(&pair.peer).set_send_buffer_size(200 * 1024).unwrap();
    let mut waiting = 0;
    loop {
        match pair.peer.write(&[b'-'; 32 * 1024]) {
            Ok(count) => waiting += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(waiting > 18 * PORTION, "{waiting}");
    let left = Received::Bytes { count: 0, drained: false };
    assert_eq!(receive(&pair.layered, &pair.descriptor), left);
    assert_eq!(receive(&pair.layered, &pair.descriptor), Received::Blocked);
}

/// Its questions wait in the socket until it reads.
#[test]
fn a_peer_that_asks_and_does_not_read_is_not_read() {
    let mut pair = Pair::over(vec![control(b"")]);
    pair.peer.write_all(&[b'a'; 2 * PORTION]).unwrap();
    let left = Received::Bytes { count: 0, drained: false };
    assert_eq!(receive(&pair.layered, &pair.descriptor), left);
    assert!(pair.layered.is_full());
}

/// The last word of a layer goes through those below it.
#[test]
fn the_uppermost_layer_closes_first() {
    let mut stack = Stack::new(vec![control(b"lower"), control(b"upper ")]);
    stack.write(b"last ").unwrap();
    stack.close().unwrap();
    assert_eq!(stack.output().unwrap().bytes(), b"last upper lower");
}

#[test]
fn what_a_lower_layer_takes_in_parts_arrives_whole() {
    let mut stack = Stack::new(vec![control(b""), control(b"")]);
    let mut rest = &b"many bytes are written before any is moved"[..];
    while !rest.is_empty() {
        rest = &rest[stack.write(rest).unwrap()..];
    }
    stack.push_down().unwrap();
    assert_eq!(stack.output().unwrap().bytes(), b"many bytes are written before any is moved");
    assert_eq!(stack.pending_out(), 42);
}

#[test]
fn a_unit_that_is_never_complete_has_a_bound() {
    let mut stack = Stack::new(vec![control(b"")]);
    stack.feed(&[b'x'; 32 * 1024 - 1]);
    assert_eq!(stack.read(&mut [0; 100]), Ok(0));
    stack.feed(b"x");
    let refusal = stack.read(&mut [0; 100]).unwrap_err().to_string();
    assert_eq!(refusal, "control: the peer has sent 32768 bytes without a complete unit");
}
