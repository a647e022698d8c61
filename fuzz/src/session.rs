//! One connection, and any bytes on it.

use midge::session::link::Cause;

use super::input::Input;
use super::packets;
use super::world::World;

/// Target `session`: one client sends right and wrong packets and bytes that are none; what it hears obeys the protocol
/// and does not depend on how its bytes are cut.
pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let mut cuts = Input::new(&data[data.len() / 2..]);
    let stream = stream(&mut input);
    let whole = play(&stream, || stream.len());
    let cut = play(&stream, || match cuts.byte() {
        0 => stream.len(),
        byte => usize::from(byte % 32) + 1,
    });
    assert_eq!(cut, whole);
}

/// What the client says.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    if input.below(8) == 1 {
        return input.rest().to_vec();
    }
    let version = packets::connect(input, &mut stream);
    while !input.is_empty() && stream.len() < 1 << 16 {
        packets::packet(input, version, &mut stream);
    }
    stream
}

/// What the client hears, and how it ends.
fn play(stream: &[u8], mut next: impl FnMut() -> usize) -> (Vec<u8>, Option<Cause>) {
    let mut world = World::new(&[("sys.interval", "0"), ("session.max_expiry", "10s")], None);
    world.open();
    let mut rest = stream;
    let mut heard = Vec::new();
    while !rest.is_empty() {
        let (part, others) = rest.split_at(next().clamp(1, rest.len()));
        rest = others;
        heard.extend(world.send(0, part, part.len() % 2 == 0));
        world.check();
    }
    let cause = world.line(0).finished();
    world.end();
    (heard, cause)
}
