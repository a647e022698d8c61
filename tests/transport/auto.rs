//! A port for several protocols: the first byte chooses, in every cut.

use std::sync::Arc;

use super::pieces_of_layers::{Outcome, run};
use super::websocket;
use crate::engine::parts::origin::Origin;
use crate::net::transport::auto::Auto;
use crate::net::transport::layer::Layer;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

fn auto() -> Vec<Box<dyn Layer>> {
    vec![Box::new(Auto::websocket(Arc::new(|| websocket::layer(&[]))))]
}

fn in_every_cut(bytes: &[u8]) -> Outcome {
    let whole = run(auto(), bytes, &[16 * 1024], &mut Origin::default());
    for cuts in [&[1][..], &[2], &[3, 1], &[7], &[100]] {
        assert_eq!(run(auto(), bytes, cuts, &mut Origin::default()), whole, "in pieces of {cuts:?}");
    }
    whole
}

#[test]
fn plain_mqtt_passes_as_it_is() {
    let outcome = in_every_cut(CONNECT);
    assert_eq!((outcome.failure, &*outcome.carried, &*outcome.sent), (None, CONNECT, &b""[..]));
}

#[test]
fn http_is_the_upgrade_of_websocket() {
    let bytes = [websocket::REQUEST.as_bytes(), &websocket::frame(0x82, CONNECT)].concat();
    let outcome = in_every_cut(&bytes);
    assert_eq!((outcome.failure, &*outcome.carried), (None, CONNECT));
    assert_eq!(outcome.sent, websocket::ANSWER.as_bytes());
}

#[test]
fn a_protocol_that_is_not_there_is_named() {
    for (first, name) in
        [(0x16, "TLS"), (0x80, "SSL 2"), (0x20, "of no known protocol"), (b'g', "of no known protocol")]
    {
        let outcome = run(auto(), &[first], &[1], &mut Origin::default());
        let cause = format!("auto: client speaks no protocol of this port: first bytes are {name}");
        assert_eq!(outcome.failure.as_deref(), Some(&*cause));
    }
}
