//! A port for several protocols: the first byte chooses, in every cut.

use std::sync::{Arc, Mutex};

use super::pieces_of_layers::{Outcome, run};
use super::websocket;
use crate::engine::parts::origin::Origin;
use crate::net::transport::auto::Auto;
use crate::net::transport::layer::{Layer, LayerError, Raw};
use crate::net::transport::stack::Stack;
use crate::session::identity::TlsIdentity;

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

/// A layer that keeps what is written, and what it is told.
#[derive(Default)]
struct Inner {
    kept: Vec<u8>,
    identity: Arc<TlsIdentity>,
    identified: Arc<Mutex<String>>,
}

impl Layer for Inner {
    fn name(&self) -> &'static str {
        "inner"
    }

    fn read(&mut self, raw: &mut Raw, room: &mut [u8]) -> Result<usize, LayerError> {
        Ok(raw.input.take(room))
    }

    fn write(&mut self, bytes: &[u8], _raw: &mut Raw) -> Result<usize, LayerError> {
        self.kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self, raw: &mut Raw) -> Result<(), LayerError> {
        raw.output.append(&std::mem::take(&mut self.kept));
        Ok(())
    }

    fn pending_out(&self) -> usize {
        self.kept.len()
    }

    fn close(&mut self, raw: &mut Raw) {
        raw.output.append(b"bye");
    }

    fn identity(&self) -> Option<&Arc<TlsIdentity>> {
        Some(&self.identity)
    }

    fn identify(&mut self, client_id: &str) {
        *self.identified.lock().unwrap() = client_id.to_owned();
    }
}

#[test]
fn the_layer_that_is_chosen_is_told_and_asked_everything() {
    let identified = Arc::<Mutex<String>>::default();
    let told = Arc::clone(&identified);
    let make =
        move || -> Box<dyn Layer> { Box::new(Inner { identified: Arc::clone(&told), ..Inner::default() }) };
    let mut stack = Stack::new(vec![Box::new(Auto::websocket(Arc::new(make)))]);
    stack.feed(b"GET");
    assert!(stack.handshake(&mut Origin::default(), true).is_ready());
    assert_eq!(stack.read(&mut [0; 9]), Ok(3));
    stack.write(b"abc").unwrap();
    assert_eq!(stack.pending_out(), 3);
    stack.push_down().unwrap();
    assert_eq!(stack.output().unwrap().bytes(), b"abc");
    stack.close().unwrap();
    assert_eq!(stack.output().unwrap().bytes(), b"abcbye");
    assert_eq!(stack.identity(), Some(Arc::default()));
    stack.identify("device");
    assert_eq!(*identified.lock().unwrap(), "device");
}
