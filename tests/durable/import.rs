//! The lines of an export, and the file of a mosquitto.

use midge::storage::durable::tools::{ImportError, Imported};

use crate::dice::Dice;
use crate::import_target::import_any;
use crate::sim_disk::SimDisk;
use crate::tools::{checked, exported, imported};

/// Every field that there is.
const LINES: &str = include_str!("data/store.jsonl");
/// Written by mosquitto 2.0.11, as Debian 12 has it.
const MOSQUITTO: &[u8] = include_bytes!("data/mosquitto.db");

#[test]
fn every_field_is_imported_and_exported_again() {
    let disk = SimDisk::new(1);
    let counts = imported(&disk, LINES.as_bytes()).unwrap();
    assert_eq!(exported(&disk), LINES);
    assert_eq!(counts, Imported { retained: 2, sessions: 3, deliveries: 6, left_out: 0 });
    let report = checked(&disk).unwrap();
    assert_eq!((report.sessions, report.connected, report.subscriptions, report.wills), (3, 1, 4, 1));
    assert_eq!((report.queued, report.in_flight, report.received), (3, 3, 2));
    // "shared" four times, "one" twice.
    assert_eq!((report.retained, report.retained_bytes, report.delivery_bytes), (2, 7, 22));
}

#[test]
fn what_may_be_left_out_may_be_left_out() {
    let disk = SimDisk::new(1);
    let lines = "{\"type\":\"store\",\"format\":1}\n\n  \n\
                 {\"type\":\"retained\",\"topic\":\"a\",\"payload\":\"\",\"qos\":0}\r\n\
                 {\"format\":null,\"expiry\":5,\"client_id\":\"c\",\"type\":\"session\",\"will\":null}";
    imported(&disk, lines.replace("\"format\":null,", "").as_bytes()).unwrap();
    let expected = "{\"type\":\"store\",\"format\":1}\n\
         {\"type\":\"retained\",\"topic\":\"a\",\"payload\":\"\",\"qos\":0,\"received\":\"2026-11-30T20:39:13.000Z\"}\n\
         {\"type\":\"session\",\"client_id\":\"c\",\"expiry\":5}\n";
    assert_eq!(exported(&disk), expected);
}

/// The sentence for a file.
fn refusal(lines: &str) -> String {
    let disk = SimDisk::new(1);
    imported(&disk, lines.as_bytes()).unwrap_err().to_string()
}

/// Each line follows the first one and a session of "c".
const WRONG: [(&str, &str); 38] = [
    ("{", "line 3: this is not JSON: EOF while parsing an object at column 1"),
    ("[]", "line 3: this is not an object: write {...}"),
    ("{}", "line 3: type: it is missing"),
    (r#"{"type":5}"#, "line 3: type: this is not a text: write \"...\""),
    (r#"{"type":"rows"}"#, "line 3: type: \"rows\" is none of store, retained, session, shared, delivery"),
    (r#"{"type":"store","format":1}"#, "line 3: type: only the first line is a store"),
    (r#"{"type":"retained","payload":"","qos":0}"#, "line 3: topic: it is missing"),
    (
        r#"{"type":"retained","topic":"a/#","payload":"","qos":0}"#,
        "line 3: topic: the topic name holds a wildcard, + or #",
    ),
    (
        r#"{"type":"retained","topic":"a","qos":0}"#,
        "line 3: payload: it is missing: write payload or payload_base64",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","payload_base64":"","qos":0}"#,
        "line 3: payload: payload and payload_base64 are both there: leave one out",
    ),
    (
        r#"{"type":"retained","topic":"a","payload_base64":"?","qos":0}"#,
        "line 3: payload_base64: this is not base64: Invalid symbol 63, offset 0.",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":3}"#,
        "line 3: qos: 3 is not a whole number from 0 to 2",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":1.5}"#,
        "line 3: qos: 1.5 is not a whole number from 0 to 2",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":0,"retain":true}"#,
        "line 3: retain: there is no such field here",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":0,"received":"today"}"#,
        "line 3: received: \"today\" is not a time: write it like 2026-11-30T20:15:00.000Z",
    ),
    (
        r#"{"type":"retained","topic":"a","payload_base64":"/w==","qos":0,"payload_format":1}"#,
        "line 3: payload_format: 1 is for text, and the payload is none",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":0,"response_topic":"+"}"#,
        "line 3: response_topic: the topic name holds a wildcard, + or #",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":0,"content_type":"\u0000"}"#,
        "line 3: content_type: it holds U+0000",
    ),
    (
        r#"{"type":"retained","topic":"a","payload":"","qos":0,"user_properties":[["a","b"],["c"]]}"#,
        "line 3: user_properties[1]: this is not a pair: write [\"name\",\"value\"]",
    ),
    (r#"{"type":"session","client_id":"c","expiry":5}"#, "line 3: client_id: \"c\" has a session already"),
    (
        r#"{"type":"session","client_id":"","expiry":5}"#,
        "line 3: client_id: it is empty: a session has the identifier of a client",
    ),
    (r#"{"type":"session","client_id":"d"}"#, "line 3: expiry: it is missing: write seconds, or \"never\""),
    (
        r#"{"type":"session","client_id":"d","expiry":"soon"}"#,
        "line 3: expiry: \"soon\" is not a whole number from 0 to 4294967294, nor \"never\"",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"subscriptions":{}}"#,
        "line 3: subscriptions: this is not a list: write [...]",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"subscriptions":[{"filter":"a#","qos":0}]}"#,
        "line 3: subscriptions[0].filter: the wildcard # is not the whole last level of the topic filter",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"subscriptions":[{"filter":"a","qos":0},{"filter":"a","qos":1}]}"#,
        "line 3: subscriptions[1].filter: \"a\" is subscribed to already",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"received":[0]}"#,
        "line 3: received[0]: 0 is not a whole number from 1 to 65535",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"will":{"delay":0}}"#,
        "line 3: will.message: it is missing",
    ),
    (
        r#"{"type":"session","client_id":"d","expiry":5,"will":{"message":{"topic":"a","payload":"","qos":0,"retain":1}}}"#,
        "line 3: will.message.retain: 1 is neither true nor false",
    ),
    (
        r#"{"type":"delivery","client_id":"d","state":"queued","qos":1,"message":{"topic":"a","payload":"","qos":1}}"#,
        "line 3: client_id: there is no session of \"d\" in a line before",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"lost","qos":1}"#,
        "line 3: state: \"lost\" is none of queued, sent, confirmed",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"queued","packet_id":1,"qos":1}"#,
        "line 3: packet_id: a delivery that is queued has none",
    ),
    (r#"{"type":"delivery","client_id":"c","state":"sent","qos":1}"#, "line 3: packet_id: it is missing"),
    (
        r#"{"type":"delivery","client_id":"c","state":"queued","qos":0,"message":{"topic":"a","payload":"","qos":1}}"#,
        "line 3: qos: 0 is not a whole number from 1 to 2",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"queued","qos":1,"shared":4}"#,
        "line 3: shared: no line before has the type \"shared\" and the number 4",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"queued","qos":1,"identifiers":[0],"shared":4}"#,
        "line 3: identifiers[0]: 0 is not a whole number from 1 to 268435455",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"confirmed","packet_id":1,"qos":1}"#,
        "line 3: qos: there is no such field here",
    ),
    (
        r#"{"type":"delivery","client_id":"c","state":"queued","qos":1,"message":{"topic":"","payload":"","qos":1}}"#,
        "line 3: message.topic: the topic is empty",
    ),
];

#[test]
fn an_error_names_line_and_field() {
    for (line, sentence) in WRONG {
        let lines = format!(
            "{{\"type\":\"store\",\"format\":1}}\n{{\"type\":\"session\",\"client_id\":\"c\",\"expiry\":5}}\n{line}\n"
        );
        assert_eq!(refusal(&lines), sentence, "{line}");
    }
    let first = [
        ("", "line 1: the file is empty: an export begins with {\"type\":\"store\",\"format\":1}"),
        (r#"{"type":"retained"}"#, "line 1: type: an export begins with a line of type \"store\""),
        (r#"{"type":"store","format":2}"#, "line 1: format: 2 is not known: this version of Midge reads 1"),
        (r#"{"type":"store","format":1,"x":1}"#, "line 1: x: there is no such field here"),
    ];
    for (line, sentence) in first {
        assert_eq!(refusal(line), sentence);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let sent = r#"{"type":"delivery","client_id":"c","state":"sent","packet_id":1,"qos":1,"message":{"topic":"a","payload":"","qos":1}}"#;
    let queued = r#"{"type":"delivery","client_id":"c","state":"queued","qos":1,"message":{"topic":"a","payload":"","qos":1}}"#;
    let retained = r#"{"type":"retained","topic":"a","payload":"","qos":0}"#;
    let shared = r#"{"type":"shared","number":1,"message":{"topic":"a","payload":"","qos":1}}"#;
    for (line, again, sentence) in [
        (sent, sent, "line 4: packet_id: session \"c\": packet identifier 1 is sent twice"),
        (queued, sent, "line 4: state: deliveries in flight stand before those that are queued"),
        (retained, retained, "line 4: topic: \"a\" has a retained message already"),
        (shared, shared, "line 4: number: 1 is the number of a line before"),
    ] {
        let lines = format!(
            "{{\"type\":\"store\",\"format\":1}}\n{{\"type\":\"session\",\"client_id\":\"c\",\"expiry\":5}}\n{line}\n{again}"
        );
        assert_eq!(refusal(&lines), sentence);
    }
}

#[test]
fn what_a_mosquitto_has_kept_is_imported() {
    let disk = SimDisk::new(1);
    let counts = imported(&disk, MOSQUITTO).unwrap();
    assert_eq!(counts, Imported { retained: 2, sessions: 4, deliveries: 11, left_out: 0 });
    assert_eq!(exported(&disk), include_str!("data/mosquitto.jsonl"));
}

#[test]
fn a_message_that_its_publisher_has_not_released_is_published() {
    // In the file, client "raw" has sent "g/1" and awaits PUBCOMP, and is subscribed to "f/#" with QoS 2.
    let mut file = MOSQUITTO.to_vec();
    let at = file.windows(6).position(|bytes| bytes == b"rawg/1").unwrap();
    file[at + 3] = b'f';
    let disk = SimDisk::new(1);
    assert_eq!(imported(&disk, &file).unwrap().deliveries, 12);
    let lines = exported(&disk);
    let queued: Vec<_> = lines.lines().filter(|line| line.contains("\"f/1\"")).collect();
    let expected = r#"{"type":"delivery","client_id":"raw","state":"queued","qos":2,"message":{"topic":"f/1","payload":"not released","qos":2,"#;
    assert!(queued.len() == 1 && queued[0].starts_with(expected), "{queued:?}");
    assert!(lines.contains(r#""received":[77]"#));
}

#[test]
fn another_version_of_mosquitto_is_refused() {
    for version in [0, 3, 5, 7] {
        let mut file = MOSQUITTO.to_vec();
        file[22] = version;
        let sentence = imported(&SimDisk::new(1), &file).unwrap_err().to_string();
        let expected = format!(
            "byte 19: this mosquitto.db has version {version}, and only 6 can be read: let a mosquitto 2.0 load and \
             save it once"
        );
        assert_eq!(sentence, expected);
    }
    let sentence = imported(&SimDisk::new(1), b"\0other").unwrap_err().to_string();
    assert_eq!(sentence, "byte 0: this is neither an export nor a mosquitto.db");
}

/// The lines of its export would be refused.
#[test]
fn a_subscription_identifier_that_mqtt_does_not_know_is_refused() {
    let mut file = MOSQUITTO.to_vec();
    // Client "new" has subscribed to "a/+" with identifier 7.
    let at = file.windows(12).position(|bytes| bytes == b"\0\0\0\x05\0\0\0\x12\0\0\0\x07").unwrap() + 8;
    for (identifier, expected) in [(268_435_455u32, None), (268_435_456, Some(())), (u32::MAX, Some(()))] {
        file[at..at + 4].copy_from_slice(&identifier.to_be_bytes());
        let refused = imported(&SimDisk::new(1), &file).err().map(|error| error.to_string());
        let sentence = format!(": Subscription Identifier {identifier} is larger than 268435455");
        assert_eq!(refused.as_ref().map(|line| assert!(line.ends_with(&sentence), "{line}")), expected);
    }
}

#[test]
fn a_file_of_a_mosquitto_that_is_cut_or_damaged_is_refused_or_gives_a_store_in_order() {
    let mut refused = 0;
    for place in (1..MOSQUITTO.len()).step_by(7) {
        let mut damaged = MOSQUITTO.to_vec();
        damaged[place] ^= 1 << (place % 8);
        for file in [&damaged[..], &MOSQUITTO[..place]] {
            let disk = SimDisk::new(1);
            match imported(&disk, file) {
                Ok(_) => _ = checked(&disk).unwrap(),
                Err(ImportError::Mosquitto { offset, .. }) => {
                    assert!(offset <= MOSQUITTO.len() as u64);
                    refused += 1;
                }
                Err(other) => panic!("byte {place}: {other}"),
            }
        }
    }
    assert!(refused > 150, "{refused}");
}

/// What the fuzz target `import` asserts, of files that are nearly right.
#[test]
fn a_file_with_random_changes_is_refused_in_a_sentence_or_gives_a_store_that_can_be_exported() {
    for seed in 0..600 {
        let mut dice = Dice::new(seed);
        let mut file = if dice.chance(50) { LINES.as_bytes().to_vec() } else { MOSQUITTO.to_vec() };
        for _ in 0..dice.between(1, 3) {
            let at = dice.below(file.len() as u64) as usize;
            let end = (at + dice.between(1, 40) as usize).min(file.len());
            match dice.below(5) {
                0 => file[at] ^= 1 << dice.below(8),
                1 => file[at] = dice.pick(b"0123456789\",{}[]:-\xff\0"),
                2 => drop(file.drain(at..end)),
                3 => {
                    let part = file[at..end].to_vec();
                    let to = dice.below(file.len() as u64) as usize;
                    drop(file.splice(to..to, part));
                }
                _ => {
                    let mut lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
                    let (from, to) = (dice.below(lines.len() as u64), dice.below(lines.len() as u64));
                    let line = lines[from as usize];
                    lines.insert(to as usize, line);
                    file = lines.concat();
                }
            }
        }
        import_any(&file);
    }
}
