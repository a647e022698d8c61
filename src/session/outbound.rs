//! The sending half of a session: what waits, what is unacknowledged, and the outbox of its connection.

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
use crate::session::epoch::Epoch;
use crate::session::inflight::Inflight;
use crate::session::link::{Cause, Link};
use crate::session::outbox::Outbox;
use crate::session::pending::Pending;
use crate::session::plan::Plan;
use crate::session::queue::{Queue, Queued};
use crate::session::record::delivery_record;
use crate::stats::DropReason;
use crate::storage::{Position, SessionChange};

/// Bytes and the end of a connection that was replaced while a thread was writing to it: that thread ends it.
struct Orphan {
    epoch: Epoch,
    link: Arc<dyn Link>,
    last: Vec<u8>,
    cause: Cause,
}

/// What few sessions have.
#[derive(Default)]
struct OutboundExtras {
    orphans: Vec<Orphan>,
    /// Those of the connection, if its client accepts any.
    aliases: Option<AliasesOut>,
    /// What deliveries that wait for the store wait for, as far as nobody has taken it.
    holds: Vec<Position>,
}

/// The sending half of a session. Any thread that delivers holds its lock for a moment.
pub struct Outbound {
    link: Option<Arc<dyn Link>>,
    epoch: Epoch,
    pub(super) client_limits: ClientLimits,
    pub(super) outbox: Outbox,
    pub(super) inflight: Inflight,
    pub(super) queue: Queue,
    extras: Option<Box<OutboundExtras>>,
    /// Acknowledgements that wait for the store.
    pub(super) awaiting_commit: u32,
    /// Application messages sent, each once.
    pub(super) sent_messages: u64,
    /// Why the connection is to be ended by its own task.
    close_requested: Option<Cause>,
    /// Whether the session has ended: nobody will ever take what is put in.
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

    /// The number of the attached, or the last, connection.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version of the attached, or the last, connection.
    pub fn version(&self) -> Version {
        self.client_limits.version
    }

    /// The largest packet that the client of the attached, or the last, connection takes.
    pub fn maximum_packet_size(&self) -> u32 {
        self.client_limits.maximum_packet_size
    }

    /// Whether changes of the session are recorded.
    pub fn is_kept(&self) -> bool {
        self.client_limits.kept
    }

    /// Has the task of the connection `epoch` end it for `cause`, unless it is not the session's any more.
    pub fn request_close(&mut self, epoch: Epoch, cause: Cause) {
        if let Some(link) = self.link.as_ref().filter(|_| self.epoch == epoch) {
            self.close_requested = Some(cause);
            link.wake();
        }
    }

    /// Why the connection is to be ended, if it is, with its number.
    pub fn take_close_request(&mut self) -> Option<(Epoch, Cause)> {
        Some((self.epoch, self.close_requested.take()?))
    }

    /// Messages that wait in the queue.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that the queue's messages occupy.
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Deliveries that are not complete.
    pub fn inflight_len(&self) -> usize {
        self.inflight.len()
    }

    /// Application messages sent over this session.
    pub fn sent_messages(&self) -> u64 {
        self.sent_messages
    }

    /// Attaches a connection; its packets are numbered from nothing, its deliveries start again.
    pub(super) fn attach(&mut self, link: Arc<dyn Link>, epoch: Epoch, client_limits: ClientLimits) {
        self.link = Some(link);
        self.epoch = epoch;
        self.client_limits = client_limits;
        self.set_aliases(client_limits.topic_alias_maximum);
        self.inflight.restart();
        self.awaiting_commit = 0;
        self.close_requested = None;
    }

    /// Has nothing written to the connection that has just been attached before [`Outbound::release_outbox`].
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

    /// Detaches the connection and ends it: `encode` writes the last packet behind what waits. Nothing is sent any
    /// more [MQTT-3.14.4-1], and the link is finished [MQTT-3.14.4-2].
    pub(super) fn detach(&mut self, cause: Cause, encode: impl FnOnce(&ClientLimits, &mut Vec<u8>)) {
        let Some(link) = self.link.take() else {
            return;
        };
        let busy = self.outbox.is_being_written();
        let held = self.outbox.is_held();
        let mut last = self.outbox.drain();
        match held {
            // Its client has no CONNACK, and is not told now what the store may not have.
            true => last.clear(),
            false => encode(&self.client_limits, &mut last),
        }
        match busy {
            true => {
                let epoch = self.epoch;
                self.extras().orphans.push(Orphan { epoch, link, last, cause });
            }
            false => link.finish(last, cause),
        }
    }

    /// Appends a packet that is no PUBLISH. Whether the caller has to see to it that it is flushed.
    ///
    /// One that is larger than the client takes is not sent [MQTT-3.1.2-24]; as the protocol cannot go on without it,
    /// the connection ends.
    /// It does not wait for the window [MQTT-3.3.4-10], [MQTT-4.9.0-3].
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

    /// Whether the caller has to see to it that the outbox is flushed; true once until it is.
    pub fn list_for_flush(&mut self) -> bool {
        self.link.is_some() && self.outbox.list_for_flush()
    }

    /// Whether so little waits to be written that it may wait for more.
    pub fn may_wait(&self) -> bool {
        self.outbox.may_wait()
    }

    /// Has much wait as if it were little: who adds to it has to see to the flush, or to wait.
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

    /// Sends a QoS 1 or 2 message of a session that is kept by way of its empty queue, as it is recorded.
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

    /// Sends messages of QoS 0 as the packets that they came in, `shared` if they are there; false if one of them could
    /// not be sent so: then nothing is done.
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

    /// Sends a retained message, or lets it wait, beyond the bounds of the queue: as many messages more as `retained`,
    /// which is how many there are.
    pub fn deliver_retained(
        &mut self,
        cx: &mut Context<'_>,
        publication: &mut Publication<'_>,
        options: &DeliveryOptions<'_>,
        retained: usize,
    ) -> Outcome {
        if !self.waits_as_retained(cx.limits, retained) {
            return self.deliver(cx, publication, options);
        }
        self.queue.push_unbounded(Pending::new(cx.pool, publication, options));
        self.record_queued(cx);
        cx.queue_changed(0, 1);
        Outcome::Queued
    }

    /// Sends what waits, as far as window and room allow: first what an earlier connection left
    /// unacknowledged, then the queue. The caller then asks [`Outbound::list_for_flush`].
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
        }
    }

    /// Takes what is to be written, with the connection to write it to.
    pub fn take_chunk(&mut self, writable: bool) -> Option<(Epoch, Arc<dyn Link>, Chunk)> {
        let link = Arc::clone(self.link.as_ref()?);
        Some((self.epoch, link, self.outbox.take(writable)?))
    }

    /// Says how far the writing of a taken chunk came. True if there is more to write.
    pub fn chunk_written(&mut self, epoch: Epoch, rest: Option<Chunk>) -> bool {
        if let Some(orphan) = self.take_orphan(epoch) {
            let mut last = rest.map_or_else(Vec::new, Chunk::into_unwritten);
            last.extend_from_slice(&orphan.last);
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

    /// Whether messages wait that could be sent: after a flush there is room again.
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

    /// Whether the client reads so little, and causes so much, that no more of its packets are to be read for now: the
    /// connection is full and what waits is beyond the bounds. Packets that answer its own are not dropped.
    pub fn must_pause(&self, limits: &Limits) -> bool {
        let beyond = self.outbox.len() >= 2 * limits.outbox_bytes || self.queue.len() > limits.queue.messages;
        self.is_blocked() && beyond
    }

    /// The session has ended: forgets what waits or is unacknowledged.
    pub fn end(&mut self, reported: ReportedFates) -> SessionRemains {
        self.ended = true;
        self.client_limits.kept = false;
        let is_shared = |pending: &Pending| pending.share().is_some();
        let waited = self.queue.len();
        let unacknowledged = std::mem::take(&mut self.inflight).into_unacknowledged();
        let waiting = std::mem::take(&mut self.queue).into_waiting();
        let waiting = waiting.filter(|pending| reported.dropped || is_shared(pending));
        let (shared_waiting, dropped) = waiting.partition(is_shared);
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
            && !self.is_window_full()
            && self.has_room(limits)
    }

    /// Whether as many QoS 1 and 2 messages are unacknowledged as may be [MQTT-3.3.4-9]. A delivery of which only
    /// PUBREL was sent on this connection has its place, too, until PUBCOMP.
    /// [MQTT-4.9.0-1], [MQTT-4.9.0-2]
    pub(super) fn is_window_full(&self) -> bool {
        self.inflight.begun() >= usize::from(self.client_limits.receive_maximum)
    }

    /// A packet is taken as long as fewer bytes wait than the limit, so that the largest packet finds room, too.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.outbox.len() < limits.outbox_bytes
    }

    fn extras(&mut self) -> &mut OutboundExtras {
        self.extras.get_or_insert_default()
    }

    /// Begins without aliases, of which the client accepts so many.
    fn set_aliases(&mut self, maximum: u16) {
        let aliases = (maximum > 0).then(|| AliasesOut::new(maximum));
        if aliases.is_some() || self.has_aliases() {
            self.extras().aliases = aliases;
        }
        self.extras.take_if(|extras| {
            extras.aliases.is_none() && extras.orphans.is_empty() && extras.holds.is_empty()
        });
    }

    /// The aliases that may be sent, if any may.
    pub(super) fn aliases(&mut self) -> Option<&mut AliasesOut> {
        self.extras.as_mut()?.aliases.as_mut()
    }

    /// Whether aliases may be sent at all [MQTT-3.1.2-26], [MQTT-3.1.2-27].
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
        if self.queue.is_full(pending.message.size(), &cx.limits.queue) {
            // What nobody will be sent takes no places [MQTT-3.3.2-5].
            let (now, kept) = (cx.now, self.client_limits.kept);
            self.queue.drop_expired(now, |index, pending| {
                cx.drop(pending.message.topic(), DropReason::Expired);
                record_dropped(cx, kept, index, pending);
            });
        }
        let bounds = &cx.limits.queue;
        let kept = self.client_limits.kept;
        let displaced = |pending: &Pending| {
            cx.drop(pending.message.topic(), DropReason::QueueFull);
            record_dropped(cx, kept, 0, pending);
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

    /// Takes the oldest message of the queue, whose changes are recorded, into the window. One of QoS 2 is not sent before
    /// the store has committed its identifier: after a crash it would be sent with another one, and received twice. Others
    /// do not overtake it. False if it could not be sent.
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

    /// Records that the youngest message has joined the queue.
    #[inline(never)]
    fn record_queued(&mut self, cx: &Context<'_>) {
        if self.client_limits.kept
            && let Some(pending) = self.queue.back().filter(|pending| pending.qos > QoS::AtMostOnce)
        {
            cx.record(SessionChange::Queued(delivery_record(pending, cx.recorder.clock())));
        }
    }

    /// Whether [`Outbound::take_holds`] has something.
    #[inline]
    pub fn has_holds(&self) -> bool {
        self.client_limits.kept && self.extras.as_ref().is_some_and(|extras| !extras.holds.is_empty())
    }

    /// What deliveries wait for that have begun to wait for the store; when it is committed, the caller calls
    /// [`Outbound::release`] for each, in their order.
    pub fn take_holds(&mut self) -> Vec<Position> {
        self.extras.as_mut().map_or(Vec::new(), |extras| std::mem::take(&mut extras.holds))
    }

    /// A delivery of the connection `epoch` waits for the store no longer. The caller then asks
    /// [`Outbound::list_for_flush`].
    pub fn release(&mut self, cx: &mut Context<'_>, epoch: Epoch) {
        if self.epoch == epoch {
            self.inflight.release();
            self.pump(cx);
        }
    }
}

/// Records that a message has left the queue of a session unsent.
pub(super) fn record_dropped(cx: &Context<'_>, kept: bool, index: usize, pending: &Pending) {
    if kept && pending.qos > QoS::AtMostOnce {
        cx.record(SessionChange::Dropped { index });
    }
}
