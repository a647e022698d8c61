//! Messages that did not arrive: how many, the last ones, and why.

use serde::Serialize;

use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::stats::DropReason;

/// Dropped messages of one answer.
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

/// What to do about it.
fn advice(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NoSubscriber => {
            "Start the subscriber before the publisher, or publish with retain; and compare topic and filter letter by \
             letter."
        }
        DropReason::Offline => {
            "Publish and subscribe with QoS 1, and let the subscriber keep its session, or switch on session.queue_qos0."
        }
        DropReason::QueueFull => {
            "Have the subscriber connect more often or acknowledge faster, or raise session.max_queued_messages and \
             session.max_queued_bytes."
        }
        DropReason::OutboxFull => {
            "Have the subscriber read faster, or use QoS 1, or raise session.max_outbox_bytes."
        }
        DropReason::PacketTooLarge => {
            "Raise the Maximum Packet Size in the subscriber's CONNECT, or send less at once."
        }
        DropReason::Expired => "Give the message a longer Message Expiry Interval, or deliver it sooner.",
        DropReason::NotAuthorized => "Publish to a topic for which the client has the right.",
        DropReason::Host => "Ask the host program, whose function has dropped it.",
        DropReason::RetainedFull => {
            "Delete retained messages, or raise retained.max_messages and retained.max_bytes."
        }
        DropReason::LocalQueueFull => "Have the host program empty its queue faster, or make it larger.",
        DropReason::SessionEnded => "Give the session a longer Session Expiry Interval.",
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
