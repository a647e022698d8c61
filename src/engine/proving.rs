//! A connection between CONNECT and CONNACK: enhanced authentication asks the client for more.

use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::frame::{self, Framing};
use crate::codec::packet::{self, Packet};
use crate::codec::version::Version;
use crate::engine::auth::{Answer, Authentication};
use crate::engine::connection::{Connection, Manner, Progress, State, decode_after_connect};
use crate::engine::core::Engine;
use crate::engine::turn::Turn;
use crate::session::link::Cause;
use crate::time::TimerId;

/// A connection between CONNECT and CONNACK.
pub(super) struct Proving {
    pub(super) deadline: TimerId,
    /// The CONNECT packet.
    connect: Vec<u8>,
    manner: Manner,
    authentication: Authentication,
}

impl Connection {
    /// Takes the packets between CONNECT and CONNACK.
    pub(super) fn prove(&mut self, engine: &Engine, turn: &mut Turn, input: &[u8], progress: &mut Progress) {
        while let State::Proving(proving) = &mut self.state {
            let manner = proving.manner;
            let rest = input.get(progress.consumed..).unwrap_or_default();
            let packet = match frame::split(rest, engine.options.max_packet_size) {
                Ok(Framing::Partial { need }) => {
                    progress.need = need;
                    return;
                }
                Ok(Framing::Complete(frame)) => {
                    progress.consumed += frame.whole.len();
                    turn.counts.packets_received += 1;
                    decode_after_connect(frame, Version::V5)
                }
                Err(error) => Err(error),
            };
            let outcome = match packet {
                Ok(Packet::Auth(auth)) => engine
                    .go_on(&mut proving.authentication, &auth)
                    .and_then(|answer| self.answer(engine, turn, &answer)),
                Ok(Packet::Disconnect(_)) => return self.give_up(engine, Cause::Disconnected),
                // [MQTT-3.1.2-30]
                Ok(_) => Err(DecodeError::protocol("only AUTH and DISCONNECT may come before CONNACK")),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let client_id = self.proving_client();
                self.refuse(engine, turn, manner, client_id.as_deref(), error);
            }
        }
    }

    fn proving_client(&self) -> Option<Box<str>> {
        match &self.state {
            State::Proving(proving) => Some(proving.authentication.client_id().into()),
            _ => None,
        }
    }

    /// The first step of an enhanced authentication: often the client is asked for more than CONNECT brings.
    pub(super) fn ask_for_proof(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        method: &str,
        whole: &[u8],
        connect: &Connect<'_>,
        manner: Manner,
    ) -> Result<(), DecodeError> {
        engine.check_connect(connect)?;
        let mut authentication = Authentication::new(method, connect.client_id, manner.maximum_packet_size);
        let answer = engine.begin_authentication(&mut authentication, connect.properties)?;
        if let State::Opening { deadline } = self.state {
            let connect = whole.to_vec();
            self.state = State::Proving(Box::new(Proving { deadline, connect, manner, authentication }));
        }
        self.answer(engine, turn, &answer)
    }

    /// Goes on after a step of the exchange: the client is asked for more, or let in.
    fn answer(&mut self, engine: &Engine, turn: &mut Turn, answer: &Answer) -> Result<(), DecodeError> {
        let State::Proving(proving) = &mut self.state else {
            return Ok(());
        };
        if !answer.done {
            // A client that reads so little is not worth an outbox.
            if !engine.send_step(turn, &*self.link, &proving.authentication, answer)? {
                self.give_up(engine, Cause::ConnectionLost);
            }
            return Ok(());
        }
        let opening = State::Opening { deadline: proving.deadline };
        let State::Proving(proving) = std::mem::replace(&mut self.state, opening) else {
            return Ok(());
        };
        let Framing::Complete(frame) = frame::split(&proving.connect, u32::MAX)? else {
            return Ok(());
        };
        let Packet::Connect(connect) = packet::decode(frame, Version::V311)? else {
            return Ok(());
        };
        let properties = proving.authentication.properties(answer);
        self.join(engine, turn, &connect, Some((proving.authentication, properties)))
    }
}
