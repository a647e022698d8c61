//! Mosquitto's clients against faults: programs that are not ours cope, or say why they cannot.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use midge::codec::reason::ReasonCode;
use midge::embed::PublishOptions;
use midge::testing::{Fault, PacketKind, TestBroker};

use crate::kit::{PATIENCE, secs, start};

fn program(name: &str, broker: &TestBroker, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    let port = broker.address("tcp").unwrap().port().to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-i", "client", "-t", "t"]).args(arguments);
    command
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "needs mosquitto_pub; tests/clients/run.sh runs it"]
fn a_publisher_that_is_refused_says_so() {
    let broker = start();
    broker.inject(Fault::refuse(ReasonCode::NotAuthorized).unwrap()).unwrap();
    let refused = program("mosquitto_pub", &broker, &["-m", "x"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).to_lowercase().contains("not authori"));
    assert!(program("mosquitto_pub", &broker, &["-m", "x"]).status().unwrap().success());
}

#[test]
#[ignore = "needs mosquitto_pub; tests/clients/run.sh runs it"]
fn a_publisher_whose_connection_is_cut_in_place_of_puback_does_not_claim_success() {
    let broker = start();
    broker.inject(Fault::cut_at(PacketKind::Puback).client("client")).unwrap();
    assert!(!program("mosquitto_pub", &broker, &["-q", "1", "-m", "x"]).status().unwrap().success());
    broker.assert_published("t", "x");
}

#[test]
#[ignore = "needs mosquitto_pub; tests/clients/run.sh runs it"]
fn a_publisher_waits_for_a_pubcomp_that_is_late() {
    let broker = start();
    let late = broker.inject(Fault::delay(PacketKind::Pubcomp, secs(30))).unwrap();
    let mut publisher = Running(program("mosquitto_pub", &broker, &["-q", "2", "-m", "x"]).spawn().unwrap());
    assert!(broker.wait_for_hits(late, 1, PATIENCE).unwrap());
    broker.advance(secs(29)).unwrap();
    assert!(publisher.0.try_wait().unwrap().is_none(), "it has not ended");
    broker.advance(secs(1)).unwrap();
    assert!(publisher.0.wait().unwrap().success());
    assert_eq!(broker.published("t").unwrap().len(), 1);
}

#[test]
#[ignore = "needs mosquitto_sub; tests/clients/run.sh runs it"]
fn a_subscriber_that_is_cut_or_taken_for_dead_comes_back_and_hears_on() {
    let broker = start();
    let mut command = program("mosquitto_sub", &broker, &["-C", "3"]);
    let mut subscriber = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut heard = BufReader::new(subscriber.0.stdout.take().unwrap()).lines();
    let mut say = |text: &str| {
        assert!(broker.wait_for_subscription("t", PATIENCE).unwrap());
        broker.publish("t", text, &PublishOptions::default()).unwrap();
        assert_eq!(heard.next().unwrap().unwrap(), text);
    };
    say("first");
    assert!(broker.cut("client").unwrap());
    say("second");
    // Its keep alive is 60 seconds.
    broker.advance(secs(90)).unwrap();
    assert_eq!(broker.stats().keep_alive_timeouts, 1);
    say("third");
    assert!(subscriber.0.wait().unwrap().success());
}
