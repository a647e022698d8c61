//! The layer of WebSocket without a socket: frames in every cut, and each kind of Autobahn's cases with the outcome that
//! Autobahn expects, except that text is refused.

use std::sync::Arc;

use midge::config::Config;

use super::pieces_of_layers::{Outcome, Random, run};
use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::Layer;
use crate::net::transport::stack::Stack;
use crate::net::transport::websocket::{Upgrade, WebSocket};

/// The example of RFC 6455, 1.3, at the path of MQTT.
pub const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
pub const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LAST: u8 = 0x80;

/// The pieces in which a socket is read at most.
const WHOLE: &[usize] = &[16 * 1024];

/// A layer of the listener `ws` with these settings.
pub fn layer(settings: &[(&str, &str)]) -> Box<dyn Layer> {
    let mut config = Config::new();
    for (key, value) in [("bind", "127.0.0.1:0"), ("transport", "ws")].iter().chain(settings) {
        config.set(&format!("listener.ws.{key}"), value).unwrap();
    }
    let listeners = &config.settings().listeners;
    let listener = listeners.iter().find(|listener| listener.name == "ws").unwrap();
    Box::new(WebSocket::new(Arc::new(Upgrade::of_listener(listener).unwrap())))
}

/// A frame of a client; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(LAST | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(LAST | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(LAST | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame of the server that has at most 125 bytes.
fn answer(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[LAST | opcode, payload.len() as u8], payload].concat()
}

fn upgrade(request: &str) -> Outcome {
    run(vec![layer(&[])], request.as_bytes(), WHOLE, &mut Origin::default())
}

/// What comes of frames after the upgrade; the answer to the upgrade is left out. The cut does not matter.
fn frames(frames: &[Vec<u8>]) -> Outcome {
    let bytes = [REQUEST.as_bytes(), &frames.concat()].concat();
    let origin = &mut Origin::default();
    let mut outcome = run(vec![layer(&[])], &bytes, WHOLE, origin);
    for cuts in [&[1][..], &[2], &[3, 1], &[7], &[125], &[1024, 1]] {
        assert_eq!(run(vec![layer(&[])], &bytes, cuts, origin), outcome, "in pieces of {cuts:?}");
    }
    outcome.sent.drain(..ANSWER.len());
    outcome
}

/// Frames that are valid carry this, and are answered with that.
fn accepted(input: &[Vec<u8>], carried: &[u8], sent: &[Vec<u8>]) {
    let outcome = frames(input);
    assert_eq!(outcome.failure, None, "{input:?}");
    assert!(outcome.carried == carried, "{input:?}");
    assert_eq!(outcome.sent, sent.concat(), "{input:?}");
}

/// Frames that break a rule end with this code, after what came before them was carried.
fn refused(input: &[Vec<u8>], carried: &[u8], code: u16) {
    let outcome = frames(input);
    assert_eq!(outcome.carried, carried, "{input:?}");
    assert!(outcome.failure.is_some(), "{input:?}");
    assert!(outcome.sent.ends_with(&answer(CLOSE, &code.to_be_bytes())), "{input:?}: {:?}", outcome.sent);
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 253) as u8).collect()
}

/// The subprotocol is the one of MQTT [MQTT-6.0.0-4], [MQTT3-6.0.0-4].
#[test]
fn the_example_of_the_specification_is_answered_as_it_says_in_every_cut() {
    for cut in 1..=REQUEST.len() {
        let outcome = run(vec![layer(&[])], REQUEST.as_bytes(), &[cut, 1], &mut Origin::default());
        assert_eq!(String::from_utf8(outcome.sent).unwrap(), ANSWER);
        assert_eq!(outcome.failure, None);
    }
}

/// Each header that is wrong, and what it is answered with; also a client that offers no subprotocol [MQTT-6.0.0-3],
/// [MQTT3-6.0.0-3].
#[test]
fn a_request_that_is_no_upgrade_is_refused_with_its_reason() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases = [
        ("/mqtt", "/other", "404", "listener.ws.ws_path"),
        ("/mqtt", "/mqtt/", "404", "/mqtt (listener"),
        ("GET", "POST", "405", "GET"),
        ("HTTP/1.1", "HTTP/1.0", "400", "HTTP/1.1"),
        ("HTTP/1.1", "HTTP/2.0", "400", "malformed"),
        ("Upgrade: websocket\r\n", "", "426", "Upgrade: websocket"),
        ("Upgrade: websocket", "Upgrade: h2c", "426", "Upgrade: websocket"),
        ("keep-alive, Upgrade", "keep-alive", "400", "Connection: Upgrade"),
        ("Host: server.example.com\r\n", "", "400", "Host"),
        ("Host: server.example.com\r\n", "Host: a\r\nHost: b\r\n", "400", "twice"),
        ("Version: 13", "Version: 8", "426", "version 13"),
        ("Sec-WebSocket-Version: 13\r\n", "", "426", "version 13"),
        (key, "", "400", "Sec-WebSocket-Key"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", "400", "Sec-WebSocket-Key"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", "400", "Sec-WebSocket-Key"),
        (key, &[key, key].concat(), "400", "twice"),
        ("Sec-WebSocket-Protocol: mqtt\r\n", "", "400", "not offered"),
        ("Protocol: mqtt", "Protocol: soap, MQTT", "400", "not offered"),
        ("Host", "Ho st", "400", "malformed"),
        ("GET /mqtt ", "GET  /mqtt ", "400", "malformed"),
    ];
    for (right, wrong, status, reason) in cases {
        assert!(REQUEST.contains(right));
        let outcome = upgrade(&REQUEST.replacen(right, wrong, 1));
        let answer = String::from_utf8(outcome.sent).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{wrong}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(body.contains(reason), "{wrong}: {body}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        let failure = outcome.failure.unwrap();
        assert!(failure.starts_with("websocket: ") && failure.contains(reason), "{failure}");
    }
    assert!(upgrade(&REQUEST.replacen("GET", "PUT", 1)).sent.windows(10).any(|text| text == b"Allow: GET"));
}

#[test]
fn a_request_that_is_right_may_be_written_in_other_ways() {
    let cases = [
        ("/mqtt", "/mqtt?user=1"),
        ("Upgrade: websocket", "UPGRADE:   WebSocket  "),
        ("keep-alive, Upgrade", "upgrade"),
        ("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
        ("Protocol: mqtt", "Protocol: mqttv3.1, mqtt"),
        ("Protocol: mqtt", "Protocol: soap\r\nSec-WebSocket-Protocol: mqtt"),
        ("Host", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nHost"),
        ("Host", "Origin: https://example.org\r\nHost"),
    ];
    for (one, other) in cases {
        let outcome = upgrade(&REQUEST.replacen(one, other, 1));
        assert_eq!(String::from_utf8(outcome.sent).unwrap(), ANSWER, "{other}");
    }
    let old = upgrade(&REQUEST.replacen("Protocol: mqtt", "Protocol: mqttv3.1", 1));
    assert_eq!(String::from_utf8(old.sent).unwrap(), ANSWER.replace("Protocol: mqtt", "Protocol: mqttv3.1"));
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let origins = [("ws_origins", "https://a.example, https://b.example:8443")];
    let answer = |origin: &str| {
        let request = REQUEST.replacen("Host", &format!("{origin}Host"), 1);
        let outcome = run(vec![layer(&origins)], request.as_bytes(), &[100], &mut Origin::default());
        String::from_utf8(outcome.sent).unwrap()[9..12].to_owned()
    };
    assert_eq!(answer("Origin: https://b.example:8443\r\n"), "101");
    assert_eq!(answer("Origin: HTTPS://A.example\r\n"), "101");
    assert_eq!(answer(""), "101", "no browser");
    for foreign in ["https://b.example", "null", "http://a.example", "https://a.example.org"] {
        assert_eq!(answer(&format!("Origin: {foreign}\r\n")), "403", "{foreign}");
    }
}

#[test]
fn a_request_has_a_bound_and_other_protocols_are_refused_at_once() {
    let long = REQUEST.replacen("Host", &format!("X: {}\r\nHost", "x".repeat(9000)), 1);
    let many = REQUEST.replacen("Host", &format!("{}Host", "X: y\r\n".repeat(60)), 1);
    for request in [&long, &many, &"GET /".repeat(9000)] {
        let outcome = upgrade(request);
        assert!(outcome.sent.starts_with(b"HTTP/1.1 431 "), "{:?}", String::from_utf8_lossy(&outcome.sent));
    }
    let large = REQUEST.replacen("Host", &format!("X: {}\r\nHost", "x".repeat(7000)), 1);
    assert_eq!(upgrade(&large).failure, None);
    let cases: [(&[u8], &str); 5] = [
        (b"\x10\x0d\0\x04MQTT", "MQTT"),
        (b"\x16\x03\x01", "TLS"),
        (b"PROXY TCP4 ", "a PROXY header"),
        (b"\r\n\r\n\0\r\nQUIT\n", "a PROXY header"),
        (b"\0", "of no known protocol"),
    ];
    for (bytes, spoken) in cases {
        let outcome = run(vec![layer(&[])], bytes, &[100], &mut Origin::default());
        let failure = format!("websocket: client speaks no HTTP: first bytes are {spoken}");
        assert_eq!((outcome.failure, outcome.sent), (Some(failure), vec![]));
    }
}

/// Cases 1.1 (text, refused here [MQTT-6.0.0-1], [MQTT3-6.0.0-1]) and 1.2, 9.1 to 9.6: messages of each size, in frames of each kind of length.
#[test]
fn messages_of_every_size_are_carried() {
    for len in [0, 1, 7, 8, 9, 125, 126, 127, 128, 255, 1000, 65_535, 65_536, 200_000] {
        accepted(&[frame(LAST | BINARY, &bytes(len))], &bytes(len), &[]);
    }
    for text in ["", "*", &"*".repeat(126)] {
        refused(&[frame(LAST | BINARY, b"before"), frame(LAST | TEXT, text.as_bytes())], b"before", 1003);
    }
}

/// Group 2: pings of every size, ten at once, and pongs that were not asked for.
#[test]
fn pings_are_answered_and_pongs_ignored() {
    for len in [0, 1, 5, 124, 125] {
        accepted(&[frame(LAST | PING, &bytes(len))], b"", &[answer(PONG, &bytes(len))]);
    }
    let ten: Vec<_> = (0..10).map(|number| frame(LAST | PING, &[number])).collect();
    let pongs: Vec<_> = (0..10).map(|number| answer(PONG, &[number])).collect();
    accepted(&ten, b"", &pongs);
    accepted(
        &[frame(LAST | PONG, b""), frame(LAST | PONG, b"x"), frame(LAST | PING, b"y")],
        b"",
        &[answer(PONG, b"y")],
    );
    refused(&[frame(LAST | PING, &bytes(126))], b"", 1002);
}

/// Groups 3 and 4: reserved bits and opcodes.
#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for bits in 1..=7 {
        refused(&[frame(LAST | BINARY, b"ok"), frame(LAST | bits << 4 | BINARY, b"x")], b"ok", 1002);
        refused(&[frame(LAST | bits << 4 | PING, b"x")], b"", 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused(
            &[frame(LAST | BINARY, b"ok"), frame(LAST | opcode, b"x"), frame(LAST | PING, b"")],
            b"ok",
            1002,
        );
        refused(&[frame(LAST | opcode, b"")], b"", 1002);
    }
}

/// Group 5: fragments, with control frames between them. Packets need not be aligned with them [MQTT-6.0.0-2],
/// [MQTT3-6.0.0-2].
#[test]
fn messages_come_in_fragments_with_control_frames_between_them() {
    let (ping, pong) = (frame(LAST | PING, b"p"), answer(PONG, b"p"));
    let (first, last) = (frame(BINARY, b"ab"), frame(LAST | CONTINUATION, b"ef"));
    let middle = frame(CONTINUATION, b"cd");
    refused(&[frame(PING, b"a")], b"", 1002);
    refused(&[frame(PONG, b"a"), frame(LAST | CONTINUATION, b"b")], b"", 1002);
    accepted(&[first.clone(), last.clone()], b"abef", &[]);
    accepted(&[first.clone(), ping.clone(), last.clone()], b"abef", std::slice::from_ref(&pong));
    let all = [first.clone(), ping.clone(), middle.clone(), ping, last.clone(), first.clone(), last.clone()];
    accepted(&all, b"abcdefabef", &[pong.clone(), pong]);
    accepted(&[frame(BINARY, b""), frame(CONTINUATION, b""), frame(LAST | CONTINUATION, b"x")], b"x", &[]);
    for stray in [&last, &middle] {
        refused(std::slice::from_ref(stray), b"", 1002);
        refused(&[frame(LAST | BINARY, b"x"), stray.clone()], b"x", 1002);
    }
    refused(&[first.clone(), first.clone()], b"ab", 1002);
    refused(&[first, frame(LAST | BINARY, b"x")], b"ab", 1002);
}

/// Group 6 is about text in UTF-8, which is refused; group 7 about the closing handshake.
#[test]
fn a_close_frame_is_answered_and_what_follows_is_ignored() {
    let code = 1000u16.to_be_bytes();
    let after = [frame(LAST | BINARY, b"late"), frame(LAST | PING, b"late"), frame(LAST | CLOSE, &code)];
    for input in
        [vec![frame(LAST | CLOSE, &code)], [vec![frame(LAST | CLOSE, &code)], after.to_vec()].concat()]
    {
        let outcome = frames(&[vec![frame(LAST | BINARY, b"ok")], input].concat());
        assert!(outcome.over && outcome.failure.is_none());
        assert_eq!((outcome.carried, outcome.sent), (b"ok".to_vec(), answer(CLOSE, &code)));
    }
    // In the middle of a message.
    let outcome = frames(&[frame(BINARY, b"ok"), frame(LAST | CLOSE, b"")]);
    assert_eq!((outcome.over, outcome.sent), (true, answer(CLOSE, b"")));
    for code in [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
    {
        for reason in ["", "Hällo", &"x".repeat(123)] {
            let outcome = frames(&[frame(LAST | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())]);
            assert_eq!(outcome.sent, answer(CLOSE, &code.to_be_bytes()), "{code}");
            assert!(outcome.over);
        }
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        refused(&[frame(LAST | CLOSE, &code.to_be_bytes())], b"", 1002);
    }
    refused(&[frame(LAST | CLOSE, b"\x03")], b"", 1002);
    refused(&[frame(LAST | CLOSE, &bytes(126))], b"", 1002);
    refused(
        &[frame(LAST | CLOSE, b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80")],
        b"",
        1007,
    );
}

/// Group 10, and what Autobahn leaves out: masks, and the forms of a length.
#[test]
fn frames_without_a_mask_and_lengths_in_other_forms_are_refused() {
    refused(&[frame(LAST | BINARY, b"ok"), vec![LAST | BINARY, 1, b'x']], b"ok", 1002);
    refused(&[vec![LAST | PING, 0]], b"", 1002);
    let long = |form: u8, len: &[u8]| vec![[&[LAST | BINARY, LAST | form], len, &[0; 4]].concat()];
    refused(&long(126, &[0, 125]), b"", 1002);
    refused(&long(127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]), b"", 1002);
    refused(&long(127, &[0x80, 0, 0, 0, 0, 0, 0, 0]), b"", 1002);
    accepted(&long(127, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), b"", &[]);
}

/// What a frame of the server carries, and the rest of the bytes.
fn opened(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let (size, len) = match bytes {
        [0x82, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x82, len @ ..126, ..] => (2, usize::from(*len)),
        other => panic!("no binary frame: {:?}", &other[..other.len().min(4)]),
    };
    assert!(size == 2 || len > 125, "the length is not in its shortest form");
    (bytes[size..size + len].to_vec(), &bytes[size + len..])
}

/// Packets that are written at once are in one frame, however they are cut.
#[test]
fn what_is_written_at_once_is_one_frame() {
    for total in [1, 2, 124, 125, 126, 127, 128, 300, 5000, 65_535, 65_536, 140_000] {
        for piece in [1, 2, 60, 125, 126, 1000, 140_000] {
            let mut stack = Stack::new(vec![layer(&[])]);
            stack.feed(REQUEST.as_bytes());
            assert!(stack.handshake(&mut Origin::default(), true).is_ready());
            let sent = bytes(total);
            let (mut received, mut flushes) = (Vec::new(), 0);
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let mut written = 0;
                while written < 60_000 && written < rest.len() {
                    let piece = &rest[written..][..piece.min(rest.len() - written)];
                    match stack.write(piece).unwrap() {
                        0 => break,
                        count => written += count,
                    }
                }
                rest = &rest[written..];
                flushes += 1;
                stack.push_down().unwrap();
                let output = stack.output().unwrap();
                let answer = if flushes == 1 { ANSWER.len() } else { 0 };
                let (carried, behind) = opened(&output.bytes()[answer..]);
                assert!(carried.len() == written || written > 65_535, "{} of {written}", carried.len());
                received.extend(carried);
                if !behind.is_empty() {
                    let (carried, behind) = opened(behind);
                    received.extend(carried);
                    assert!(behind.is_empty());
                }
                let count = output.len();
                output.consume(count);
            }
            assert!(received == sent, "{total} in pieces of {piece}");
        }
    }
}

/// A pong is no part of a frame that was begun before it.
#[test]
fn an_answer_between_two_writes_ends_the_frame() {
    let mut stack = Stack::new(vec![layer(&[])]);
    stack.feed(REQUEST.as_bytes());
    assert!(stack.handshake(&mut Origin::default(), true).is_ready());
    stack.write(b"ab").unwrap();
    stack.feed(&frame(LAST | PING, b"p"));
    assert_eq!(stack.read(&mut [0; 9]), Ok(0));
    stack.write(b"cd").unwrap();
    stack.push_down().unwrap();
    let frames = [answer(BINARY, b"ab"), answer(PONG, b"p"), answer(BINARY, b"cd")].concat();
    assert_eq!(stack.output().unwrap().bytes()[ANSWER.len()..], frames);
}

/// The broker's own end of the connection is a close frame, after which nothing is sent.
#[test]
fn a_connection_that_the_broker_ends_is_closed_with_its_code() {
    let mut stack = Stack::new(vec![layer(&[])]);
    stack.feed(REQUEST.as_bytes());
    assert!(stack.handshake(&mut Origin::default(), true).is_ready());
    stack.write(b"last").unwrap();
    stack.close().unwrap();
    stack.write(b"later").unwrap();
    stack.close().unwrap();
    let sent = stack.output().unwrap().bytes();
    assert_eq!(
        sent[ANSWER.len()..],
        [answer(BINARY, b"last"), answer(CLOSE, &1000u16.to_be_bytes())].concat()
    );
}

/// A stream of random frames, mutated: nothing panics, nothing is held, and the cut does not matter.
#[test]
fn mutated_frames_have_the_same_outcome_in_every_cut() {
    let mut violations = 0;
    for seed in 0..2000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut stream = REQUEST.as_bytes().to_vec();
        for _ in 0..random.below(12) {
            let first = random.of(&[
                LAST | BINARY,
                LAST | BINARY,
                BINARY,
                CONTINUATION,
                LAST,
                LAST | PING,
                LAST | PONG,
            ]);
            let len = random.of(&[0, 1, 3, 8, 125, 126, 130, 700]);
            let len = if first & 8 == 0 { len } else { len.min(125) };
            stream.extend(frame(first, &bytes(len)));
        }
        for _ in 0..random.below(3) {
            let from = if random.below(4) == 0 { 0 } else { REQUEST.len() };
            let at = (from + random.below(stream.len().saturating_sub(from).max(1))).min(stream.len() - 1);
            match random.below(3) {
                0 => stream[at] ^= 1 << random.below(8),
                1 => drop(stream.remove(at)),
                _ => stream.insert(at, random.below(256) as u8),
            }
        }
        let whole = run(vec![layer(&[])], &stream, WHOLE, &mut Origin::default());
        violations += usize::from(whole.failure.is_some());
        let cuts: Vec<_> = (0..7).map(|_| 1 + random.below(40)).collect();
        for cuts in [&[1][..], &cuts] {
            let cut = run(vec![layer(&[])], &stream, cuts, &mut Origin::default());
            assert_eq!(cut, whole, "seed {seed}, pieces of {cuts:?}");
        }
    }
    assert!((200..1800).contains(&violations), "{violations}");
}
