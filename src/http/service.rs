//! From a request to its response: guard, route, authorization, handler and thread.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use tokio::time::timeout;

use crate::http::access::{AuthenticatedUser, LoginEnd, LoginRefused, Role};
use crate::http::answer::{Problem, Reply, ResponseBody};
use crate::http::connections::ConnectionState;
use crate::http::console::Console;
use crate::http::origin::Origin;
use crate::http::query::Query;
use crate::http::random::is_same;
use crate::http::routes::{Handler, RequiredRole, Route, RouteMatch, find};
use crate::http::{assets, guard};

/// The maximum size of a body with a few fields, in bytes.
const SMALL_BODY: usize = 16 * 1024;
/// The header that repeats the token of a login.
const CSRF: &str = "x-midge-csrf";

/// The request that a handler gets.
#[derive(Debug)]
pub(super) struct ApiRequest {
    /// The text of the path's level in braces, decoded.
    pub name: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub origin: Origin,
    /// The end of the login that the request belongs to, if it belongs to one.
    pub login_end: Option<LoginEnd>,
}

impl ApiRequest {
    /// The body, parsed as JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request(format!("invalid request body: {error}")))
    }
}

/// Answers a request.
pub(super) async fn respond(
    console: Arc<Console>,
    peer: SocketAddr,
    connection: &ConnectionState,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut response = match answer(&console, peer, connection, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    guard::add_security_headers(response.headers_mut());
    Ok(response)
}

async fn answer(
    console: &Arc<Console>,
    peer: SocketAddr,
    connection: &ConnectionState,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Problem> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    // A health probe uses any host name; the response reveals nothing.
    if path != "/health" && !console.hosts().is_allowed(&parts.uri, &parts.headers) {
        return Err(Problem::misdirected());
    }
    let (route, name) = match find(&parts.method, path) {
        RouteMatch::Route(route, name) => (route, name),
        RouteMatch::OtherMethods(allow) => return Err(Problem::method_not_allowed(allow)),
        RouteMatch::NoMatch if path.starts_with("/api/") => {
            return Err(Problem::not_found("not found"));
        }
        RouteMatch::NoMatch => {
            return assets::answer(&parts.method, path, &parts.headers).map(Reply::into_response);
        }
    };
    if !guard::is_same_origin(&parts.headers) {
        return Err(Problem::forbidden("the request comes from a page of another site"));
    }
    let mut origin = console.proxies().origin(peer, &parts.headers);
    origin.is_https |= console.is_secured();
    let user = authorize(console, route, &parts, origin)?;
    if user.is_some() {
        connection.logged_in();
    }
    let login_end = user.and_then(|user| user.login_end);
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    // Probes and scrapers may add parameters of their own.
    if path.starts_with("/api/") {
        query.check_names(route.parameters)?;
    }
    let body = read(console, route, &parts, body).await?;
    let request = ApiRequest { name, query, headers: parts.headers, body, origin, login_end };
    match route.handler {
        Handler::Stream(begin) => begin(console, &request),
        Handler::Reply(handler) => {
            let console = Arc::clone(console);
            // Not on the threads that serve MQTT, because a list may take time.
            let answered = tokio::task::spawn_blocking(move || handler(&console, &request)).await;
            match answered {
                Ok(answer) => answer.map(Reply::into_response),
                Err(error) if error.is_cancelled() => Err(Problem::unavailable("the broker is stopping")),
                Err(_) => Err(Problem::internal("the handler of this request failed")),
            }
        }
    }
}

/// Checks the role and the CSRF token of a request; returns its user, if it needs one.
fn authorize(
    console: &Console,
    route: &Route,
    parts: &Parts,
    origin: Origin,
) -> Result<Option<AuthenticatedUser>, Problem> {
    let needed = match route.required {
        RequiredRole::Anyone => return Ok(None),
        RequiredRole::Scraper if console.is_local() && !origin.is_forwarded => return Ok(None),
        RequiredRole::Scraper | RequiredRole::Viewer => Role::Viewer,
        RequiredRole::Admin => Role::Admin,
    };
    let user =
        console.access().authenticate(&parts.headers, origin.address, console.now()).map_err(refused)?;
    let Some(user) = user else {
        return Err(Problem::unauthorized("not logged in"));
    };
    if user.role < needed {
        return Err(Problem::forbidden(format!("user {} is read-only", user.name)));
    }
    let is_safe = parts.method == Method::GET || parts.method == Method::HEAD;
    if let Some(token) = user.csrf.as_deref().filter(|_| !is_safe) {
        let repeated = parts.headers.get(CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_same(token, repeated) {
            return Err(Problem::forbidden("the header X-Midge-CSRF does not match the login's token"));
        }
    }
    Ok(Some(user))
}

/// The response to a refused login.
pub(super) fn refused(refused: LoginRefused) -> Problem {
    match refused {
        LoginRefused::Wrong => Problem::unauthorized("wrong user name or password"),
        LoginRefused::Wait(seconds) => Problem::too_many(seconds),
    }
}

async fn read(console: &Console, route: &Route, parts: &Parts, body: Incoming) -> Result<Bytes, Problem> {
    if parts.method != Method::POST {
        // The body of a GET or DELETE is ignored, but read, so that the connection can be reused.
        return if body.is_end_stream() {
            Ok(Bytes::new())
        } else {
            limited(console, body, SMALL_BODY).await.map(|_| Bytes::new())
        };
    }
    let most = if route.has_large_body { console.largest_body() } else { SMALL_BODY };
    let body = limited(console, body, most).await?;
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    let is_absent = body.is_empty() && route.body_may_be_absent;
    if !is_json && !is_absent {
        return Err(Problem::unsupported(
            "the request body must be JSON, with Content-Type: application/json",
        ));
    }
    Ok(body)
}

async fn limited(console: &Console, body: Incoming, most: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::too_large(most));
    }
    match timeout(console.io_timeout(), Limited::new(body, most).collect()).await {
        Err(_) => Err(Problem::timed_out()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(most)),
        Ok(Err(_)) => Err(Problem::bad_request("the request body is incomplete")),
    }
}
