//! CONNECT: attaches a connection to a session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::codec::connack::Connack;
use crate::codec::connect::Connect;
use crate::codec::error::DecodeError;
use crate::codec::frame::{self, MAX_REMAINING_LENGTH};
use crate::codec::properties::{Properties, PropertyWriter};
use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::config::OtherUser;
use crate::engine::access::chain::Stage;
use crate::engine::access::pending_decisions::{DecisionContext, Standing};
use crate::engine::core::state::Engine;
use crate::engine::core::timers::Timer;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::admission::{Draft, Refusal, Source};
use crate::engine::parts::attached::{AttachedConnection, Handled};
use crate::engine::parts::origin::Origin;
use crate::engine::parts::sessions::InsertError;
use crate::locks::MutexGuard;
use crate::session::attachment::Attachment;
use crate::session::delivery::ClientLimits;
use crate::session::event::{Arrival, Event, Level};
use crate::session::inbound::Inbound;
use crate::session::link::{Admission, Cause, Link};
use crate::session::outbound::Outbound;
use crate::session::record::message_record;
use crate::session::state::{Connected, Control, Mark, Session};
use crate::stats::Gauge;
use crate::storage::SessionChange;

/// The largest packet of the protocol: the first byte, four length bytes, and the longest rest.
const LARGEST_PACKET: u32 = MAX_REMAINING_LENGTH + 5;

/// An accepted client.
#[derive(Clone, Copy)]
struct Guest<'g> {
    link: &'g Arc<dyn Link>,
    origin: &'g Origin,
    connect: &'g Connect<'g>,
    /// The user that an authority has found the client to be; empty without a user name.
    user: Option<&'g str>,
    /// The properties of CONNACK.
    told: Properties<'g>,
    /// Whether its CONNECT has ended a session that the store has.
    discards: bool,
}

impl Engine {
    /// Accepts an authenticated client, if its Will is allowed. `None` if a decision is awaited.
    pub(super) fn let_in(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        link: &Arc<dyn Link>,
        origin: &Origin,
        connect: &Connect<'_>,
        proof: &[u8],
    ) -> Result<Option<AttachedConnection>, DecodeError> {
        match self.ask_about_will(turn, pending, origin, connect)? {
            Handled::Suspended => Ok(None),
            Handled::Done => self.join(turn, pending, link, origin, connect, proof),
        }
    }

    /// Attaches a connection to its session, which may mean to take it over. `None` if a decision is awaited; until
    /// then the other connection continues.
    pub(super) fn join(
        &self,
        turn: &mut Turn,
        pending: &mut DecisionContext<'_>,
        link: &Arc<dyn Link>,
        origin: &Origin,
        connect: &Connect<'_>,
        proof: &[u8],
    ) -> Result<Option<AttachedConnection>, DecodeError> {
        loop {
            let Some(may_end) = self.ask_to_take_over(turn, pending, origin, connect)? else {
                return Ok(None);
            };
            let user = self.wanted.authenticate.then(|| user_of(pending, connect)).flatten();
            let attached = self.connect(turn, link, origin, connect, user, proof, may_end)?;
            // Otherwise another connection has replaced it since the question.
            if attached.is_some() {
                return Ok(attached);
            }
        }
    }

    /// Attaches a connection to the client's session, new or resumed, and sends CONNACK.
    ///
    /// `user`: the user that an authority has found the client to be. `proof`: properties of CONNACK that end an enhanced
    /// authentication. `may_end`: the number of the connection that may be taken over, if an authority decides about that.
    /// Returns `None` if the session has a different one.
    #[allow(
        clippy::too_many_arguments,
        reason = "a CONNECT packet, where it comes from, and what was found out about it"
    )]
    fn connect(
        &self,
        turn: &mut Turn,
        link: &Arc<dyn Link>,
        origin: &Origin,
        connect: &Connect<'_>,
        user: Option<&str>,
        proof: &[u8],
        may_end: Option<u64>,
    ) -> Result<Option<AttachedConnection>, DecodeError> {
        self.check_connect(connect)?;
        let assigned = connect.client_id.is_empty().then(|| self.assign_client_id());
        // [MQTT-3.1.3-7]
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let mut told = Vec::new();
        if connect.version.is_v5() {
            self.connack_properties(connect, assigned.as_deref(), &mut told);
            told.extend_from_slice(proof);
            check_connack(connect, told.len())?;
        }
        let told = Properties::from_validated(&told);
        let mut guest = Guest { link, origin, connect, user, told, discards: false };
        // After a crash the session is as before CONNECT or as after it. So the group in which an old session ends
        // stays open until the new one has begun.
        let mut grouped = false;
        loop {
            // [MQTT-3.1.2-5], [MQTT-3.1.2-6], [MQTT3-3.1.2-4]
            let (session, resumed) = match self.sessions.get(client_id) {
                Some(session) => (session, true),
                None => (Arc::new(Session::new(client_id)), false),
            };
            if grouped && resumed {
                // Another connection of the client was faster. Its session's locks must not be waited for in a group.
                self.end_group(turn);
                grouped = false;
            }
            let mut inbound = session.inbound.lock();
            let mut control = session.control.lock();
            let anothers = resumed && !control.ended && control.is_anothers(user);
            if anothers && self.options.other_user == OtherUser::Refuse {
                if grouped {
                    self.end_group(turn);
                }
                let cause = "the client identifier belongs to another user's session (session.other_user)";
                return Err(DecodeError::new(ReasonCode::ClientIdentifierNotValid, cause));
            }
            if resumed && control.kept && !control.ended && self.recorder.is_full() {
                // It may neither go on, nor end for a clean start: after a crash it would be there again.
                if grouped {
                    self.end_group(turn);
                }
                return Err(store_full());
            }
            let present = control.connected.as_deref().map(|other| other.number);
            if self.wanted.take_over && present.is_some() && present != may_end {
                return Ok(None);
            }
            let refused = match link.admit(present.is_some()) {
                Admission::Admitted => None,
                Admission::Full => {
                    let cause =
                        "connection limit reached (mqtt.max_connections or listener.*.max_connections)";
                    Some(DecodeError::new(ReasonCode::QuotaExceeded, cause))
                }
                Admission::Over => {
                    let cause = "the connection was ended before its CONNECT was accepted";
                    Some(DecodeError::new(ReasonCode::ServerUnavailable, cause))
                }
            };
            if let Some(error) = refused {
                if grouped {
                    self.end_group(turn);
                }
                return Err(error);
            }
            if !grouped {
                self.begin_group(turn);
                grouped = true;
            }
            let was_kept = resumed && control.kept && !control.ended;
            let ready = match resumed {
                true => self.resume(turn, &session, &mut control, connect.clean_start || anothers),
                false => self.enter(&session, &mut control),
            };
            let attached = match ready {
                Ok(false) => {
                    guest.discards |= was_kept;
                    continue;
                }
                Ok(true) => Ok(self.attach(turn, &session, &mut inbound, &mut control, guest, resumed)),
                Err(error) => Err(error),
            };
            self.end_group(turn);
            return attached.map(Some);
        }
    }

    /// Prepares a session of the table for a new connection. False if it has ended: earlier, with the connection that
    /// was taken over, or for a clean start.
    fn resume(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        control: &mut Control,
        clean_start: bool,
    ) -> Result<bool, DecodeError> {
        if control.ended {
            return Ok(false);
        }
        self.check_running()?;
        self.take_over(turn, session, control);
        if clean_start && !control.ended {
            // [MQTT-3.1.2-4], [MQTT-3.1.4-4], [MQTT3-3.1.4-3]: the old session is discarded.
            self.end_session(turn, session, control);
        }
        Ok(!control.ended)
    }

    /// Adds a new session to the table. False if the client has one by now.
    fn enter(&self, session: &Arc<Session>, control: &mut Control) -> Result<bool, DecodeError> {
        match self.sessions.insert(session, self.options.max_sessions) {
            Err(InsertError::Exists) => return Ok(false),
            Err(InsertError::Full) => {
                let cause = "session limit reached (session.max_sessions)";
                return Err(DecodeError::new(ReasonCode::QuotaExceeded, cause));
            }
            Ok(()) => {}
        }
        self.check_running().map(|()| true).inspect_err(|_| {
            control.ended = true;
            self.sessions.remove(session);
        })
    }

    /// Checks that the broker is not stopping. Called under the lock of a session in the table: if it succeeds,
    /// [`Engine::stop`] has not reached that session yet, and will end the connection.
    fn check_running(&self) -> Result<(), DecodeError> {
        match self.stopping.load(Ordering::SeqCst) {
            false => Ok(()),
            // CONNACK cannot carry Server shutting down.
            true => Err(DecodeError::new(ReasonCode::ServerUnavailable, "the server is stopping")),
        }
    }

    /// Checks a CONNECT against the limits.
    pub(crate) fn check_connect(&self, connect: &Connect<'_>) -> Result<(), DecodeError> {
        let refuse = |reason, cause| Err(DecodeError::new(reason, cause));
        let version = connect.version;
        if connect.client_id.is_empty() {
            // [MQTT3-3.1.3-8]; MQTT 3.1 has no empty Client Identifier.
            let allowed = self.options.allow_empty_client_id
                && match version {
                    // [MQTT31-2]
                    Version::V31 => false,
                    Version::V311 => connect.clean_start,
                    Version::V5 => true,
                };
            if !allowed {
                return refuse(ReasonCode::ClientIdentifierNotValid, "the client identifier is empty");
            }
        }
        // [MQTT-3.1.3-5], [MQTT3-3.1.3-5]
        // [MQTT-3.1.3-8], [MQTT3-3.1.3-9]
        if connect.client_id.len() > self.options.max_client_id_length {
            let cause = "the client identifier is longer than mqtt.max_client_id_length";
            return refuse(ReasonCode::ClientIdentifierNotValid, cause);
        }
        if let Some(will) = &connect.will {
            let draft = Draft {
                topic: will.topic,
                qos: will.qos,
                retain: will.retain,
                payload_len: will.payload.len(),
                properties_len: will.properties.forwardable().map(<[u8]>::len).sum(),
                expires: will.properties.message_expiry_interval().is_some(),
                user_properties: self.options.count_user_properties(will.properties),
            };
            // [MQTT-3.2.2-12], [MQTT-3.2.2-13]
            self.options.admit(Source::Will, &draft).map_err(Refusal::error)?;
        }
        if self.recorder.is_full() && self.expiry_interval(connect) > 0 {
            return Err(store_full());
        }
        Ok(())
    }

    /// Ends the session's other connection, if it has one [MQTT-3.1.4-3], [MQTT3-3.1.4-2].
    fn take_over(&self, turn: &mut Turn, session: &Arc<Session>, control: &mut Control) {
        if control.connected.is_some() {
            turn.counts.takeovers += 1;
            let epoch = control.epoch;
            self.detach(turn, session, control, epoch, Cause::SessionTakenOver);
        }
    }

    fn attach(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        inbound: &mut Inbound,
        control: &mut Control,
        guest: Guest<'_>,
        resumed: bool,
    ) -> AttachedConnection {
        let connect = guest.connect;
        for timer in control.take_timers() {
            self.timers.cancel(timer);
        }
        let epoch = control.epoch.next();
        control.user = guest.user.map(|user| Box::new(user.into()));
        let keep_alive = self.keep_alive(connect);
        let connected = Box::new(Connected {
            version: connect.version,
            number: guest.origin.number,
            peer: guest.origin.peer,
            username: connect.username.map(Into::into),
            clean_start: connect.clean_start,
            keep_alive,
            since: turn.now,
            connect_expiry_interval: connect.properties.session_expiry_interval().unwrap_or(0),
            wants_problem_information: connect.properties.request_problem_information() != Some(false),
            keep_alive_timer: (keep_alive > 0).then(|| {
                let at = turn.now.plus_millis(keep_alive_millis(keep_alive));
                self.timers.insert(at, Timer::KeepAlive(Arc::downgrade(session), epoch))
            }),
        });
        let attachment = Attachment {
            link: Arc::clone(guest.link),
            connected,
            // [MQTT-3.1.2-7], [MQTT3-3.1.2-9]
            will: connect.will.as_ref().map(|will| Box::new(self.will(turn, will))),
            expiry_interval: self.expiry_interval(connect),
            client_limits: self.client_limits(connect),
        };
        self.counters.increase(Gauge::ClientsConnected, 1);
        if self.events.wants(EventMask::CONNECTED) {
            let arrival = self.arrival(session, guest, resumed, keep_alive);
            turn.events.push(Event::Connected(Box::new(arrival)));
        }
        self.log_arrival(turn, session, guest, resumed);
        let was_kept = control.kept;
        let mut outbound = session.outbound.lock();
        let mut attachment = attachment;
        // What the store alone has must stay there; after a crash the session ends at once, as its interval is 0.
        attachment.client_limits.kept |= was_kept && outbound.has_stored();
        session.attach(epoch, inbound, control, &mut outbound, attachment);
        let recorded = self.recorder.is_kept() && self.record_attached(turn, session, control, was_kept);
        let recorded = recorded || guest.discards;
        // After a crash the client must not find another session than the one that CONNACK has told it of.
        let awaited = self.recorder.awaited();
        let awaited = awaited.filter(|_| recorded || self.recorder.store().failed().is_none());
        if awaited.is_some() {
            outbound.hold_outbox();
        }
        self.greet(turn, session, outbound, guest, resumed);
        if let Some(position) = awaited {
            self.release_outbox_when_committed(turn, session, epoch, position);
        }
        AttachedConnection {
            session: Arc::clone(session),
            epoch,
            version: connect.version,
            is_bridge: connect.is_bridge,
        }
    }

    /// Records that a connection is attached. For the store, a session that now ends with its connection has ended. Whether
    /// there was anything to record.
    #[cold]
    #[inline(never)]
    fn record_attached(&self, turn: &Turn, session: &Session, control: &Control, was_kept: bool) -> bool {
        let expiry_interval = control.expiry_interval;
        let record = |change| self.recorder.session(turn.now, &session.client_id, change);
        let user = control.user.as_deref().map(AsRef::as_ref);
        match (was_kept, control.kept) {
            (false, true) => record(SessionChange::Begun { expiry_interval, user }),
            (true, true) => record(SessionChange::Attached { expiry_interval, user }),
            (true, false) => record(SessionChange::Ended),
            (false, false) => return false,
        };
        // The will of a session that ends with its connection is not kept.
        if let Some(will) = control.will.as_deref().filter(|_| control.kept && expiry_interval > 0) {
            let message = message_record(&will.message, self.recorder.clock());
            record(SessionChange::Will { message, delay: will.delay, expiry: will.expiry });
        }
        true
    }

    /// The event of an accepted client.
    fn arrival(&self, session: &Session, guest: Guest<'_>, resumed: bool, keep_alive: u16) -> Arrival {
        let Guest { origin, connect, .. } = guest;
        Arrival {
            client_id: session.client_id.clone(),
            connection: origin.number,
            username: connect.username.map(Into::into),
            address: origin.peer,
            listener: origin.listener().cloned(),
            tls: origin.tls().cloned(),
            version: connect.version,
            clean_start: connect.clean_start,
            session_present: resumed,
            keep_alive,
        }
    }

    fn log_arrival(&self, turn: &mut Turn, session: &Session, guest: Guest<'_>, resumed: bool) {
        let client_id = &session.client_id;
        self.log(turn, Level::Info, Some(client_id), || {
            let resumed = if resumed { ", resumes its session" } else { "" };
            let secured = guest.origin.tls().map(|tls| format!(" over {tls}")).unwrap_or_default();
            format!(
                "client {client_id:?}: has connected {} by {}{secured}{resumed}",
                guest.origin, guest.connect.version
            )
        });
    }

    /// Sends CONNACK, and behind it what an earlier connection left.
    fn greet(
        &self,
        turn: &mut Turn,
        session: &Arc<Session>,
        mut outbound: MutexGuard<'_, Outbound>,
        guest: Guest<'_>,
        resumed: bool,
    ) {
        let connack = Connack {
            // [MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT3-3.2.2-1], [MQTT3-3.2.2-2], [MQTT3-3.2.2-3]; MQTT 3.1 has no
            // such flag.
            session_present: resumed && guest.connect.version != Version::V31,
            reason: ReasonCode::Success,
            properties: guest.told,
        };
        let mut cx = self.context(turn, session);
        // [MQTT-3.1.4-5], [MQTT3-3.1.4-4], [MQTT-3.2.0-1], [MQTT3-3.2.0-1], [MQTT-3.2.0-2]
        let mut flush = outbound.send(&mut cx, |version, out| connack.encode(version, out));
        outbound.pump(&mut cx);
        flush |= outbound.list_for_flush();
        Engine::note_holds(turn, session, &mut outbound);
        drop(outbound);
        if session.is_marked(Mark::WALKS) {
            flush |= self.walk_retained(turn, session);
        }
        if flush {
            turn.flush_later(session);
        }
    }

    fn connack_properties(&self, connect: &Connect<'_>, assigned: Option<&str>, out: &mut Vec<u8>) {
        let options = &self.options;
        let expiry_interval = self.expiry_interval(connect);
        let mut p = PropertyWriter::new(out);
        if expiry_interval != connect.properties.session_expiry_interval().unwrap_or(0) {
            p.session_expiry_interval(expiry_interval);
        }
        p.receive_maximum(options.receive_maximum);
        if options.max_qos < QoS::ExactlyOnce {
            p.maximum_qos(options.max_qos); // [MQTT-3.2.2-9]
        }
        if !options.retain {
            p.retain_available(false);
        }
        p.maximum_packet_size(options.max_packet_size);
        if let Some(assigned) = assigned {
            p.assigned_client_identifier(assigned); // [MQTT-3.2.2-16]
        }
        if options.topic_alias_maximum > 0 {
            p.topic_alias_maximum(options.topic_alias_maximum);
        }
        if !options.wildcard_subscriptions {
            p.wildcard_subscription_available(false);
        }
        if !options.subscription_identifiers {
            p.subscription_identifier_available(false);
        }
        if !options.shared_subscriptions {
            p.shared_subscription_available(false);
        }
        let keep_alive = self.keep_alive(connect);
        if keep_alive != connect.keep_alive {
            p.server_keep_alive(keep_alive); // [MQTT-3.2.2-21]
        }
        // [MQTT-3.1.2-28]
        if connect.properties.request_response_information() == Some(true)
            && !options.response_information.is_empty()
        {
            p.response_information(&options.response_information);
        }
    }

    fn client_limits(&self, connect: &Connect<'_>) -> ClientLimits {
        let properties = &connect.properties;
        let aliases = properties.topic_alias_maximum().unwrap_or(0);
        ClientLimits {
            version: connect.version,
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX).min(self.options.max_inflight),
            // Properties that the broker adds must not make a packet larger than the protocol allows.
            maximum_packet_size: properties.maximum_packet_size().unwrap_or(u32::MAX).min(LARGEST_PACKET),
            topic_alias_maximum: aliases.min(self.options.topic_alias_maximum_outgoing),
            kept: self.recorder.is_kept() && self.expiry_interval(connect) > 0,
        }
    }

    fn expiry_interval(&self, connect: &Connect<'_>) -> u32 {
        let wanted = match connect.version {
            Version::V5 => connect.properties.session_expiry_interval().unwrap_or(0),
            _ if connect.clean_start => 0, // [MQTT3-3.1.2-6]
            _ => u32::MAX,
        };
        wanted.min(self.options.max_session_expiry)
    }

    fn keep_alive(&self, connect: &Connect<'_>) -> u16 {
        let most = self.options.keep_alive_max;
        match (connect.version, connect.keep_alive) {
            // Only a client of MQTT 5 can be told another Keep Alive.
            (Version::V5, wanted) if most > 0 && (wanted == 0 || wanted > most) => most,
            // [MQTT-3.2.2-22]
            (_, wanted) => wanted,
        }
    }

    /// A Client Identifier that no session has [MQTT-3.1.3-6], [MQTT3-3.1.3-6].
    fn assign_client_id(&self) -> String {
        loop {
            let id = format!("midge-{:016x}", self.assigned_ids.draw());
            if self.sessions.get(&id).is_none() {
                return id;
            }
        }
    }
}

/// The user that an authority has found the client to be: its user name, empty if it has none. `None` where no authority has
/// decided.
fn user_of<'c>(pending: &DecisionContext<'_>, connect: &Connect<'c>) -> Option<&'c str> {
    let proven = connect.properties.authentication_method().is_some();
    let decided = || match pending.decisions.standing(Stage::Authenticate { step: 0 }) {
        Standing::Decided(ruled) => ruled.by.is_some(),
        Standing::Awaited | Standing::AskFrom(_) => false,
    };
    (proven || decided()).then(|| connect.username.unwrap_or_default())
}

/// The refusal of a client whose session the store cannot note. Without an answer it would wait for space on the disk, and its
/// old connection would be closed.
fn store_full() -> DecodeError {
    DecodeError::new(ReasonCode::ServerUnavailable, Refusal::StoreFull.error().cause)
}

/// Checks that the client accepts a CONNACK with `properties` bytes of properties [MQTT-3.1.2-24].
fn check_connack(connect: &Connect<'_>, properties: usize) -> Result<(), DecodeError> {
    // Flags, reason code, Property Length and properties.
    let size = frame::packet_len(2 + frame::packet_len(properties) - 1);
    match connect.properties.maximum_packet_size() {
        Some(most) if size > most as usize => {
            let cause = "CONNACK would be larger than the client's maximum packet size";
            Err(DecodeError::new(ReasonCode::PacketTooLarge, cause))
        }
        _ => Ok(()),
    }
}

/// One and a half times the Keep Alive, in milliseconds [MQTT-3.1.2-22], [MQTT3-3.1.2-24].
pub(crate) fn keep_alive_millis(seconds: u16) -> u64 {
    u64::from(seconds) * 1500
}
