//! The MQTT listeners: a list, and what an administrator may change.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Config, ListenAddress};
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::query::Page;
use crate::http::service::ApiRequest;

/// The keys that the list of listeners can be sorted by.
const SORTS: &[&str] =
    &["name", "address", "transport", "state", "connections", "accepted", "refused", "handshake_failures"];

/// What a console asks its broker about listeners, and what it may change.
pub trait ListenerControl: Send + Sync {
    /// The listeners at this moment.
    fn views(&self) -> Vec<ListenerView>;
    /// Adds a listener with its settings in `config`; returns its address.
    fn add(&self, name: &str, config: &Config) -> Result<ListenAddress, Refused>;
    /// Closes a listener; `disconnect`: its clients are disconnected. Returns the number of its clients.
    fn stop(&self, name: &str, disconnect: bool) -> Result<u32, Refused>;
    /// Lets a listener's new connections wait.
    fn pause(&self, name: &str) -> Result<(), Refused>;
    /// Lets a paused listener accept again.
    fn resume(&self, name: &str) -> Result<(), Refused>;
}

/// Why a listener is not changed, in a sentence.
#[derive(Debug)]
pub enum Refused {
    /// There is none of this name.
    Unknown(String),
    /// The request cannot be fulfilled.
    Wrong(String),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Unknown(why) => Problem::not_found(why),
            Refused::Wrong(why) => Problem::bad_request(why),
        }
    }
}

/// An MQTT listener as the console shows it.
#[derive(Clone, Debug)]
pub struct ListenerView {
    /// Its name in the settings.
    pub name: String,
    /// Its address.
    pub address: ListenAddress,
    /// Its transport.
    pub transport: &'static str,
    /// Its state in one word.
    pub state: &'static str,
    /// Its connected clients.
    pub connections: u32,
    /// The most that there may be.
    pub max_connections: Option<u32>,
    /// The connections that it has accepted.
    pub accepted: u64,
    /// The connections that a limit has refused.
    pub refused: u64,
    /// The failed handshakes by reason.
    pub handshake_failures: Vec<(String, u64)>,
}

#[derive(Serialize)]
struct Listener {
    name: String,
    address: String,
    transport: &'static str,
    state: &'static str,
    connections: u32,
    max_connections: Option<u32>,
    accepted: u64,
    refused: u64,
    handshake_failures: u64,
    failure_reasons: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    reason: String,
    count: u64,
}

impl ListenerView {
    fn failures(&self) -> u64 {
        self.handshake_failures.iter().map(|(_, count)| count).sum()
    }
}

/// `GET /api/v1/listeners`
pub(super) fn list(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let page = Page::of(&request.query, SORTS)?;
    let mut all = console.listeners.views();
    all.retain(|listener| page.finds(&[&listener.name, &listener.address.to_string()]));
    let by = page.sort().unwrap_or("name");
    let compare = |a: &ListenerView, b: &ListenerView| {
        let order = match by {
            "address" => a.address.cmp(&b.address),
            "transport" => a.transport.cmp(b.transport),
            "state" => a.state.cmp(b.state),
            "connections" => a.connections.cmp(&b.connections),
            "accepted" => a.accepted.cmp(&b.accepted),
            "refused" => a.refused.cmp(&b.refused),
            "handshake_failures" => a.failures().cmp(&b.failures()),
            _ => Ordering::Equal,
        };
        order.then_with(|| a.name.cmp(&b.name))
    };
    page.cut(all, compare, show)
}

fn show(listener: ListenerView) -> Listener {
    let reason = |(reason, count)| Reason { reason, count };
    Listener {
        address: listener.address.to_string(),
        transport: listener.transport,
        state: listener.state,
        connections: listener.connections,
        max_connections: listener.max_connections,
        accepted: listener.accepted,
        refused: listener.refused,
        handshake_failures: listener.failures(),
        failure_reasons: listener.handshake_failures.into_iter().map(reason).collect(),
        name: listener.name,
    }
}

/// A listener to add: its name, and its settings without `listener.<name>.`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewListener {
    name: String,
    settings: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Added {
    name: String,
    address: String,
}

/// `POST /api/v1/listeners`: adds one.
pub(super) fn add(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let NewListener { name, settings } = request.json()?;
    let mut config = Config::new();
    for (key, value) in &settings {
        let key = format!("listener.{name}.{key}");
        config.set(&key, value).map_err(|error| Problem::bad_request(error.to_string()))?;
    }
    let address = console.listeners.add(&name, &config)?.to_string();
    Reply::json(&Added { name, address })
}

#[derive(Serialize)]
struct Stopped {
    connections: u32,
}

/// `DELETE /api/v1/listeners/{name}`: closes it. `connections`: `keep` or `disconnect`.
pub(super) fn stop(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let disconnect = match request.query.get("connections")? {
        None | Some("keep") => false,
        Some("disconnect") => true,
        Some(_) => return Err(Problem::bad_request("connections must be keep or disconnect")),
    };
    Reply::json(&Stopped { connections: console.listeners.stop(&request.name, disconnect)? })
}

/// `POST /api/v1/listeners/{name}/pause`
pub(super) fn pause(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    console.listeners.pause(&request.name)?;
    Ok(Reply::done())
}

/// `POST /api/v1/listeners/{name}/resume`
pub(super) fn resume(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    console.listeners.resume(&request.name)?;
    Ok(Reply::done())
}

/// No listeners, for tests.
#[cfg(test)]
pub(super) struct NoListeners;

#[cfg(test)]
impl ListenerControl for NoListeners {
    fn views(&self) -> Vec<ListenerView> {
        Vec::new()
    }

    fn add(&self, _name: &str, _config: &Config) -> Result<ListenAddress, Refused> {
        Err(Refused::Wrong("no listeners here".to_owned()))
    }

    fn stop(&self, name: &str, _disconnect: bool) -> Result<u32, Refused> {
        Err(Refused::Unknown(name.to_owned()))
    }

    fn pause(&self, name: &str) -> Result<(), Refused> {
        Err(Refused::Unknown(name.to_owned()))
    }

    fn resume(&self, name: &str) -> Result<(), Refused> {
        Err(Refused::Unknown(name.to_owned()))
    }
}
