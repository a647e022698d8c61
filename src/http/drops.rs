//! Dropped messages: counts, the last ones, and the reasons.

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::stats::DropReason;

/// The maximum number of dropped messages in one response.
const RECENT: usize = 500;

#[derive(Serialize)]
struct Drops {
    by_reason: Vec<Reason>,
    recent: Vec<Dropped>,
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
    count: u64,
    help: &'static str,
}

#[derive(Serialize)]
struct Dropped {
    time: u64,
    reason: &'static str,
    topic: Box<str>,
    client_id: Option<Box<str>>,
    text: String,
}

/// `GET /api/v1/drops`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let snapshot = console.engine.snapshot();
    let by_reason = DropReason::ALL
        .iter()
        .map(|reason| Reason {
            reason: reason.name(),
            count: snapshot.dropped(*reason),
            help: reason.explanation(),
        })
        .collect();
    let recent = console.log.drops(RECENT).into_iter().map(|drop| Dropped {
        time: console.unix(drop.at),
        reason: drop.reason.name(),
        topic: drop.topic,
        client_id: drop.client_id,
        text: format!("{} {}", capitalised(drop.reason.explanation()), advice(drop.reason)),
    });
    Reply::json(&Drops { by_reason, recent: recent.collect() })
}

/// Advice for a reason.
fn advice(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NoSubscriber => {
            "Start the subscriber before the publisher, or publish with retain. Check that the filter matches the topic, letter by \
             letter."
        }
        DropReason::Offline => {
            "Publish and subscribe with QoS 1 and a persistent session, or set session.queue_qos0 = true."
        }
        DropReason::QueueFull => {
            "Let the subscriber connect more often or acknowledge faster, or raise session.max_queued_messages and \
             session.max_queued_bytes."
        }
        DropReason::OutboxFull => {
            "Make the subscriber read faster, use QoS 1, or raise session.max_outbox_bytes."
        }
        DropReason::PacketTooLarge => {
            "Raise the Maximum Packet Size in the subscriber's CONNECT, or send smaller messages."
        }
        DropReason::Expired => "Give the message a longer Message Expiry Interval, or deliver it sooner.",
        DropReason::NotAuthorized => {
            "Publish to a topic that the client is allowed to use, or change the host program's rules."
        }
        DropReason::Host => "See the on_publish hook of the host program, which dropped the message.",
        DropReason::RetainedFull => {
            "Delete retained messages, or raise retained.max_messages and retained.max_bytes."
        }
        DropReason::LocalQueueFull => {
            "Make the host program take messages from its queue faster, or raise queue.capacity and queue.max_bytes."
        }
        DropReason::SessionEnded => {
            "Give the session a longer Session Expiry Interval, or do not end it while messages wait."
        }
        DropReason::Cleared => "Look into the queue before you clear it.",
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
