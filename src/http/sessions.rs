//! One session: its end, and its queue.

use serde::Serialize;

use crate::http::answer::{Problem, Reply, fitting};
use crate::http::console::Console;
use crate::http::payload::Payload;
use crate::http::service::ApiRequest;
use crate::session::pending::Pending;
use crate::time::Time;

/// The default number of messages of a queue in one response.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// `DELETE /api/v1/sessions/{client_id}`: ends it, as its expiry would.
pub(super) fn end(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let mut turn = console.engine.turn(console.now());
    let comes_back = console.engine.is_lost_to_store(&request.name);
    match console.engine.discard_session(&mut turn, &request.name) {
        true if comes_back => Err(undone()),
        true => Ok(Reply::done()),
        false => Err(unknown(&request.name)),
    }
}

#[derive(Serialize)]
struct Queue {
    total: usize,
    items: Vec<Queued>,
    /// Whether the response has no room for all of the requested messages.
    truncated: bool,
}

#[derive(Serialize)]
struct Queued {
    topic: String,
    payload: Payload,
    qos: u8,
    retain: bool,
    received_at: u64,
    expires_in: Option<u64>,
    shared: Option<String>,
}

/// `GET /api/v1/sessions/{client_id}/queue`: its oldest messages.
pub(super) fn queue(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let limit = request.query.number("limit", USUAL, MOST)?;
    let now = console.now();
    let queue = console.engine.queue(&request.name, limit).ok_or_else(|| unknown(&request.name))?;
    let (items, truncated) = fitting(queue.oldest.iter().map(|pending| show(console, pending, now)))?;
    Reply::json(&Queue { total: queue.total, items, truncated })
}

#[derive(Serialize)]
struct Cleared {
    dropped: usize,
}

/// `DELETE /api/v1/sessions/{client_id}/queue`: drops its messages.
pub(super) fn clear(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let mut turn = console.engine.turn(console.now());
    let comes_back = console.engine.is_lost_to_store(&request.name);
    let cleared = console.engine.clear_queue(&mut turn, &request.name);
    if comes_back {
        return Err(undone());
    }
    Reply::json(&Cleared { dropped: cleared.ok_or_else(|| unknown(&request.name))? })
}

/// What is done in memory alone.
fn undone() -> Problem {
    Problem::unavailable("it is done, but the store has failed: a restart undoes it")
}

pub(super) fn unknown(client_id: &str) -> Problem {
    Problem::not_found(format!("client {client_id:?} has no session"))
}

fn show(console: &Console, pending: &Pending, now: Time) -> Queued {
    let (message, options) = (&pending.message, pending.options());
    let expires = (message.expires_at() != Time::NEVER).then(|| message.expires_at());
    Queued {
        topic: message.topic().to_owned(),
        payload: Payload::whole(message.payload()),
        qos: options.qos.as_u8(),
        retain: options.retain,
        received_at: console.unix(message.received_at()),
        expires_in: expires.map(|at| at.millis_since(now).div_ceil(1000)),
        shared: options.share.map(|filter| filter.to_string()),
    }
}
