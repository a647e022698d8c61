//! The layer of TLS at its edges: its records, its order, its costly steps, and time that goes by.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use midge::config::ClientCertificates;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::tls::{Pair, VERSIONS, World, pattern};
use crate::engine::parts::origin::Origin;
use crate::net::transport::layer::{Layer, Raw};
use crate::net::transport::tls::Tls;
#[cfg(feature = "websocket")]
use {super::proxy, crate::net::transport::auto::Auto, crate::net::transport::stack::Stack};

/// A record of TLS 1.3, made with the secrets of a client.
fn sealed(secrets: &ConnectionTrafficSecrets, number: u64, payload: &[u8]) -> Vec<u8> {
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("another cipher");
    };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, part)| *byte ^= part);
    let mut record = [payload, &[0x17]].concat();
    let [high, low] = (record.len() as u16 + 16).to_be_bytes();
    let header = [0x17, 3, 3, high, low];
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut record).unwrap();
    [&header[..], &record].concat()
}

/// Some clients send them; there is more behind one.
#[test]
fn a_record_without_bytes_is_not_the_end_of_what_is_there() {
    let world = World::new();
    let server = world.server();
    let mut config = (*world.client(&[&rustls::version::TLS13], None)).clone();
    config.enable_secret_extraction = true;
    let mut pair = Pair::new(&server, &Arc::new(config));
    pair.exchange(1 << 20);
    let Pair { client, mut stack, .. } = pair;
    let (number, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let records: Vec<u8> = [&b""[..], b"one", b"", b"", b"two"]
        .iter()
        .zip(number..)
        .flat_map(|(payload, number)| sealed(&secrets, number, payload))
        .collect();
    stack.feed(&records);
    let mut room = [0; 100];
    assert_eq!(stack.read(&mut room), Ok(6));
    assert_eq!(room[..6], *b"onetwo");
}

/// A resumed session's certificate is not verified by rustls.
#[test]
fn a_certificate_that_has_ended_since_it_was_verified_is_refused() {
    const DAY: u64 = 86_400;
    let world = World::new();
    let server = world.strict(ClientCertificates::Required, None);
    let config = world.client(&VERSIONS, Some(&world.authority.client_until("device", 10)));
    let mut client = Pair::new(&server, &config);
    let (mut tls, mut raw, mut origin) = (Tls::new(&server).unwrap(), Raw::default(), Origin::default());
    loop {
        raw.input.append(&client.sent());
        let step = tls.handshake(&mut raw, &mut origin);
        let mut answer = raw.output.bytes();
        while !answer.is_empty() {
            client.client.read_tls(&mut answer).unwrap();
        }
        client.client.process_new_packets().unwrap();
        raw.output.consume(raw.output.len());
        if step.map(Result::unwrap).is_ready() {
            break;
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(tls.look(now + 9 * DAY).is_ok());
    let refusal = tls.look(now + 12 * DAY + DAY / 2).unwrap_err().to_string();
    assert_eq!(refusal, "client certificate expired 2 days ago");
}

/// Also if what is before it comes in the same bytes.
#[test]
#[cfg(feature = "websocket")]
fn the_answer_to_a_client_hello_is_a_costly_step_behind_every_layer() {
    let world = World::new();
    let server = Arc::new(world.server());
    let hello = Pair::new(&server, &world.client(&VERSIONS, None)).sent();
    let tls = || Tls::boxed(&server);
    let auto = || -> Box<dyn Layer> {
        let server = Arc::clone(&server);
        Box::new(Auto::tls(Arc::new(move || Tls::boxed(&server))))
    };
    let header = &b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 8883\r\n"[..];
    let cases = [
        (vec![tls()], &b""[..]),
        (vec![auto()], b""),
        (vec![proxy::layer(), tls()], header),
        (vec![proxy::layer(), auto()], header),
    ];
    for (layers, before) in cases {
        let (mut stack, mut origin) = (Stack::new(layers), proxy::origin());
        stack.feed(&[before, &hello].concat());
        if !before.is_empty() {
            assert!(!stack.is_costly());
            assert!(stack.handshake(&mut origin, false).is_pending());
            assert!(stack.output().is_none(), "the step was not permitted");
        }
        assert!(stack.is_costly());
        assert!(stack.handshake(&mut origin, true).is_pending());
        assert!(stack.output().is_some());
        assert!(!stack.is_costly(), "nothing has come since");
    }
    let mut plain = Stack::new(vec![auto()]);
    plain.feed(b"\x10");
    assert!(!plain.is_costly());
}

/// Small pieces wait for others to share a record; a large one does not overtake them.
#[test]
fn pieces_of_every_size_keep_their_order() {
    let world = World::new();
    let mut pair = Pair::new(&world.server(), &world.client(&VERSIONS, None));
    pair.exchange(1 << 20);
    let message = pattern(20_000);
    let mut rest = &message[..];
    for size in [10, 5000, 1023, 1024, 1, 2000, 7, 3000] {
        let mut piece = &rest[..size];
        rest = &rest[size..];
        while !piece.is_empty() {
            piece = &piece[pair.stack.write(piece).unwrap()..];
        }
    }
    pair.stack.push_down().unwrap();
    let sent = message.len() - rest.len();
    assert!(pair.answer(1 << 20) == message[..sent]);
}
