//! Who may do what: two users with passwords, logins with tokens, and the credentials that a request brings.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use parking_lot::Mutex;

use crate::config::Settings;
use crate::http::brute::Brute;
use crate::http::random::{is_same, token};
use crate::time::Time;

/// Logins at the same time; one more ends the one that was not used for the longest time.
const MOST_LOGINS: usize = 256;
/// The password of the tutorial.
const TUTORIAL_PASSWORD: &str = "public";

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// See everything.
    Viewer,
    /// See and do everything.
    Admin,
}

impl Role {
    /// The name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Admin => "admin",
        }
    }
}

/// A user who has shown who they are.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub user: String,
    pub role: Role,
    /// The token that requests by this cookie have to repeat in a header to change anything; `None` if the request
    /// brought a password instead.
    pub csrf: Option<String>,
}

/// Why a request has no visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRefused {
    /// The user or the password is wrong.
    Wrong,
    /// Too many were wrong; seconds to wait.
    Wait(u64),
}

/// Users, logins, and who guesses.
pub(super) struct Access {
    users: Vec<User>,
    logins: Mutex<HashMap<String, Login>>,
    brute: Mutex<Brute>,
    expiry: Duration,
    cookie: String,
    learner: Option<String>,
}

struct User {
    name: String,
    password: String,
    role: Role,
}

struct Login {
    user: String,
    role: Role,
    csrf: String,
    used: Time,
}

impl Access {
    /// The users of the settings. `port` is that of the console: cookies do not tell ports apart, so that it is in the
    /// name of ours.
    ///
    /// # Errors
    /// A file with a password cannot be read, or has none: the key of the setting and a sentence.
    pub(super) fn new(settings: &Settings, port: u16) -> Result<Access, (&'static str, String)> {
        let console = &settings.console;
        let mut password = match console.password_file.as_str() {
            "" => console.password.reveal().to_owned(),
            path => read(path).map_err(|cause| ("console.password_file", cause))?,
        };
        let is_public = password.is_empty() && console.tutorial;
        if is_public {
            password = TUTORIAL_PASSWORD.to_owned();
        }
        let mut users = vec![User { name: console.user.clone(), password, role: Role::Admin }];
        let password = match console.viewer_password_file.as_str() {
            "" => console.viewer_password.reveal().to_owned(),
            path => read(path).map_err(|cause| ("console.viewer_password_file", cause))?,
        };
        if !password.is_empty() {
            users.push(User { name: console.viewer_user.clone(), password, role: Role::Viewer });
        }
        Ok(Access {
            users,
            logins: Mutex::default(),
            brute: Mutex::default(),
            expiry: console.session_expiry,
            cookie: format!("midge_session_{port}"),
            learner: is_public.then(|| console.user.clone()),
        })
    }

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The user whose password is that of the tutorial, which the login page may tell.
    pub(super) fn learner(&self) -> Option<&str> {
        self.learner.as_deref()
    }

    /// Who a request is from; `Ok(None)` if it does not say.
    pub(super) fn visitor(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        now: Time,
    ) -> Result<Option<Visitor>, LoginRefused> {
        if let Some((user, password)) = basic(headers) {
            let role = self.check(&user, &password, address, now)?;
            return Ok(Some(Visitor { user, role, csrf: None }));
        }
        let Some(token) = self.token(headers) else {
            return Ok(None);
        };
        let mut logins = self.logins.lock();
        let Some(login) = logins.get_mut(&token) else {
            return Ok(None);
        };
        if Duration::from_millis(now.millis_since(login.used)) > self.expiry {
            logins.remove(&token);
            return Ok(None);
        }
        login.used = now;
        let csrf = Some(login.csrf.clone());
        Ok(Some(Visitor { user: login.user.clone(), role: login.role, csrf }))
    }

    /// Logs a user in: the token for the cookie, and the visitor. `Err(Ok(..))` if refused, `Err(Err(..))` if the
    /// system has no random numbers.
    pub(super) fn log_in(
        &self,
        user: &str,
        password: &str,
        address: IpAddr,
        now: Time,
    ) -> Result<(String, Visitor), Result<LoginRefused, io::Error>> {
        let role = self.check(user, password, address, now).map_err(Ok)?;
        let (id, csrf) = (token().map_err(Err)?, token().map_err(Err)?);
        let mut logins = self.logins.lock();
        let expiry = self.expiry;
        logins.retain(|_, login| Duration::from_millis(now.millis_since(login.used)) <= expiry);
        if logins.len() >= MOST_LOGINS {
            let oldest = logins.iter().min_by_key(|(_, login)| login.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| logins.remove(&id));
        }
        logins.insert(id.clone(), Login { user: user.to_owned(), role, csrf: csrf.clone(), used: now });
        Ok((id, Visitor { user: user.to_owned(), role, csrf: Some(csrf) }))
    }

    /// Ends the login of a request.
    pub(super) fn log_out(&self, headers: &HeaderMap) {
        if let Some(token) = self.token(headers) {
            self.logins.lock().remove(&token);
        }
    }

    fn check(&self, user: &str, password: &str, address: IpAddr, now: Time) -> Result<Role, LoginRefused> {
        if let Some(seconds) = self.brute.lock().must_wait(address, now) {
            return Err(LoginRefused::Wait(seconds));
        }
        let mut role = None;
        for known in &self.users {
            let same_name = is_same(&known.name, user);
            if is_same(&known.password, password) && same_name && !known.password.is_empty() {
                role = Some(known.role);
            }
        }
        let mut brute = self.brute.lock();
        match role {
            Some(role) => {
                brute.succeeded(address);
                Ok(role)
            }
            None => {
                brute.failed(address, now);
                Err(LoginRefused::Wrong)
            }
        }
    }

    fn token(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie)
            .map(|(_, token)| token.to_owned())
    }
}

/// User and password of HTTP's Basic scheme; empty texts if they cannot be read, which are nobody's.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?;
    let read = || {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        let decoded =
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    };
    Some(read().unwrap_or_default())
}

/// The first line of a file, which holds a password.
fn read(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{path}: the first line is empty")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use hyper::HeaderMap;
    use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue};

    use super::{Access, LoginRefused, MOST_LOGINS, Role, STANDARD};
    use crate::config::Config;
    use crate::time::Time;
    use base64::Engine as _;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn access(settings: &[(&str, &str)]) -> Access {
        let mut config = Config::new();
        for (key, value) in settings {
            config.set(&format!("console.{key}"), value).unwrap();
        }
        Access::new(config.settings(), 18083).unwrap()
    }

    fn with(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_login_is_found_by_its_cookie_until_it_ends() {
        let access = access(&[("password", "x"), ("session_expiry", "1h")]);
        let (token, visitor) = access.log_in("admin", "x", HERE, Time::ZERO).unwrap();
        assert_eq!((visitor.role, visitor.csrf.as_ref().unwrap().len()), (Role::Admin, 32));
        let cookie = with(COOKIE, &format!("a=b; {}={token}", access.cookie()));
        let hour = 3_600_000;
        for now in [0, hour, 2 * hour] {
            let found = access.visitor(&cookie, HERE, Time::from_millis(now)).unwrap().unwrap();
            assert_eq!((found.user.as_str(), found.csrf), ("admin", visitor.csrf.clone()));
        }
        assert!(access.visitor(&cookie, HERE, Time::from_millis(3 * hour + 1)).unwrap().is_none());
        let (token, _) = access.log_in("admin", "x", HERE, Time::ZERO).unwrap();
        let cookie = with(COOKIE, &format!("{}={token}", access.cookie()));
        access.log_out(&cookie);
        assert!(access.visitor(&cookie, HERE, Time::ZERO).unwrap().is_none());
        assert!(access.visitor(&HeaderMap::new(), HERE, Time::ZERO).unwrap().is_none());
    }

    #[test]
    fn passwords_may_come_with_each_request() {
        let access = access(&[("password", "a:b"), ("viewer_password", "v")]);
        let basic = |text: &str| with(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(text)));
        let role =
            |text: &str| access.visitor(&basic(text), HERE, Time::ZERO).map(|found| found.unwrap().role);
        assert_eq!(role("admin:a:b"), Ok(Role::Admin));
        assert_eq!(role("viewer:v"), Ok(Role::Viewer));
        for wrong in ["admin:v", "viewer:a:b", ":", "admin", "root:a:b"] {
            assert_eq!(role(wrong), Err(LoginRefused::Wrong), "{wrong}");
        }
        let other = with(AUTHORIZATION, "Bearer abc");
        assert_eq!(access.visitor(&other, HERE, Time::ZERO).unwrap_err(), LoginRefused::Wait(1));
    }

    #[test]
    fn without_a_password_there_is_no_user() {
        let access = access(&[("password", "x")]);
        assert_eq!(access.log_in("viewer", "", HERE, Time::ZERO).unwrap_err().unwrap(), LoginRefused::Wrong);
    }

    #[test]
    fn the_tutorial_has_a_password_that_everybody_knows() {
        let learning = access(&[("tutorial", "true")]);
        assert!(learning.log_in("admin", "public", HERE, Time::ZERO).is_ok());
        assert_eq!(learning.learner(), Some("admin"));
        let own = access(&[("tutorial", "true"), ("password", "x")]);
        assert!(own.log_in("admin", "public", HERE, Time::ZERO).is_err());
        assert_eq!(own.learner(), None);
    }

    #[test]
    fn without_the_tutorial_its_password_is_nobodys() {
        let without = access(&[]);
        assert_eq!(without.learner(), None);
        for password in ["public", ""] {
            let refused = without.log_in("admin", password, HERE, Time::ZERO).unwrap_err().unwrap();
            assert_eq!(refused, LoginRefused::Wrong, "{password:?}");
        }
    }

    #[test]
    fn logins_are_bounded() {
        let access = access(&[("password", "x")]);
        let first = access.log_in("admin", "x", HERE, Time::ZERO).unwrap().0;
        for number in 0..MOST_LOGINS as u64 {
            access.log_in("admin", "x", HERE, Time::from_millis(1 + number)).unwrap();
        }
        assert_eq!(access.logins.lock().len(), MOST_LOGINS);
        let cookie = with(COOKIE, &format!("{}={first}", access.cookie()));
        assert!(access.visitor(&cookie, HERE, Time::from_millis(9)).unwrap().is_none());
    }
}
