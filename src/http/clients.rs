//! Clients and sessions.

use std::cmp::Ordering;

use serde::Serialize;

use crate::codec::version::Version;
use crate::engine::view::clients::ClientView;
use crate::http::answer::{Problem, Reply, fitting};
use crate::http::console::Console;
use crate::http::journal::EventView;
use crate::http::query::Page;
use crate::http::service::ApiRequest;
use crate::http::sessions;
use crate::http::subscriptions::Subscription;
use crate::session::identity::TlsIdentity;

/// The maximum number of events in the details of a client.
const EVENTS: usize = 50;
/// The keys that a list can be sorted by.
const SORTS: &[&str] = &[
    "client_id",
    "username",
    "address",
    "connected",
    "connected_at",
    "protocol",
    "clean_start",
    "keep_alive",
    "session_expiry",
    "subscriptions",
    "queued",
    "inflight",
    "received_messages",
    "sent_messages",
];

#[derive(Serialize)]
pub(super) struct Client {
    client_id: String,
    username: Option<String>,
    address: Option<String>,
    /// The process at the other end of a Unix domain socket; None for others.
    uid: Option<u32>,
    gid: Option<u32>,
    /// 0 if the system does not say.
    pid: Option<u32>,
    connected: bool,
    connected_at: Option<u64>,
    protocol: &'static str,
    clean_start: bool,
    keep_alive: u16,
    session_expiry: Option<u32>,
    subscriptions: usize,
    queued: usize,
    inflight: usize,
    received_messages: u64,
    sent_messages: u64,
    /// None without TLS.
    tls: Option<Tls>,
}

#[derive(Serialize)]
struct Tls {
    version: &'static str,
    cipher: &'static str,
    server_name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    resumed: bool,
    certificate: Option<ClientCertificate>,
}

#[derive(Serialize)]
struct ClientCertificate {
    subject: Box<str>,
    common_name: Option<Box<str>>,
    names: Box<[Box<str>]>,
    issuer: Box<str>,
    fingerprint: Box<str>,
    not_after: u64,
}

/// `GET /api/v1/clients`
pub(super) fn connected(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    list(console, request, |client| client.connected)
}

/// `GET /api/v1/sessions`
pub(super) fn sessions(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let connected = request.query.flag("connected")?;
    list(console, request, |client| connected.is_none_or(|connected| client.connected == connected))
}

#[derive(Serialize)]
struct Details {
    /// None for a client whose session has ended; its events are still there.
    client: Option<Client>,
    subscriptions: Vec<Subscription>,
    /// Whether the response has no room for all subscriptions.
    truncated: bool,
    events: Vec<EventView>,
}

/// `GET /api/v1/clients/{client_id}`
pub(super) fn one(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let client = console.engine.client(&request.name);
    let mut subscriptions = console.engine.subscriptions_of(&request.name);
    subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
    let events = console.log.events_of(&request.name, EVENTS);
    if client.is_none() && events.is_empty() {
        return Err(unknown(&request.name));
    }
    let (subscriptions, truncated) = fitting(subscriptions.into_iter().map(Subscription::of))?;
    Reply::json(&Details {
        client: client.map(|client| show(console, client)),
        subscriptions,
        truncated,
        events: events.iter().map(|event| event.show(console)).collect(),
    })
}

/// `GET /api/v1/sessions/{client_id}`
pub(super) fn session(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    match console.engine.client(&request.name) {
        Some(_) => one(console, request),
        None => Err(sessions::unknown(&request.name)),
    }
}

/// `DELETE /api/v1/clients/{client_id}`: disconnects it.
pub(super) fn kick(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let mut turn = console.engine.turn(console.now());
    match console.engine.kick(&mut turn, &request.name) {
        true => Ok(Reply::done()),
        false => Err(unknown(&request.name)),
    }
}

fn unknown(client_id: &str) -> Problem {
    Problem::not_found(format!("client {client_id:?} is not connected"))
}

fn list(
    console: &Console,
    request: &ApiRequest,
    wanted: impl Fn(&ClientView) -> bool,
) -> Result<Reply, Problem> {
    let page = Page::of(&request.query, SORTS)?;
    let mut all = console.engine.clients();
    all.retain(|client| wanted(client) && is_found(&page, client));
    let by = page.sort().unwrap_or("client_id");
    page.cut(all, |a, b| compare(by, a, b), |client| show(console, client))
}

fn is_found(page: &Page, client: &ClientView) -> bool {
    if page.search().is_empty() {
        return true;
    }
    let address = client.address.map(|address| address.to_string()).unwrap_or_default();
    page.finds(&[&client.client_id, client.username.as_deref().unwrap_or_default(), &address])
}

/// The order by a key, then by Client Identifier, so that pages do not overlap.
fn compare(by: &str, a: &ClientView, b: &ClientView) -> Ordering {
    let order = match by {
        "username" => a.username.cmp(&b.username),
        "address" => a.address.cmp(&b.address),
        "connected" => a.connected.cmp(&b.connected),
        "connected_at" => a.connected_since.cmp(&b.connected_since),
        "protocol" => protocol(a.version).cmp(protocol(b.version)),
        "clean_start" => a.clean_start.cmp(&b.clean_start),
        "keep_alive" => a.keep_alive.cmp(&b.keep_alive),
        "session_expiry" => a.session_expiry.cmp(&b.session_expiry),
        "subscriptions" => a.subscriptions.cmp(&b.subscriptions),
        "queued" => a.queued.cmp(&b.queued),
        "inflight" => a.inflight.cmp(&b.inflight),
        "received_messages" => a.received_messages.cmp(&b.received_messages),
        "sent_messages" => a.sent_messages.cmp(&b.sent_messages),
        _ => Ordering::Equal,
    };
    order.then_with(|| a.client_id.cmp(&b.client_id))
}

fn show(console: &Console, client: ClientView) -> Client {
    let process = client.address.and_then(|address| address.credentials());
    Client {
        username: client.username,
        address: client.address.map(|address| address.to_string()),
        uid: process.map(|process| process.uid),
        gid: process.map(|process| process.gid),
        pid: process.map(|process| process.pid),
        connected: client.connected,
        connected_at: client.connected_since.map(|since| console.unix(since)),
        protocol: protocol(client.version),
        clean_start: client.clean_start,
        keep_alive: client.keep_alive,
        session_expiry: (client.session_expiry != u32::MAX).then_some(client.session_expiry),
        subscriptions: client.subscriptions,
        queued: client.queued,
        inflight: client.inflight,
        received_messages: client.received_messages,
        sent_messages: client.sent_messages,
        tls: client.tls.map(|tls| shown(&tls)),
        client_id: client.client_id,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

fn shown(tls: &TlsIdentity) -> Tls {
    let certificate = tls.certificate.as_ref().map(|certificate| ClientCertificate {
        subject: certificate.subject.clone(),
        common_name: certificate.common_name.clone(),
        names: certificate.names.clone(),
        issuer: certificate.issuer.clone(),
        fingerprint: certificate.fingerprint.clone(),
        not_after: certificate.not_after,
    });
    Tls {
        version: tls.version,
        cipher: tls.cipher,
        server_name: tls.server_name.clone(),
        protocol: tls.protocol.clone(),
        resumed: tls.resumed,
        certificate,
    }
}
