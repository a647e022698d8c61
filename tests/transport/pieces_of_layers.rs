//! Layers without a socket: what comes of a stream of bytes that arrives in pieces.

use std::task::Poll;

use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::Layer;
use crate::net::transport::stack::Stack;

/// What came of a stream of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the layers have carried.
    pub carried: Vec<u8>,
    /// What the peer was sent.
    pub sent: Vec<u8>,
    pub failure: Option<String>,
    pub over: bool,
}

/// Runs layers over `bytes`, which come in pieces of these sizes, again and again.
pub fn run(layers: Vec<Box<dyn Layer>>, bytes: &[u8], cuts: &[usize], origin: &mut Origin) -> Outcome {
    let mut stack = Stack::new(layers);
    let mut outcome = Outcome::default();
    let mut open = false;
    let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
    while !rest.is_empty() && outcome.failure.is_none() && !outcome.over {
        let (piece, later) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
        rest = later;
        stack.feed(piece);
        let result = step(&mut stack, &mut open, &mut outcome.carried, origin);
        outcome.failure = result.err();
        stack.push_down().unwrap();
        while let Some(output) = stack.output() {
            outcome.sent.extend_from_slice(output.bytes());
            let count = output.len();
            output.consume(count);
        }
        outcome.over = stack.is_over();
    }
    outcome
}

fn step(
    stack: &mut Stack,
    open: &mut bool,
    carried: &mut Vec<u8>,
    origin: &mut Origin,
) -> Result<(), String> {
    if !*open {
        match stack.handshake(origin, true) {
            Poll::Pending => return Ok(()),
            Poll::Ready(outcome) => outcome.map_err(|error| error.to_string())?,
        }
        *open = true;
    }
    let mut room = [0; 300];
    loop {
        let count = stack.read(&mut room).map_err(|error| error.to_string())?;
        carried.extend_from_slice(&room[..count]);
        if count == 0 {
            return Ok(());
        }
    }
}

/// A generator of numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}
