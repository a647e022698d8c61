//! The table of routes: method, path, required role and handler. The OpenAPI document describes the same table; a test
//! compares them.

use std::sync::Arc;

use hyper::{Method, Response};
use percent_encoding::percent_decode_str;

use crate::http::answer::{Problem, Reply, ResponseBody};
use crate::http::console::Console;
use crate::http::service::ApiRequest;
use crate::http::{
    certificates, clients, drops, events, explain, history, listeners, live, login, metrics, overview,
    publish, retained, sessions, settings, storage, subscriptions, topics, tutorial,
};

/// The role that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequiredRole {
    /// No login.
    Anyone,
    /// No login if only this machine can reach the console and no proxy forwards the request, else as `Viewer`.
    Scraper,
    /// Read access.
    Viewer,
    /// Read and write access.
    Admin,
}

/// The handler of a request.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// A function that runs on the blocking thread.
    Reply(fn(&Console, &ApiRequest) -> Result<Reply, Problem>),
    /// A function that starts a live stream.
    Stream(fn(&Arc<Console>, &ApiRequest) -> Result<Response<ResponseBody>, Problem>),
}

/// One line of the table.
pub(super) struct Route {
    pub method: &'static str,
    /// The path; a level in braces matches any text.
    pub path: &'static str,
    pub required: RequiredRole,
    pub handler: Handler,
    /// The names of its query parameters.
    pub parameters: &'static [&'static str],
    /// Whether the body may have the size of a message.
    pub has_large_body: bool,
    /// Whether a POST may have no body.
    pub body_may_be_absent: bool,
}

/// The result of matching a path.
pub(super) enum RouteMatch {
    /// A route, and the text of its level in braces.
    Route(&'static Route, String),
    /// The path exists for other methods: the value of Allow.
    OtherMethods(String),
    NoMatch,
}

const fn route(method: &'static str, path: &'static str, required: RequiredRole, handler: Handler) -> Route {
    Route {
        method,
        path,
        required,
        handler,
        parameters: &[],
        has_large_body: false,
        body_may_be_absent: false,
    }
}

const fn with(parameters: &'static [&'static str], route: Route) -> Route {
    Route { parameters, ..route }
}

const fn get(path: &'static str, handler: fn(&Console, &ApiRequest) -> Result<Reply, Problem>) -> Route {
    route("GET", path, RequiredRole::Viewer, Handler::Reply(handler))
}

const fn delete(path: &'static str, handler: fn(&Console, &ApiRequest) -> Result<Reply, Problem>) -> Route {
    route("DELETE", path, RequiredRole::Admin, Handler::Reply(handler))
}

const fn post(path: &'static str, handler: fn(&Console, &ApiRequest) -> Result<Reply, Problem>) -> Route {
    route("POST", path, RequiredRole::Admin, Handler::Reply(handler))
}

/// The query parameters of a list.
const LIST: &[&str] = &["offset", "limit", "search", "sort", "order"];
const SESSIONS: &[&str] = &["offset", "limit", "search", "sort", "order", "connected"];
const TOPICS: &[&str] = &["parent", "root", "after", "offset", "search", "limit"];

/// Every route.
pub(super) static ROUTES: &[Route] = &[
    route("GET", "/health", RequiredRole::Anyone, Handler::Reply(overview::health)),
    route("GET", "/metrics", RequiredRole::Scraper, Handler::Reply(metrics::show)),
    route("GET", "/api/v1/openapi.json", RequiredRole::Anyone, Handler::Reply(overview::openapi)),
    route("POST", "/api/v1/login", RequiredRole::Anyone, Handler::Reply(login::log_in)),
    Route {
        body_may_be_absent: true,
        ..route("POST", "/api/v1/logout", RequiredRole::Viewer, Handler::Reply(login::log_out))
    },
    route("GET", "/api/v1/session", RequiredRole::Anyone, Handler::Reply(login::session)),
    get("/api/v1/overview", overview::show),
    get("/api/v1/history", history::show),
    with(LIST, get("/api/v1/clients", clients::connected)),
    with(SESSIONS, get("/api/v1/sessions", clients::sessions)),
    get("/api/v1/clients/{client_id}", clients::one),
    delete("/api/v1/clients/{client_id}", clients::kick),
    get("/api/v1/sessions/{client_id}", clients::session),
    delete("/api/v1/sessions/{client_id}", sessions::end),
    with(&["limit"], get("/api/v1/sessions/{client_id}/queue", sessions::queue)),
    delete("/api/v1/sessions/{client_id}/queue", sessions::clear),
    with(LIST, get("/api/v1/subscriptions", subscriptions::list)),
    with(&["topic"], get("/api/v1/subscriptions/match", explain::matching)),
    with(TOPICS, get("/api/v1/topics", topics::show)),
    with(LIST, get("/api/v1/retained", retained::list)),
    with(&["topic"], get("/api/v1/retained/message", retained::one)),
    with(&["topic"], delete("/api/v1/retained/message", retained::remove)),
    Route {
        has_large_body: true,
        ..route("POST", "/api/v1/retained/find", RequiredRole::Viewer, Handler::Reply(retained::find_long))
    },
    Route {
        has_large_body: true,
        ..route("POST", "/api/v1/retained/delete", RequiredRole::Admin, Handler::Reply(retained::remove_long))
    },
    Route {
        has_large_body: true,
        ..route("POST", "/api/v1/publish", RequiredRole::Admin, Handler::Reply(publish::publish))
    },
    Route {
        has_large_body: true,
        ..route("POST", "/api/v1/explain", RequiredRole::Viewer, Handler::Reply(explain::explain))
    },
    get("/api/v1/drops", drops::show),
    get("/api/v1/tutorial", tutorial::show),
    route("GET", "/api/v1/events", RequiredRole::Viewer, Handler::Stream(events::begin)),
    with(&["filter"], route("GET", "/api/v1/live", RequiredRole::Viewer, Handler::Stream(live::begin))),
    with(LIST, get("/api/v1/listeners", listeners::list)),
    post("/api/v1/listeners", listeners::add),
    with(&["connections"], delete("/api/v1/listeners/{name}", listeners::stop)),
    Route { body_may_be_absent: true, ..post("/api/v1/listeners/{name}/pause", listeners::pause) },
    Route { body_may_be_absent: true, ..post("/api/v1/listeners/{name}/resume", listeners::resume) },
    get("/api/v1/certificates", certificates::list),
    Route { body_may_be_absent: true, ..post("/api/v1/certificates/reload", certificates::reload) },
    get("/api/v1/settings", settings::show),
    get("/api/v1/storage", storage::show),
];

/// The route of a request.
pub(super) fn find(method: &Method, path: &str) -> RouteMatch {
    // HEAD is handled as GET; the server omits the body.
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut others: Vec<&str> = Vec::new();
    let mut by_name = None;
    for route in ROUTES {
        let Some(name) = match_path(route.path, path) else { continue };
        if route.method != wanted {
            others.push(route.method);
        } else if name.is_empty() {
            return RouteMatch::Route(route, name);
        } else {
            by_name = Some((route, name));
        }
    }
    match by_name {
        Some((route, name)) => RouteMatch::Route(route, name),
        None if others.is_empty() => RouteMatch::NoMatch,
        None => {
            if others.contains(&"GET") {
                others.push("HEAD");
            }
            others.sort_unstable();
            RouteMatch::OtherMethods(others.join(", "))
        }
    }
}

/// The text of the level in braces, empty if there is none; `None` if the path does not match.
fn match_path(pattern: &str, path: &str) -> Option<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(String::new);
    };
    let (_, after) = rest.split_once('}')?;
    let level = path.strip_prefix(before)?.strip_suffix(after)?;
    let level = Some(level).filter(|level| !level.is_empty() && !level.contains('/'))?;
    percent_decode_str(level).decode_utf8().ok().map(|name| name.into_owned())
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::{ROUTES, RequiredRole, RouteMatch, find, match_path};

    #[test]
    fn names_are_decoded_behind_their_place() {
        assert_eq!(match_path("/a/{x}", "/a/b%2Fc+d%20%C3%BC").as_deref(), Some("b/c+d ü"));
        assert_eq!(match_path("/a", "/a").as_deref(), Some(""));
        for path in ["/a/", "/a/b/c", "/b/c", "/a", "/a/%FF"] {
            assert_eq!(match_path("/a/{x}", path), None, "{path}");
        }
        assert_eq!(match_path("/a/{x}/q", "/a/b%2Fq/q").as_deref(), Some("b/q"));
        for path in ["/a/b", "/a//q", "/a/q", "/a/b/c/q", "/a/b/q/"] {
            assert_eq!(match_path("/a/{x}/q", path), None, "{path}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        assert!(matches!(find(&Method::HEAD, "/health"), RouteMatch::Route(..)));
        match find(&Method::POST, "/api/v1/clients/x") {
            RouteMatch::OtherMethods(allow) => assert_eq!(allow, "DELETE, GET, HEAD"),
            _ => panic!("there are other methods"),
        }
        assert!(matches!(find(&Method::GET, "/api/v1/nothing"), RouteMatch::NoMatch));
    }

    /// The document lists exactly the query parameters that a route takes.
    #[test]
    fn the_document_describes_the_parameters() {
        let text = crate::http::assets::openapi().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.to_lowercase()];
            let described = operation["parameters"].as_array().into_iter().flatten();
            let mut described: Vec<_> = described
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let mut taken = route.parameters.to_vec();
            described.sort_unstable();
            taken.sort_unstable();
            assert_eq!(taken, described, "{} {}", route.method, route.path);
            let may_be_refused = route.path.starts_with("/api/");
            assert_eq!(operation["responses"].get("400").is_some(), may_be_refused, "{}", route.path);
        }
    }

    /// The document lists exactly the routes, each with its required role.
    #[test]
    fn the_document_describes_the_table() {
        let text = crate::http::assets::openapi().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut described = Vec::new();
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().unwrap() {
                let open = operation.get("security").is_some();
                described.push(format!("{} {path} {open}", method.to_uppercase()));
            }
        }
        let mut table: Vec<_> = ROUTES
            .iter()
            .map(|route| {
                format!("{} {} {}", route.method, route.path, route.required == RequiredRole::Anyone)
            })
            .collect();
        described.sort();
        table.sort();
        assert_eq!(described, table);
    }

    #[test]
    fn each_route_is_there_once() {
        for (index, route) in ROUTES.iter().enumerate() {
            let again =
                ROUTES.iter().skip(index + 1).any(|r| r.path == route.path && r.method == route.method);
            assert!(!again, "{} {}", route.method, route.path);
        }
    }
}
