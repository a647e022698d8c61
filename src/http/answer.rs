//! What a handler answers: a body, or a problem with a sentence; and the body on its way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

/// An answer that went well.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer that says what is wrong.
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

    /// 200 with a body of some type, which is not to be kept.
    pub(super) fn new(body: impl Into<Bytes>, content_type: &'static str) -> Reply {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]);
        Reply { status: StatusCode::OK, headers, body: body.into() }
    }

    /// 204: done, and there is nothing to say.
    pub(super) fn done() -> Reply {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
        Reply { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }
    }

    /// The same with one more header.
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

    /// 401: nobody is logged in, or the password is wrong. No challenge: the browser's own dialogue would keep the
    /// password and send it along with what foreign pages ask for.
    pub(super) fn unauthorized(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: known, but not allowed.
    pub(super) fn forbidden(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405, with the methods that there are.
    pub(super) fn method_not_allowed(allow: String) -> Problem {
        let message = format!("this address takes {allow}");
        Problem {
            allow: Some(allow),
            ..Problem::of(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        }
    }

    /// 408: the body did not come.
    pub(super) fn timed_out() -> Problem {
        Problem::of(StatusCode::REQUEST_TIMEOUT, "timed_out", "the body of the request did not come in time")
    }

    /// 413: the body is too large.
    pub(super) fn too_large(most: usize) -> Problem {
        let message = format!("the body is larger than {most} bytes");
        Problem::of(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415: the body is of another type.
    pub(super) fn unsupported(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 421: the request was sent to a name that is not ours.
    pub(super) fn misdirected() -> Problem {
        let message = "the console is not known by this name; console.hosts lists the names by which it is";
        Problem::of(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
    }

    /// 429: seconds to wait.
    pub(super) fn too_many(seconds: u64) -> Problem {
        let message = format!("too many logins have failed; try again in {seconds} s");
        let problem = Problem::of(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Problem { retry_after: Some(seconds), ..problem }
    }

    /// 500: what should not happen.
    pub(super) fn internal(message: impl Into<String>) -> Problem {
        Problem::of(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: the broker stops, or the console is full.
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

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// What a task sends, until it ends.
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
