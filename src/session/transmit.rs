//! The sending half of a session: appends queued and unacknowledged messages to the outbox as packets.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::ack::{Ack, AckKind};
use crate::codec::packet_id::PacketId;
use crate::codec::properties::PropertyWriter;
use crate::codec::publish;
use crate::codec::qos::QoS;
use crate::message::{Publication, SHARE_FROM};
use crate::session::aliases::Naming;
use crate::session::delivery::{Context, DeliveryOptions, Outcome};
use crate::session::entry::Entry;
use crate::session::outbound::{Outbound, record_dropped};
use crate::session::plan::Sizes;
use crate::stats::DropReason;
use crate::storage::SessionChange;
use crate::time::Time;

impl Outbound {
    /// Sends again the deliveries that an earlier connection left incomplete; returns whether all of them are sent.
    pub(super) fn resend(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(delivery) = self.inflight.unsent() {
            let (id, again) = (delivery.packet_id(), delivery.was_transmitted());
            let Some(pending) = delivery.pending().cloned() else {
                // [MQTT-4.3.3-6], [MQTT3-4.3.3-1]: PUBREL is sent again, never PUBLISH.
                let ack = Ack::success(id);
                self.inflight.mark_sent();
                self.append(cx, |version, out| ack.encode(AckKind::Pubrel, version, out));
                continue;
            };
            let full = self.inflight.sent() >= usize::from(self.client_limits.receive_maximum);
            if full || !self.has_room(cx.limits) {
                return false;
            }
            // It is sent even if it has expired [MQTT-4.3.3-7], [MQTT-4.8.2-4].
            let mut publication = Publication::of(&pending.message);
            let options = pending.options();
            // [MQTT-3.3.1-1], [MQTT3-3.3.1-1]: DUP is set when the packet is sent again.
            if self.transmit(cx, &mut publication, &options, Some(id), again) {
                self.inflight.mark_sent();
            } else {
                self.inflight.remove_unsent();
                if self.client_limits.kept {
                    cx.record(SessionChange::Done { packet_id: id });
                }
                cx.drop(pending.message.topic(), DropReason::PacketTooLarge);
            }
        }
        true
    }

    pub(super) fn send_queue(&mut self, cx: &mut Context<'_>) {
        while let Some(front) = self.queue.front() {
            if front.is_expired(cx.now) {
                // [MQTT-3.3.2-5]
                cx.drop(front.topic(), DropReason::Expired);
                record_dropped(cx, self.client_limits.kept, 0, front);
                self.queue.pop();
                continue;
            }
            let needs_place = front.qos() != QoS::AtMostOnce;
            let is_stored = front.held().is_none();
            if is_stored || (needs_place && self.is_window_full(cx.limits)) || !self.has_room(cx.limits) {
                return;
            }
            let Some(Entry::Held(pending)) = self.queue.pop() else {
                return;
            };
            if needs_place && self.client_limits.kept {
                let message = Arc::clone(&pending.message);
                if !self.begin_kept(cx, pending) {
                    cx.drop(message.topic(), DropReason::PacketTooLarge);
                }
                continue;
            }
            let mut publication = Publication::of(&pending.message);
            let options = pending.options();
            let sent = match needs_place {
                true => self.begin(cx, &mut publication, &options) == Outcome::Sent,
                false => self.transmit(cx, &mut publication, &options, None, false),
            };
            if !sent {
                cx.drop(pending.message.topic(), DropReason::PacketTooLarge);
            }
        }
    }

    /// Appends the PUBLISH packet; false if it is larger than the client accepts: the caller then acts as if it had
    /// been sent [MQTT-3.1.2-25]. The caller decides about DUP [MQTT-3.3.1-3], [MQTT3-3.3.1-3].
    pub(super) fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
        id: Option<PacketId>,
        dup: bool,
    ) -> bool {
        let plain =
            options.identifiers.is_empty() && !self.has_aliases() && publication.expires_at == Time::NEVER;
        let v5 = self.client_limits.version.is_v5();
        let forwarded = plain.then(|| publication.frame_for(v5, id)).flatten();
        let appended = match forwarded {
            Some(frame) if publication.payload.len() < SHARE_FROM => {
                if !self.takes(frame.whole.len()) {
                    return false;
                }
                self.outbox.append(cx.pool, None, |out| {
                    let start = out.len();
                    out.extend_from_slice(frame.whole);
                    if let Some(first) = out.get_mut(start) {
                        *first = publish::first_byte(dup, options.qos, options.retain);
                    }
                    if let (Some(at), Some(id)) = (frame.packet_id_at, id)
                        && let Some(place) = out.get_mut(start + at..start + at + 2)
                    {
                        place.copy_from_slice(&id.get().to_be_bytes());
                    }
                });
                true
            }
            _ => self.encode(cx, publication, options, id, dup),
        };
        if appended {
            cx.counts.packets_sent += 1;
            cx.counts.publish_sent += 1;
            cx.counts.publish_bytes_sent += publication.payload.len() as u64;
            if dup {
                cx.counts.publish_resent += 1;
            } else {
                cx.counts.messages_delivered += 1;
                self.sent_messages += 1;
                if options.qos == QoS::AtMostOnce {
                    cx.delivered(publication.topic, options.qos);
                }
            }
        }
        appended
    }

    fn encode(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
        id: Option<PacketId>,
        dup: bool,
    ) -> bool {
        if !self.takes(self.packet_len(&Sizes::of(publication), options.qos, options.identifiers)) {
            return false;
        }
        let version = self.client_limits.version;
        let mut own = Vec::new();
        let mut topic = publication.topic;
        let mut spans: SmallVec<[&[u8]; 4]> = SmallVec::new();
        if version.is_v5() {
            own = cx.pool.take();
            let mut writer = PropertyWriter::new(&mut own);
            if let Some(seconds) = publication.expiry_interval(cx.now) {
                writer.message_expiry_interval(seconds); // [MQTT-3.3.2-6]
            }
            for identifier in options.identifiers {
                writer.subscription_identifier(*identifier); // [MQTT-3.3.4-3]
            }
        }
        if let Some(aliases) = self.aliases() {
            match aliases.name(topic) {
                Naming::Name => {}
                Naming::Introduce(alias) => {
                    PropertyWriter::new(&mut own).topic_alias(alias);
                }
                Naming::Alias(alias) => {
                    PropertyWriter::new(&mut own).topic_alias(alias);
                    topic = &[];
                }
            }
        }
        if version.is_v5() {
            spans.push(&own);
            spans.extend_from_slice(&publication.properties);
        }
        let shared = publication.shared_payload();
        let payload = publication.payload;
        let copied: &[u8] = if shared.is_some() { &[] } else { payload };
        self.outbox.append(cx.pool, shared, |out| {
            publish::encode_header(
                out,
                version,
                dup,
                options.qos,
                options.retain,
                topic,
                id,
                &spans,
                payload.len(),
            );
            out.extend_from_slice(copied);
        });
        drop(spans);
        cx.pool.put(own);
        true
    }
}
