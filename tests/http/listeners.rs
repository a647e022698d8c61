//! Listeners by the HTTP API: added, paused, resumed, stopped, counted.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use midge::codec::version::Version;
use serde_json::json;

use super::client::Client;
use super::http::{Http, broker, console};

#[test]
fn an_administrator_adds_pauses_resumes_and_stops_listeners() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let body = json!({ "name": "lan", "settings": { "bind": "127.0.0.1:0", "max_connections": "5" } });
    let added = http.post("/api/v1/listeners", &body.to_string());
    assert_eq!(added.status, 200, "{}", added.text());
    let address = broker.address("lan").unwrap();
    assert_eq!(added.json(), json!({ "name": "lan", "address": address.to_string() }));
    let mut client = Client::connect(address, "a", Version::V5);
    let view = json!({
        "name": "lan", "address": address.to_string(), "transport": "tcp", "state": "accepting", "connections": 1,
        "max_connections": 5, "accepted": 1, "refused": 0, "handshake_failures": 0, "failure_reasons": [],
    });
    assert_eq!(http.json("/api/v1/listeners?search=lan")["items"][0], view);
    let metrics = http.get("/metrics");
    for line in [
        "midge_listener_connections{listener=\"lan\"} 1",
        "midge_listener_accepted_total{listener=\"lan\"} 1",
        "midge_listener_refused_total{listener=\"tcp\"} 0",
    ] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    assert_eq!(http.post("/api/v1/listeners/lan/pause", "").status, 204);
    assert_eq!(http.json("/api/v1/listeners?search=lan")["items"][0]["state"], "paused");
    assert_eq!(http.post("/api/v1/listeners/lan/resume", "").status, 204);
    assert_eq!(http.json("/api/v1/listeners?search=lan")["items"][0]["state"], "accepting");
    let stopped = http.delete("/api/v1/listeners/lan?connections=disconnect");
    assert_eq!(stopped.json(), json!({ "connections": 1 }));
    client.until_closed();
    assert_eq!(http.json("/api/v1/listeners?search=lan")["total"], 0);
}

#[test]
fn errors_of_listeners_are_sentences() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let add = |http: &mut Http, body: serde_json::Value| http.post("/api/v1/listeners", &body.to_string());
    for (body, sentence) in [
        (
            json!({ "name": "tcp", "settings": { "bind": "127.0.0.1:0" } }),
            "listener: this broker has a listener \"tcp\" already",
        ),
        (json!({ "name": "lan", "settings": {} }), "listener.lan.bind: the listener needs an address"),
        (
            json!({ "name": "lan", "settings": { "transport": "quic" } }),
            "listener.lan.transport: \"quic\" is not one of",
        ),
        (json!({ "name": "lan", "settings": { "port": "1" } }), "listener.lan.port: unknown setting"),
        (
            json!({ "name": "A B", "settings": { "bind": "127.0.0.1:0" } }),
            "listener.A B.bind: \"A B\" is not a",
        ),
    ] {
        let answer = add(&mut http, body);
        assert_eq!(answer.status, 400);
        assert!(answer.text().replace("\\\"", "\"").contains(sentence), "{}", answer.text());
    }
    for (method, path) in [
        ("DELETE", "/api/v1/listeners/lan"),
        ("POST", "/api/v1/listeners/lan/pause"),
        ("POST", "/api/v1/listeners/lan/resume"),
    ] {
        let answer = if method == "POST" { http.post(path, "") } else { http.delete(path) };
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    assert_eq!(http.delete("/api/v1/listeners/tcp?connections=later").code(), "bad_request");
    assert!(broker.address("tcp").is_some());
}

#[test]
fn a_client_by_a_unix_domain_socket_is_shown_with_its_process() {
    let path = std::env::temp_dir().join(format!("midge-http-{}.sock", std::process::id()));
    let broker = broker(&[("listener.local.bind", &format!("unix:{}", path.display()))]);
    let mut near = UnixStream::connect(&path).unwrap();
    near.write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04near").unwrap();
    near.read_exact(&mut [0; 4]).unwrap();
    let _far = Client::connect(broker.address("tcp").unwrap(), "far", Version::V5);
    let mut http = Http::admin(console(&broker));
    let own = fs::metadata(&path).unwrap();
    let numbers = |http: &mut Http, id: &str| {
        let client = &http.json(&format!("/api/v1/clients/{id}"))["client"];
        json!([client["uid"], client["gid"], client["pid"]])
    };
    assert_eq!(numbers(&mut http, "near"), json!([own.uid(), own.gid(), std::process::id()]));
    assert_eq!(numbers(&mut http, "far"), json!([null, null, null]));
}
