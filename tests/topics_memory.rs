//! What a subscription costs in memory, counted by the allocator.
#![allow(unsafe_code, reason = "an allocator that counts can only be written with unsafe code")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use midge::codec::subscribe::SubscriptionOptions;
use midge::codec::topic::TopicFilter;
use midge::topics::{Identity, Router};

/// Bytes in use, as the usual allocators round them: multiples of 16 with a header of 8.
static IN_USE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn rounded(size: usize) -> isize {
    (size + 8).next_multiple_of(16).max(32) as isize
}

// SAFETY: every call is passed on to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(rounded(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = IN_USE.load(Ordering::Relaxed);
    for filter in filters {
        router.subscribe(TopicFilter::parse(filter).unwrap(), &client, SubscriptionOptions::default(), 0);
    }
    let each = (IN_USE.load(Ordering::Relaxed) - before) / filters.len() as isize;
    for filter in filters {
        assert!(router.unsubscribe(TopicFilter::parse(filter).unwrap(), &client));
    }
    (each, IN_USE.load(Ordering::Relaxed) - before)
}

/// One test, so that no other allocates meanwhile.
#[test]
fn a_subscription_takes_few_bytes_and_returns_them() {
    // Just after a table has grown is its most expensive moment, just before the cheapest: look at both.
    for count in [20_000, 28_000, 32_000, 40_000] {
        let exact: Vec<String> = (0..count).map(|number| format!("device/{number:06}/command")).collect();
        let wild: Vec<String> = (0..count).map(|number| format!("device/{number:06}/#")).collect();
        let plus: Vec<String> = (0..count).map(|number| format!("device/{number:06}/+")).collect();
        let shared: Vec<String> =
            (0..count / 100).map(|number| format!("$share/g{number}/device/#")).collect();
        let costs = [cost(&exact), cost(&wild), cost(&plus), cost(&shared)];
        println!("{count}: exact {:?}, # {:?}, + {:?}, groups {:?}", costs[0], costs[1], costs[2], costs[3]);
        assert!(costs[0].0 <= 150, "{} bytes for a filter without wildcards", costs[0].0);
        assert!(costs[1].0 <= 250, "{} bytes for a filter with #", costs[1].0);
        assert!(costs[2].0 <= 250, "{} bytes for a filter with +", costs[2].0);
        for (_, left) in costs {
            assert!(left < 16 * 1024, "{left} bytes are left");
        }
    }
}
