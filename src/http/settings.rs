//! The current settings, read-only.

use serde::Serialize;

use crate::config::{Kind, table};
use crate::http::answer::{Problem, Reply};
use crate::http::console::Console;
use crate::http::service::ApiRequest;

/// The placeholder for a password.
const HIDDEN: &str = "***";

#[derive(Serialize)]
struct Setting {
    key: String,
    kind: &'static str,
    value: String,
    default: &'static str,
    range: String,
    help: &'static str,
    changed: bool,
}

#[derive(Serialize)]
struct All<T> {
    total: usize,
    offset: usize,
    items: Vec<T>,
}

/// `GET /api/v1/settings`
pub(super) fn show(console: &Console, _request: &ApiRequest) -> Result<Reply, Problem> {
    let config = &console.config;
    let lines = config.keys().into_iter().filter_map(|key| {
        let setting = table().iter().find(|setting| is_of(setting.key, &key))?;
        let mut value = config.get(&key).ok()?;
        if setting.kind == Kind::Secret && !value.is_empty() {
            value = HIDDEN.to_owned();
        }
        Some(Setting {
            kind: setting.kind.name(),
            value,
            default: setting.default,
            range: setting.range(),
            help: setting.help,
            changed: !config.is_default(&key),
            key,
        })
    });
    let items: Vec<_> = lines.collect();
    Reply::json(&All { total: items.len(), offset: 0, items })
}

/// Whether a key matches a key of the table, where `*` is the name of a listener.
fn is_of(line: &str, key: &str) -> bool {
    match line.split_once('*') {
        None => line == key,
        Some((before, after)) => key.starts_with(before) && key.ends_with(after),
    }
}
