//! The end of a console.

use std::io::Write;
use std::time::Duration;

use crate::http::{Http, broker, console};

#[test]
fn a_stop_ends_streams_and_connections() {
    let broker = broker(&[]);
    let address = console(&broker);
    let mut live = Http::admin(address);
    live.send("GET", "/api/v1/live", &[], b"");
    live.until(": watching");
    let mut pulse = Http::admin(address);
    pulse.send("GET", "/api/v1/events", &[], b"");
    pulse.event("stats");
    let mut idle = Http::open(address);
    assert_eq!(idle.get("/health").status, 200);
    broker.stop(None).unwrap();
    // A stream that ends in order has a last, empty chunk.
    live.until("0");
    pulse.until("0");
    assert!(live.is_closed() && pulse.is_closed() && idle.is_closed());
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(broker.console_address(), Some(address));
}

#[test]
fn viewers_that_take_nothing_do_not_hold_up_a_stop() {
    let broker = broker(&[]);
    let address = console(&broker);
    let mut stuck: Vec<_> = (0..5).map(|_| Http::admin(address)).collect();
    for viewer in &mut stuck {
        viewer.send("GET", "/api/v1/live", &[], b"");
        viewer.until(": watching");
    }
    let payload = vec![0xff; 4096];
    for _ in 0..5000 {
        broker.publish("t", &payload, &midge::embed::PublishOptions::default()).unwrap();
    }
    let mut half = Http::open(address);
    half.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    broker.stop(Some(Duration::ZERO)).unwrap();
    stuck.push(half);
    // Reset or closed, but over.
    for viewer in &mut stuck {
        viewer.end();
    }
}

#[test]
fn brokers_start_and_stop_with_viewers_attached() {
    for _ in 0..10 {
        let broker = broker(&[]);
        let mut viewer = Http::admin(console(&broker));
        viewer.send("GET", "/api/v1/events", &[], b"");
        viewer.event("stats");
        drop(broker);
        viewer.until("0");
    }
}

#[test]
fn two_brokers_have_two_consoles() {
    let (a, b) = (broker(&[]), broker(&[]));
    a.publish("t", "x", &midge::embed::PublishOptions::default().retained()).unwrap();
    let total = |broker: &midge::embed::Broker| {
        Http::admin(console(broker)).json("/api/v1/retained")["total"].as_u64().unwrap()
    };
    assert_eq!((total(&a), total(&b)), (1, 0));
    let mut http = Http::log_in(console(&a), "admin", "public");
    let cookie = http.headers[0].1.clone();
    assert_eq!(http.get("/api/v1/session").status, 200);
    let answer = Http::open(console(&b)).ask("GET", "/api/v1/session", &[("Cookie", &cookie)], b"");
    assert_eq!(answer.status, 401);
}
