//! Authentication and roles: two users with passwords, logins with tokens, and the credentials of a request.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use tokio::sync::watch;

use crate::config::Settings;
use crate::config::settings::{ConsoleSettings, TUTORIAL_PASSWORD};
use crate::http::login_throttle::{Guesser, LoginThrottle};
use crate::http::random::{is_same, token};
use crate::locks::Mutex;
use crate::time::Time;

/// Maximum number of logins of a user; a further one ends the user's login that has been unused the longest.
const MOST_LOGINS: usize = 256;

/// The rights of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// May read everything.
    Viewer,
    /// May read and change everything.
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

/// A user whose credentials are verified.
#[derive(Clone, Debug)]
pub(super) struct AuthenticatedUser {
    pub name: String,
    pub role: Role,
    /// The token that changing requests with the cookie must repeat in a header; `None` if the request has a password
    /// instead.
    pub csrf: Option<String>,
    /// The end of the login; `None` if the request has a password instead.
    pub login_end: Option<LoginEnd>,
}

/// The receiver of a channel whose sender is dropped when the login ends.
pub(super) type LoginEnd = watch::Receiver<()>;

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRefused {
    /// The user or the password is wrong.
    Wrong,
    /// Too many attempts failed; seconds to wait.
    Wait(u64),
}

/// Users, logins, and failed attempts.
pub(super) struct Access {
    users: Vec<User>,
    logins: Mutex<HashMap<String, Login>>,
    throttle: Mutex<LoginThrottle>,
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
    end: watch::Sender<()>,
}

impl Access {
    /// The users of the settings. `port` is the console's; it is part of the cookie's name, because browsers share
    /// cookies between ports.
    ///
    /// # Errors
    /// A password file cannot be read, or its first line is empty: the key of the setting and a sentence.
    pub(super) fn new(settings: &Settings, port: u16) -> Result<Access, (&'static str, String)> {
        let console = &settings.console;
        let mut password = match console.password_file.as_str() {
            "" => console.password.reveal().to_owned(),
            path => read_for(console, path).map_err(|cause| ("console.password_file", cause))?,
        };
        let is_public = password.is_empty() && console.tutorial;
        if is_public {
            password = TUTORIAL_PASSWORD.to_owned();
        }
        let mut users = vec![User { name: console.user.clone(), password, role: Role::Admin }];
        let password = match console.viewer_password_file.as_str() {
            "" => console.viewer_password.reveal().to_owned(),
            path => read_for(console, path).map_err(|cause| ("console.viewer_password_file", cause))?,
        };
        if !password.is_empty() {
            users.push(User { name: console.viewer_user.clone(), password, role: Role::Viewer });
        }
        Ok(Access {
            users,
            logins: Mutex::default(),
            throttle: Mutex::default(),
            expiry: console.session_expiry,
            cookie: format!("midge_session_{port}"),
            learner: is_public.then(|| console.user.clone()),
        })
    }

    /// The name of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The user with the tutorial's password, which the login page shows.
    pub(super) fn learner(&self) -> Option<&str> {
        self.learner.as_deref()
    }

    /// The user of a request; `Ok(None)` if it has no credentials.
    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        now: Time,
    ) -> Result<Option<AuthenticatedUser>, LoginRefused> {
        if let Some((user, password)) = basic(headers) {
            let role = self.check(&user, &password, address, now)?;
            return Ok(Some(AuthenticatedUser { name: user, role, csrf: None, login_end: None }));
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
        let (csrf, login_end) = (Some(login.csrf.clone()), Some(login.end.subscribe()));
        Ok(Some(AuthenticatedUser { name: login.user.clone(), role: login.role, csrf, login_end }))
    }

    /// Logs a user in: the token for the cookie, and the user. `Err(Ok(..))` if refused, `Err(Err(..))` if the
    /// system has no random numbers.
    pub(super) fn log_in(
        &self,
        user: &str,
        password: &str,
        address: IpAddr,
        now: Time,
    ) -> Result<(String, AuthenticatedUser), Result<LoginRefused, io::Error>> {
        let role = self.check(user, password, address, now).map_err(Ok)?;
        let (id, csrf) = (token().map_err(Err)?, token().map_err(Err)?);
        let mut logins = self.logins.lock();
        let expiry = self.expiry;
        logins.retain(|_, login| Duration::from_millis(now.millis_since(login.used)) <= expiry);
        let own = logins.iter().filter(|(_, login)| login.user == user);
        if own.clone().count() >= MOST_LOGINS {
            let oldest = own.min_by_key(|(_, login)| login.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| logins.remove(&id));
        }
        let (end, login_end) = watch::channel(());
        logins.insert(id.clone(), Login { user: user.to_owned(), role, csrf: csrf.clone(), used: now, end });
        let (csrf, login_end) = (Some(csrf), Some(login_end));
        Ok((id, AuthenticatedUser { name: user.to_owned(), role, csrf, login_end }))
    }

    /// Ends the login of a request.
    pub(super) fn log_out(&self, headers: &HeaderMap) {
        if let Some(token) = self.token(headers) {
            self.logins.lock().remove(&token);
        }
    }

    fn check(&self, user: &str, password: &str, address: IpAddr, now: Time) -> Result<Role, LoginRefused> {
        let number = self.users.iter().position(|known| is_same(&known.name, user));
        let guesser = Guesser::new(number, address);
        if let Some(seconds) = self.throttle.lock().must_wait(guesser, now) {
            return Err(LoginRefused::Wait(seconds));
        }
        let mut role = None;
        for known in &self.users {
            let same_name = is_same(&known.name, user);
            if is_same(&known.password, password) && same_name && !known.password.is_empty() {
                role = Some(known.role);
            }
        }
        let mut throttle = self.throttle.lock();
        match role {
            Some(role) => {
                throttle.succeeded(guesser, now);
                Ok(role)
            }
            None => {
                throttle.failed(guesser, now);
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

/// User and password of HTTP Basic; empty texts, which match no user, if the header is malformed.
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

/// The password of a file. The tutorial's is refused where other machines can reach the console.
fn read_for(console: &ConsoleSettings, path: &str) -> Result<String, String> {
    let password = read(path)?;
    match console.listen.filter(|address| !address.ip().is_loopback()) {
        Some(address) if password == TUTORIAL_PASSWORD => Err(format!(
            "{path}: other machines can reach console.listen ({address}): set a password that is not public"
        )),
        _ => Ok(password),
    }
}

/// The first line of a password file.
fn read(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    // Editors of Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{path}: the first line must be the password, but it is empty")),
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
        let (token, user) = access.log_in("admin", "x", HERE, Time::ZERO).unwrap();
        assert_eq!((user.role, user.csrf.as_ref().unwrap().len()), (Role::Admin, 32));
        let cookie = with(COOKIE, &format!("a=b; {}={token}", access.cookie()));
        let hour = 3_600_000;
        for now in [0, hour, 2 * hour] {
            let found = access.authenticate(&cookie, HERE, Time::from_millis(now)).unwrap().unwrap();
            assert_eq!((found.name.as_str(), found.csrf), ("admin", user.csrf.clone()));
        }
        assert!(access.authenticate(&cookie, HERE, Time::from_millis(3 * hour + 1)).unwrap().is_none());
        let (token, _) = access.log_in("admin", "x", HERE, Time::ZERO).unwrap();
        let cookie = with(COOKIE, &format!("{}={token}", access.cookie()));
        access.log_out(&cookie);
        assert!(access.authenticate(&cookie, HERE, Time::ZERO).unwrap().is_none());
        assert!(access.authenticate(&HeaderMap::new(), HERE, Time::ZERO).unwrap().is_none());
    }

    #[test]
    fn passwords_may_come_with_each_request() {
        let access = access(&[("password", "a:b"), ("viewer_password", "v")]);
        let basic = |text: &str| with(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(text)));
        let role =
            |text: &str| access.authenticate(&basic(text), HERE, Time::ZERO).map(|found| found.unwrap().role);
        assert_eq!(role("admin:a:b"), Ok(Role::Admin));
        assert_eq!(role("viewer:v"), Ok(Role::Viewer));
        for wrong in ["admin:v", "viewer:a:b", ":", "admin", "root:a:b", "root:", "viewers:v"] {
            assert_eq!(role(wrong), Err(LoginRefused::Wrong), "{wrong}");
        }
        let other = with(AUTHORIZATION, "Bearer abc");
        assert_eq!(access.authenticate(&other, HERE, Time::ZERO).unwrap_err(), LoginRefused::Wait(1));
    }

    /// A viewer that guesses the administrator's password is slowed, whatever it does meanwhile; others are not.
    #[test]
    fn a_right_password_of_one_user_clears_no_guesses_of_another() {
        let access = access(&[("password", "x"), ("viewer_password", "v")]);
        let log_in = |user: &str, password: &str| {
            access.log_in(user, password, HERE, Time::ZERO).map(|_| ()).map_err(Result::unwrap)
        };
        for _ in 0..5 {
            assert_eq!(log_in("admin", "guess"), Err(LoginRefused::Wrong));
            assert_eq!(log_in("viewer", "v"), Ok(()));
        }
        assert_eq!(log_in("admin", "guess"), Err(LoginRefused::Wait(1)));
        assert_eq!(log_in("viewer", "v"), Ok(()));
        assert_eq!(log_in("nobody", "guess"), Err(LoginRefused::Wrong));
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
    fn logins_are_bounded_for_each_user() {
        let access = access(&[("password", "x"), ("viewer_password", "v")]);
        let (admin, _) = access.log_in("admin", "x", HERE, Time::ZERO).unwrap();
        for number in 0..2 * MOST_LOGINS as u64 {
            access.log_in("viewer", "v", HERE, Time::from_millis(1 + number)).unwrap();
        }
        assert_eq!(access.logins.lock().len(), 1 + MOST_LOGINS);
        let cookie = with(COOKIE, &format!("{}={admin}", access.cookie()));
        assert!(access.authenticate(&cookie, HERE, Time::ZERO).unwrap().is_some());
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
        assert!(access.authenticate(&cookie, HERE, Time::from_millis(9)).unwrap().is_none());
    }
}
