//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.

use std::sync::Arc;

use crate::codec::ack::{Ack, AckKind};
use crate::codec::error::DecodeError;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::attached::{AttachedConnection, ConnectionEnd};
use crate::session::acknowledged::Acknowledged;
use crate::session::event::{Delivered, Event};
use crate::session::inbound::Inbound;
use crate::session::outbound::Outbound;
use crate::session::state::{Mark, Session};
use crate::storage::SessionChange;

impl Engine {
    /// Handles PUBACK, PUBREC or PUBCOMP: a delivery to this client advances, and the next waiting one may begin.
    pub(crate) fn receive_ack(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        kind: AckKind,
        ack: &Ack<'_>,
    ) -> Result<(), ConnectionEnd> {
        let id = ack.packet_id;
        let session = &attached.session;
        let mut outbound = session.outbound.lock();
        if outbound.epoch() != attached.epoch {
            return Ok(());
        }
        let delivered = match self.events.wants(EventMask::DELIVERED)
            && kind != AckKind::Pubcomp
            && !ack.reason.is_error()
        {
            true => outbound.unacknowledged(id),
            false => None,
        };
        let meaning = match kind {
            AckKind::Puback => outbound.puback(&mut turn.pool, id),
            AckKind::Pubrec => outbound.pubrec(&mut turn.pool, id, ack.reason),
            AckKind::Pubcomp | AckKind::Pubrel => outbound.pubcomp(&mut turn.pool, id),
        };
        if let Some((message, qos)) = delivered
            && matches!(meaning, Acknowledged::Complete | Acknowledged::Progress)
        {
            let (client_id, topic) = (session.client_id.clone(), message.topic().into());
            turn.events.push(Event::Delivered(Delivered { client_id, topic, qos }));
        }
        let now = turn.now;
        let record = |outbound: &Outbound, change| {
            if outbound.is_kept() {
                self.recorder.session(now, &session.client_id, change);
            }
        };
        let mut cx = self.context(turn, session);
        let mut flush = false;
        match meaning {
            Acknowledged::Unexpected => {
                return Err(DecodeError::protocol("the delivery awaits another acknowledgement").into());
            }
            // A refusing PUBREC ends the flow: PUBREL does not follow [MQTT-4.3.3-4], [MQTT-4.4.0-2].
            Acknowledged::Complete => {
                record(&outbound, SessionChange::Done { packet_id: id });
                cx.counts.acknowledgements_received += u64::from(kind != AckKind::Pubrec);
                outbound.pump(&mut cx);
            }
            Acknowledged::Progress => {
                record(&outbound, SessionChange::Confirmed { packet_id: id });
                // [MQTT-4.3.3-4], [MQTT-4.6.0-4], [MQTT3-4.6.0-4]
                let pubrel = Ack::success(id);
                if outbound.is_kept() {
                    // After the client has PUBREL, the message must not be sent again.
                    drop(outbound);
                    self.send_pubrel_when_safe(turn, attached, pubrel);
                    return Ok(());
                }
                flush = outbound.send(&mut cx, |version, out| pubrel.encode(AckKind::Pubrel, version, out));
            }
            Acknowledged::Unknown if kind == AckKind::Pubrec && !ack.reason.is_error() => {
                // The flow was completed or forgotten here: PUBREL lets the client complete it too. An error might make
                // it discard the message. No Reason String, no User Properties [MQTT-3.6.2-2], [MQTT-3.6.2-3].
                let pubrel = Ack::success(id);
                flush = outbound.send(&mut cx, |version, out| pubrel.encode(AckKind::Pubrel, version, out));
            }
            Acknowledged::Unknown => {}
        }
        flush |= outbound.list_for_flush();
        Engine::note_holds(turn, session, &mut outbound);
        drop(outbound);
        if session.is_marked(Mark::WALKS.and(Mark::AWAITED)) {
            flush |= self.go_on_after_ack(turn, session);
        }
        if flush {
            turn.flush_later(session);
        }
        Ok(())
    }

    /// Does what the marks of a session say when its client has taken a message. Whether the caller must flush.
    #[cold]
    #[inline(never)]
    pub(crate) fn go_on_after_ack(&self, turn: &mut Turn, session: &Arc<Session>) -> bool {
        if session.is_marked(Mark::AWAITED) {
            self.release_publishers(turn, session);
        }
        session.is_marked(Mark::WALKS) && self.walk_retained(turn, session)
    }

    #[cold]
    #[inline(never)]
    fn send_pubrel_when_safe(&self, turn: &mut Turn, attached: &AttachedConnection, pubrel: Ack<'_>) {
        self.send_when_safe(turn, attached, false, |version, out| {
            pubrel.encode(AckKind::Pubrel, version, out);
        });
    }

    /// Handles PUBREL: releases a received QoS 2 message.
    pub(crate) fn receive_pubrel(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut Inbound,
        ack: &Ack<'_>,
    ) -> Result<(), ConnectionEnd> {
        let packet_id = ack.packet_id;
        // [MQTT-4.3.3-12], [MQTT-4.3.3-13]
        let known = inbound.received.remove(packet_id);
        if known && inbound.kept {
            let client_id = &attached.session.client_id;
            self.recorder.session(turn.now, client_id, SessionChange::Released { packet_id });
        }
        // No Reason String, no User Properties [MQTT-3.7.2-2], [MQTT-3.7.2-3].
        // [MQTT-4.3.3-11]: PUBREL is answered by PUBCOMP. An identifier that is not known was released before, by a
        // PUBREL whose PUBCOMP was lost: the message was delivered, and this is no error.
        turn.counts.acknowledgements_sent += u64::from(known);
        self.send_ack(turn, attached, AckKind::Pubcomp, Ack::success(packet_id));
        Ok(())
    }
}
