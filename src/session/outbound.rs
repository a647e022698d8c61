//! The sending half of a session: the queue, the in-flight window, and the outbox of the connection.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::qos::QoS;
use crate::codec::reason::ReasonCode;
use crate::codec::version::Version;
use crate::message::Publication;
use crate::session::aliases::AliasesOut;
use crate::session::chunk::Chunk;
use crate::session::delivery::{
    Block, ClientLimits, Context, DeliveryOptions, Limits, Outcome, ReportedFates, SessionRemains,
};
use crate::session::entry::Entry;
use crate::session::epoch::Epoch;
use crate::session::held_acks::{HeldAcks, WaitingPublishers};
use crate::session::inflight::Inflight;
use crate::session::last_bytes::{EndingBytes, LastBytes};
use crate::session::link::{Cause, Link};
use crate::session::outbox::Outbox;
use crate::session::pending::Pending;
use crate::session::plan::Plan;
use crate::session::queue::{Queue, Queued};
use crate::session::reader::Reader;
use crate::session::record::delivery_record;
use crate::session::retained_walks::RetainedWalks;
use crate::stats::DropReason;
use crate::storage::{Position, SessionChange};

/// A connection that was detached while a thread was writing to it, and its last bytes: that thread finishes it.
struct Orphan {
    epoch: Epoch,
    link: Arc<dyn Link>,
    last: LastBytes,
    cause: Cause,
}

/// Rarely used state, boxed to keep idle sessions small.
#[derive(Default)]
struct OutboundExtras {
    orphans: Vec<Orphan>,
    /// The Topic Aliases of the connection, if its client accepts any.
    aliases: Option<AliasesOut>,
    /// The positions that deliveries wait for in the store, until [`Outbound::take_holds`] takes them.
    holds: Vec<Position>,
    /// Retained messages that are still to be sent, if any are.
    walks: Option<Box<RetainedWalks>>,
    /// Acknowledgements for the client that wait for a subscriber, if any do.
    held_acks: Option<Box<HeldAcks>>,
    /// The publishers that wait for this session's queue.
    waiting_publishers: Option<Box<WaitingPublishers>>,
    /// The receiving client, if its right is checked at each delivery.
    reader: Option<Reader>,
}

impl OutboundExtras {
    fn has_walks(&self) -> bool {
        self.walks.as_ref().is_some_and(|walks| !walks.is_empty())
    }
}

/// The sending half of a session. Any thread that delivers holds its lock briefly.
pub struct Outbound {
    link: Option<Arc<dyn Link>>,
    epoch: Epoch,
    pub(super) client_limits: ClientLimits,
    pub(super) outbox: Outbox,
    pub(super) inflight: Inflight,
    pub(super) queue: Queue,
    extras: Option<Box<OutboundExtras>>,
    /// The number of acknowledgements that wait for the store.
    pub(super) awaiting_commit: u32,
    /// The number of application messages sent; repeated transmissions are not counted.
    pub(super) sent_messages: u64,
    /// Why the connection's own task must end the connection, if it must.
    close_requested: Option<Cause>,
    /// Whether the session has ended: a message that is added now would never be delivered.
    pub(super) ended: bool,
}

impl Default for Outbound {
    fn default() -> Outbound {
        let client_limits = ClientLimits {
            version: Version::V311,
            receive_maximum: 0,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            kept: false,
        };
        Outbound {
            link: None,
            epoch: Epoch::NONE,
            client_limits,
            outbox: Outbox::default(),
            inflight: Inflight::default(),
            queue: Queue::default(),
            extras: None,
            awaiting_commit: 0,
            sent_messages: 0,
            close_requested: None,
            ended: false,
        }
    }
}

impl Outbound {
    /// Whether a connection is attached.
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// The attached connection.
    pub fn link(&self) -> Option<&Arc<dyn Link>> {
        self.link.as_ref()
    }

    /// The number of the attached or last connection.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version of the attached or last connection.
    pub fn version(&self) -> Version {
        self.client_limits.version
    }

    /// The largest packet that the client of the attached or last connection accepts.
    pub fn maximum_packet_size(&self) -> u32 {
        self.client_limits.maximum_packet_size
    }

    /// Whether changes of the session are recorded.
    pub fn is_kept(&self) -> bool {
        self.client_limits.kept
    }

    /// Asks the task of the connection `epoch` to end it for `cause`, if it is still attached.
    pub fn request_close(&mut self, epoch: Epoch, cause: Cause) {
        if let Some(link) = self.link.as_ref().filter(|_| self.epoch == epoch) {
            self.close_requested = Some(cause);
            link.wake();
        }
    }

    /// Takes the request to end the connection: its number and the cause.
    pub fn take_close_request(&mut self) -> Option<(Epoch, Cause)> {
        Some((self.epoch, self.close_requested.take()?))
    }

    /// Whether the session has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The number of messages in the queue.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// The bytes that the queue's messages occupy, with their options and places.
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// The number of incomplete deliveries.
    pub fn inflight_len(&self) -> usize {
        self.inflight.len()
    }

    /// The bytes of the deliveries whose message is still needed.
    pub fn inflight_bytes(&self) -> usize {
        self.inflight.bytes()
    }

    /// The number of application messages sent.
    pub fn sent_messages(&self) -> u64 {
        self.sent_messages
    }

    /// Attaches a connection; its packets are numbered from nothing, its deliveries start again.
    pub(super) fn attach(&mut self, link: Arc<dyn Link>, epoch: Epoch, client_limits: ClientLimits) {
        self.link = Some(link);
        self.epoch = epoch;
        self.client_limits = client_limits;
        self.set_aliases(client_limits.topic_alias_maximum);
        self.set_held_acks(None);
        self.inflight.restart();
        self.awaiting_commit = 0;
        self.close_requested = None;
    }

    /// Lets nothing be written to the connection that has just been attached before [`Outbound::release_outbox`].
    pub fn hold_outbox(&mut self) {
        self.outbox.hold();
    }

    /// The store has committed what the CONNACK of the connection `epoch` stands for. Whether the caller has to see to
    /// it that the outbox is flushed.
    pub fn release_outbox(&mut self, epoch: Epoch) -> bool {
        if self.epoch != epoch || !self.outbox.is_held() {
            return false;
        }
        self.outbox.release();
        self.list_for_flush()
    }

    /// Detaches the connection and ends it: `encode` writes the last packet, after the bytes that wait. Nothing more is
    /// sent [MQTT-3.14.4-1], and the link is finished [MQTT-3.14.4-2]. If the bytes that wait are too many, beside those of
    /// the other connections that have ended, the last packet is written alone, or nothing in the middle of a packet.
    pub(super) fn detach(
        &mut self,
        cause: Cause,
        ending: &Arc<EndingBytes>,
        encode: impl FnOnce(&ClientLimits, &mut Vec<u8>),
    ) {
        let Some(link) = self.link.take() else {
            return;
        };
        let busy = self.outbox.is_being_written();
        let mut outbox = std::mem::take(&mut self.outbox);
        let mut packet = Vec::new();
        let last = match outbox.is_held() {
            // Its client has no CONNACK, and is not told now what the store may not have.
            true => LastBytes::default(),
            false if outbox.is_empty() => {
                encode(&self.client_limits, &mut packet);
                packet.into()
            }
            false => {
                encode(&self.client_limits, &mut packet);
                LastBytes::counted(ending, outbox.undrained(), &packet, || outbox.drain()).unwrap_or_else(
                    || match outbox.is_partly_written() {
                        true => LastBytes::default(),
                        false => packet.into(),
                    },
                )
            }
        };
        match busy {
            true => {
                let epoch = self.epoch;
                self.extras().orphans.push(Orphan { epoch, link, last, cause });
            }
            false => link.finish(last, cause),
        }
    }

    /// Appends a packet other than PUBLISH. Returns whether the caller must flush.
    ///
    /// A packet that is larger than the client accepts is not sent [MQTT-3.1.2-24]; as the protocol cannot continue
    /// without it, the connection ends.
    /// The packet does not wait for the window [MQTT-3.3.4-10], [MQTT-4.9.0-3].
    #[inline]
    pub fn send(&mut self, cx: &mut Context<'_>, encode: impl FnOnce(Version, &mut Vec<u8>)) -> bool {
        if self.link.is_none() {
            return false;
        }
        self.append(cx, encode);
        self.outbox.list_for_flush()
    }

    pub(super) fn append(&mut self, cx: &mut Context<'_>, encode: impl FnOnce(Version, &mut Vec<u8>)) {
        let ClientLimits { version, maximum_packet_size, .. } = self.client_limits;
        let mut fits = true;
        self.outbox.append(cx.pool, None, |out| {
            let start = out.len();
            encode(version, out);
            fits = out.len() - start <= maximum_packet_size as usize;
            if !fits {
                out.truncate(start);
            }
        });
        match fits {
            // A client that sends much before it has CONNACK is not read any slower.
            true if self.outbox.is_held() && self.outbox.len() >= 2 * cx.limits.outbox_bytes => {
                self.request_close(self.epoch, Cause::Refused(ReasonCode::QuotaExceeded));
            }
            true => cx.counts.packets_sent += 1,
            false => self.request_close(self.epoch, Cause::Refused(ReasonCode::PacketTooLarge)),
        }
    }

    /// Whether the caller must flush the outbox, as [`Outbox::list_for_flush`].
    pub fn list_for_flush(&mut self) -> bool {
        self.link.is_some() && self.outbox.list_for_flush()
    }

    /// Whether the outbox may wait for more bytes before it is written.
    pub fn may_wait(&self) -> bool {
        self.outbox.may_wait()
    }

    /// Lets an outbox that holds enough wait all the same: the next append lists it again.
    pub fn put_off(&mut self) {
        self.outbox.put_off();
    }

    /// Sends a message, or queues it, or drops it.
    pub fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> Outcome {
        match self.plan(cx.limits, options.qos) {
            Plan::Send if options.qos > QoS::AtMostOnce => match self.client_limits.kept {
                true => self.deliver_kept(cx, publication, options),
                false => self.begin(cx, publication, options),
            },
            Plan::Send => match self.transmit(cx, publication, options, None, false) {
                true => Outcome::Sent,
                false => Outcome::Dropped(DropReason::PacketTooLarge),
            },
            Plan::Queue => self.enqueue(cx, publication, options),
            Plan::Drop(reason) => Outcome::Dropped(reason),
        }
    }

    /// Sends a QoS 1 or 2 message of a kept session. It is recorded as queued and then sent.
    #[cold]
    fn deliver_kept(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> Outcome {
        let pending = Pending::new(cx.pool, publication, options);
        cx.record(SessionChange::Queued(delivery_record(&pending, cx.recorder.clock())));
        match self.begin_kept(cx, pending) {
            true => Outcome::Sent,
            false => Outcome::Dropped(DropReason::PacketTooLarge),
        }
    }

    /// Sends QoS 0 messages as the packets that they arrived in; with `shared`, the bytes are shared and not copied.
    /// Returns false, and does nothing, if one of them could not be sent in this form.
    pub fn deliver_block(&mut self, cx: &mut Context<'_>, block: &Block<'_>, shared: Option<&Bytes>) -> bool {
        let fits = self.outbox.len().saturating_add(block.bytes.len()) < cx.limits.outbox_bytes
            && self.takes(block.largest);
        let plain = self.client_limits.version.is_v5() == block.v5 && !self.has_aliases();
        if !fits || !plain || self.plan(cx.limits, QoS::AtMostOnce) != Plan::Send {
            return false;
        }
        let copied = if shared.is_some() { &[] } else { block.bytes };
        self.outbox.append(cx.pool, shared.cloned(), |out| out.extend_from_slice(copied));
        cx.counts.packets_sent += block.messages;
        cx.counts.publish_sent += block.messages;
        cx.counts.publish_bytes_sent += block.payload_bytes;
        cx.counts.messages_delivered += block.messages;
        self.sent_messages += block.messages;
        true
    }

    /// Sends waiting messages, as far as the window and the outbox allow: first the deliveries that an earlier
    /// connection left incomplete, then the queue. The caller then calls [`Outbound::list_for_flush`].
    #[inline]
    pub fn pump(&mut self, cx: &mut Context<'_>) {
        if self.has_waiting() {
            self.send_waiting(cx);
        }
    }

    fn send_waiting(&mut self, cx: &mut Context<'_>) {
        if self.link.is_some() && self.resend(cx) {
            let before = self.queue.len();
            self.send_queue(cx);
            cx.queue_changed(before, self.queue.len());
            if self.queue.has_stored() {
                self.ask_for_stored(cx);
            }
        }
    }

    /// Takes the next chunk to write, with the connection and its number.
    pub fn take_chunk(&mut self, writable: bool) -> Option<(Epoch, Arc<dyn Link>, Chunk)> {
        let link = Arc::clone(self.link.as_ref()?);
        Some((self.epoch, link, self.outbox.take(writable)?))
    }

    /// Reports the result of writing a taken chunk: `rest` is the part that was not taken. True if there is more to
    /// write.
    pub fn chunk_written(&mut self, epoch: Epoch, rest: Option<Chunk>) -> bool {
        if let Some(orphan) = self.take_orphan(epoch) {
            let last = match rest {
                Some(rest) => orphan.last.after(rest),
                None => orphan.last,
            };
            orphan.link.finish(last, orphan.cause);
            return false;
        }
        if epoch != self.epoch || self.link.is_none() {
            return false;
        }
        let blocked = rest.is_some();
        self.outbox.written(rest);
        !blocked && !self.outbox.is_empty()
    }

    /// Whether waiting messages could be sent: after a flush there is room again.
    pub fn can_pump(&self, limits: &Limits) -> bool {
        self.has_waiting() && self.link.is_some() && self.has_room(limits)
    }

    #[inline]
    fn has_waiting(&self) -> bool {
        !self.queue.is_empty() || self.inflight.has_unsent()
    }

    /// Whether the connection takes no more until it is writable.
    pub fn is_blocked(&self) -> bool {
        self.link.is_some() && self.outbox.is_blocked()
    }

    /// Whether reading from the client must pause: the connection is full, and the outbox is beyond its bound. The
    /// answers to its packets are never dropped, so this bounds them. A long queue is no reason: acknowledgements make
    /// room there.
    pub fn must_pause(&self, limits: &Limits) -> bool {
        self.is_blocked() && self.outbox.len() >= 2 * limits.outbox_bytes
    }

    /// Ends the session: takes the queued and unacknowledged messages.
    pub fn end(&mut self, reported: ReportedFates) -> SessionRemains {
        self.ended = true;
        self.client_limits.kept = false;
        let is_shared = |pending: &Pending| pending.share().is_some();
        if let Some(extras) = &mut self.extras {
            extras.walks = None;
        }
        let waited = self.queue.len();
        let unacknowledged = std::mem::take(&mut self.inflight).into_unacknowledged();
        let waiting = std::mem::take(&mut self.queue).into_waiting();
        let (mut shared_waiting, mut dropped) = (Vec::new(), Vec::new());
        for entry in waiting {
            match entry {
                Entry::Held(pending) if is_shared(&pending) => shared_waiting.push(pending),
                entry if reported.dropped => dropped.push(entry),
                _ => {}
            }
        }
        SessionRemains {
            waited,
            shared_unacknowledged: unacknowledged.filter(is_shared).collect(),
            shared_waiting,
            dropped,
        }
    }

    /// Whether a QoS 1 or 2 message would be sent at once.
    pub fn is_ready(&self, limits: &Limits) -> bool {
        self.link.is_some()
            && self.queue.is_empty()
            && !self.inflight.has_unsent()
            && !self.is_window_full(limits)
            && self.has_room(limits)
    }

    /// Whether the maximum number of QoS 1 and 2 messages is unacknowledged [MQTT-3.3.4-9]. A delivery of which only
    /// PUBREL was sent on this connection counts too, until PUBCOMP.
    /// [MQTT-4.9.0-1], [MQTT-4.9.0-2]
    ///
    /// It is also full by its bytes, because they stay with the session. An empty window takes a message of any size.
    pub(super) fn is_window_full(&self, limits: &Limits) -> bool {
        self.inflight.begun() >= usize::from(self.client_limits.receive_maximum)
            || self.inflight.has_bytes(limits.window_bytes)
    }

    /// A packet is taken as long as fewer bytes wait than the limit, so that the largest packet finds room, too. Retained
    /// messages for new subscriptions do not count: their bytes have a limit of their own.
    #[inline]
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        let waiting = self.outbox.len();
        waiting < limits.outbox_bytes || waiting - self.outbox.walked().min(waiting) < limits.outbox_bytes
    }

    fn extras(&mut self) -> &mut OutboundExtras {
        self.extras.get_or_insert_default()
    }

    /// Clears the aliases; the client accepts at most `maximum`.
    fn set_aliases(&mut self, maximum: u16) {
        let aliases = (maximum > 0).then(|| AliasesOut::new(maximum));
        if aliases.is_some() || self.has_aliases() {
            self.extras().aliases = aliases;
        }
        self.shed_extras();
    }

    /// The walks through the retained messages.
    pub(super) fn walks_mut(&mut self) -> &mut RetainedWalks {
        self.extras().walks.get_or_insert_default()
    }

    /// Whether any walk is left; if none is, their memory goes.
    pub fn keep_walks(&mut self) -> bool {
        let any = self.extras.as_ref().is_some_and(|extras| extras.has_walks());
        if !any && let Some(extras) = &mut self.extras {
            extras.walks = None;
            self.shed_extras();
        }
        any
    }

    /// Acknowledgements for the client that wait for a subscriber, if any do.
    #[inline]
    pub(super) fn held_acks_mut(&mut self) -> Option<&mut HeldAcks> {
        self.extras.as_mut()?.held_acks.as_deref_mut()
    }

    pub(super) fn set_held_acks(&mut self, held: Option<Box<HeldAcks>>) {
        if held.is_some() || self.held_acks_mut().is_some() {
            self.extras().held_acks = held;
            self.shed_extras();
        }
    }

    /// Whether publishers wait for this session, or it was given up.
    pub fn is_awaited(&self) -> bool {
        self.waiting_publishers().is_some()
    }

    pub(super) fn waiting_publishers(&self) -> Option<&WaitingPublishers> {
        self.extras.as_ref()?.waiting_publishers.as_deref()
    }

    pub(super) fn waiting_publishers_mut(&mut self) -> &mut WaitingPublishers {
        self.extras().waiting_publishers.get_or_insert_default()
    }

    pub(super) fn take_waiting_publishers(&mut self) -> Option<Box<WaitingPublishers>> {
        let taken = self.extras.as_mut()?.waiting_publishers.take();
        self.shed_extras();
        taken
    }

    /// The receiving client, if its right is checked at each delivery.
    pub fn reader_mut(&mut self) -> Option<&mut Reader> {
        self.extras.as_mut()?.reader.as_mut()
    }

    /// Checks the right of this receiving client at each delivery.
    pub fn set_reader(&mut self, reader: Reader) {
        self.extras().reader = Some(reader);
    }

    fn shed_extras(&mut self) {
        self.extras.take_if(|extras| {
            extras.aliases.is_none()
                && extras.orphans.is_empty()
                && extras.holds.is_empty()
                && extras.walks.is_none()
                && extras.held_acks.is_none()
                && extras.waiting_publishers.is_none()
                && extras.reader.is_none()
        });
    }

    /// The aliases, if the client accepts any.
    pub(super) fn aliases(&mut self) -> Option<&mut AliasesOut> {
        self.extras.as_mut()?.aliases.as_mut()
    }

    /// Whether the client accepts aliases [MQTT-3.1.2-26], [MQTT-3.1.2-27].
    pub(super) fn has_aliases(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.aliases.is_some())
    }

    fn take_orphan(&mut self, epoch: Epoch) -> Option<Orphan> {
        let orphans = &mut self.extras.as_mut()?.orphans;
        let at = orphans.iter().position(|orphan| orphan.epoch == epoch)?;
        Some(orphans.swap_remove(at))
    }

    fn enqueue(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> Outcome {
        let before = self.queue.len();
        let pending = Pending::new(cx.pool, publication, options);
        if self.queue.is_full(pending.size(), &cx.limits.queue) {
            // Expired messages, which are not sent, take no room [MQTT-3.3.2-5].
            let (now, kept) = (cx.now, self.client_limits.kept);
            self.queue.drop_expired(now, |index, entry| {
                cx.drop(entry.topic(), DropReason::Expired);
                record_dropped(cx, kept, index, entry);
            });
        }
        let bounds = &cx.limits.queue;
        let kept = self.client_limits.kept;
        let displaced = |index, entry: &Entry| {
            cx.drop(entry.topic(), DropReason::QueueFull);
            record_dropped(cx, kept, index, entry);
        };
        let queued = self.queue.push(pending, bounds, displaced);
        if queued != Queued::Refused {
            self.record_queued(cx);
        }
        cx.queue_changed(before, self.queue.len());
        match queued {
            Queued::Waits | Queued::Displaced(_) => Outcome::Queued,
            Queued::Refused => self.overflow(cx.limits),
        }
    }

    /// Sends a QoS 1 or 2 message for the first time.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
    ) -> Outcome {
        // [MQTT-4.3.2-1], [MQTT3-4.3.2-1], [MQTT-4.3.3-1]
        let pending = Pending::new(cx.pool, publication, options);
        let Some(id) = self.inflight.begin(cx.pool, pending) else {
            return self.enqueue(cx, publication, options);
        };
        // [MQTT-4.3.2-2], [MQTT-4.3.3-2]
        if !self.transmit(cx, publication, options, Some(id), false) {
            self.inflight.take_back(cx.pool);
            return Outcome::Dropped(DropReason::PacketTooLarge);
        }
        Outcome::Sent
    }

    /// Moves a message of a kept session, the oldest of its queue, to the window and sends it. False if it could not be
    /// sent.
    ///
    /// A QoS 2 message is not sent before the store has committed its identifier. After a crash it would otherwise be
    /// sent with another identifier, and received twice. Later messages do not overtake it.
    pub(super) fn begin_kept(&mut self, cx: &mut Context<'_>, pending: Pending) -> bool {
        let copy = pending.clone();
        let may_wait = pending.qos == QoS::ExactlyOnce || self.inflight.held() > 0;
        let Some(id) = self.inflight.begin_held(cx.pool, pending) else {
            return false;
        };
        let position = cx.record(SessionChange::Sent { packet_id: id });
        if may_wait && !(self.inflight.held() == 1 && cx.recorder.is_committed(position)) {
            self.extras().holds.push(position);
            return true;
        }
        self.inflight.release();
        let mut publication = Publication::of(&copy.message);
        let sent = self.transmit(cx, &mut publication, &copy.options(), Some(id), false);
        match sent {
            true => self.inflight.mark_sent(),
            false => {
                cx.record(SessionChange::Done { packet_id: id });
                self.inflight.remove_unsent();
            }
        }
        sent
    }

    /// Records that the newest message was added to the queue.
    #[inline(never)]
    pub(super) fn record_queued(&mut self, cx: &Context<'_>) {
        if self.client_limits.kept
            && let Some(pending) = self.queue.back().and_then(Entry::held)
            && pending.qos > QoS::AtMostOnce
        {
            let position = cx.record(SessionChange::Queued(delivery_record(pending, cx.recorder.clock())));
            self.store_newest(cx, position);
        }
    }

    /// Whether [`Outbound::take_holds`] returns a position.
    #[inline]
    pub fn has_holds(&self) -> bool {
        self.client_limits.kept && self.extras.as_ref().is_some_and(|extras| !extras.holds.is_empty())
    }

    /// Takes the positions of deliveries that have begun to wait for the store. When a position is committed, the
    /// caller calls [`Outbound::release`] for it, in their order.
    pub fn take_holds(&mut self) -> Vec<Position> {
        self.extras.as_mut().map_or(Vec::new(), |extras| std::mem::take(&mut extras.holds))
    }

    /// Ends the wait of the first delivery of the connection `epoch` that waits for the store. The caller then calls
    /// [`Outbound::list_for_flush`].
    pub fn release(&mut self, cx: &mut Context<'_>, epoch: Epoch) {
        if self.epoch == epoch {
            self.inflight.release();
            self.pump(cx);
        }
    }
}

/// Records that a message has left the queue of a session unsent.
pub(super) fn record_dropped(cx: &Context<'_>, kept: bool, index: usize, entry: &Entry) {
    if kept && entry.qos() > QoS::AtMostOnce {
        cx.record(SessionChange::Dropped { index });
    }
}
