//! A burst: QoS 0 messages to one topic that came one behind the other. Where nobody but clients is concerned, and the bytes
//! are forwarded as they are, a subscriber is given all of them at once: one lock and one copy instead of one for each.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::codec::frame::{self, Frame, Framing};
use crate::codec::publish::{Publish, first_byte};
use crate::codec::qos::QoS;
use crate::codec::topic::TopicName;
use crate::engine::core::state::Engine;
use crate::engine::core::turn::Turn;
use crate::engine::observe::mask::EventMask;
use crate::engine::parts::admission::{Draft, Source};
use crate::engine::parts::attached::AttachedConnection;
use crate::engine::parts::options::Options;
use crate::engine::parts::subscriber::{Publisher, Subscriber};
use crate::message::{self, Publication, SHARE_FROM};
use crate::session::delivery::Block;
use crate::stats::DropReason;
use crate::topics::Identity;
use crate::topics::Match;

/// The first byte of a PUBLISH of QoS 0 without RETAIN.
const PLAIN: u8 = first_byte(false, QoS::AtMostOnce, false);

/// Two messages or more, whole packets.
pub(crate) struct Burst<'r> {
    block: Block<'r>,
    topic: TopicName<'r>,
    /// What every packet has between its fixed header and its payload.
    prefix: &'r [u8],
    /// No packet of it has more bytes: larger ones are shared, not copied, and none may be larger than the broker takes.
    most: u32,
}

impl<'r> Burst<'r> {
    /// The burst at the beginning of `input`, whose first packet is this one.
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
        // What is mostly so comes first: a message alone pays for this look alone.
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
            // Many are as long as the first one: they are told by one comparison.
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
        // [MQTT-1.5.5-1]: whether a longer Remaining Length is allowed is not decided here.
        (frame.is_shortest() && frame.body.starts_with(self.prefix)).then_some(frame)
    }

    /// Bytes of all packets.
    pub(crate) fn len(&self) -> usize {
        self.block.bytes.len()
    }

    /// Each message by itself.
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

/// What is seen of each message by itself.
const EACH: EventMask = EventMask::PUBLISHING.and(EventMask::PUBLISHED).and(EventMask::DELIVERED);

impl Engine {
    /// The burst at the beginning of `input`, if there is one and it may be taken as one: nobody looks at each message.
    pub(crate) fn burst<'r>(
        &self,
        input: &'r [u8],
        first: &Frame<'r>,
        publish: &Publish<'r>,
        v5: bool,
    ) -> Option<Burst<'r>> {
        if first.first != PLAIN || self.wanted.asks_to_publish() || self.events.wants(EACH) {
            return None;
        }
        Burst::at(input, first, publish, v5, &self.options)
    }

    /// The messages of a burst, whose first packet has been counted as received.
    pub(crate) fn receive_burst(&self, turn: &mut Turn, attached: &AttachedConnection, burst: &Burst<'_>) {
        let messages = burst.block.messages;
        attached.session.received_messages.fetch_add(messages, Ordering::Relaxed);
        turn.counts.packets_received += messages - 1;
        turn.counts.publish_received += messages;
        turn.counts.publish_bytes_received += burst.block.payload_bytes;
        turn.counts.messages_published += messages;
        let publisher = Publisher::Session(&attached.session);
        let taken = turn.cache.take(&self.router, burst.topic);
        if !taken.matches.shared.is_empty() {
            // Each message is another member's.
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
                if self.deliver_block(turn, only, &burst.block, shared) {
                    reached = true;
                    continue;
                }
            }
            one_by_one.push(group);
        }
        if !one_by_one.is_empty() {
            // Who keeps a message shares it with the others who do.
            burst.for_each(turn, |turn, publication| {
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

    /// Gives a subscriber the packets as they are; false if it is to be given each message by itself.
    fn deliver_block(
        &self,
        turn: &mut Turn,
        subscription: &Match<Subscriber>,
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
        let given = outbound.deliver_block(&mut self.context(turn, session), block, shared);
        let flush = given && outbound.list_for_flush();
        drop(outbound);
        if flush {
            turn.flush_later(session);
        }
        given
    }
}
