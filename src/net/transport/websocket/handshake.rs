//! The upgrade from HTTP to WebSocket (RFC 6455, 4.2): the request, and its answer.

use std::borrow::Cow;
use std::task::Poll;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use httparse::{EMPTY_HEADER, Request, Status};
use sha1_smol::Sha1;

use crate::config::{ConfigError, ErrorKind, Listener};
use crate::net::transport::layer::{Buffer, LayerError, Raw};
use crate::net::transport::protocol;

/// The most bytes of a request.
pub(in crate::net::transport) const HEAD: usize = 8 * 1024;
/// The most headers of a request.
const HEADERS: usize = 64;
/// What ends the head of a request.
const END: &[u8] = b"\r\n\r\n";
/// What the answer to a key is computed with (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The subprotocols of MQTT, the best first: what is chosen is `mqtt` [MQTT-6.0.0-4], [MQTT3-6.0.0-4], except for
/// clients of MQTT 3.1 that offer nothing but their own name.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// The end of a request's head, which is looked for in new bytes alone.
#[derive(Default)]
pub(in crate::net::transport) struct Head {
    seen: u16,
}

/// What a listener's settings say of upgrades.
pub(in crate::net) struct Upgrade {
    listener: Box<str>,
    path: Box<str>,
    /// Empty: pages of any origin may connect.
    origins: Box<[Box<str>]>,
}

/// Why a request is refused: the status, the headers that the status asks for, what the client and the log are told.
#[derive(Debug)]
struct Refusal {
    status: &'static str,
    headers: &'static str,
    cause: Cow<'static, str>,
}

impl Head {
    /// Ready with the length of the head when it is complete, or with `None` when it is too long. An error: this is not
    /// HTTP.
    pub(in crate::net::transport) fn poll_end(
        &mut self,
        raw: &Raw,
    ) -> Poll<Result<Option<usize>, LayerError>> {
        let bytes = raw.input.bytes();
        if bytes.first().is_some_and(|first| !first.is_ascii_uppercase()) || protocol::is_proxy(bytes) {
            let spoken = protocol::name(bytes);
            return Poll::Ready(Err(LayerError::new(format!(
                "client speaks no HTTP: first bytes are {spoken}"
            ))));
        }
        let from = usize::from(self.seen).saturating_sub(END.len() - 1);
        let bytes = bytes.get(..HEAD).unwrap_or(bytes);
        let fresh = bytes.get(from..).unwrap_or_default();
        if let Some(at) = fresh.windows(END.len()).position(|window| window == END) {
            return Poll::Ready(Ok(Some(from + at + END.len())));
        }
        self.seen = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        if bytes.len() == HEAD { Poll::Ready(Ok(None)) } else { Poll::Pending }
    }
}

impl Upgrade {
    /// An error if the path is none.
    pub(in crate::net::transport) fn of_listener(settings: &Listener) -> Result<Upgrade, ConfigError> {
        let (listener, path) = (&settings.name, &settings.ws_path);
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            let cause = format!("`{path}` is no path: it begins with / and has no `?`, `#` or space");
            return Err(ConfigError::of_key(
                ErrorKind::BadValue,
                &format!("listener.{listener}.ws_path"),
                cause,
            ));
        }
        let origins = protocol::words(&settings.ws_origins).map(Box::from).collect();
        Ok(Upgrade { listener: listener.as_str().into(), path: path.as_str().into(), origins })
    }

    /// Answers a request; an error if it is refused.
    pub(super) fn answer(&self, head: &[u8], output: &mut Buffer) -> Result<(), LayerError> {
        match self.accept(head) {
            Ok((key, subprotocol)) => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
                );
                output.append(answer.as_bytes());
                Ok(())
            }
            Err(refusal) => Err(refusal.send(output)),
        }
    }

    fn is_at_path(&self, request: &Request<'_, '_>) -> bool {
        let target = request.path.unwrap_or_default();
        target.split('?').next() == Some(&*self.path)
    }

    /// The answer to the key, and the subprotocol.
    fn accept(&self, head: &[u8]) -> Result<(String, &'static str), Refusal> {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(head) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err(Refusal::bad("the request is incomplete")),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
            Err(error) => return Err(Refusal::bad(format!("malformed request: {error}"))),
        }
        if request.version != Some(1) {
            return Err(Refusal::bad("WebSocket needs HTTP/1.1"));
        }
        if request.method != Some("GET") {
            let cause = "a request for WebSocket has the method GET";
            return Err(Refusal::new("405 Method Not Allowed", "Allow: GET\r\n", cause));
        }
        self.check_path(&request)?;
        check_upgrade(&request)?;
        self.check_origin(&request)?;
        Ok((accept_key(&request)?, subprotocol(&request)?))
    }

    fn check_path(&self, request: &Request<'_, '_>) -> Result<(), Refusal> {
        if self.is_at_path(request) {
            return Ok(());
        }
        let cause =
            format!("no WebSocket at this path, but at {} (listener.{}.ws_path)", self.path, self.listener);
        Err(Refusal::new("404 Not Found", "", cause))
    }

    /// Only browsers send an Origin; other clients could send any.
    fn check_origin(&self, request: &Request<'_, '_>) -> Result<(), Refusal> {
        if self.origins.is_empty() {
            return Ok(());
        }
        match one(request, "origin")? {
            Some(origin) if !self.origins.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed)) => {
                let cause =
                    format!("pages of this origin may not connect (listener.{}.ws_origins)", self.listener);
                Err(Refusal::new("403 Forbidden", "", cause))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a request that is too large.
pub(super) fn refuse_size(output: &mut Buffer) -> LayerError {
    Refusal::TOO_LARGE.send(output)
}

impl Refusal {
    const TOO_LARGE: Refusal = Refusal {
        status: "431 Request Header Fields Too Large",
        headers: "",
        cause: Cow::Borrowed("the request has more than 8 KiB or 64 headers"),
    };

    fn new(status: &'static str, headers: &'static str, cause: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, headers, cause: cause.into() }
    }

    fn bad(cause: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new("400 Bad Request", "", cause)
    }

    /// Answers the client; returns the line for the log.
    fn send(self, output: &mut Buffer) -> LayerError {
        let Refusal { status, headers, cause } = self;
        let answer = format!(
            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{cause}\n",
            cause.len() + 1
        );
        output.append(answer.as_bytes());
        LayerError::new(format!("{cause} (answered {status})"))
    }
}

/// The checks of RFC 6455, 4.2.1, except that of the key.
fn check_upgrade(request: &Request<'_, '_>) -> Result<(), Refusal> {
    const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    if !has_word(request, "upgrade", "websocket") {
        let cause = "only WebSocket is spoken here: header Upgrade: websocket is missing";
        return Err(Refusal::new("426 Upgrade Required", UPGRADE, cause));
    }
    if !has_word(request, "connection", "upgrade") {
        return Err(Refusal::bad("header Connection: Upgrade is missing"));
    }
    if one(request, "host")?.is_none() {
        return Err(Refusal::bad("header Host is missing"));
    }
    if one(request, "sec-websocket-version")? != Some("13") {
        let cause = "WebSocket is spoken in version 13 only (header Sec-WebSocket-Version)";
        return Err(Refusal::new("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n", cause));
    }
    Ok(())
}

fn accept_key(request: &Request<'_, '_>) -> Result<String, Refusal> {
    let key = one(request, "sec-websocket-key")?.unwrap_or_default();
    let is_key = BASE64.decode(key).is_ok_and(|key| key.len() == 16);
    if !is_key {
        return Err(Refusal::bad("header Sec-WebSocket-Key has not 16 bytes in base64"));
    }
    let mut digest = Sha1::from(key);
    digest.update(GUID);
    Ok(BASE64.encode(digest.digest().bytes()))
}

/// The subprotocol to answer with. A client that offers none of MQTT's is refused [MQTT-6.0.0-3], [MQTT3-6.0.0-3].
fn subprotocol(request: &Request<'_, '_>) -> Result<&'static str, Refusal> {
    let offers = |name: &&str| words(request, "sec-websocket-protocol").any(|offered| offered == *name);
    SUBPROTOCOLS.into_iter().find(offers).ok_or_else(|| {
        Refusal::bad("subprotocol mqtt or mqttv3.1 is not offered (header Sec-WebSocket-Protocol)")
    })
}

/// The values of a header that may stand there several times.
fn values<'a>(request: &'a Request<'_, '_>, name: &str) -> impl Iterator<Item = &'a str> {
    let is_named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
    let headers = request.headers.iter().filter(is_named);
    headers.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
}

/// The value of a header that may stand there once.
fn one<'a>(request: &'a Request<'_, '_>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = values(request, name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::bad(format!("header {name} stands there twice"))),
    }
}

fn words<'a>(request: &'a Request<'_, '_>, name: &str) -> impl Iterator<Item = &'a str> {
    values(request, name).flat_map(|value| value.split(',')).map(str::trim)
}

fn has_word(request: &Request<'_, '_>, name: &str, word: &str) -> bool {
    words(request, name).any(|found| found.eq_ignore_ascii_case(word))
}
