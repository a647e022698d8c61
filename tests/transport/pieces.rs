//! Layers over a socket whose peer reads when the test wants it to.

use std::io::{IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, Waker};

use midge::runtime::Runtime;
use midge::session::link::Written;
use socket2::Socket;

use super::layers::{BLOCK, Knock, Scramble, scramble};
use crate::engine::parts::origin::Origin;
use crate::net::handshake_steps::{HandshakeSteps, StepTurn};
use crate::net::transport::{Descriptor, Layer, LayerError, Layered, Raw, Received};

pub struct Pair {
    pub layered: Layered,
    pub descriptor: Descriptor,
    pub peer: UnixStream,
    /// Bytes of the peer that were opened.
    opened: usize,
    _runtime: Runtime,
}

impl Pair {
    fn new() -> Pair {
        Pair::over(vec![Scramble::boxed()])
    }

    pub fn over(layers: Vec<Box<dyn Layer>>) -> Pair {
        let runtime = Runtime::start(1).unwrap();
        let inside = runtime.handle().enter();
        let (own, peer) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let descriptor = Descriptor::new(Socket::from(std::os::fd::OwnedFd::from(own))).unwrap();
        drop(inside);
        let layered = Layered::new(layers);
        Pair { layered, descriptor, peer, opened: 0, _runtime: runtime }
    }

    /// What the peer finds in the socket, opened.
    fn drain(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        let _blocked = self.peer.read_to_end(&mut records);
        let (mut opened, mut rest) = (Vec::new(), &records[..]);
        while let [high, low, behind @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            assert!(len > 0 && len <= BLOCK);
            opened.extend_from_slice(&behind[..len]);
            rest = &behind[len..];
        }
        scramble(&mut opened, self.opened);
        self.opened += opened.len();
        opened
    }
}

/// What a layer holds counts as waiting: it is not reported as written before the socket has it, and is offered again.
#[test]
fn bytes_are_reported_as_written_when_the_socket_has_them() {
    let mut pair = Pair::new();
    let message: Vec<u8> = (0..4 << 20).map(|place: u32| (place / 3) as u8).collect();
    let (mut reported, mut received, mut blocked) = (0, Vec::new(), 0);
    while reported < message.len() {
        let rest = &message[reported..];
        let (head, tail) = rest.split_at(rest.len().min(700));
        match pair.layered.write(&pair.descriptor, &[IoSlice::new(head), IoSlice::new(tail)]) {
            Written::Bytes(count) => reported += count,
            Written::Blocked => {
                blocked += 1;
                assert!(pair.layered.pending_out() > 0);
                // The socket is full, and the peer can have more than was reported, never less.
                received.extend(pair.drain());
                assert!(received.len() >= reported, "{} of {reported}", received.len());
            }
            Written::Gone => panic!("the peer is there"),
        }
    }
    received.extend(pair.drain());
    assert!(received == message, "{} bytes of {}", received.len(), message.len());
    assert!(blocked > 2);
    assert_eq!(pair.layered.pending_out(), 0);
}

/// The layer gives out one block at a time; that this is less than was asked for does not mean that there is no more.
#[test]
fn a_layers_short_read_does_not_mean_that_it_is_empty() {
    let mut pair = Pair::new();
    let mut records = Vec::new();
    for number in 0..4u8 {
        let mut block = [number; 100];
        scramble(&mut block, usize::from(number) * 100);
        records.extend_from_slice(&[0, 100]);
        records.extend_from_slice(&block);
    }
    pair.peer.write_all(&records).unwrap();
    let mut room = [9; 1000];
    let received = pair.layered.receive(&pair.descriptor, &mut room);
    assert_eq!(received, Received::Bytes { count: 400, drained: true });
    assert!((0..400).all(|place| usize::from(room[place]) == place / 100));
    pair.peer.write_all(&[0]).unwrap();
    assert_eq!(pair.layered.receive(&pair.descriptor, &mut room), Received::Blocked, "half a length");
    assert!(!pair.layered.may_read(), "more of the socket is needed");
}

/// A room that is full says that more may be had without the socket.
#[test]
fn what_a_layer_still_holds_is_read_without_the_socket() {
    let mut pair = Pair::new();
    let mut block = [7; 1000];
    scramble(&mut block, 0);
    pair.peer.write_all(&[&1000u16.to_be_bytes()[..], &block].concat()).unwrap();
    let mut room = [0; 600];
    let first = pair.layered.receive(&pair.descriptor, &mut room);
    assert_eq!(first, Received::Bytes { count: 600, drained: false });
    assert!(pair.layered.may_read());
    let second = pair.layered.receive(&pair.descriptor, &mut room);
    assert!(matches!(second, Received::Bytes { count: 400, .. }), "{second:?}");
    drop(pair.peer);
    assert_eq!(pair.layered.receive(&pair.descriptor, &mut room), Received::End);
}

#[test]
fn a_connection_that_ends_says_so_once() {
    let pair = Pair::new();
    let mut peer = pair.peer;
    let layered = Layered::new(vec![Box::<Knock>::default()]);
    for _ in 0..2 {
        assert!(matches!(layered.close(&pair.descriptor), Written::Bytes(_)));
    }
    let mut received = [0; 10];
    assert_eq!(peer.read(&mut received).unwrap(), 3);
    assert_eq!(received[..3], *b"bye");
}

/// A layer whose handshake is one costly step over three bytes, which it leaves in the input until all are there.
struct Costly;

impl Layer for Costly {
    fn name(&self) -> &'static str {
        "costly"
    }

    fn handshake(&mut self, raw: &mut Raw, _origin: &mut Origin) -> Poll<Result<(), LayerError>> {
        if raw.input.len() < 3 {
            return Poll::Pending;
        }
        raw.input.consume(3);
        Poll::Ready(Ok(()))
    }

    fn is_costly(&self, _raw: &Raw) -> bool {
        true
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    fn write(&mut self, bytes: &[u8], raw: &mut Raw) -> Result<usize, LayerError> {
        raw.output.append(bytes);
        Ok(bytes.len())
    }
}

/// A peer that stops in the middle of its first message costs nothing while it is silent.
#[test]
fn a_costly_step_is_made_for_new_bytes_alone() {
    let mut pair = Pair::over(vec![Box::new(Costly)]);
    let mut turn = StepTurn::new(Some(HandshakeSteps::default()));
    let mut poll = |eager| {
        turn.end();
        let (mut origin, mut cx) = (Origin::default(), Context::from_waker(Waker::noop()));
        let step = pair.layered.poll_handshake(&pair.descriptor, &mut origin, &mut turn, eager, &mut cx);
        (step.is_ready(), turn.is_held())
    };
    pair.peer.write_all(b"1").unwrap();
    assert_eq!(poll(true), (false, true), "the step that new bytes are worth");
    assert_eq!(poll(false), (false, false), "it waits for the socket, and not for a turn");
    assert_eq!(poll(false), (false, false));
    pair.peer.write_all(b"23").unwrap();
    assert_eq!(poll(true), (true, true));
}
