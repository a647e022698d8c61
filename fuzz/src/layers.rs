//! The layers of a connection without a socket: what comes of a stream of bytes does not depend on how it is cut.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::LocalKey;

use midge::config::Config;
use midge::net::{ByteStack, ListenerLayers};
use midge::session::identity::TlsIdentity;

use super::input::Input;
use super::{proxy, websocket};

/// A listener's layers, made once for each thread.
pub type Layers = OnceCell<ListenerLayers>;

thread_local! {
    static AUTO: Layers = const { Layers::new() };
    static ALL: Layers = const { Layers::new() };
}

/// The address of the peer.
pub const PEER: &str = "192.0.2.1:1000";
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

/// What came of a stream of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the layers have carried.
    pub carried: Vec<u8>,
    /// What the peer was sent.
    pub sent: Vec<u8>,
    pub failure: Option<String>,
    pub is_open: bool,
    pub is_over: bool,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// What a proxy has said of TLS.
    pub tls: Option<Arc<TlsIdentity>>,
}

/// Opens a connection of the listener that these settings make.
pub fn connect(layers: &'static LocalKey<Layers>, settings: &[(&str, &str)], peer: &str) -> ByteStack {
    layers.with(|layers| {
        let layers = layers.get_or_init(|| {
            let mut config = Config::new();
            for (key, value) in [("bind", "127.0.0.1:0")].iter().chain(settings) {
                config.set(&format!("listener.x.{key}"), value).unwrap();
            }
            let listeners = &config.settings().listeners;
            let listener = listeners.iter().find(|listener| listener.name == "x").unwrap();
            ListenerLayers::new(listener).unwrap()
        });
        layers.connect(peer.parse().unwrap())
    })
}

/// Runs a connection. `next` says how many bytes come, and then how many are read at once; `write`, what is written
/// after each portion.
pub fn run(
    mut stack: ByteStack,
    bytes: &[u8],
    mut next: impl FnMut() -> usize,
    mut write: impl FnMut(&mut ByteStack),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = bytes;
    loop {
        match rest.len() {
            0 => stack.feed_end(),
            left => {
                let (portion, later) = rest.split_at(next().clamp(1, left));
                rest = later;
                stack.feed(portion);
            }
        }
        let has_ended = rest.is_empty() && outcome.is_over;
        outcome.failure = read(&mut stack, next().clamp(1, 4096), &mut outcome.carried).err();
        write(&mut stack);
        outcome.sent.extend(stack.take_output().unwrap());
        let was_last = std::mem::replace(&mut outcome.is_over, stack.is_over());
        if outcome.failure.is_some() || outcome.is_over || has_ended || was_last {
            break;
        }
    }
    outcome.is_open = stack.is_open();
    outcome.peer = stack.origin().peer.and_then(|peer| peer.as_socket());
    outcome.tls = stack.origin().tls().cloned();
    if let Some(failure) = &mut outcome.failure {
        // The name of a foreign protocol depends on how many bytes have come.
        let end =
            ["first bytes are", "client speaks no"].iter().filter_map(|words| failure.find(words)).min();
        failure.truncate(end.unwrap_or(failure.len()));
    }
    outcome
}

fn read(stack: &mut ByteStack, size: usize, carried: &mut Vec<u8>) -> Result<(), String> {
    let mut room = vec![0; size];
    loop {
        let count = stack.read(&mut room)?;
        carried.extend_from_slice(&room[..count]);
        if count == 0 {
            return Ok(());
        }
    }
}

/// What comes of a stream, whole and in pieces; both are the same. A short one comes in single bytes, too.
pub fn in_any_cut(connect: impl Fn() -> ByteStack, bytes: &[u8], cuts: &[u8]) -> Outcome {
    let whole = run(connect(), bytes, || 16 * 1024, |_| {});
    let cut = run(connect(), bytes, pieces(cuts), |_| {});
    assert_eq!(cut, whole);
    if bytes.len() <= 1024 {
        let single = run(connect(), bytes, || 1, |_| {});
        assert_eq!(single, whole);
    }
    whole
}

/// Sizes of pieces, again and again.
pub fn pieces(cuts: &[u8]) -> impl FnMut() -> usize {
    let mut input = Input::new(cuts);
    move || {
        if input.is_empty() {
            input = Input::new(cuts);
        }
        match input.byte() {
            0 => 16 * 1024,
            byte @ 128.. => usize::from(byte - 127) * 64,
            byte => usize::from(byte % 64) + 1,
        }
    }
}

/// Changes a few bytes, or cuts the end off.
pub fn damage(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..input.below(8).saturating_sub(4) {
        let place = usize::from(u16::from_be_bytes([input.byte(), input.byte()])) % bytes.len().max(1);
        match (input.below(4), bytes.get_mut(place)) {
            (0, Some(byte)) => *byte = input.byte(),
            (1, Some(byte)) => *byte ^= 1 << input.below(8),
            (2, Some(_)) => drop(bytes.remove(place)),
            (3, Some(_)) => bytes.truncate(place),
            _ => {}
        }
    }
}

/// Target `auto`: the first byte chooses plain MQTT, WebSocket or the end.
pub fn auto(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    if input.flag() {
        mqtt_or_http(&mut input, &mut bytes);
    }
    bytes.extend(input.rest());
    let connect = || connect(&AUTO, &[("transport", "auto")], PEER);
    let outcome = in_any_cut(connect, &bytes, data);
    match bytes.first() {
        Some(0x10) => {
            assert!(outcome.failure.is_none() && outcome.sent.is_empty() && outcome.carried == bytes)
        }
        Some(b'A'..=b'Z') => assert_eq!(outcome.is_open, outcome.sent.starts_with(b"HTTP/1.1 101 ")),
        Some(_) => assert!(outcome.failure.is_some() && outcome.sent.is_empty() && !outcome.is_open),
        None => assert!(outcome.failure.is_some()),
    }
}

fn mqtt_or_http(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    if input.flag() {
        bytes.extend(CONNECT);
    } else {
        websocket::head(input, bytes);
        websocket::frames(input, bytes);
    }
}

/// Target `layers`: a PROXY header, and behind it plain MQTT or WebSocket, as the first byte says.
pub fn layers(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    proxy::header(&mut input, &mut bytes);
    mqtt_or_http(&mut input, &mut bytes);
    damage(&mut input, &mut bytes);
    bytes.extend(input.rest());
    let settings = [("transport", "auto"), ("proxy_protocol", "required"), ("proxy_from", "192.0.2.0/24")];
    let outcome = in_any_cut(|| connect(&ALL, &settings, PEER), &bytes, data);
    assert!(outcome.is_open || outcome.carried.is_empty());
    if outcome.is_open {
        let len = proxy::check(&bytes, &outcome);
        let is_plain = bytes.get(len) == Some(&0x10);
        assert!(!is_plain || outcome.carried == bytes[len..]);
    }
}
