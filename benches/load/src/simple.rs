//! The flows with fixed topics: p2p, fanin, fanout and latency.

use crate::args;
use crate::flow::{self, Plan, Shape, Topics};
use crate::mqtt::Subscribe;
use crate::report::Report;

/// Publisher i publishes to bench/i/data.
fn topics(c: &args::Common, publishers: usize, matches: u32) -> Topics {
    Topics {
        names: (0..publishers).map(|i| topic(c, i)).collect(),
        matches: vec![matches; publishers],
        published: vec![0; publishers],
        random: false,
    }
}

fn topic(c: &args::Common, i: usize) -> Vec<u8> {
    format!("{}/{i}/data", c.prefix).into_bytes()
}

pub fn p2p(a: &args::P2p, rep: &mut Report) -> Result<(), String> {
    pairs(&a.common, &a.load, a.pairs, rep)
}

pub fn latency(a: &args::Latency, rep: &mut Report) -> Result<(), String> {
    let mut load = a.load.clone();
    if load.rate <= 0.0 {
        load.rate = 1000.0;
    }
    load.tick_us = load.tick_us.or(Some(100));
    pairs(&a.common, &load, a.pairs, rep)
}

fn pairs(c: &args::Common, load: &args::Load, n: usize, rep: &mut Report) -> Result<(), String> {
    rep.set("pairs", n);
    let shape = Shape { publishers: n, subscribers: n, topics: topics(c, n, 1), flows_per_subscriber: 1 };
    let mut fill = |k: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(&topic(c, k), c.qos);
        }
    };
    let plan = Plan::new(c, load, &shape, u32::MAX);
    flow::run(c, plan, shape, &mut fill, rep).map(|_| ())
}

pub fn fanin(a: &args::Fanin, rep: &mut Report) -> Result<(), String> {
    let (c, n) = (&a.common, a.publishers);
    rep.set("publishers", n);
    let shape = Shape { publishers: n, subscribers: 1, topics: topics(c, n, 1), flows_per_subscriber: n };
    let mut fill = |_: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(format!("{}/+/data", c.prefix).as_bytes(), c.qos);
        }
    };
    // One subscriber takes it all: keep what waits for it under the 1000
    // messages at which brokers commonly begin to drop.
    let plan = Plan::new(c, &a.load, &shape, (1000 / n as u32).max(1));
    flow::run(c, plan, shape, &mut fill, rep).map(|_| ())
}

pub fn fanout(a: &args::Fanout, rep: &mut Report) -> Result<(), String> {
    let (c, n) = (&a.common, a.subscribers);
    rep.set("subscribers", n);
    let shape =
        Shape { publishers: 1, subscribers: n, topics: topics(c, 1, n as u32), flows_per_subscriber: 1 };
    let mut fill = |_: usize, seq: usize, p: &mut Subscribe| {
        if seq == 0 {
            p.add(&topic(c, 0), c.qos);
        }
    };
    let plan = Plan::new(c, &a.load, &shape, u32::MAX);
    flow::run(c, plan, shape, &mut fill, rep).map(|_| ())
}
