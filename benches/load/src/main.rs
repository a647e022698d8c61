//! The load generator: benches/README.md has the scenarios and the meaning of each field.

mod args;
mod churn;
mod client;
mod conns;
mod flow;
mod lasting;
mod meter;
mod mqtt;
mod offline;
mod perf;
mod pool;
mod report;
mod retain;
mod simple;
mod stall;
mod sys;
mod wild;

use clap::Parser;

use args::{Cli, Scenario};
use report::Report;

fn main() {
    let cli = Cli::parse();
    let (name, common) = match &cli.scenario {
        Scenario::P2p(a) => ("p2p", &a.common),
        Scenario::Fanin(a) => ("fanin", &a.common),
        Scenario::Fanout(a) => ("fanout", &a.common),
        Scenario::Wild(a) => ("wild", &a.common),
        Scenario::Retain(a) => ("retain", &a.common),
        Scenario::Conns(a) => ("conns", &a.common),
        Scenario::Churn(a) => ("churn", &a.common),
        Scenario::Latency(a) => ("latency", &a.common),
        Scenario::Offline(a) => ("offline", &a.common),
        Scenario::Stall(a) => ("stall", &a.common),
        Scenario::Lasting(a) => ("lasting", &a.common),
    };
    sys::default_sigpipe();
    sys::arm_deadline(common.deadline);
    let mut rep = Report::new(name, common.params());
    let done = match &cli.scenario {
        Scenario::P2p(a) => simple::p2p(a, &mut rep),
        Scenario::Fanin(a) => simple::fanin(a, &mut rep),
        Scenario::Fanout(a) => simple::fanout(a, &mut rep),
        Scenario::Wild(a) => wild::run(a, &mut rep),
        Scenario::Retain(a) => retain::run(a, &mut rep),
        Scenario::Conns(a) => conns::run(a, &mut rep),
        Scenario::Churn(a) => churn::run(a, &mut rep),
        Scenario::Latency(a) => simple::latency(a, &mut rep),
        Scenario::Offline(a) => offline::run(a, &mut rep),
        Scenario::Stall(a) => stall::run(a, &mut rep),
        Scenario::Lasting(a) => lasting::run(a, &mut rep),
    };
    if let Err(e) = done {
        rep.error(e);
    }
    std::process::exit(rep.finish(common.json));
}
