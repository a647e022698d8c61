//! Subscriptions.

use std::cmp::Ordering;

use serde::Serialize;

use crate::codec::subscribe::RetainHandling;
use crate::codec::topic::TopicFilter;
use crate::engine::view::clients::SubscriptionView;
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::query::Page;
use crate::http::service::ApiRequest;

/// The keys that the list can be sorted by.
const SORTS: &[&str] = &["filter", "client_id", "qos"];

#[derive(Serialize)]
pub(super) struct Subscription {
    filter: String,
    client_id: Option<String>,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
    identifier: u32,
    shared: Option<String>,
}

impl Subscription {
    pub(super) fn of(view: SubscriptionView) -> Subscription {
        let shared =
            TopicFilter::parse(&view.filter).ok().and_then(|filter| filter.group().map(str::to_owned));
        Subscription {
            shared,
            filter: view.filter,
            client_id: view.client_id,
            qos: view.options.qos.as_u8(),
            no_local: view.options.no_local,
            retain_as_published: view.options.retain_as_published,
            retain_handling: match view.options.retain_handling {
                RetainHandling::SendAlways => 0,
                RetainHandling::SendIfNew => 1,
                RetainHandling::DoNotSend => 2,
            },
            identifier: view.identifier,
        }
    }
}

/// `GET /api/v1/subscriptions`
pub(super) fn list(console: &Console, request: &ApiRequest) -> Result<Reply, Problem> {
    let page = Page::of(&request.query, SORTS)?;
    let mut all = console.engine.subscriptions();
    all.retain(|held| page.finds(&[&held.filter, held.client_id.as_deref().unwrap_or_default()]));
    let by = page.sort().unwrap_or("filter");
    page.cut(all, |a, b| compare(by, a, b), Subscription::of)
}

fn compare(by: &str, a: &SubscriptionView, b: &SubscriptionView) -> Ordering {
    let order = match by {
        "client_id" => a.client_id.cmp(&b.client_id),
        "qos" => a.options.qos.cmp(&b.options.qos),
        _ => Ordering::Equal,
    };
    order.then_with(|| a.filter.cmp(&b.filter)).then_with(|| a.client_id.cmp(&b.client_id))
}
