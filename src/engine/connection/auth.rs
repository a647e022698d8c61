//! AUTH: enhanced authentication, before CONNACK and again on an open connection (MQTT 5, section 4.12). The
//! authorities, such as the host's hook `authenticate`, implement the methods.

use std::io::IoSlice;
use std::ops::Range;

use crate::codec::auth::Auth;
use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::access::chain::{Request, Stage};
use crate::engine::access::hooks::{ConnectRequest, Verdict};
use crate::engine::access::pending_decisions::{DecisionContext, connack_has, denied};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd, Handled};
use crate::engine::parts::origin::Origin;
use crate::locks::MutexGuard;
use crate::session::inbound::Inbound;
use crate::session::link::{Link, Written};

/// The longest Authentication Data, in bytes.
const LONGEST: usize = 65_535;

/// The enhanced authentication of a connection, and the state of its current exchange.
pub(crate) struct Authentication {
    method: Box<str>,
    client_id: Box<str>,
    username: Option<Box<str>>,
    origin: Origin,
    clean_start: bool,
    keep_alive: u16,
    maximum_packet_size: u32,
    /// The number of times that the client was asked to continue in this exchange; 0 if none is in progress.
    steps: u32,
    /// The position in the chain of the authority that has asked the client to continue.
    asked_by: usize,
    /// Whether the client was accepted.
    authenticated: bool,
}

/// A step that has not failed: the data to send, and whether the exchange is complete.
pub(crate) struct AuthReply {
    data: Vec<u8>,
    pub done: bool,
    /// The position in the chain of the authority that has answered.
    by: usize,
}

impl Authentication {
    /// The authentication of a CONNECT with this method.
    pub(crate) fn new(
        method: &str,
        connect: &Connect<'_>,
        origin: &Origin,
        maximum_packet_size: u32,
    ) -> Authentication {
        Authentication {
            method: method.into(),
            client_id: connect.client_id.into(),
            username: connect.username.map(Into::into),
            origin: origin.clone(),
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            maximum_packet_size,
            steps: 0,
            asked_by: 0,
            authenticated: false,
        }
    }

    /// The Client Identifier of the CONNECT.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Advances or completes the exchange.
    pub(crate) fn follow(&mut self, answer: &AuthReply) {
        self.steps = if answer.done { 0 } else { self.steps.saturating_add(1) };
        self.asked_by = answer.by;
        self.authenticated |= answer.done;
    }

    /// The properties of an AUTH or CONNACK: the method, always the same [MQTT-4.12.0-5], and the data. AUTH has no
    /// Reason String and no User Properties [MQTT-3.15.2-2], [MQTT-3.15.2-3].
    pub(crate) fn properties(&self, answer: &AuthReply) -> Vec<u8> {
        let mut properties = Vec::new();
        let mut writer = PropertyWriter::new(&mut properties);
        writer.authentication_method(&self.method);
        if !answer.data.is_empty() {
            writer.authentication_data(&answer.data);
        }
        properties
    }

    /// The request to the authorities. `properties` are those of the packet with the data.
    fn request<'r>(&'r self, password: Option<&'r [u8]>, properties: Properties<'r>) -> ConnectRequest<'r> {
        ConnectRequest {
            connection: self.origin.number,
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password,
            address: self.origin.peer,
            listener: self.origin.listener().map(AsRef::as_ref),
            tls: self.origin.tls().map(AsRef::as_ref),
            version: Version::V5,
            clean_start: self.clean_start,
            keep_alive: self.keep_alive,
            auth_method: Some(&self.method),
            auth_data: properties.authentication_data(),
            auth_step: self.steps,
            reauthenticates: self.authenticated,
        }
    }

    /// The positions in the chain of the authorities to ask: at first all, then only the one that has asked to
    /// continue.
    fn places(&self) -> Range<usize> {
        match self.steps {
            0 => 0..usize::MAX,
            _ => self.asked_by..self.asked_by.saturating_add(1),
        }
    }

    /// The AUTH packet of an answer.
    fn packet(&self, answer: &AuthReply) -> Result<Vec<u8>, DecodeError> {
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

    /// Checks that an AUTH packet is allowed now.
    fn check(&self, auth: &Auth<'_>) -> Result<(), DecodeError> {
        // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
        if auth.properties.authentication_method() != Some(&*self.method) {
            return Err(DecodeError::protocol("the authentication method is not that of CONNECT"));
        }
        match (auth.reason, self.steps) {
            (ReasonCode::ReAuthenticate, 0) => Ok(()),
            (ReasonCode::ReAuthenticate, _) => {
                Err(DecodeError::protocol("an authentication is in progress already"))
            }
            (ReasonCode::ContinueAuthentication, 0) => {
                Err(DecodeError::protocol("no authentication is in progress"))
            }
            // [MQTT-4.12.0-3]
            (ReasonCode::ContinueAuthentication, _) => Ok(()),
            _ => Err(DecodeError::protocol("a client does not send AUTH with this reason code")),
        }
    }
}

impl Engine {
    /// One step of a client that is not accepted yet, with CONNECT or with a later AUTH. `None` if the decision is made
    /// later. Fails with 0x8C if no authority knows the method [MQTT-4.12.0-1].
    pub(crate) fn step_to_connect(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        authentication: &Authentication,
        connect: &Connect<'_>,
        auth: Option<&Auth<'_>>,
    ) -> Result<Option<AuthReply>, DecodeError> {
        if let Some(auth) = auth {
            authentication.check(auth)?;
        }
        let properties = auth.map_or(connect.properties, |auth| auth.properties);
        let request = authentication.request(connect.password, properties);
        self.step(turn, pending, &request, authentication.places(), connack_has)
    }

    fn step(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        request: &ConnectRequest<'_>,
        places: Range<usize>,
        has: fn(ReasonCode) -> bool,
    ) -> Result<Option<AuthReply>, DecodeError> {
        let unknown =
            DecodeError::new(ReasonCode::BadAuthenticationMethod, "the authentication method is not known");
        if !self.wanted.authenticate {
            return Err(unknown);
        }
        let stage = Stage::Authenticate { step: request.auth_step };
        let Some(ruled) = self.ask_among(turn, pending, stage, Request::Authenticate(request), places) else {
            return Ok(None);
        };
        let Some(by) = ruled.by else {
            return Err(unknown);
        };
        let answer = match ruled.verdict {
            // A hook that ignores the method must not accept clients that use one.
            Verdict::Allow => return Err(unknown),
            Verdict::AllowWith(data) => AuthReply { data, done: true, by },
            Verdict::Continue(data) => AuthReply { data, done: false, by },
            denial @ (Verdict::Deny | Verdict::DenyWith(_)) => {
                let reason = denied(&denial, ReasonCode::NotAuthorized, has);
                let reason = reason.unwrap_or(ReasonCode::NotAuthorized);
                return Err(DecodeError::new(reason, "the authentication has failed"));
            }
        };
        if answer.data.len() > LONGEST {
            return Err(DecodeError::new(
                ReasonCode::NotAuthorized,
                "the host's data is longer than 65535 bytes",
            ));
        }
        Ok(Some(answer))
    }

    /// Sends a step of the exchange before CONNACK. There is no outbox yet, so it returns false if the connection does
    /// not take all bytes at once.
    pub(crate) fn send_step(
        &self,
        turn: &mut Turn,
        link: &dyn Link,
        authentication: &Authentication,
        answer: &AuthReply,
    ) -> Result<bool, DecodeError> {
        let packet = authentication.packet(answer)?;
        turn.counts.packets_sent += 1;
        turn.counts.bytes_sent += packet.len() as u64;
        Ok(link.write(&[IoSlice::new(&packet)]) == Written::Bytes(packet.len()))
    }

    /// Handles an AUTH packet on a connection with a session: the client authenticates again.
    pub(crate) fn receive_auth(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut MutexGuard<'_, Inbound>,
        pending: &mut DecisionContext<'_>,
        authentication: Option<&mut Authentication>,
        auth: &Auth<'_>,
    ) -> Result<Handled, ConnectionEnd> {
        let Some(authentication) = authentication else {
            // [MQTT-4.12.0-6], [MQTT-4.12.1-1]
            return Err(DecodeError::protocol("AUTH without an authentication method in CONNECT").into());
        };
        authentication.check(auth)?;
        let request = authentication.request(None, auth.properties);
        let step = |pending: &mut DecisionContext<'_>| {
            self.step(turn, pending, &request, authentication.places(), disconnect_has)
        };
        // [MQTT-4.12.1-2]: a failure ends the connection.
        let Some(answer) = pending.unlocked(attached, inbound, step)?? else {
            return Ok(Handled::Suspended);
        };
        let packet = authentication.packet(&answer)?;
        authentication.follow(&answer);
        self.send(turn, &attached.session, |_, out| out.extend_from_slice(&packet));
        Ok(Handled::Done)
    }
}

/// Whether a DISCONNECT after a failed authentication can carry a reason code (MQTT 5, table 3-10 and section 4.12).
fn disconnect_has(reason: ReasonCode) -> bool {
    matches!(reason.as_u8(), 0x80 | 0x83 | 0x87 | 0x89 | 0x8C | 0x97 | 0x98 | 0x9C | 0x9D | 0x9F | 0xA0)
}
