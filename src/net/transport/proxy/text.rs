//! The header of version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use crate::net::transport::proxy::{Header, Told, fault};

/// The most bytes of a line, with its end.
const LINE: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Header {
    let bytes = bytes.get(..LINE).unwrap_or(bytes);
    let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
        return match bytes.len() {
            LINE => fault("PROXY header has more than 107 bytes"),
            _ => Poll::Pending,
        };
    };
    let line = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    match told(line) {
        Some(told) => Poll::Ready(Ok((told, end + 2))),
        None => fault("malformed PROXY header of version 1"),
    }
}

fn told(line: &str) -> Option<Told> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Told::default());
    }
    let ip = |word: &str| match family {
        "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    let source = ip(words.next()?)?;
    let _destination = ip(words.next()?)?;
    let source_port = port(words.next()?)?;
    let _destination_port = port(words.next()?)?;
    if words.next().is_some() {
        return None;
    }
    Some(Told { peer: Some(SocketAddr::new(source, source_port)), tls: None })
}

/// A port in digits, without a sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let port: u16 = word.parse().ok()?;
    (port.to_string() == word).then_some(port)
}
