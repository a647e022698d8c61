//! What a subscription costs in memory, counted by the allocator.

use std::sync::Arc;

use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicFilter;
use midge::topics::{Identity, Router};

use crate::{Form, alone, check, counting};

#[derive(Clone)]
struct Client(Arc<()>);

impl Identity for Client {
    fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Subscribes to the filters and returns the bytes that each takes in the router, and those left when all are gone.
fn cost(filters: &[String]) -> (isize, isize) {
    let client = Client(Arc::new(()));
    let router = Router::new();
    let before = counting::in_use();
    for filter in filters {
        router.subscribe(TopicFilter::parse(filter).unwrap(), &client, SubscriptionOptions::default(), 0);
    }
    let each = (counting::in_use() - before) / filters.len() as isize;
    for filter in filters {
        assert!(router.unsubscribe(TopicFilter::parse(filter).unwrap(), &client));
    }
    (each, counting::in_use() - before)
}

/// As many filters as are wanted, each of another device.
fn filters(count: usize, form: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(form).collect()
}

#[test]
fn a_subscription_takes_few_bytes_of_the_router_and_returns_them() {
    let _alone = alone();
    let forms: [(&str, Form); 5] = [
        ("router_exact", |n| format!("device/{n:06}/command")),
        ("router_plus", |n| format!("device/{n:06}/+")),
        ("router_hash", |n| format!("device/{n:06}/#")),
        // 60 % exact, 25 % with +, 15 % with #; of a device, now one and now another.
        ("router_mixed", |n| match n % 20 {
            0..12 => format!("w/r{}/b{}/d{}/k{n}", n % 8, n % 64, n / 64),
            12..17 => format!("w/r{}/b{}/d{}/+", n % 8, n % 64, n / 64),
            _ => format!("w/r{}/b{}/d{}/#", n % 8, n % 64, n / 64),
        }),
        ("router_group", |n| format!("$share/g{n}/device/#")),
    ];
    for (name, form) in forms {
        let mut dearest = 0;
        // Just after a table has grown is its most expensive moment, just before the cheapest: look at both.
        for count in [20_000, 28_000, 32_000, 40_000] {
            let (each, left) = cost(&filters(count, form));
            dearest = dearest.max(each);
            assert!(left < 16 * 1024, "{name}: {left} bytes are left");
        }
        check(name, dearest);
    }
}
