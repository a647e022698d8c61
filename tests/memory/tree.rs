//! What the console's tree of published topics takes, and what waits to be moved into it.

use std::io::{Read, Write};
use std::net::TcpStream;

use midge::config::Config;
use midge::embed::{Broker, PublishOptions};

use crate::{alone, counting};

const MOST: isize = 4 << 20;
/// What the console keeps besides: a connection and its task, threads.
const OTHER: isize = 64 << 10;

/// Asks the console for the tree, which moves what waits; the messages that were left out.
fn left_out(broker: &Broker) -> u64 {
    let mut stream = TcpStream::connect(broker.console_address().unwrap()).unwrap();
    let head = "GET /api/v1/topics?limit=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Authorization: Basic YWRtaW46cHVibGlj\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, rest) = answer.split_once("\"left_out\":").unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// Bytes of a tree of these topics, of which some were left out.
fn full_tree(count: usize, form: impl Fn(usize) -> String) -> isize {
    let mut config = Config::new();
    for (key, value) in [
        ("listener.tcp.bind", "off"),
        ("console.listen", "127.0.0.1:0"),
        ("console.tutorial", "true"),
        ("console.max_topic_bytes", "4MiB"),
        ("console.max_topics", "1000000"),
        ("sys.interval", "0"),
    ] {
        config.set(key, value).unwrap();
    }
    let broker = Broker::start(&config).unwrap();
    assert_eq!(left_out(&broker), 0);
    let before = counting::in_use();
    for number in 0..count {
        broker.publish(&form(number), "21.5", &PublishOptions::default()).unwrap();
        if number % 1000 == 0 {
            left_out(&broker);
        }
    }
    let missing = left_out(&broker);
    let bytes = counting::in_use() - before;
    println!("tree {bytes} bytes, {missing} of {count} left out");
    assert!(missing > 0, "the tree has room for more");
    assert!(bytes <= MOST + OTHER, "{bytes} bytes for {MOST}");
    bytes
}

#[test]
fn a_tree_of_topics_below_one_level() {
    let _alone = alone();
    assert!(full_tree(30_000, |number| format!("flat/{number}")) > MOST / 2);
}

#[test]
fn a_tree_of_topics_with_levels_of_their_own() {
    let _alone = alone();
    assert!(full_tree(20_000, |number| format!("devices/{number}/a/b/c")) > MOST / 2);
}

#[test]
fn a_tree_of_long_topics() {
    let _alone = alone();
    let long = "t".repeat(10_000);
    assert!(full_tree(3_000, |number| format!("{number}/{long}")) > MOST / 2);
}

/// What waits between two moves: the longest topics count, too.
#[test]
fn long_topics_between_two_looks() {
    let _alone = alone();
    let long = "t".repeat(60_000);
    assert!(full_tree(1_000, |number| format!("{number}/{long}")) > MOST / 2);
}
