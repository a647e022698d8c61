//! Responses of handlers: a body, or a problem with a message; and the body of a response.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

/// Bytes of a list in a response, about: a topic, a filter or a Client Identifier may have 64 KiB each.
pub(super) const LONGEST_LIST: usize = 16 << 20;

/// The items of a list that have room in a response, and whether some at its end have none. The first has always room.
pub(super) fn fitting<T: Serialize>(items: impl IntoIterator<Item = T>) -> Result<(Vec<T>, bool), Problem> {
    let (mut fitting, mut bytes) = (Vec::new(), ByteCount(0));
    for item in items {
        serde_json::to_writer(&mut bytes, &item).map_err(|error| Problem::internal(error.to_string()))?;
        if bytes.0 > LONGEST_LIST && !fitting.is_empty() {
            return Ok((fitting, true));
        }
        fitting.push(item);
    }
    Ok((fitting, false))
}

/// Counts what is written.
struct ByteCount(usize);

impl io::Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A successful response.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An error response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
    allow: Option<String>,
}

impl Reply {
    /// 200 with a JSON body.
    pub(super) fn json(body: &impl Serialize) -> Result<Reply, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Reply::new(body, "application/json"))
    }

    /// 200 with a body of `content_type`, which browsers must not cache.
    pub(super) fn new(body: impl Into<Bytes>, content_type: &'static str) -> Reply {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]);
        Reply { status: StatusCode::OK, headers, body: body.into() }
    }

    /// 204: done, without a body.
    pub(super) fn done() -> Reply {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
        Reply { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Result<Reply, Problem> {
        let value = HeaderValue::from_str(value).map_err(|error| Problem::internal(error.to_string()))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// As a response.
    pub(super) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::Whole(Some(self.body)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl Problem {
    fn of(status: StatusCode, code: &'static str, message: impl Into<String>) -> Problem {
        Problem { status, code, message: message.into(), retry_after: None, allow: None }
    }

    /// 400: the request cannot be understood, or an argument is out of range.
    pub(super) fn bad_request(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401: not logged in, or the password is wrong. There is no challenge: the browser's own dialogue would keep the
    /// password, and the browser would send it with requests of other sites.
    pub(super) fn unauthorized(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: logged in, but not allowed.
    pub(super) fn forbidden(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405, with the allowed methods.
    pub(super) fn method_not_allowed(allow: String) -> Problem {
        let message = format!("allowed methods: {allow}");
        Problem {
            allow: Some(allow),
            ..Problem::of(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        }
    }

    /// 408: the body did not arrive in time.
    pub(super) fn timed_out() -> Problem {
        Problem::of(
            StatusCode::REQUEST_TIMEOUT,
            "timed_out",
            "the request body did not arrive in time (console.io_timeout)",
        )
    }

    /// 413: the body is too large.
    pub(super) fn too_large(most: usize) -> Problem {
        let message = format!("the request body is larger than {most} bytes");
        Problem::of(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415: the body has the wrong type.
    pub(super) fn unsupported(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 421: the request names an unknown host.
    pub(super) fn misdirected() -> Problem {
        let message = "unknown host name; add it to console.hosts";
        Problem::of(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
    }

    /// 429: seconds to wait.
    pub(super) fn too_many(seconds: u64) -> Problem {
        let message = format!("too many failed logins; try again in {seconds} s");
        let problem = Problem::of(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Problem { retry_after: Some(seconds), ..problem }
    }

    /// 500: an internal error.
    pub(super) fn internal(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: the broker is stopping, or its store has failed.
    pub(super) fn unavailable(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// As a response, in JSON.
    pub(super) fn into_response(self) -> Response<ResponseBody> {
        let body = serde_json::json!({ "error": { "code": self.code, "message": self.message } });
        let mut answer = Reply::new(body.to_string(), "application/json");
        answer.status = self.status;
        if let Some(seconds) = self.retry_after {
            answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            answer.headers.insert(ALLOW, allow);
        }
        answer.into_response()
    }
}

/// The body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// A body that is complete.
    Whole(Option<Bytes>),
    /// A body that a task sends until it ends.
    Live(Receiver<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            ResponseBody::Whole(bytes) => Poll::Ready(
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            ),
            ResponseBody::Live(receiver) => {
                receiver.poll_recv(cx).map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            ResponseBody::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ResponseBody::Live(_) => SizeHint::default(),
        }
    }
}
