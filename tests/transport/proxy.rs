//! The layer of the PROXY protocol: the specification's examples, every cut, and headers that are wrong.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use midge::config::Config;
use midge::embed::{Broker, Hooks, Level};

use super::client::{Client, address, config};
use super::pieces_of_layers::{Outcome, Random, run};
#[cfg(feature = "websocket")]
use super::websocket;
use crate::engine::parts::origin::Origin;
#[cfg(feature = "websocket")]
use crate::net::transport::choose;
use crate::net::transport::layer::Layer;
use crate::net::transport::proxy::{Proxies, Proxy};
use crate::session::peer::{Credentials, Peer};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const OWN: &str = "192.0.2.1:5000";
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

pub fn layer() -> Box<dyn Layer> {
    believing("192.0.2.0/24")
}

/// The layer of a listener that believes these proxies.
fn believing(from: &str) -> Box<dyn Layer> {
    let mut config = Config::new();
    config.set("listener.tcp.proxy_from", from).unwrap();
    Box::new(Proxy::new(Arc::new(Proxies::of_listener(&config.settings().listeners[0]).unwrap())))
}

pub fn origin() -> Origin {
    Origin { peer: Some(OWN.parse::<SocketAddr>().unwrap().into()), ..Origin::default() }
}

/// What comes of a header and `rest` behind it, in every cut.
fn outcome(header: &[u8]) -> (Outcome, Origin) {
    let bytes = [header, b"rest"].concat();
    let mut expected = origin();
    let whole = run(vec![layer()], &bytes, &[16 * 1024], &mut expected);
    for cuts in [&[1][..], &[2], &[5, 1], &[16], &[100]] {
        let mut origin = origin();
        assert_eq!(run(vec![layer()], &bytes, cuts, &mut origin), whole, "{cuts:?}");
        assert_eq!((origin.peer, origin.tls()), (expected.peer, expected.tls()));
    }
    (whole, expected)
}

fn told(header: &[u8]) -> Origin {
    let (outcome, origin) = outcome(header);
    assert_eq!((outcome.failure, &outcome.carried[..]), (None, &b"rest"[..]), "{header:?}");
    origin
}

fn peer(header: &[u8]) -> String {
    told(header).peer.unwrap().to_string()
}

fn refusal(header: &[u8]) -> String {
    let (outcome, origin) = outcome(header);
    assert_eq!(origin.peer.unwrap().to_string(), OWN, "{header:?}");
    outcome.failure.unwrap_or_else(|| panic!("{header:?} is accepted"))
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[command, family], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
}

const INET: [u8; 12] = [198, 51, 100, 7, 192, 0, 2, 9, 0xc3, 0x50, 0x07, 0x5b];

#[test]
fn the_address_in_a_header_of_version_1_is_the_clients() {
    assert_eq!(peer(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535");
    assert_eq!(peer(b"PROXY TCP4 198.51.100.7 192.0.2.9 50000 1883\r\n"), "198.51.100.7:50000");
    let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let line = format!("PROXY TCP6 {long} {long} 65535 65535\r\n");
    assert_eq!(peer(line.as_bytes()), format!("[{long}]:65535"));
    assert_eq!(peer(b"PROXY UNKNOWN\r\n"), OWN);
    let unknown = format!("PROXY UNKNOWN {long} {long} 65535 65535\r\n");
    assert_eq!(unknown.len(), 107, "the longest line");
    assert_eq!(peer(unknown.as_bytes()), OWN);
}

#[test]
fn a_header_of_version_1_that_is_wrong_is_refused() {
    for line in [
        "PROXY TCP4 198.51.100.7 192.0.2.9 50000\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.9 50000 1883 5\r\n",
        "PROXY TCP4 198.51.100.7  192.0.2.9 50000 1883\r\n",
        "PROXY TCP4 198.51.100.300 192.0.2.9 50000 1883\r\n",
        "PROXY TCP4 ::1 ::1 50000 1883\r\n",
        "PROXY TCP6 198.51.100.7 192.0.2.9 50000 1883\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.9 65536 1883\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.9 +5 1883\r\n",
        "PROXY TCP4 198.51.100.7 192.0.2.9 05 1883\r\n",
        "PROXY UDP4 198.51.100.7 192.0.2.9 5 1883\r\n",
        "PROXY \r\n",
        "PROXY TCP4 \u{e4} 192.0.2.9 5 1883\r\n",
    ] {
        assert_eq!(refusal(line.as_bytes()), "proxy: malformed PROXY header of version 1", "{line}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(refusal(long.as_bytes()), "proxy: PROXY header has more than 107 bytes");
    let spoken =
        |name| format!("proxy: connection does not begin with a PROXY header: first bytes are {name}");
    assert_eq!(refusal(CONNECT), spoken("MQTT"));
    assert_eq!(refusal(b"GET / HTTP/1.1\r\n"), spoken("HTTP"));
    assert_eq!(refusal(b"\x16\x03\x01"), spoken("TLS"));
}

#[test]
fn the_address_in_a_header_of_version_2_is_the_clients() {
    assert_eq!(peer(&v2(0x21, 0x11, &INET)), "198.51.100.7:50000");
    let v6 =
        [&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 16], &[0, 80, 1, 1]].concat();
    assert_eq!(peer(&v2(0x21, 0x21, &v6)), "[2001:db8::5]:80");
    assert_eq!(peer(&v2(0x20, 0x00, b"")), OWN, "LOCAL");
    assert_eq!(peer(&v2(0x20, 0x11, &INET)), OWN, "LOCAL with an address");
    assert_eq!(peer(&v2(0x21, 0x00, b"what")), OWN, "UNSPEC");
    assert_eq!(peer(&v2(0x21, 0x31, &[b'/'; 216])), OWN, "UNIX");
    let options = [&INET[..], &tlv(0x04, &[0; 5]), &tlv(0xea, b"aws"), &tlv(0x05, b"id")].concat();
    assert_eq!(peer(&v2(0x21, 0x11, &options)), "198.51.100.7:50000");
}

#[test]
fn a_header_of_version_2_that_is_wrong_is_refused() {
    let unknown = "proxy: PROXY header with an unknown version or command";
    assert_eq!(refusal(&v2(0x11, 0x11, &INET)), unknown);
    assert_eq!(refusal(&v2(0x22, 0x11, &INET)), unknown);
    assert_eq!(refusal(&v2(0x21, 0x41, &INET)), "proxy: PROXY header with an unknown address family");
    for family in [0x12, 0x10, 0x22, 0x32, 0x13] {
        assert_eq!(
            refusal(&v2(0x21, family, &INET)),
            "proxy: PROXY header of a connection that is no stream"
        );
    }
    for (family, len) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        let refusal = refusal(&v2(0x21, family, &vec![1; len]));
        assert_eq!(refusal, "proxy: PROXY header too short for its addresses");
    }
    assert_eq!(refusal(&v2(0x21, 0x11, &[0; 4081])), "proxy: PROXY header has more than 4,096 bytes");
    for options in [&[1][..], &[1, 0], &[1, 0, 1], &[0x20, 0, 4, 1, 0, 0, 0], &[3, 0, 3, 1, 2, 3]] {
        let header = v2(0x21, 0x11, &[&INET, options].concat());
        assert_eq!(refusal(&header), "proxy: malformed TLV in the PROXY header", "{options:?}");
    }
}

// The test computes the sum in another way than the layer.
#[test]
fn a_checksum_is_compared() {
    let mut header = v2(0x21, 0x11, &[&INET[..], &tlv(3, &[0; 4]), &tlv(4, b"x")].concat());
    let at = SIGNATURE.len() + 4 + INET.len() + 3;
    let sum = crc32c(&header);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(peer(&header), "198.51.100.7:50000");
    let last = header.len() - 1;
    for place in [16, at, last] {
        header[place] ^= 1;
        assert_eq!(refusal(&header), "proxy: checksum of the PROXY header is wrong");
        header[place] ^= 1;
    }
}

/// With the polynomial divided bit by bit from its definition (RFC 3720, B.4, has the check value).
fn crc32c(bytes: &[u8]) -> u32 {
    let divide = |bytes: &[u8]| {
        let mut rest = u32::MAX;
        for byte in bytes {
            for bit in 0..8 {
                let carry = (rest >> 31 != 0) ^ (byte >> bit & 1 != 0);
                rest = rest << 1 ^ if carry { 0x1edc_6f41 } else { 0 };
            }
        }
        !rest.reverse_bits()
    };
    assert_eq!(divide(b"123456789"), 0xe306_9283);
    divide(bytes)
}

#[test]
fn what_the_proxy_says_of_tls_is_the_clients_identity() {
    let ssl = |client: u8, verify: u32| {
        let options = [tlv(0x21, b"TLSv1.3"), tlv(0x22, b"device-1"), tlv(0x23, b"AES")].concat();
        let ssl = tlv(0x20, &[&[client], &verify.to_be_bytes()[..], &options].concat());
        let body = [&INET[..], &tlv(1, b"mqtt"), &ssl, &tlv(2, b"broker.example")].concat();
        told(&v2(0x21, 0x11, &body)).tls().cloned()
    };
    assert_eq!(ssl(0, 0), None);
    let tls = ssl(7, 0).unwrap();
    assert_eq!((tls.version, tls.protocol.as_deref()), ("TLS 1.3", Some("mqtt")));
    assert_eq!(tls.server_name.as_deref(), Some("broker.example"));
    let certificate = tls.certificate.as_ref().unwrap();
    assert_eq!(
        (certificate.common_name.as_deref(), &*certificate.subject),
        (Some("device-1"), "CN=device-1")
    );
    assert_eq!(ssl(7, 1).unwrap().certificate, None, "not verified");
    assert_eq!(ssl(1, 0).unwrap().certificate, None, "without a certificate");
}

/// No bytes make the layer panic or depend on the cut.
#[test]
fn mutated_headers_have_the_same_outcome_in_every_cut() {
    let ssl = tlv(0x20, &[&[7, 0, 0, 0, 0][..], &tlv(0x22, b"cn")].concat());
    let full = v2(0x21, 0x11, &[&INET[..], &tlv(1, b"mqtt"), &ssl].concat());
    let mut accepted = 0;
    for seed in 0..3000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let line = &b"PROXY TCP4 198.51.100.7 192.0.2.9 50000 1883\r\n"[..];
        let mut header = if random.below(2) == 0 { line.to_vec() } else { full.clone() };
        for _ in 0..1 + random.below(3) {
            let at = random.below(header.len());
            match random.below(3) {
                0 => header[at] ^= 1 << random.below(8),
                1 => drop(header.remove(at)),
                _ => header.insert(at, random.below(256) as u8),
            }
        }
        accepted += usize::from(outcome(&header).0.failure.is_none());
    }
    assert!((100..2900).contains(&accepted), "{accepted}");
}

#[test]
fn proxies_are_addresses_or_networks_and_needed() {
    let error = |list: &str| {
        let mut config = Config::new();
        config.set("listener.tcp.bind", "127.0.0.1:0").unwrap();
        config.set("listener.tcp.proxy_protocol", "required").unwrap();
        config.set("listener.tcp.proxy_from", list).unwrap();
        Broker::start(&config).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(error("10.0.0.1, 192.168.0.0/16 ::1 2001:db8::/32 unix"), "");
    assert!(error("").contains("listener.tcp.proxy_from: proxy_protocol = required"), "{}", error(""));
    assert!(
        error("10.0.0.1/33").contains("listener.tcp.proxy_from: `10.0.0.1/33`"),
        "{}",
        error("10.0.0.1/33")
    );
}

/// A listener of IPv6 sees IPv4 as mapped addresses; a process, and a peer that nobody knows, have no address.
#[test]
fn the_proxies_that_are_believed_are_those_of_the_list() {
    let network = |address: &str| Some(Peer::Network(address.parse().unwrap()));
    let process = Some(Peer::Process(Credentials { uid: 1, gid: 1, pid: 1 }));
    let cases = [
        ("192.0.2.0/24", network("192.0.2.255:1"), true),
        ("192.0.2.0/24", network("192.0.3.0:1"), false),
        ("192.0.2.0/24", network("[::ffff:192.0.2.7]:1"), true),
        ("192.0.2.0/24", network("[::ffff:192.0.3.7]:1"), false),
        ("2001:db8::/32", network("[2001:db8::1]:1"), true),
        ("2001:db8::/32", network("192.0.2.1:1"), false),
        ("192.0.2.0/24 ::/0", process, false),
        ("192.0.2.0/24 ::/0", None, false),
        ("192.0.2.0/24 unix", process, true),
        ("unix", network("192.0.2.1:1"), false),
    ];
    for (from, peer, believed) in cases {
        let mut origin = Origin { peer, ..Origin::default() };
        let outcome = run(vec![believing(from)], b"PROXY UNKNOWN\r\nrest", &[100], &mut origin);
        assert_eq!(outcome.failure.is_none(), believed, "{from}: {peer:?}");
        assert_eq!(&outcome.carried[..], if believed { &b"rest"[..] } else { b"" });
    }
}

fn behind_proxies(from: &str) -> (Broker, mpsc::Receiver<String>) {
    let mut config = config();
    config.set("listener.tcp.proxy_protocol", "required").unwrap();
    config.set("listener.tcp.proxy_from", from).unwrap();
    let (sender, lines) = mpsc::channel();
    let hooks = Hooks::new().on_log(Level::Info, move |line| sender.send(line.to_string()).unwrap());
    (Broker::start_with(&config, &hooks).unwrap(), lines)
}

#[test]
fn the_told_address_is_the_clients_in_the_list_and_in_the_log() {
    let (broker, lines) = behind_proxies("127.0.0.0/8");
    let mut client = Client::raw(address(&broker));
    client
        .stream
        .write_all(&[b"PROXY TCP4 198.51.100.7 192.0.2.9 50000 1883\r\n", CONNECT].concat())
        .unwrap();
    let mut answer = [0; 4];
    client.stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    let told = "198.51.100.7:50000";
    assert!(lines.iter().any(|line| line.contains(told)), "the log tells of the client");
    let views = broker.clients();
    assert_eq!(views[0].address.as_ref().map(ToString::to_string).as_deref(), Some(told));
}

#[test]
fn a_stranger_is_refused_counted_and_logged() {
    let (broker, lines) = behind_proxies("10.0.0.0/8");
    let mut client = Client::raw(address(&broker));
    client
        .stream
        .write_all(&[b"PROXY TCP4 198.51.100.7 192.0.2.9 50000 1883\r\n", CONNECT].concat())
        .unwrap();
    let mut rest = Vec::new();
    let _reset = client.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert!(lines.iter().any(|line| line.contains("listener.tcp.proxy_from")));
    assert_eq!(broker.stats().connections_refused, 1);
}

/// The header is before everything else that the listener speaks.
#[test]
#[cfg(feature = "websocket")]
fn a_header_stands_before_the_transport_of_the_listener() {
    for transport in ["ws", "auto"] {
        let mut config = Config::new();
        for (key, value) in
            [("transport", transport), ("proxy_protocol", "required"), ("proxy_from", "192.0.2.0/24")]
        {
            config.set(&format!("listener.tcp.{key}"), value).unwrap();
        }
        let listener = &config.settings().listeners[0];
        let make = choose(listener.transport, listener, None).unwrap().unwrap();
        let bytes =
            [b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 80\r\n", websocket::REQUEST.as_bytes()].concat();
        let mut origin = origin();
        let outcome = run(make(), &bytes, &[16 * 1024], &mut origin);
        assert_eq!((outcome.failure, &outcome.sent[..]), (None, websocket::ANSWER.as_bytes()), "{transport}");
        assert_eq!(origin.peer.unwrap().to_string(), "198.51.100.7:4711");
    }
}
