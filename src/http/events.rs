//! Server-sent events: the format of a stream, and the stream of statistics and activity.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::http::access::LoginEnd;
use crate::http::answer::{Problem, ResponseBody};
use crate::http::console::Console;
use crate::http::overview::values;
use crate::http::service::ApiRequest;

/// Chunks of a stream that can wait for the connection before the stream pauses.
const AHEAD: usize = 4;
/// Time between two checks for new events.
const BEAT: Duration = Duration::from_millis(250);
/// Checks between two snapshots of the statistics.
const BEATS: u32 = 4;
/// Earlier events that a stream begins with.
const SHOWN_FIRST: usize = 20;
/// Milliseconds after which a browser reconnects a broken stream.
const RETRY: u32 = 2_000;

/// Writes one event: a name, and JSON in one line.
pub(super) fn event(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // JSON contains no line breaks, and writing to memory does not fail.
    let start = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b"\n\n");
}

/// The sending end of a stream.
pub(super) struct Stream {
    sender: Sender<Bytes>,
    stop: watch::Receiver<bool>,
    login_end: Option<LoginEnd>,
}

impl Stream {
    /// The stream for a request, and its response. It ends with the request's login.
    pub(super) fn new(console: &Console, request: &ApiRequest) -> (Stream, Response<ResponseBody>) {
        let (sender, receiver) = channel(AHEAD);
        let (stop, login_end) = (console.stop_signal(), request.login_end.clone());
        (Stream { sender, stop, login_end }, response(receiver))
    }

    /// Sends a chunk; waits while the connection is busy. False if the viewer has left or logged out, or the
    /// broker is stopping.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> bool {
        let Stream { sender, stop, login_end } = self;
        either(either(stopped(stop), ended(login_end)), sender.send(bytes.into()))
            .await
            .is_some_and(|sent| sent.is_ok())
    }

    /// Waits until `done`; false if the viewer disconnects or logs out or the broker stops first.
    pub(super) async fn wait(&mut self, done: impl Future<Output = ()>) -> bool {
        let Stream { sender, stop, login_end } = self;
        let gone = either(ended(login_end), sender.closed());
        either(either(stopped(stop), gone), done).await.is_some()
    }
}

/// The result of the second future; `None` if the first one finishes first.
async fn either<T>(first: impl Future, second: impl Future<Output = T>) -> Option<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(move |cx| match first.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => second.as_mut().poll(cx).map(Some),
    })
    .await
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the console is dropped, which is also a stop.
    let _stopped = stop.wait_for(|stop| *stop).await;
}

async fn ended(login_end: &mut Option<LoginEnd>) {
    match login_end {
        // Nothing is sent: an error means that the login is dropped.
        Some(login_end) => while login_end.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}

fn response(receiver: Receiver<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Live(receiver));
    let said = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in said {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `GET /api/v1/events`
pub(super) fn begin(console: &Arc<Console>, request: &ApiRequest) -> Result<Response<ResponseBody>, Problem> {
    let (stream, response) = Stream::new(console, request);
    tokio::spawn(pulse(Arc::clone(console), stream));
    Ok(response)
}

#[derive(Serialize)]
struct Stats {
    time: u64,
    #[serde(flatten)]
    stats: std::collections::BTreeMap<&'static str, u64>,
}

/// The number of items that a viewer missed because it reads too slowly.
#[derive(Serialize)]
pub(super) struct Skipped {
    /// The number.
    pub count: u64,
}

async fn pulse(console: Arc<Console>, mut stream: Stream) {
    let mut out = format!("retry: {RETRY}\n\n").into_bytes();
    let mut next = console.log.last(SHOWN_FIRST);
    for beat in 0u32.. {
        if beat.is_multiple_of(BEATS) {
            let stats = values(&console.engine.snapshot());
            event(&mut out, "stats", &Stats { time: console.unix(console.now()), stats });
        }
        let (events, behind, missed) = console.log.events_from(next);
        next = behind;
        if missed > 0 {
            event(&mut out, "skipped", &Skipped { count: missed });
        }
        for happened in &events {
            event(&mut out, "activity", &happened.show(&console));
        }
        let sent = out.is_empty() || stream.send(std::mem::take(&mut out)).await;
        if !sent || !stream.wait(sleep(BEAT)).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn an_event_is_two_lines_whatever_is_in_it() {
        let mut out = Vec::new();
        event(&mut out, "x", &"a\nb\r\u{2028}</script>");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("event: x\ndata: \"a\\nb\\r") && text.ends_with("\n\n"));
    }

    #[test]
    fn what_is_no_json_leaves_an_event_without_data() {
        let mut out = b"before".to_vec();
        // JSON has names only as keys.
        event(&mut out, "x", &std::collections::BTreeMap::from([("a", 1)]));
        event(&mut out, "y", &vec![std::collections::BTreeMap::from([(vec![1], 1)])]);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "beforeevent: x\ndata: {\"a\":1}\n\nevent: y\ndata: null\n\n");
    }
}
