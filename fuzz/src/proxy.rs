//! The PROXY protocol, versions 1 and 2, and what a header says, read a second time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::input::Input;
use super::layers::{Layers, Outcome, PEER, connect, damage, in_any_cut};

thread_local! {
    static PROXY: Layers = const { Layers::new() };
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORDS: [&str; 16] = [
    "TCP4",
    "TCP6",
    "UNKNOWN",
    "198.51.100.7",
    "203.0.113.255",
    "256.0.0.1",
    "2001:db8::1",
    "::ffff:198.51.100.7",
    "fe80::1%1",
    "1883",
    "65535",
    "65536",
    "01",
    "+1",
    "0",
    "",
];

/// Target `proxy`: a header is refused or tells the client's address; what follows it is passed on as it is.
pub fn proxy(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    if input.flag() {
        header(&mut input, &mut bytes);
        damage(&mut input, &mut bytes);
    }
    bytes.extend(input.rest());
    let settings = [("proxy_protocol", "required"), ("proxy_from", "192.0.2.0/24, 2001:db8::/32")];
    let outcome = in_any_cut(|| connect(&PROXY, &settings, PEER), &bytes, data);
    assert!(outcome.sent.is_empty());
    assert_eq!(outcome.is_open, outcome.failure.is_none());
    if outcome.is_open {
        let len = check(&bytes, &outcome);
        assert_eq!(outcome.carried, bytes[len..]);
    }
    let stranger = in_any_cut(|| connect(&PROXY, &settings, "192.0.3.1:1000"), &bytes, data);
    assert!(stranger.failure.is_some() && stranger.carried.is_empty());
    assert_eq!(stranger.peer.map(|peer| peer.ip().to_string()).as_deref(), Some("192.0.3.1"));
}

/// Appends a header, mostly a right one.
pub fn header(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    match input.below(4) {
        0 => text(input, bytes),
        1 => bytes.extend(b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 1883\r\n"),
        _ => binary(input, bytes),
    }
}

fn text(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    let family = input.below(4);
    let words = match family {
        0 => vec!["UNKNOWN", input.pick(&WORDS), input.pick(&WORDS)],
        1 => vec!["TCP6", input.pick(&WORDS[6..8]), "2001:db8::2", input.pick(&WORDS), "1883"],
        _ => (0..input.below(7)).map(|_| input.pick(&WORDS)).collect(),
    };
    bytes.extend(format!("PROXY {}\r\n", words.join(" ")).as_bytes());
}

fn binary(input: &mut Input<'_>, bytes: &mut Vec<u8>) {
    let mut body = match input.below(8) {
        0 => vec![7; input.below(256)],
        1 => [0x20; 216].to_vec(),
        2 | 3 => (1..=36).collect(),
        _ => (1..=12).collect(),
    };
    let family = match body.len() {
        12 => 0x11,
        36 => 0x21,
        216 => 0x31,
        _ => input.byte(),
    };
    for _ in 0..input.below(4) {
        option(input, &mut body);
    }
    let len = body.len() + input.pick(&[0, 0, 0, 1]);
    bytes.extend(SIGNATURE);
    bytes.push(input.pick(&[0x21, 0x21, 0x21, 0x20, 0x22, 0x11]));
    bytes.push(family);
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend(body);
}

/// Appends an option, some of them about TLS.
fn option(input: &mut Input<'_>, body: &mut Vec<u8>) {
    let kind = input.pick(&[1, 2, 3, 4, 0x20, 0x20, 0xe0]);
    let value = match kind {
        0x20 => {
            let verified = input.pick(&[0, 0, 1]);
            let mut value = vec![input.byte(), 0, 0, 0, verified];
            for kind in [0x21, 0x22, 0x23] {
                let text = input.bytes(4);
                value.extend([kind, 0, text.len() as u8]);
                value.extend(text);
            }
            value
        }
        _ => input.bytes(6).to_vec(),
    };
    body.push(kind);
    body.extend((value.len() as u16).to_be_bytes());
    body.extend(value);
}

/// Compares the client's address with that of a header which was accepted; returns the length of the header.
pub fn check(bytes: &[u8], outcome: &Outcome) -> usize {
    let (len, told) = if bytes.starts_with(SIGNATURE) { of_binary(bytes) } else { of_text(bytes) };
    assert_eq!(outcome.peer, told.or(Some(PEER.parse().unwrap())));
    len
}

fn of_binary(bytes: &[u8]) -> (usize, Option<SocketAddr>) {
    let len = 16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    assert!(len <= 4096);
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let told = match (bytes[12], bytes[13] >> 4) {
        (0x21, 1) => {
            let ip: [u8; 4] = bytes[16..20].try_into().unwrap();
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port(24)))
        }
        (0x21, 2) => {
            let ip: [u8; 16] = bytes[16..32].try_into().unwrap();
            Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), port(48)))
        }
        (0x21, family) => {
            assert!(family == 0 || family == 3);
            None
        }
        (command, _) => {
            assert_eq!(command, 0x20);
            None
        }
    };
    (len, told)
}

fn of_text(bytes: &[u8]) -> (usize, Option<SocketAddr>) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
    assert!(end + 2 <= 107);
    let words: Vec<&str> = std::str::from_utf8(&bytes[..end]).unwrap().split(' ').collect();
    let told = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family, source, to, port, to_port] => {
            let ip: IpAddr = source.parse().unwrap();
            assert!(family == if ip.is_ipv4() { "TCP4" } else { "TCP6" });
            assert_eq!(to.parse::<IpAddr>().unwrap().is_ipv4(), ip.is_ipv4());
            to_port.parse::<u16>().unwrap();
            Some(SocketAddr::new(ip, port.parse().unwrap()))
        }
        _ => panic!("{words:?} was accepted"),
    };
    (end + 2, told)
}
