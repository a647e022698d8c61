//! Logging in and out.

use hyper::StatusCode;
use hyper::header::SET_COOKIE;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::access::AuthenticatedUser;
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::{ApiRequest, refused};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: String,
}

#[derive(Serialize)]
struct Session<'s> {
    user: &'s str,
    role: &'static str,
    /// Absent for a request with a password.
    csrf: Option<&'s str>,
    tutorial: bool,
    version: &'static str,
}

/// `POST /api/v1/login`
pub(super) fn log_in(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let Credentials { user, password } = request.json()?;
    let outcome = console.access().log_in(&user, &password, request.origin.address, console.now());
    let (token, user) = outcome.map_err(|why| match why {
        Ok(why) => refused(why),
        Err(error) => Problem::internal(format!("the system provides no random numbers: {error}")),
    })?;
    show(console, &user)?.with(SET_COOKIE, &cookie(console, request, &token))
}

/// `POST /api/v1/logout`
pub(super) fn log_out(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    console.access().log_out(&request.headers);
    Reply::done().with(SET_COOKIE, &format!("{}; Max-Age=0", cookie(console, request, "")))
}

/// The cookie of a login, only for HTTPS if the client speaks it.
fn cookie(console: &Console, request: &ApiRequest, token: &str) -> String {
    let name = console.access().cookie();
    let secure = if request.origin.is_https { "; Secure" } else { "" };
    format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

/// `GET /api/v1/session`. Without a login, the response has the tutorial's user for the login page.
pub(super) fn session(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let user = console.access().authenticate(&request.headers, request.origin.address, console.now());
    match user.map_err(refused)? {
        Some(user) => show(console, &user),
        None => {
            let error = json!({ "code": "unauthorized", "message": "not logged in" });
            let body = json!({ "error": error, "tutorial_user": console.access().learner() });
            Ok(Reply { status: StatusCode::UNAUTHORIZED, ..Reply::json(&body)? })
        }
    }
}

fn show(console: &Console, user: &AuthenticatedUser) -> Result<Reply, Problem> {
    Reply::json(&Session {
        user: &user.name,
        role: user.role.name(),
        csrf: user.csrf.as_deref(),
        tutorial: console.is_tutorial(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
