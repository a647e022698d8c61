//! Requests that are too large, too slow, or none at all.

use std::io::Write;

use crate::http::{Http, broker, console};

#[test]
fn heads_and_bodies_are_bounded() {
    let broker = broker(&[("mqtt.max_packet_size", "128")]);
    let address = console(&broker);
    let long = "x".repeat(64 * 1024);
    let longer = "x".repeat(128 * 1024);
    let mut http = Http::open(address);
    http.send("GET", "/", &[("X-Long", &longer)], b"");
    assert_eq!(http.head().0, 431);
    assert!(http.is_closed());
    let many: Vec<_> = (0..200).map(|number| (format!("X-{number}"), "x")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut http = Http::open(address);
    http.send("GET", "/", &many, b"");
    assert_eq!(http.head().0, 431);

    let mut http = Http::admin(address);
    let body = format!(r#"{{"topic":"a","payload":"{long}{long}"}}"#);
    assert_eq!(http.post("/api/v1/publish", &body).code(), "too_large");
    let body = format!(r#"{{"user":"{long}","password":""}}"#);
    assert_eq!(Http::open(address).post("/api/v1/login", &body).code(), "too_large");
}

#[test]
fn a_message_may_have_a_large_body_and_a_login_may_not() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let body = format!(r#"{{"topic":"a","payload":"{}"}}"#, "x".repeat(100 * 1024));
    assert_eq!(http.post("/api/v1/publish", &body).status, 200);
    assert_eq!(http.post("/api/v1/login", &body).code(), "too_large");
}

#[test]
fn json_is_known_by_its_type_however_it_is_written() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for (content_type, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON ;charset=utf-8", 200),
        ("application/json-seq", 415),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
    ] {
        let headers = [("Content-Type", content_type)];
        let answer = http.ask("POST", "/api/v1/explain", &headers, br#"{"topic":"a"}"#);
        assert_eq!(answer.status, status, "{content_type}");
    }
    assert_eq!(http.ask("POST", "/api/v1/explain", &[], br#"{"topic":"a"}"#).status, 415, "without a type");
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    let head = format!(
        "POST /api/v1/login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        console(&broker)
    );
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(8);
    let stream = http.stream.get_mut();
    stream.write_all(head.as_bytes()).unwrap();
    // The server may answer and close before it has read all of it.
    let _closed = stream.write_all(chunk.as_bytes());
    assert_eq!(http.head().0, 413);
}

#[test]
fn what_is_no_http_is_answered_once_and_closed() {
    let broker = broker(&[]);
    for bytes in [
        &b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\nX\r\n\r\n",
    ] {
        let mut http = Http::open(console(&broker));
        http.stream.get_mut().write_all(bytes).unwrap();
        let answer = http.line_or_end();
        assert!(answer.as_ref().is_none_or(|line| line.starts_with("HTTP/1.1 4")), "{answer:?}");
    }
    assert_eq!(Http::open(console(&broker)).get("/health").status, 200);
}

#[test]
fn connections_are_bounded() {
    let broker = broker(&[("console.max_connections", "2")]);
    let address = console(&broker);
    let (mut first, mut second) = (Http::admin(address), Http::admin(address));
    let status = |http: &mut Http| http.get("/api/v1/overview").status;
    assert_eq!((status(&mut first), status(&mut second)), (200, 200));
    assert!(Http::open(address).is_closed());
    assert_eq!(first.get("/health").status, 200);
}

/// Whoever opens connections without a login does not close the console to others.
#[test]
fn idle_connections_without_a_login_give_way() {
    let broker = broker(&[("console.max_connections", "4"), ("console.io_timeout", "1h")]);
    let address = console(&broker);
    let mut silent: Vec<_> = (0..4).map(|_| Http::open(address)).collect();
    silent[0].stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    assert_eq!(silent[1].get("/health").status, 200);
    let mut admin = Http::admin(address);
    assert_eq!(admin.get("/api/v1/overview").status, 200);
    let mut viewer = Http::admin(address);
    viewer.send("GET", "/api/v1/live", &[], b"");
    viewer.until(": watching");
    let mut more: Vec<_> = (0..20).map(|_| Http::open(address)).collect();
    // The last of them has its answer, so all before it were accepted.
    assert_eq!(more[19].get("/health").status, 200);
    let ended = silent.iter_mut().chain(&mut more[..18]);
    ended.for_each(|http| _ = http.end());
    assert_eq!(admin.get("/api/v1/overview").status, 200);
    broker.publish("t", "x", &midge::embed::PublishOptions::default()).unwrap();
    assert_eq!(viewer.event("message")["topic"], "t");
}

#[test]
fn silent_connections_hold_up_nobody() {
    let broker = broker(&[]);
    let mut silent: Vec<_> = (0..50).map(|_| Http::open(console(&broker))).collect();
    for http in &mut silent {
        http.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    }
    assert_eq!(Http::open(console(&broker)).get("/health").status, 200);
}

#[test]
fn who_is_too_slow_is_closed() {
    let broker = broker(&[("console.io_timeout", "50ms")]);
    let address = console(&broker);
    let mut silent = Http::open(address);
    assert!(silent.is_closed());
    let mut slow = Http::open(address);
    slow.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    assert!(slow.is_closed());
    let mut idle = Http::open(address);
    assert_eq!(idle.get("/health").status, 200);
    assert!(idle.is_closed());
    let mut body = Http::open(address);
    let head = "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
    body.stream.get_mut().write_all(head.as_bytes()).unwrap();
    assert_eq!(body.head().0, 408);
    assert!(body.is_closed());
}

#[test]
fn a_viewer_that_takes_nothing_gives_up_its_place() {
    let broker = broker(&[("console.io_timeout", "50ms"), ("console.max_connections", "1")]);
    let mut stuck = Http::admin(console(&broker));
    stuck.send("GET", "/api/v1/live", &[], b"");
    stuck.until(": watching");
    // Until its connection is full, and it is closed for that.
    let payload = vec![0xff; 4096];
    let begun = std::time::Instant::now();
    loop {
        broker.publish("t", &payload, &midge::embed::PublishOptions::default()).unwrap();
        let mut next = Http::open(console(&broker));
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", console(&broker));
        // A connection for which there is no place is closed, perhaps before it was written to.
        let sent = next.stream.get_mut().write_all(request.as_bytes());
        let mut status = String::new();
        let answered = std::io::BufRead::read_line(&mut next.stream, &mut status);
        if sent.is_ok() && answered.is_ok() && status.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(begun.elapsed() < crate::client::PATIENCE, "the place is not given up");
    }
}

#[test]
fn addresses_and_methods_that_do_not_exist_are_named() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    assert_eq!(http.get("/api/v1/nothing").code(), "not_found");
    assert_eq!(http.get("/nothing.html").status, 404);
    assert_eq!(http.get("/../Cargo.toml").status, 404);
    assert_eq!(http.get("/api/v1/clients/").status, 404);
    let answer = http.ask("PUT", "/api/v1/overview", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let answer = http.ask("HEAD", "/api/v1/overview", &[], b"");
    assert!(answer.status == 200 && answer.header("content-length").is_some());
    assert_eq!(http.ask("OPTIONS", "/", &[], b"").status, 405);
}

#[test]
fn pages_are_packed_and_kept_by_the_browser() {
    let broker = broker(&[]);
    let mut http = Http::open(console(&broker));
    let plain = http.get("/");
    assert!(plain.text().starts_with("<!"));
    let packed = http.ask("GET", "/index.html", &[("Accept-Encoding", "br, gzip")], b"");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(&packed.body[..2], [0x1f, 0x8b]);
    let etag = plain.header("etag").unwrap();
    let again = http.ask("GET", "/", &[("If-None-Match", etag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn query_parameters_that_do_not_exist_are_named() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for (path, sentence) in [
        (
            "clients?sort=username&filter=x",
            "\"filter\"; this request takes offset, limit, search, sort, order",
        ),
        (
            "sessions?Connected=true",
            "\"Connected\"; this request takes offset, limit, search, sort, order, connected",
        ),
        ("retained/message?topic=a&x", "\"x\"; this request takes topic"),
        ("overview?=", "\"\"; this request takes none"),
        ("live?topic=a", "\"topic\"; this request takes filter"),
    ] {
        let answer = http.get(&format!("/api/v1/{path}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path}");
        let message = answer.json()["error"]["message"].clone();
        assert_eq!(message, format!("unknown query parameter {sentence}"), "{path}");
    }
    let headers = [("Content-Type", "application/json")];
    let answer = http.ask("POST", "/api/v1/publish?retain=1", &headers, br#"{"topic":"a"}"#);
    assert_eq!(answer.code(), "bad_request");
    for path in ["/health?probe=1", "/metrics?scraper=1", "/?x", "/api/v1/overview?"] {
        assert_eq!(http.get(path).status, 200, "{path}");
    }
}

#[test]
fn the_longest_topic_is_explained_and_its_retained_message_deleted() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for length in [32_000, 65_535] {
        let topic = "\u{1}".repeat(length);
        broker.publish(&topic, "x", &midge::embed::PublishOptions::default().retained()).unwrap();
        let body = serde_json::json!({ "topic": topic }).to_string();
        let explained = http.post("/api/v1/explain", &body);
        assert_eq!((explained.status, explained.json()["topic"].as_str()), (200, Some(topic.as_str())));
        let found = http.post("/api/v1/retained/find", &body);
        assert_eq!((found.status, found.json()["topic"].as_str()), (200, Some(topic.as_str())));
        assert_eq!(http.post("/api/v1/retained/delete", &body).status, 204);
        assert_eq!(broker.stats().retained_messages, 0);
        assert_eq!(http.post("/api/v1/retained/delete", &body).code(), "not_found");
        assert_eq!(http.post("/api/v1/retained/find", &body).code(), "not_found");
    }
    for body in [r#"{"topic":"a/#"}"#, r#"{"topic":""}"#, "{}", r#"{"topic":"a","x":1}"#] {
        assert_eq!(http.post("/api/v1/retained/delete", body).code(), "bad_request", "{body}");
        assert_eq!(http.post("/api/v1/retained/find", body).code(), "bad_request", "{body}");
    }
}

/// An address may have 64 KiB.
#[test]
fn a_long_topic_has_room_in_an_address() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    for length in [32_700, 65_000] {
        let topic = "x".repeat(length);
        broker.publish(&topic, "x", &midge::embed::PublishOptions::default().retained()).unwrap();
        for path in ["retained/message", "subscriptions/match"] {
            let shown = http.get(&format!("/api/v1/{path}?topic={topic}"));
            assert_eq!((shown.status, shown.json()["topic"].as_str()), (200, Some(topic.as_str())), "{path}");
        }
        assert_eq!(http.delete(&format!("/api/v1/retained/message?topic={topic}")).status, 204);
    }
}
