//! The packets of one network connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::ack::AckKind;
use crate::codec::connect::{self, Connect};
use crate::codec::error::DecodeError;
use crate::codec::frame::{self, Framing};
use crate::codec::packet::{self, Packet};
use crate::codec::ping;
use crate::codec::version::Version;
use crate::engine::access::pending_decisions::{DecisionContext, PendingDecisions};
use crate::engine::connection::auth::Authentication;
use crate::engine::connection::authenticating::{decode_after_connect, naming_the_limit, split};
use crate::engine::connection::state::{CONNECT, ConnackForm, Connection, ConnectionState, Progress};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::log::words;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd, Handled, ReceivedPacket};
use crate::engine::parts::origin::Origin;
use crate::locks::MutexGuard;
use crate::session::event::Level;
use crate::session::inbound::Inbound;
use crate::session::last_bytes::LastBytes;
use crate::session::link::{Cause, Link};
use crate::session::peer::Peer;
use crate::session::state::Session;

/// [MQTT-3.1.0-1]
const NOT_CONNECT: DecodeError = DecodeError::protocol("the first packet is not CONNECT");

impl Connection {
    /// A new connection without a listener. It is closed if CONNECT does not arrive within `mqtt.connect_timeout`.
    pub fn new(
        engine: &Engine,
        turn: &mut Turn,
        link: Arc<dyn Link>,
        peer: Option<SocketAddr>,
    ) -> Connection {
        Connection::with_origin(engine, turn, link, engine.origin(None, peer.map(Peer::Network)))
    }

    /// A new connection with this origin. It is closed if CONNECT does not arrive within `mqtt.connect_timeout`.
    pub fn with_origin(engine: &Engine, turn: &mut Turn, link: Arc<dyn Link>, origin: Origin) -> Connection {
        turn.counts.connections_accepted += 1;
        let deadline = engine.connect_deadline(turn.now, Arc::downgrade(&link));
        let number = origin.number;
        engine.log(turn, Level::Debug, None, || format!("connection {number} {origin} is accepted"));
        Connection { link, origin, state: ConnectionState::Opening { deadline }, counted: 0, decisions: None }
    }

    /// The origin of the connection.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether a packet waits for decisions: `Some(true)` while one is awaited, `Some(false)` once all are made and the
    /// packet must be passed again. The link is woken then.
    pub fn awaits_host(&self) -> Option<bool> {
        self.decisions.as_ref().map(|decisions| !decisions.are_answered())
    }

    /// Whether CONNECT has come.
    pub fn has_connect(&self) -> bool {
        self.decisions.is_some() || !matches!(self.state, ConnectionState::Opening { .. })
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        match &self.state {
            ConnectionState::Open(attached) => Some(&attached.session),
            ConnectionState::Authenticated(authenticated) => Some(&authenticated.0.session),
            _ => None,
        }
    }

    /// Handles all complete packets of `input`, which begins with the bytes that the last call did not consume. `owner`
    /// is the buffer that `input` is a slice of, if it can be shared.
    pub fn receive(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        input: &[u8],
        owner: Option<&Bytes>,
    ) -> Progress {
        turn.counts.bytes_received += input.len().saturating_sub(self.counted) as u64;
        let mut progress = Progress { consumed: 0, need: 0, open: true, waiting: false };
        if self.awaits_host() == Some(true) {
            self.counted = input.len();
            return Progress { waiting: true, ..progress };
        }
        let mut decisions = self.decisions.take().map_or_else(PendingDecisions::default, |kept| *kept);
        if matches!(self.state, ConnectionState::Opening { .. }) {
            self.open(engine, turn, input, &mut decisions, &mut progress);
        }
        if matches!(self.state, ConnectionState::Authenticating(_)) {
            let link = Arc::clone(&self.link);
            let pending =
                DecisionContext { link: &link, again: !decisions.is_empty(), decisions: &mut decisions };
            self.prove(engine, turn, pending, input, &mut progress);
        }
        let (attached, authentication) = match &mut self.state {
            ConnectionState::Open(attached) => (Some(attached.clone()), None),
            ConnectionState::Authenticated(authenticated) => {
                (Some(authenticated.0.clone()), Some(&mut authenticated.1))
            }
            _ => (None, None),
        };
        if let Some(attached) = attached {
            attached.session.hear_from_host(attached.epoch);
            let pending =
                DecisionContext { link: &self.link, again: !decisions.is_empty(), decisions: &mut decisions };
            if !run(engine, turn, &attached, authentication, pending, input, owner, &mut progress) {
                self.state = ConnectionState::Closed;
            }
            if progress.waiting {
                attached.session.await_host(attached.epoch);
            }
        }
        progress.open = !matches!(self.state, ConnectionState::Closed);
        progress.waiting &= progress.open;
        match progress.waiting {
            true => self.decisions = Some(Box::new(decisions)),
            false => engine.forget(&mut decisions),
        }
        self.counted = input.len().saturating_sub(progress.consumed);
        progress
    }

    /// Bytes of a packet have come that is not handed over before it is whole: the client is not silent.
    pub fn heard(&self, turn: &Turn) {
        if let ConnectionState::Open(attached) = &self.state {
            attached.heard(turn.now);
        }
        if let ConnectionState::Authenticated(authenticated) = &self.state {
            authenticated.0.heard(turn.now);
        }
    }

    /// Writes again to a connection that has become writable; whether this call has filled it.
    pub fn writable(&self, engine: &Engine, turn: &mut Turn) -> bool {
        self.session().is_some_and(|session| engine.flush(turn, session, true))
    }

    /// Handles the end of the network connection, which is gone or being closed for `cause`.
    pub fn lost(&mut self, engine: &Engine, turn: &mut Turn, cause: Cause) {
        if let Some(mut decisions) = self.decisions.take() {
            engine.forget(&mut decisions);
        }
        match std::mem::replace(&mut self.state, ConnectionState::Closed) {
            ConnectionState::Opening { deadline } => {
                engine.timers.cancel(deadline);
                self.log_end(engine, turn, cause);
                self.link.finish(LastBytes::default(), cause);
            }
            ConnectionState::Authenticating(authenticating) => {
                engine.timers.cancel(authenticating.deadline);
                self.log_end(engine, turn, cause);
                self.link.finish(LastBytes::default(), cause);
            }
            ConnectionState::Authenticated(authenticated) => {
                engine.close(turn, &authenticated.0.session, authenticated.0.epoch, cause)
            }
            ConnectionState::Open(attached) => engine.close(turn, &attached.session, attached.epoch, cause),
            ConnectionState::Closed => {}
        }
        turn.counts.connections_closed += 1;
    }

    /// Logs the end of a connection that has no client.
    fn log_end(&self, engine: &Engine, turn: &mut Turn, cause: Cause) {
        let level = if cause == Cause::ConnectTimeout { Level::Warn } else { Level::Debug };
        engine.log(turn, level, None, || {
            format!("connection {} {} has ended: {}", self.origin.number, self.origin, words(cause, ""))
        });
    }

    fn open(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        input: &[u8],
        decisions: &mut PendingDecisions,
        progress: &mut Progress,
    ) {
        // [MQTT-3.1.0-1]: the first packet is CONNECT; the rest of another packet is not waited for.
        if input.first().is_some_and(|first| frame::packet_type(*first) != CONNECT) {
            return self.refuse(engine, turn, ConnackForm::of(None), None, NOT_CONNECT);
        }
        let framing = match split(engine, input) {
            Ok(framing) => framing,
            Err(error) => return self.refuse(engine, turn, ConnackForm::of(None), None, error),
        };
        let frame = match framing {
            Framing::Partial { need } => {
                progress.need = need;
                return;
            }
            Framing::Complete(frame) => frame,
        };
        let again = !decisions.is_empty();
        progress.consumed = frame.whole.len();
        turn.counts.packets_received += u64::from(!again);
        let mut form = ConnackForm::of(connect::peek_version(frame.body));
        // The version is in CONNECT, not decoded yet. MQTT 3 has the weaker checks of the fixed header.
        let packet = match packet::decode(frame, Version::V311) {
            Ok(Packet::Connect(packet)) => packet,
            Ok(_) => return self.refuse(engine, turn, form, None, NOT_CONNECT),
            Err(error) => return self.refuse(engine, turn, form, None, error),
        };
        form.learn(&packet);
        let link = Arc::clone(&self.link);
        let pending = &mut DecisionContext { link: &link, decisions, again };
        let outcome = match packet.properties.authentication_method() {
            Some(method) => self.ask_for_proof(engine, turn, pending, method, frame.whole, &packet, form),
            None => self.ask_to_join(engine, turn, pending, &packet),
        };
        match outcome {
            Ok(Handled::Done) => engine.answered(pending),
            Ok(Handled::Suspended) => progress.wait(frame.whole.len()),
            Err(error) => self.refuse(engine, turn, form, Some(packet.client_id), error),
        }
    }

    /// Accepts a client, if the authorities allow it.
    fn ask_to_join(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        connect: &Connect<'_>,
    ) -> Result<Handled, DecodeError> {
        if engine.wanted.asks_to_connect() {
            engine.check_connect(connect)?;
            if engine.ask_to_connect(turn, pending, &self.origin, connect)? == Handled::Suspended {
                return Ok(Handled::Suspended);
            }
        }
        match engine.join(turn, pending, &self.link, &self.origin, connect, &[])? {
            None => Ok(Handled::Suspended),
            Some(attached) => Ok(self.joined(engine, attached, None)),
        }
    }

    /// Opens the connection, which is attached now. `proof`: its completed enhanced authentication, if any.
    pub(super) fn joined(
        &mut self,
        engine: &Engine,
        attached: AttachedConnection,
        proof: Option<Authentication>,
    ) -> Handled {
        self.link.identify(&attached.session.client_id);
        engine.tell_change();
        let state = match proof {
            None => ConnectionState::Open(attached),
            Some(authentication) => ConnectionState::Authenticated(Box::new((attached, authentication))),
        };
        if let ConnectionState::Opening { deadline } = std::mem::replace(&mut self.state, state) {
            engine.timers.cancel(deadline);
        }
        Handled::Done
    }

    /// Ends a connection without a session, and sends nothing.
    pub(super) fn give_up(&mut self, engine: &Engine, cause: Cause) {
        self.stop_waiting(engine);
        self.link.finish(LastBytes::default(), cause);
    }

    pub(super) fn stop_waiting(&mut self, engine: &Engine) {
        match std::mem::replace(&mut self.state, ConnectionState::Closed) {
            ConnectionState::Opening { deadline } => engine.timers.cancel(deadline),
            ConnectionState::Authenticating(authenticating) => engine.timers.cancel(authenticating.deadline),
            ConnectionState::Open(_) | ConnectionState::Authenticated(_) | ConnectionState::Closed => {}
        }
    }
}

/// Handles the packets of one turn under the lock of the receiving half; false if the connection has ended.
#[allow(clippy::too_many_arguments, reason = "a connection, its bytes, and how far they are handled")]
fn run(
    engine: &Engine,
    turn: &mut Turn,
    attached: &AttachedConnection,
    authentication: Option<&mut Authentication>,
    pending: DecisionContext<'_>,
    input: &[u8],
    owner: Option<&Bytes>,
    progress: &mut Progress,
) -> bool {
    let ended = {
        let mut inbound = attached.session.inbound.lock();
        // The host, a timer or another connection may have ended this one.
        if inbound.epoch != attached.epoch || !attached.session.is_attached(attached.epoch) {
            return false;
        }
        attached.session.heard(turn.now);
        packets(engine, turn, attached, authentication, &mut inbound, pending, input, owner, progress)
    };
    match ended {
        Ok(()) => true,
        Err(ConnectionEnd::Refused(error)) => {
            turn.counts.protocol_errors += 1;
            let error = naming_the_limit(error);
            let cause = Cause::Refused(error.reason);
            engine.close_saying(turn, &attached.session, attached.epoch, cause, error.cause);
            false
        }
        Err(ConnectionEnd::Gone) => false,
        Err(ConnectionEnd::Disconnected { with_will }) => {
            let cause = if with_will { Cause::ConnectionLost } else { Cause::Disconnected };
            engine.close(turn, &attached.session, attached.epoch, cause);
            false
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "a connection, its bytes, and how far they are handled")]
fn packets(
    engine: &Engine,
    turn: &mut Turn,
    attached: &AttachedConnection,
    mut authentication: Option<&mut Authentication>,
    inbound: &mut MutexGuard<'_, Inbound>,
    mut pending: DecisionContext<'_>,
    input: &[u8],
    owner: Option<&Bytes>,
    progress: &mut Progress,
) -> Result<(), ConnectionEnd> {
    loop {
        let rest = input.get(progress.consumed..).unwrap_or_default();
        match frame::split(rest, engine.options.max_packet_size)? {
            Framing::Partial { need } => {
                progress.need = need;
                return Ok(());
            }
            Framing::Complete(frame) => {
                progress.consumed += frame.whole.len();
                turn.counts.packets_received += u64::from(!pending.again);
                let received = ReceivedPacket { whole: frame.whole, owner };
                let packet = decode_after_connect(frame, attached.version)?;
                if let Packet::Publish(publish) = &packet
                    && let Some(mut burst) = engine.burst(rest, &frame, publish, attached.version.is_v5())
                {
                    engine.receive_burst(turn, attached, &mut burst);
                    progress.consumed += burst.len() - frame.whole.len();
                    engine.answered(&mut pending);
                    if leave_the_rest(turn, attached, input, progress) {
                        return Ok(());
                    }
                    continue;
                }
                let authentication = authentication.as_deref_mut();
                let pending = &mut pending;
                match handle(engine, turn, attached, authentication, inbound, pending, packet, received)? {
                    Handled::Done => {
                        engine.answered(pending);
                        if leave_the_rest(turn, attached, input, progress) {
                            return Ok(());
                        }
                    }
                    Handled::Suspended => {
                        progress.wait(frame.whole.len());
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Leaves the packets that are not handled to another turn, if this one has done enough; whether it has.
#[inline]
fn leave_the_rest(turn: &Turn, attached: &AttachedConnection, input: &[u8], progress: &mut Progress) -> bool {
    if !turn.has_done_enough() || progress.consumed >= input.len() {
        return false;
    }
    // As a packet that the host has decided about: the connection's task comes back to it, behind the others.
    progress.waiting = true;
    attached.session.outbound.lock().link().into_iter().for_each(|link| link.wake());
    true
}

#[allow(clippy::too_many_arguments, reason = "a connection, and a packet with its surroundings")]
fn handle(
    engine: &Engine,
    turn: &mut Turn,
    attached: &AttachedConnection,
    authentication: Option<&mut Authentication>,
    inbound: &mut MutexGuard<'_, Inbound>,
    pending: &mut DecisionContext<'_>,
    packet: Packet<'_>,
    received: ReceivedPacket<'_>,
) -> Result<Handled, ConnectionEnd> {
    match packet {
        Packet::Publish(publish) => {
            return engine.receive_publish(turn, attached, inbound, pending, &publish, received);
        }
        Packet::Subscribe(subscribe) => {
            return engine.receive_subscribe(turn, attached, inbound, pending, &subscribe);
        }
        Packet::Puback(ack) => engine.receive_ack(turn, attached, AckKind::Puback, &ack),
        Packet::Pubrec(ack) => engine.receive_ack(turn, attached, AckKind::Pubrec, &ack),
        Packet::Pubcomp(ack) => engine.receive_ack(turn, attached, AckKind::Pubcomp, &ack),
        Packet::Pubrel(ack) => engine.receive_pubrel(turn, attached, inbound, &ack),
        Packet::Unsubscribe(unsubscribe) => engine.receive_unsubscribe(turn, attached, &unsubscribe),
        Packet::Pingreq => {
            // [MQTT-3.12.4-1], [MQTT3-3.12.4-1]
            engine.send(turn, &attached.session, |_, out| ping::encode_pingresp(out));
            Ok(())
        }
        Packet::Disconnect(disconnect) => engine.receive_disconnect(attached, &disconnect),
        Packet::Auth(auth) => {
            return engine.receive_auth(turn, attached, inbound, pending, authentication, &auth);
        }
        // A second CONNECT is refused before it is decoded.
        Packet::Connect(_)
        | Packet::Connack(_)
        | Packet::Suback(_)
        | Packet::Unsuback(_)
        | Packet::Pingresp => Err(DecodeError::protocol("only a server sends a packet of this type").into()),
    }
    .map(|()| Handled::Done)
}
