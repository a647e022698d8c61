//! The Rust code of docs/testing.md: a program that speaks MQTT, and its tests.

use std::time::Duration;

use midge::Config;
use midge::protocol::ReasonCode;
use midge::testing::{Crash, Disk, Fault, PacketKind, TestBroker};

use midge::codec::packet::Packet;
use midge::codec::qos::QoS;

use crate::client::Client;
use crate::kit::{Guest, publish};

/// The program under test: it publishes readings at QoS 1, connects again until they are acknowledged, and leaves a
/// will.
struct Sensor<'b> {
    broker: &'b TestBroker,
    client: Option<Client>,
}

impl<'b> Sensor<'b> {
    fn start(broker: &'b TestBroker) -> Sensor<'b> {
        Sensor { broker, client: None }
    }

    fn report(&mut self, reading: &str) {
        for _ in 0..10 {
            let mut client = match self.client.take() {
                Some(client) => client,
                None => {
                    let guest = Guest {
                        keep_alive: 60,
                        session_expiry: 3600,
                        will: Some(("sensor/status", 300)),
                        ..Guest::named("sensor")
                    };
                    match guest.try_connect(self.broker) {
                        (client, Ok(_)) => client,
                        (_, Err(_)) => continue,
                    }
                }
            };
            let acknowledged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                publish(&mut client, "sensor/reading", reading.as_bytes(), QoS::AtLeastOnce, 1, false);
                client.expect("PUBACK", |packet| matches!(packet, Packet::Puback(_)).then_some(()));
            }));
            if acknowledged.is_ok() {
                self.client = Some(client);
                return;
            }
        }
    }
}

/// A subscriber whose session lasts: the readings are for it.
struct Archive {
    _client: Client,
}

impl Archive {
    fn start(broker: &TestBroker) -> Archive {
        let guest = Guest { session_expiry: 3600, ..Guest::named("archive") };
        let mut client = guest.connect(broker);
        client.subscribe("sensor/#", QoS::AtLeastOnce);
        Archive { _client: client }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_sensor_tries_again_until_it_is_let_in() {
    let broker = TestBroker::start(&Config::new()).unwrap();
    let busy = Fault::refuse(ReasonCode::ServerBusy).unwrap().times(3);
    let busy = broker.inject(busy).unwrap();

    Sensor::start(&broker).report("21.5");

    assert_eq!(broker.hits(busy), 3);
    broker.wait_for("sensor/reading", 1, PATIENCE).unwrap();
    broker.assert_published("sensor/reading", "21.5");
}

#[test]
fn a_sensor_that_loses_its_connection_sends_again() {
    let broker = TestBroker::start(&Config::new()).unwrap();
    broker.inject(Fault::cut_at(PacketKind::Puback).client("sensor")).unwrap();

    Sensor::start(&broker).report("21.5");

    let readings = broker.wait_for("sensor/reading", 2, PATIENCE).unwrap();
    assert!(readings.iter().all(|reading| reading.payload() == "21.5"));
}

#[test]
fn a_sensor_that_is_silent_is_reported_after_five_minutes() {
    let broker = TestBroker::start(&Config::new()).unwrap();
    let mut sensor = Sensor::start(&broker);
    sensor.report("21.5");

    // One and a half times its keep alive of 60 seconds: the broker takes it for dead.
    broker.advance(Duration::from_secs(90)).unwrap();
    assert!(broker.wait_for_no_client("sensor", PATIENCE).unwrap());
    broker.assert_not_published("sensor/status");

    // Its will waits for 300 seconds more.
    broker.advance(Duration::from_secs(300)).unwrap();
    broker.assert_published("sensor/status", "gone");
}

#[test]
fn a_sensor_copes_with_a_broker_that_crashes() {
    let broker = TestBroker::start_durable(&Config::new()).unwrap();
    let mut sensor = Sensor::start(&broker);
    sensor.report("21.4");

    // It is down for a minute, and back at the same address with what it has acknowledged.
    broker.crash(Crash::PowerCut).unwrap();
    broker.advance(Duration::from_secs(60)).unwrap();
    let restarted = broker.restart().unwrap();
    sensor.report("21.5");

    // The record goes on.
    let readings = restarted.published("sensor/reading").unwrap();
    let payloads: Vec<_> = readings.iter().map(|reading| reading.payload()).collect();
    assert_eq!(payloads, ["21.4", "21.5"]);
}

#[test]
fn a_sensor_waits_for_a_disk_that_is_slow() {
    let broker = TestBroker::start_durable(&Config::new()).unwrap();
    let _archive = Archive::start(&broker);
    let mut sensor = Sensor::start(&broker);
    sensor.report("21.4");
    broker.set_disk(Disk::Slow(Duration::from_secs(5))).unwrap();

    std::thread::scope(|scope| {
        let reporting = scope.spawn(|| sensor.report("21.5"));
        broker.wait_for("sensor/reading", 2, PATIENCE).unwrap();
        // The reading is there, and its acknowledgement comes five seconds later.
        broker.advance(Duration::from_secs(5)).unwrap();
        reporting.join().unwrap();
    });
}
