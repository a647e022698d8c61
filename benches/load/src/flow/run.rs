//! A flow from connecting to the report.

use serde_json::json;

use crate::args::Common;
use crate::client::{Identity, Target, connect_all, subscribe_all};
use crate::mqtt::Subscribe;
use crate::pool::{Ignore, Pool};
use crate::report::{Report, r2, r4};
use crate::sys::{self, NS, now_ns};

use super::pairing::Flow;
use super::plan::{Plan, Shape};

/// How a flow's subscribers subscribe: the filters of packet `seq` of subscriber `k`.
pub type Filters<'a> = dyn FnMut(usize, usize, &mut Subscribe) + 'a;

pub struct Outcome {
    /// Per topic: messages published; per subscriber: messages received.
    pub published: Vec<u64>,
    pub received: Vec<u64>,
}

/// Connects, subscribes, warms up, measures and drains; everything common to
/// the flow scenarios goes into the report.
pub fn run(
    c: &Common,
    plan: Plan,
    shape: Shape,
    filters: &mut Filters,
    rep: &mut Report,
) -> Result<Outcome, String> {
    let target: Target = c.target()?;
    let meter = c.meter()?;
    let (np, ns) = (shape.publishers, shape.subscribers);
    let limit = sys::raise_nofile(0);
    if (np + ns + 32) as u64 > limit {
        return Err(format!("{} connections need more descriptors than the limit of {limit}", np + ns));
    }
    if np > u16::MAX as usize {
        return Err(format!("{np} publishers are too many"));
    }
    sys::tight_timers();
    rep.set("load", plan.json());

    let mut pool = Pool::new().map_err(|e| e.to_string())?;
    let who = |i: usize| Identity::clean(if i < np { c.client_id("p", i) } else { c.client_id("s", i - np) });
    let mut none = Ignore::default();
    let seen = connect_all(&mut pool, &target, np + ns, 0.0, who, &mut none).all(np + ns)?;

    meter.settle(2.0);
    let measured = meter.start();
    let began = now_ns();
    let installed = subscribe_all(&mut pool, &target, (np, ns), plan.qos, filters, &mut none)?;
    let took = now_ns() - began;
    meter.settle(2.0);
    rep.phase("subscribe", meter.stop(measured).json("filter", installed as u64, took, 0));

    let mut f = Flow::new(target.ver, plan, shape);
    // What a v5 broker accepts may be less than was asked for.
    f.plan.window = f.plan.window.min(seen.receive_max as u32);
    if f.plan.qos > 0 {
        f.plan.burst = f.plan.burst.min(f.plan.window);
    }
    if f.plan.warmup > 0.0 {
        let most = f.plan.messages.map(|m| (m / 10).max(np as u64));
        f.publish(&mut pool, f.plan.warmup, most);
        let whole = f.drain(&mut pool);
        rep.set("warmup_published", f.tot.published);
        rep.set("warmup_lost", f.tot.expected.saturating_sub(f.tot.delivered));
        if !whole && f.disconnects > 0 {
            return Err("the broker closed a connection during the warm-up".into());
        }
        f.reset();
    }

    c.begin();
    pool.io = Default::default();
    f.measuring = true;
    let measured = meter.start();
    let (seconds, messages) = (f.plan.seconds, f.plan.messages);
    f.publish(&mut pool, seconds, messages);
    let published_for = now_ns() - measured.t0;
    // Due by the rate, but held back by flow control to the end.
    let unsent = f.issued.saturating_sub(f.tot.published);
    f.drain(&mut pool);
    let t0 = measured.t0;
    let cost = meter.stop(measured);

    let t = &f.tot;
    let elapsed = t.last_delivery.saturating_sub(t0).max(1);
    let lost = t.expected.saturating_sub(t.delivered);
    let mut run = cost.json("delivery", t.delivered, elapsed, 0);
    let o = run.as_object_mut().unwrap();
    if cost.known {
        o.insert("cpu_us_per_pub".into(), json!(r4(cost.cpu_ns as f64 / 1e3 / t.published.max(1) as f64)));
    }
    let per = |n: u64| r4(n as f64 / t.delivered.max(1) as f64);
    o.insert(
        "load_io".into(),
        json!({
            "sends_per_pub": r4(pool.io.sends as f64 / t.published.max(1) as f64),
            "recvs_per_op": per(pool.io.recvs),
            "waits_per_op": per(pool.io.waits),
        }),
    );
    rep.extend(json!({
        "published": t.published,
        "unsent": unsent,
        "expected": t.expected,
        "delivered": t.delivered,
        "lost": lost,
        "loss_pct": r4(100.0 * lost as f64 / t.expected.max(1) as f64),
        "extra": t.extra,
        "out_of_order": t.out_of_order,
        "repeated": t.repeats,
        "dup_flagged": t.dup_flagged,
        "stalls": t.stalls,
        "pubs_per_s": r2(t.published as f64 * NS as f64 / published_for as f64),
        "msgs_per_s": r2(t.delivered as f64 * NS as f64 / elapsed as f64),
        "latency_us": f.latency.json(),
        "send_lag_us": f.lag.json(),
    }));
    rep.phase("run", run);

    rep.check(unsent <= f.issued / 100, || {
        format!("the rate was not kept: {unsent} of {} messages not sent", f.issued)
    });
    rep.check(lost == 0, || format!("{lost} of {} deliveries missing", t.expected));
    rep.check(t.extra == 0, || format!("{} deliveries too many", t.extra));
    rep.check(t.out_of_order == 0, || format!("{} deliveries out of order", t.out_of_order));
    rep.check(t.repeats == 0, || format!("{} deliveries repeated", t.repeats));
    rep.check(t.bad == 0, || format!("{} unexpected or malformed packets", t.bad));
    rep.check(t.foreign == 0, || format!("{} messages of another run", t.foreign));
    rep.check(t.nacked == 0, || format!("{} publishes refused", t.nacked));
    if f.plan.qos > 0 {
        rep.check(t.acked == t.published, || {
            format!("{} publishes never acknowledged", t.published - t.acked)
        });
    }
    rep.check(f.unreleased == 0, || format!("{} QoS 2 deliveries never released", f.unreleased));
    rep.check(f.disconnects == 0, || format!("{} connections closed by the broker", f.disconnects));
    rep.check(meter.alive(), || "the broker process is gone".into());
    pool.goodbye();
    Ok(Outcome { published: f.shape.topics.published, received: f.received })
}
