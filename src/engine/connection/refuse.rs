//! Refusal of a connection without a session, by the rules of each version.

use crate::codec::connack::Connack;
use crate::codec::error::DecodeError;
use crate::codec::properties::Properties;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::engine::connection::reason_string::encode_with;
use crate::engine::connection::state::{ConnackForm, Connection};
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::session::event::{Event, Level, RefusedClient};
use crate::session::link::Cause;

/// A client that is refused, as far as it is known.
#[derive(Clone, Copy, Default)]
pub(super) struct Refusee<'c> {
    pub client_id: Option<&'c str>,
    pub username: Option<&'c str>,
    /// The place of the authority that refuses it.
    pub by: Option<usize>,
}

impl Connection {
    /// Ends a connection that has no session, with a CONNACK if the protocol allows one
    /// [MQTT-3.1.4-1], [MQTT-3.1.4-6], [MQTT3-3.1.4-5].
    pub(super) fn refuse(
        &mut self,
        engine: &Engine,
        turn: &mut Turn,
        form: ConnackForm,
        refusee: Refusee<'_>,
        error: DecodeError,
    ) {
        self.stop_waiting(engine);
        let Refusee { client_id, username, by } = refusee;
        let by = by.and_then(|by| engine.authorities.refuses(by));
        if engine.events.wants(EventMask::REFUSED) {
            turn.events.push(Event::Refused(Box::new(RefusedClient {
                client_id: client_id.map(Into::into),
                username: username.map(Into::into),
                by: by.map(Into::into),
                address: self.origin.peer,
                reason: error.reason,
                why: error.cause,
            })));
        }
        // One whose deadline has passed is counted by then.
        turn.counts.connections_refused += u64::from(!self.link.is_over());
        engine.log(turn, Level::Warn, client_id, || {
            let client = client_id.map(|id| format!(" of client {id:?}")).unwrap_or_default();
            let user = username.map(|name| format!(" (user {name:?})")).unwrap_or_default();
            let by = by.map(|name| format!(" by {name}")).unwrap_or_default();
            let DecodeError { reason, cause } = error;
            format!(
                "connection {}{client}{user} {} is refused with 0x{:02X}{by}: {cause}",
                self.origin.number,
                self.origin,
                reason.as_u8()
            )
        });
        // Never a DISCONNECT [MQTT-3.14.0-1].
        let mut last = Vec::new();
        let reason = error.reason;
        let connack = Connack { session_present: false, reason, properties: Properties::EMPTY };
        match form.level {
            // [MQTT3-3.1.4-1]: an invalid packet is answered only by closing; CONNACK is sent only for reasons with a
            // return code [MQTT3-3.2.2-6].
            Some(3 | 4) if !has_return_code(reason) => {}
            Some(3 | 4) => connack.encode(Version::V311, &mut last),
            // [MQTT3-3.1.2-2]: an unknown level of 3.1.1's shape gets return code 0x01.
            Some(0..=2) => connack.encode(Version::V311, &mut last),
            Some(_) => {
                let reason_string = if form.wants_sentences { error.cause } else { "" };
                encode_with(reason_string, form.maximum_packet_size, &mut last, |properties, out| {
                    Connack { properties, ..connack }.encode(Version::V5, out);
                });
            }
            None => {}
        }
        // [MQTT-3.1.4-2], [MQTT-3.2.2-7], [MQTT3-3.2.2-5], [MQTT-4.12.0-4], [MQTT-4.13.2-1]
        self.link.finish(last.into(), Cause::Refused(reason));
    }
}

/// Whether MQTT 3 has a CONNACK return code for this reason.
fn has_return_code(reason: ReasonCode) -> bool {
    !matches!(
        reason,
        ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::PacketTooLarge
            | ReasonCode::TopicNameInvalid
    )
}
