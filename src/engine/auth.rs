//! AUTH: enhanced authentication, before CONNACK and again on a live connection (MQTT 5, section 4.12).

use std::io::IoSlice;

use crate::codec::auth::Auth;
use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::connection::{Attached, End};
use crate::engine::core::Engine;
use crate::engine::turn::Turn;
use crate::session::link::{Link, Written};

/// Who knows the methods of enhanced authentication.
pub trait Authenticator: Send + Sync {
    /// Begins an exchange with a client by the method that its CONNECT names; `None` if the method is not known. The
    /// Client Identifier is empty if the client leaves the choice to the broker. Called from any thread; must not block.
    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>>;
}

/// One exchange with one client.
pub trait Exchange: Send {
    /// Takes what the client says, with CONNECT or AUTH; empty if it says nothing. Must not block.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What an exchange comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client is to answer this.
    Continue(Vec<u8>),
    /// The client is who it says; it may be told something more. The exchange is over.
    Success(Vec<u8>),
    /// The client is refused, with a reason code of 0x80 or above that CONNACK and DISCONNECT have. The exchange is over.
    Refuse(ReasonCode),
}

/// A connection's authentication: the method of its CONNECT, and the exchange that is going on.
pub(crate) struct Authentication {
    method: Box<str>,
    client_id: Box<str>,
    exchange: Option<Box<dyn Exchange>>,
    maximum_packet_size: u32,
}

/// An exchange that has not failed: what is to be sent, and whether it is over.
pub(crate) struct Answer {
    data: Vec<u8>,
    pub done: bool,
}

impl Authentication {
    /// The authentication that a CONNECT with this method asks for.
    pub(crate) fn new(method: &str, client_id: &str, maximum_packet_size: u32) -> Authentication {
        Authentication {
            method: method.into(),
            client_id: client_id.into(),
            exchange: None,
            maximum_packet_size,
        }
    }

    /// The Client Identifier of its CONNECT.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The properties of an AUTH or CONNACK: the method, always the same [MQTT-4.12.0-5], and the data.
    pub(crate) fn properties(&self, answer: &Answer) -> Vec<u8> {
        let mut properties = Vec::new();
        let mut writer = PropertyWriter::new(&mut properties);
        writer.authentication_method(&self.method);
        if !answer.data.is_empty() {
            writer.authentication_data(&answer.data);
        }
        properties
    }

    /// The AUTH packet of an answer.
    fn packet(&self, answer: &Answer) -> Result<Vec<u8>, DecodeError> {
        let reason = match answer.done {
            true => ReasonCode::Success,
            false => ReasonCode::ContinueAuthentication, // [MQTT-4.12.0-2]
        };
        let properties = self.properties(answer);
        let mut packet = Vec::new();
        Auth { reason, properties: Properties::from_validated(&properties) }.encode(Version::V5, &mut packet);
        if packet.len() > self.maximum_packet_size as usize {
            let cause = "AUTH would be larger than the client's maximum packet size";
            return Err(DecodeError::new(ReasonCode::PacketTooLarge, cause)); // [MQTT-3.1.2-24]
        }
        Ok(packet)
    }

    fn step(&mut self, data: &[u8]) -> Result<Answer, DecodeError> {
        let Some(exchange) = &mut self.exchange else {
            return Err(DecodeError::protocol("no authentication is going on"));
        };
        let answer = match exchange.step(data) {
            Step::Continue(data) => return Ok(Answer { data, done: false }),
            Step::Success(data) => Ok(Answer { data, done: true }),
            Step::Refuse(reason) => {
                let reason = if reason.is_error() { reason } else { ReasonCode::NotAuthorized };
                Err(DecodeError::new(reason, "the authentication has failed"))
            }
        };
        self.exchange = None;
        answer
    }
}

impl Engine {
    /// The first step, with what CONNECT brings. Errors with 0x8C if nobody knows the method [MQTT-4.12.0-1].
    pub(crate) fn begin_authentication(
        &self,
        authentication: &mut Authentication,
        properties: Properties<'_>,
    ) -> Result<Answer, DecodeError> {
        let begun = self
            .authenticator
            .as_ref()
            .and_then(|known| known.begin(&authentication.method, &authentication.client_id));
        let Some(exchange) = begun else {
            let cause = "the authentication method is not known";
            return Err(DecodeError::new(ReasonCode::BadAuthenticationMethod, cause));
        };
        authentication.exchange = Some(exchange);
        authentication.step(properties.authentication_data().unwrap_or_default())
    }

    /// A further step: the client answers [MQTT-4.12.0-3].
    pub(crate) fn go_on(
        &self,
        authentication: &mut Authentication,
        auth: &Auth<'_>,
    ) -> Result<Answer, DecodeError> {
        check_method(authentication, auth)?;
        match auth.reason {
            ReasonCode::ContinueAuthentication => {
                authentication.step(auth.properties.authentication_data().unwrap_or_default())
            }
            _ => Err(DecodeError::protocol("AUTH of a client that is asked says that it continues")),
        }
    }

    /// Sends a step of the exchange before CONNACK. There is no outbox yet: false if the connection does not take all
    /// of it at once.
    pub(crate) fn send_step(
        &self,
        turn: &mut Turn,
        link: &dyn Link,
        authentication: &Authentication,
        answer: &Answer,
    ) -> Result<bool, DecodeError> {
        let packet = authentication.packet(answer)?;
        turn.counts.packets_sent += 1;
        turn.counts.bytes_sent += packet.len() as u64;
        Ok(link.write(&[IoSlice::new(&packet)]) == Written::Bytes(packet.len()))
    }

    /// An AUTH packet on a connection that has a session: the client authenticates again.
    pub(crate) fn receive_auth(
        &self,
        turn: &mut Turn,
        attached: &Attached,
        authentication: Option<&mut Authentication>,
        auth: &Auth<'_>,
    ) -> Result<(), End> {
        let Some(authentication) = authentication else {
            // [MQTT-4.12.0-6], [MQTT-4.12.1-1]
            return Err(DecodeError::protocol("AUTH came without an authentication method in CONNECT").into());
        };
        let answer = match auth.reason {
            ReasonCode::ReAuthenticate if authentication.exchange.is_none() => {
                check_method(authentication, auth)?;
                self.begin_authentication(authentication, auth.properties)?
            }
            ReasonCode::ReAuthenticate => {
                return Err(DecodeError::protocol("an authentication is going on already").into());
            }
            _ => self.go_on(authentication, auth)?, // [MQTT-4.12.1-2]: a failure ends the connection.
        };
        let packet = authentication.packet(&answer)?;
        self.send(turn, &attached.session, |_, out| out.extend_from_slice(&packet));
        Ok(())
    }
}

/// [MQTT-4.12.0-5], [MQTT-4.12.1-1]
fn check_method(authentication: &Authentication, auth: &Auth<'_>) -> Result<(), DecodeError> {
    match auth.properties.authentication_method() {
        Some(method) if *method == *authentication.method => Ok(()),
        _ => Err(DecodeError::protocol("the authentication method is not that of CONNECT")),
    }
}
