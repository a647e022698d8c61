//! The anchor rumqttd: one link publishes, another receives. As ../bench.h, without its C.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rumqttd::local::{LinkRx, LinkTx};
use rumqttd::{Broker, Config, ConnectionSettings, Notification, RouterConfig, ServerSettings};

const WINDOW: u64 = 4096;
const LOOK_EVERY: u64 = 256;
const TOPIC: &str = "bench/topic";

fn cpu() -> f64 {
    // SAFETY: all zeros are a value of rusage, and getrusage writes to a live one.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

fn start() -> (LinkTx, LinkRx) {
    let router = RouterConfig {
        max_connections: 10,
        max_outgoing_packet_count: 200,
        max_segment_size: 100 * 1024 * 1024,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1 << 20,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "v4".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let config = Config { id: 0, router, v4: Some([("1".to_owned(), server)].into()), ..Config::default() };
    let broker = Broker::new(config);
    let (publisher, rx) = broker.link("publisher").unwrap();
    let (mut tx, subscriber) = broker.link("subscriber").unwrap();
    tx.subscribe(TOPIC).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    // They live as long as the process.
    std::mem::forget((broker, tx, rx));
    (publisher, subscriber)
}

fn next(subscriber: &mut LinkRx) -> Vec<u8> {
    loop {
        match subscriber.recv().unwrap() {
            Some(Notification::Forward(forward)) => return forward.publish.payload.to_vec(),
            // The router waits until it is told that there is room.
            Some(Notification::Unschedule) => subscriber.ready().unwrap(),
            _ => {}
        }
    }
}

fn throughput(bytes: usize, messages: u64) {
    let (mut publisher, mut subscriber) = start();
    let received = Arc::new(AtomicU64::new(0));
    let counted = received.clone();
    let receiver = std::thread::spawn(move || {
        let mut count = 0;
        while count < messages {
            match subscriber.recv().unwrap() {
                Some(Notification::Forward(_)) => {
                    count += 1;
                    counted.store(count, Ordering::Release);
                }
                Some(Notification::Unschedule) => subscriber.ready().unwrap(),
                _ => {}
            }
        }
    });
    let payload = bytes::Bytes::from(vec![0; bytes]);
    let (began, used) = (Instant::now(), cpu());
    for sent in 0..messages {
        if sent % LOOK_EVERY == 0 {
            while sent - received.load(Ordering::Acquire) > WINDOW - LOOK_EVERY {
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        publisher.publish(TOPIC, payload.clone()).unwrap();
    }
    receiver.join().unwrap();
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} {:.1}", (cpu() - used) / messages as f64 * 1e9);
}

fn waiting(messages: u64) {
    let (mut publisher, mut subscriber) = start();
    let zero = Instant::now();
    let receiver = std::thread::spawn(move || {
        let mut delays: Vec<f64> = (0..messages)
            .map(|_| {
                let payload = next(&mut subscriber);
                let sent = f64::from_ne_bytes(payload[..8].try_into().unwrap());
                zero.elapsed().as_secs_f64() - sent
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        delays[delays.len() / 2]
    });
    for number in 1..=messages {
        let at = Duration::from_millis(number);
        std::thread::sleep(at.saturating_sub(zero.elapsed()));
        let mut payload = vec![0; 64];
        payload[..8].copy_from_slice(&zero.elapsed().as_secs_f64().to_ne_bytes());
        publisher.publish(TOPIC, payload).unwrap();
    }
    println!("{:.2}", receiver.join().unwrap() * 1e6);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize| arguments[index].parse::<u64>().unwrap();
    match arguments[1].as_str() {
        "throughput" => throughput(number(2) as usize, number(3)),
        "waiting" => waiting(number(2)),
        other => panic!("{other}: throughput or waiting"),
    }
    std::process::exit(0);
}
