//! A connection between CONNECT and CONNACK, while enhanced authentication is in progress.

use crate::codec::auth::Auth;
use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::frame::{self, Frame, Framing};
use crate::codec::packet::{self, Packet};
use crate::codec::version::Version;
use crate::engine::access::pending_decisions::DecisionContext;
use crate::engine::connection::auth::{AuthReply, Authentication};
use crate::engine::connection::refuse::Refusee;
use crate::engine::connection::state::{
    Authenticating, CONNECT, ConnackForm, Connection, ConnectionState, Progress,
};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::Handled;
use crate::session::link::Cause;

impl Connection {
    /// Handles the packets between CONNECT and CONNACK.
    pub(super) fn prove(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        mut pending: DecisionContext<'_>,
        input: &[u8],
        progress: &mut Progress,
    ) {
        while let ConnectionState::Authenticating(authenticating) = &mut self.state {
            let form = authenticating.form;
            let rest = input.get(progress.consumed..).unwrap_or_default();
            let mut size = 0;
            let packet = match split(engine, rest) {
                Ok(Framing::Partial { need }) => {
                    progress.need = need;
                    return;
                }
                Ok(Framing::Complete(frame)) => {
                    size = frame.whole.len();
                    progress.consumed += size;
                    turn.counts.packets_received += u64::from(!pending.again);
                    decode_after_connect(frame, Version::V5)
                }
                Err(error) => Err(error),
            };
            let outcome = match packet {
                Ok(Packet::Auth(auth)) => self.go_on(engine, turn, &mut pending, &auth),
                Ok(Packet::Disconnect(_)) => return self.give_up(engine, Cause::Disconnected),
                // [MQTT-3.1.2-30]
                Ok(_) => Err(DecodeError::protocol("only AUTH and DISCONNECT may come before CONNACK")),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Handled::Done) => engine.answered(&mut pending),
                Ok(Handled::Suspended) => return progress.wait(size),
                Err(error) => {
                    let client_id = self.proving_client();
                    let by = pending.decisions.denied_by();
                    let refusee = Refusee { client_id: client_id.as_deref(), username: None, by };
                    self.refuse(engine, turn, form, refusee, error);
                }
            }
        }
    }

    fn proving_client(&self) -> Option<Box<str>> {
        match &self.state {
            ConnectionState::Authenticating(authenticating) => {
                Some(authenticating.authentication.client_id().into())
            }
            _ => None,
        }
    }

    /// The first step of an enhanced authentication; often the client is asked to continue.
    #[allow(clippy::too_many_arguments, reason = "a connection, and a packet with its surroundings")]
    pub(super) fn ask_for_proof(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        method: &str,
        whole: &[u8],
        connect: &Connect<'_>,
        form: ConnackForm,
    ) -> Result<Handled, DecodeError> {
        engine.check_connect(connect)?;
        let most = form.maximum_packet_size;
        let mut authentication = Authentication::new(method, connect, &self.origin, most);
        let Some(answer) = engine.step_to_connect(turn, pending, &authentication, connect, None)? else {
            return Ok(Handled::Suspended);
        };
        if answer.done {
            let proof = authentication.properties(&answer);
            let Some(attached) = engine.let_in(turn, pending, &self.link, &self.origin, connect, &proof)?
            else {
                return Ok(Handled::Suspended);
            };
            authentication.follow(&answer);
            return Ok(self.joined(engine, attached, Some(authentication)));
        }
        authentication.follow(&answer);
        if let ConnectionState::Opening { deadline } = self.state {
            let connect = whole.to_vec();
            self.state = ConnectionState::Authenticating(Box::new(Authenticating {
                deadline,
                connect,
                form,
                authentication,
            }));
        }
        self.ask_for_more(engine, turn, &answer)
    }

    /// A further step, with an AUTH of the client.
    fn go_on(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        auth: &Auth<'_>,
    ) -> Result<Handled, DecodeError> {
        let ConnectionState::Authenticating(authenticating) = &mut self.state else {
            return Ok(Handled::Done);
        };
        let connect = decoded(&authenticating.connect)?;
        let authentication = &authenticating.authentication;
        let Some(answer) = engine.step_to_connect(turn, pending, authentication, &connect, Some(auth))?
        else {
            return Ok(Handled::Suspended);
        };
        if !answer.done {
            authenticating.authentication.follow(&answer);
            return self.ask_for_more(engine, turn, &answer);
        }
        let proof = authentication.properties(&answer);
        let Some(attached) = engine.let_in(turn, pending, &self.link, &self.origin, &connect, &proof)? else {
            return Ok(Handled::Suspended);
        };
        let opening = ConnectionState::Opening { deadline: authenticating.deadline };
        let ConnectionState::Authenticating(authenticating) = std::mem::replace(&mut self.state, opening)
        else {
            return Ok(Handled::Done);
        };
        let mut authentication = authenticating.authentication;
        authentication.follow(&answer);
        Ok(self.joined(engine, attached, Some(authentication)))
    }

    /// Sends an AUTH that asks the client to continue.
    fn ask_for_more(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        answer: &AuthReply,
    ) -> Result<Handled, DecodeError> {
        if let ConnectionState::Authenticating(authenticating) = &self.state
            && !engine.send_step(turn, &*self.link, &authenticating.authentication, answer)?
        {
            // There is no outbox yet, so a client that does not read is disconnected.
            self.give_up(engine, Cause::ConnectionLost);
        }
        Ok(Handled::Done)
    }
}

/// Decodes a stored CONNECT packet.
fn decoded(whole: &[u8]) -> Result<Connect<'_>, DecodeError> {
    if let Framing::Complete(frame) = frame::split(whole, u32::MAX)?
        && let Packet::Connect(connect) = packet::decode(frame, Version::V311)?
    {
        return Ok(connect);
    }
    Err(DecodeError::protocol("the first packet is not CONNECT"))
}

/// The packet at the start of `input`, if it is no larger than packets may be.
pub(super) fn split<'i>(engine: &Engine, input: &'i [u8]) -> Result<Framing<'i>, DecodeError> {
    frame::split(input, engine.options.max_packet_size).map_err(naming_the_limit)
}

/// An error that names the setting, if it is that of a packet which is too large.
pub(super) fn naming_the_limit(error: DecodeError) -> DecodeError {
    match error == frame::TOO_LARGE {
        true => DecodeError::new(
            error.reason,
            "the packet is larger than the server allows (mqtt.max_packet_size)",
        ),
        false => error,
    }
}

/// The packet in a frame behind CONNECT. A second CONNECT is an error whatever it holds [MQTT-3.1.0-2], [MQTT3-3.1.0-2]:
/// it is not decoded, for its faults have reason codes that only CONNACK can tell.
pub(super) fn decode_after_connect(frame: Frame<'_>, version: Version) -> Result<Packet<'_>, DecodeError> {
    match frame::packet_type(frame.first) {
        CONNECT => Err(DecodeError::protocol("a second CONNECT was received")),
        _ => packet::decode(frame, version),
    }
}
