//! Sockets that the host hands over.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use midge::codec::qos::QoS;
use midge::codec::version::Version;
use midge::config::Config;
use midge::embed::{Broker, Error, PublishOptions};

use crate::client::{Client, address, broker};
use crate::deadline::until;

fn without_listeners() -> Broker {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "off").unwrap();
    Broker::start(&config).unwrap()
}

/// A client at the other end of a socketpair.
fn adopted(broker: &Broker, client_id: &str, version: Version) -> Client {
    let (ours, theirs) = UnixStream::pair().unwrap();
    broker.adopt(ours, None).unwrap();
    Client::over(TcpStream::from(OwnedFd::from(theirs)), client_id, version)
}

#[test]
fn a_broker_without_a_port_serves_what_it_is_handed() {
    let broker = without_listeners();
    assert!(broker.addresses().is_empty());
    let mut hearer = adopted(&broker, "hearer", Version::V5);
    hearer.subscribe("t", QoS::ExactlyOnce);
    let mut publisher = adopted(&broker, "publisher", Version::V311);
    let large = vec![b'x'; 200_000];
    publisher.publish("t", &large, QoS::AtMostOnce);
    assert_eq!(hearer.message().payload, large);
    assert_eq!(broker.publish("t", "from the host", &PublishOptions::default()).unwrap(), 1);
    assert_eq!(hearer.message().payload, b"from the host");
    let clients = broker.clients();
    assert!(clients.iter().all(|client| client.connected && client.address.is_none()));
    drop(publisher);
    until("the publisher is gone", || broker.stats().clients_connected == 1);
    broker.stop(None).unwrap();
    assert_eq!(hearer.until_closed(), [0xe0, 1, 0x8b]);
}

#[test]
fn an_accepted_connection_is_served_beside_those_of_the_listener() {
    let broker = broker();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut own = Client::connect(address(&broker), "own", Version::V5);
    own.subscribe("t", QoS::AtMostOnce);
    let raw = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    broker.adopt(accepted, Some("tcp")).unwrap();
    let mut handed = Client::over(raw, "handed", Version::V5);
    handed.publish("t", b"x", QoS::AtMostOnce);
    assert_eq!(own.message().payload, b"x");
    let view = broker.clients().into_iter().find(|client| &*client.client_id == "handed").unwrap();
    assert_eq!(view.address, Some(peer.into()));
}

#[test]
fn what_cannot_be_served_is_refused_and_closed() {
    let broker = without_listeners();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let wrong = |outcome| matches!(outcome, Err(Error::Argument { argument: "socket", .. }));
    assert!(wrong(broker.adopt(ours, None)));
    assert!(theirs.send(b"x").is_err());
    assert!(wrong(broker.adopt(std::fs::File::open("/dev/null").unwrap(), None)));
    assert!(wrong(broker.adopt(TcpListener::bind("127.0.0.1:0").unwrap(), None)));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let unknown = broker.adopt(ours, Some("tcp"));
    assert!(matches!(unknown, Err(Error::Argument { argument: "listener", .. })));
    broker.stop(None).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(matches!(broker.adopt(ours, None), Err(Error::Stopped)));
}

#[test]
fn a_peer_that_is_gone_already_is_no_harm() {
    let broker = without_listeners();
    for _ in 0..50 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        broker.adopt(ours, None).unwrap();
    }
    until("every connection has ended", || broker.stats().connections_closed >= 50);
    adopted(&broker, "after", Version::V5);
}
