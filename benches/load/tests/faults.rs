//! Against a broker that misbehaves in a known way, midge-load must say exactly so.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What the test broker does wrong with message number n of each publisher.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Drop(u32),
    Repeat(u32),
    /// Swaps it with the one before it.
    Swap(u32),
    /// Forgets everything after so many messages of a publisher.
    Deaf(u32),
}

type Subs = Arc<Mutex<HashMap<Vec<u8>, Vec<TcpStream>>>>;

/// QoS 0 and exact filters only; a thread per connection. Lives until the test ends.
fn broker(fault: Fault) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let subs = Subs::default();
    std::thread::spawn(move || {
        for s in listener.incoming() {
            let subs = subs.clone();
            std::thread::spawn(move || serve(s.unwrap(), subs, fault));
        }
    });
    port
}

fn serve(mut s: TcpStream, subs: Subs, fault: Fault) -> Option<()> {
    let mut n = 0;
    let mut held: Vec<u8> = vec![];
    loop {
        let mut head = [0; 2];
        s.read_exact(&mut head).ok()?;
        assert!(head[1] < 0x80, "the tests use short packets");
        let mut body = vec![0; head[1] as usize];
        s.read_exact(&mut body).ok()?;
        match head[0] >> 4 {
            1 => s.write_all(&[0x20, 2, 0, 0]).ok()?,
            8 => {
                let len = u16::from_be_bytes([body[2], body[3]]) as usize;
                let mut subs = subs.lock().unwrap();
                subs.entry(body[4..4 + len].to_vec()).or_default().push(s.try_clone().ok()?);
                s.write_all(&[0x90, 3, body[0], body[1], 0]).ok()?;
            }
            3 => {
                let len = u16::from_be_bytes([body[0], body[1]]) as usize;
                n += 1;
                let copies = match fault {
                    Fault::Drop(k) if n % k == 0 => 0,
                    Fault::Repeat(k) if n % k == 0 => 2,
                    Fault::Deaf(k) if n > k => 0,
                    _ => 1,
                };
                let mut frame = [&head[..], &body[..]].concat();
                if let Fault::Swap(k) = fault {
                    match n % k {
                        r if r == k - 1 => {
                            held = frame;
                            continue;
                        }
                        0 => frame.append(&mut held),
                        _ => {}
                    }
                }
                let mut subs = subs.lock().unwrap();
                for t in subs.get_mut(&body[2..2 + len]).into_iter().flatten() {
                    for _ in 0..copies {
                        t.write_all(&frame).ok()?;
                    }
                }
            }
            _ => return None,
        }
    }
}

fn load(port: u16, args: &str) -> (bool, Value) {
    let out = Command::new(env!("CARGO_BIN_EXE_midge-load"))
        .args(args.split(' '))
        .args(["--port", &port.to_string(), "--json", "--warmup", "0", "--drain", "0.5", "--deadline", "60"])
        .output()
        .unwrap();
    let v: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(v["ok"] == true, out.status.success());
    (out.status.success(), v)
}

fn number(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap_or_else(|| panic!("{key} in {v}"))
}

#[test]
fn nothing_wrong() {
    let (ok, v) = load(broker(Fault::None), "p2p -n 4 --messages 4001");
    assert!(ok, "{v}");
    assert_eq!((number(&v, "published"), number(&v, "delivered"), number(&v, "lost")), (4001, 4001, 0));
    assert_eq!(v["latency_us"]["count"], 4001);
    let (ok, v) = load(broker(Fault::None), "fanout -n 7 --messages 500");
    assert!(ok && number(&v, "delivered") == 3500, "{v}");
    let (ok, v) = load(broker(Fault::None), "p2p -n 3 --messages 300 --rate 1000");
    assert!(ok && number(&v, "delivered") == 300 && v["send_lag_us"]["count"] == 300, "{v}");
    let (ok, v) = load(broker(Fault::None), "p2p -n 4 --messages 50 --rate 1000 --burst 3");
    assert!(ok && number(&v, "delivered") == 50, "{v}");
    let (ok, v) = load(broker(Fault::None), "p2p -n 2 --messages 3000 --flood");
    assert!(ok && number(&v, "delivered") == 3000, "{v}");
}

#[test]
fn dropped_messages_are_counted() {
    // Every 100th of each of 4 publishers' 1000. The last of them is a 100th too:
    // nothing after it shows the gap, but the drain time does.
    let (ok, v) = load(broker(Fault::Drop(100)), "p2p -n 4 --messages 4000");
    assert!(!ok);
    assert_eq!((number(&v, "delivered"), number(&v, "lost"), number(&v, "repeated")), (3960, 40, 0));
    let (ok, v) = load(broker(Fault::Drop(100)), "fanout -n 5 --messages 1050");
    assert!(!ok);
    assert_eq!((number(&v, "delivered"), number(&v, "lost"), number(&v, "repeated")), (5200, 50, 0));
}

#[test]
fn repeated_messages_are_counted() {
    let (ok, v) = load(broker(Fault::Repeat(50)), "p2p -n 4 --messages 4000");
    assert!(!ok);
    assert_eq!((number(&v, "delivered"), number(&v, "lost")), (4000, 0));
    // The last message of each publisher is repeated too: its copy may come after the end.
    assert!((76..=80).contains(&number(&v, "repeated")), "{v}");
}

#[test]
fn disorder_is_not_loss() {
    let (ok, v) = load(broker(Fault::Swap(50)), "p2p -n 4 --messages 4004");
    assert!(!ok);
    assert_eq!((number(&v, "delivered"), number(&v, "lost")), (4004, 0));
    assert_eq!((number(&v, "out_of_order"), number(&v, "repeated")), (80, 0));
}

#[test]
fn a_rate_that_is_not_kept_is_said() {
    // Nothing comes back after 5 messages of each publisher: 20 may be outstanding.
    let (ok, v) = load(broker(Fault::Deaf(5)), "p2p -n 2 --seconds 0.4 --rate 1000");
    assert!(!ok);
    assert!(number(&v, "unsent") > 300 && v["errors"].to_string().contains("rate"), "{v}");
}

#[test]
fn a_deaf_broker_does_not_hold_the_run_up() {
    let (ok, v) = load(broker(Fault::Deaf(30)), "p2p -n 2 --seconds 2");
    assert!(!ok);
    assert_eq!(number(&v, "delivered"), 60);
    assert!(number(&v, "lost") > 0 && number(&v, "stalls") > 0, "{v}");
}
