//! What happens to the model, so that it can be done again to a model of what the store has committed.

use midge::codec::frame::{Framing, split};
use midge::codec::packet::{Packet, decode};
use midge::codec::version::Version;

use crate::letter::Letter;
use crate::model::Model;

/// One step of the model.
pub enum Op {
    /// CONNECT, SUBSCRIBE or UNSUBSCRIBE.
    Packet {
        client: usize,
        conn: usize,
        version: Version,
        bytes: Vec<u8>,
    },
    /// A PUBLISH packet, its topic resolved.
    Receive {
        client: usize,
        letter: Letter,
        id: u16,
    },
    Release {
        client: usize,
        id: u16,
    },
    /// PUBACK or PUBREC.
    Acknowledged {
        client: usize,
        id: u16,
        conn: usize,
    },
    Expiry {
        client: usize,
        seconds: u32,
    },
    Detach {
        client: usize,
        with_will: bool,
    },
    /// A message of the host program.
    Publish {
        letter: Letter,
    },
    /// The engine was ticked; these clients were silent for too long.
    Tick {
        silent: Vec<usize>,
    },
    /// The broker has crashed and is back.
    Crash,
}

impl Op {
    /// Does it; of CONNECT, Session Present.
    pub fn apply(&self, model: &mut Model) -> bool {
        match self {
            Op::Packet { client, conn, version, bytes } => {
                let Framing::Complete(frame) = split(bytes, u32::MAX).unwrap() else { panic!("no packet") };
                match decode(frame, *version).unwrap() {
                    Packet::Connect(connect) => return model.connect(*client, *conn, &connect),
                    Packet::Subscribe(packet) => model.subscribe(*client, &packet),
                    Packet::Unsubscribe(packet) => model.unsubscribe(*client, &packet),
                    other => panic!("{other:?} is no step of the model"),
                }
            }
            Op::Receive { client, letter, id } => model.receive(*client, letter.clone(), *id),
            Op::Release { client, id } => model.release(*client, *id),
            Op::Acknowledged { client, id, conn } => {
                if let Some(session) = model.sessions.get_mut(client) {
                    session.acknowledged.insert(*id, *conn);
                }
            }
            Op::Expiry { client, seconds } => {
                let most = model.max_expiry;
                if let Some(session) = model.sessions.get_mut(client) {
                    session.expiry = (*seconds).min(most);
                }
            }
            Op::Detach { client, with_will } => model.detach(*client, *with_will),
            Op::Publish { letter } => model.publish(letter.clone(), None),
            Op::Tick { silent } => model.tick(silent),
            Op::Crash => model.crash(),
        }
        false
    }
}
