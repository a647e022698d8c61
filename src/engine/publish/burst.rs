//! A burst: consecutive QoS 0 messages to one topic. A client that gets their bytes unchanged is given all of them at
//! once: one lock and one copy instead of one for each message.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::codec::frame::{self, Frame, Framing};
use crate::codec::publish::{Publish, first_byte};
use crate::codec::qos::QoS;
use crate::codec::topic::TopicName;
use crate::engine::access::chain::Asks;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::{Turn, WORK_PER_TURN};
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::admission::{Draft, Source};
use crate::engine::parts::attached::AttachedConnection;
use crate::engine::parts::options::Options;
use crate::engine::parts::subscriber::{Publisher, Subscriber};
use crate::message::{self, Publication, SHARE_FROM};
use crate::session::delivery::Block;
use crate::session::inbound::Inbound;
use crate::stats::DropReason;
use crate::topics::Identity;
use crate::topics::{Match, Matches};

/// The first byte of a PUBLISH of QoS 0 without RETAIN.
const PLAIN: u8 = first_byte(false, QoS::AtMostOnce, false);

/// Matches that are no matter for the work of a turn.
const FEW: usize = 16;

/// Two messages or more, in complete packets.
pub(crate) struct Burst<'r> {
    block: Block<'r>,
    topic: TopicName<'r>,
    /// The bytes that every packet has between its fixed header and its payload.
    prefix: &'r [u8],
    /// The largest packet of a burst: larger ones are shared, not copied, or beyond the broker's limit.
    most: u32,
}

impl<'r> Burst<'r> {
    /// The burst at the beginning of `input`, which begins with the packet `first`.
    fn at(
        input: &'r [u8],
        first: &Frame<'r>,
        publish: &Publish<'r>,
        v5: bool,
        options: &Options,
    ) -> Option<Burst<'r>> {
        let most = options.max_packet_size.min(SHARE_FROM as u32);
        let prefix = first.body.get(..first.body.len().checked_sub(publish.payload.len())?)?;
        let block = Block { bytes: &[], v5, messages: 1, payload_bytes: 0, largest: first.whole.len() };
        let topic = TopicName::from_validated(publish.topic);
        let usual = first.whole.len();
        let head = first.whole.get(..usual.checked_sub(publish.payload.len())?)?;
        let mut burst = Burst { block, topic, prefix, most };
        let mut rest = input.get(usual..)?;
        // The most frequent outcome is tested first: a single message costs only this test.
        let mut next = burst.next(rest);
        if next.is_none()
            || usual > most as usize
            || !first.is_shortest()
            || publish.topic.is_empty()
            || !publish.properties.is_empty()
        {
            return None;
        }
        let draft = Draft {
            topic,
            qos: QoS::AtMostOnce,
            retain: false,
            payload_len: publish.payload.len(),
            properties_len: 0,
            expires: false,
            user_properties: 0,
        };
        options.admit(Source::Client { packet_len: usual }, &draft).ok()?;
        burst.block.payload_bytes = publish.payload.len() as u64;
        while let Some(frame) = next {
            burst.block.messages += 1;
            burst.block.largest = burst.block.largest.max(frame.whole.len());
            burst.block.payload_bytes += (frame.body.len() - prefix.len()) as u64;
            rest = rest.get(frame.whole.len()..)?;
            // Packets that are as long as the first one, which are many, need one comparison.
            let alike = rest.chunks_exact(usual).take_while(|packet| packet.starts_with(head)).count();
            burst.block.messages += alike as u64;
            burst.block.payload_bytes += (alike * publish.payload.len()) as u64;
            rest = rest.get(alike * usual..)?;
            next = burst.next(rest);
        }
        burst.block.bytes = input.get(..input.len() - rest.len())?;
        Some(burst)
    }

    /// The packet at the beginning of `input` if it belongs to the burst.
    fn next(&self, input: &'r [u8]) -> Option<Frame<'r>> {
        if input.first() != Some(&PLAIN) {
            return None;
        }
        let Ok(Framing::Complete(frame)) = frame::split(input, self.most) else {
            return None;
        };
        // [MQTT-1.5.5-1]: an overlong Remaining Length is left to the usual path.
        (frame.is_shortest() && frame.body.starts_with(self.prefix)).then_some(frame)
    }

    /// Keeps the first messages.
    fn shorten(&mut self, messages: u64) {
        let all = std::mem::take(&mut self.block.bytes);
        let mut rest = all;
        (self.block.messages, self.block.payload_bytes) = (0, 0);
        while self.block.messages < messages
            && let Some(frame) = self.next(rest)
        {
            self.block.messages += 1;
            self.block.payload_bytes += (frame.body.len() - self.prefix.len()) as u64;
            rest = rest.get(frame.whole.len()..).unwrap_or_default();
        }
        self.block.bytes = all.get(..all.len() - rest.len()).unwrap_or_default();
    }

    /// The number of bytes of all packets.
    pub(crate) fn len(&self) -> usize {
        self.block.bytes.len()
    }

    /// Calls `f` with each message as a publication.
    fn for_each(&self, turn: &mut Turn, mut f: impl FnMut(&mut Turn, &mut Publication<'r>)) {
        let mut rest = self.block.bytes;
        while let Some(frame) = self.next(rest) {
            rest = rest.get(frame.whole.len()..).unwrap_or_default();
            let payload = frame.body.get(self.prefix.len()..).unwrap_or_default();
            let topic = self.topic.as_str().as_bytes();
            let mut publication = Publication::new(topic, payload, QoS::AtMostOnce, false, turn.now);
            let whole = frame.whole;
            publication.frame = Some(message::Frame { whole, v5: self.block.v5, packet_id_at: None });
            f(turn, &mut publication);
        }
    }
}

/// The work that each message of a burst is. Few subscribers are none: the length of the input bounds it.
fn work_of_each(matches: &Matches<Subscriber>) -> usize {
    if matches.len() <= FEW {
        return 0;
    }
    let is_block = |found: &Match<Subscriber>| {
        found.identifier == 0 && matches!(found.subscriber, Subscriber::Session(_))
    };
    matches.shared.len() + matches.direct.iter().filter(|found| !is_block(found)).count()
}

/// The kinds of events that are told for each message.
const EACH: EventMask = EventMask::PUBLISHING.and(EventMask::PUBLISHED).and(EventMask::DELIVERED);

impl Engine {
    /// The burst at the beginning of `input`, if there is one and no authority, hook or sink looks at each message.
    pub(crate) fn burst<'r>(
        &self,
        input: &'r [u8],
        first: &Frame<'r>,
        publish: &Publish<'r>,
        v5: bool,
    ) -> Option<Burst<'r>> {
        if first.first != PLAIN || self.asks == Asks::EachMessage || self.events.wants(EACH) {
            return None;
        }
        Burst::at(input, first, publish, v5, &self.options)
    }

    /// Publishes the messages of a burst, whose first packet is counted as received already. If they are too much work
    /// for a turn, the burst is shortened.
    pub(crate) fn receive_burst(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut Inbound,
        burst: &mut Burst<'_>,
    ) {
        if self.asks == Asks::AtOnce && self.refuses(turn, attached, inbound, burst) {
            return;
        }
        let taken = turn.cache.take(&self.router, burst.topic);
        let each = work_of_each(&taken.matches);
        if each > 0 && each.saturating_mul(burst.block.messages as usize) > WORK_PER_TURN {
            burst.shorten((WORK_PER_TURN / each).max(1) as u64);
        }
        turn.work += taken.matches.direct.len();
        let messages = burst.block.messages;
        attached.session.received_messages.fetch_add(messages, Ordering::Relaxed);
        turn.counts.packets_received += messages - 1;
        turn.counts.publish_received += messages;
        turn.counts.publish_bytes_received += burst.block.payload_bytes;
        turn.counts.messages_published += messages;
        let publisher = Publisher::Session(&attached.session);
        if !taken.matches.shared.is_empty() {
            // Each message goes to another member.
            turn.cache.give_back(taken);
            burst.for_each(turn, |turn, publication| {
                let reached = self.route(turn, publisher, burst.topic, publication);
                if reached.subscribers == 0 {
                    self.dropped(turn, publisher.client_id(), publication.topic, DropReason::NoSubscriber);
                }
            });
            return;
        }
        let matches = &taken.matches;
        let mut reached = false;
        let mut buffer = None;
        let mut one_by_one: SmallVec<[&[Match<Subscriber>]; 4]> = SmallVec::new();
        let may_share = burst.len() >= SHARE_FROM && matches.direct.len() > 1;
        for group in matches.direct.chunk_by(|a, b| a.subscriber.identity() == b.subscriber.identity()) {
            if let [only] = group
                && !(only.options.no_local && publisher.is(&only.subscriber))
            {
                let shared = may_share
                    .then(|| &*buffer.get_or_insert_with(|| Bytes::copy_from_slice(burst.block.bytes)));
                if self.deliver_block(turn, only, burst.topic, &burst.block, shared) {
                    reached = true;
                    continue;
                }
            }
            one_by_one.push(group);
        }
        if !one_by_one.is_empty() {
            // Subscribers that store a message share it.
            burst.for_each(turn, |turn, publication| {
                turn.work += one_by_one.len();
                for group in &one_by_one {
                    reached |= self.deliver(turn, publisher, publication, group, None);
                }
            });
        }
        drop(one_by_one);
        if !reached {
            let client_id = Some(&*attached.session.client_id);
            let topic = burst.topic.as_str().as_bytes();
            (0..messages).for_each(|_| self.dropped(turn, client_id, topic, DropReason::NoSubscriber));
        }
        turn.cache.give_back(taken);
    }

    /// Whether authorities that answer at once deny the messages of a burst. Then they are counted.
    #[cold]
    #[inline(never)]
    fn refuses(
        &self,
        turn: &mut Turn,
        attached: &AttachedConnection,
        inbound: &mut Inbound,
        burst: &Burst<'_>,
    ) -> bool {
        let topic = burst.topic.as_str();
        if self.denied_now(attached, &mut inbound.verdicts, topic, (QoS::AtMostOnce, false)).is_none() {
            return false;
        }
        let Block { messages, payload_bytes, .. } = burst.block;
        attached.session.received_messages.fetch_add(messages, Ordering::Relaxed);
        turn.counts.packets_received += messages - 1;
        turn.counts.publish_received += messages;
        turn.counts.publish_bytes_received += payload_bytes;
        let client_id = Some(&*attached.session.client_id);
        (0..messages)
            .for_each(|_| self.dropped(turn, client_id, topic.as_bytes(), DropReason::NotAuthorized));
        true
    }

    /// Sends the packets to a subscriber unchanged; false if it must be given each message by itself.
    fn deliver_block(
        &self,
        turn: &mut Turn,
        subscription: &Match<Subscriber>,
        topic: TopicName<'_>,
        block: &Block<'_>,
        shared: Option<&Bytes>,
    ) -> bool {
        let Subscriber::Session(session) = &subscription.subscriber else {
            return false;
        };
        if subscription.identifier != 0 {
            return false;
        }
        let mut outbound = session.outbound.lock();
        if !self.may_receive(session, &mut outbound, topic.as_str().as_bytes()) {
            return false; // And so says the delivery of each message.
        }
        let given = outbound.deliver_block(&mut self.context(turn, session), block, shared);
        let flush = given && outbound.list_for_flush();
        drop(outbound);
        if flush {
            turn.flush_later(session);
        }
        given
    }
}
