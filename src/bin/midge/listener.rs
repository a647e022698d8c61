//! `midge listener`: the listeners of a running broker, by the HTTP API of its console.

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::api::{Api, part};
use crate::arguments::{Listener, ListenerCommand};
use crate::failure::Failure;

/// The columns of the list: a title, and the name in the API.
const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("ADDRESS", "address"),
    ("TRANSPORT", "transport"),
    ("STATE", "state"),
    ("CONNECTIONS", "connections"),
    ("REFUSED", "refused"),
    ("FAILED HANDSHAKES", "handshake_failures"),
];

/// Runs a command of `midge listener`.
pub(crate) fn run(command: &ListenerCommand) -> Result<(), Failure> {
    let api = Api::new(&command.access)?;
    match &command.command {
        Listener::List => crate::print(&list(&api.ask(Method::GET, "listeners?limit=1000", None)?)),
        Listener::Add { name, bind, set } => {
            let mut settings: Map<String, Value> =
                set.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            settings.insert("bind".to_owned(), json!(bind));
            let asked = json!({ "name": name, "settings": settings });
            let added = api.ask(Method::POST, "listeners", Some(&asked))?;
            crate::print(&format!("{name} listens on {}\n", word(&added, "address")))
        }
        Listener::Pause { name } => change(&api, name, "pause", "is paused"),
        Listener::Resume { name } => change(&api, name, "resume", "accepts again"),
        Listener::Stop { name, disconnect } => {
            let connections = if *disconnect { "disconnect" } else { "keep" };
            let path = format!("listeners/{}?connections={connections}", part(name));
            let stopped = api.ask(Method::DELETE, &path, None)?;
            let clients = word(&stopped, "connections");
            let fate = if *disconnect { "disconnected" } else { "still connected" };
            crate::print(&format!("{name} is stopped; clients {fate}: {clients}\n"))
        }
    }
}

fn change(api: &Api<'_>, name: &str, verb: &str, done: &str) -> Result<(), Failure> {
    api.ask(Method::POST, &format!("listeners/{}/{verb}", part(name)), Some(&json!({})))?;
    crate::print(&format!("{name} {done}\n"))
}

/// A table of the listeners; why handshakes have failed is below each line.
fn list(answer: &Value) -> String {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let titles = COLUMNS.map(|(title, _)| title.to_owned());
    let rows: Vec<[String; 7]> = items.iter().map(|item| COLUMNS.map(|(_, name)| word(item, name))).collect();
    let mut widths = [0; 7];
    for row in rows.iter().chain([&titles]) {
        for (width, word) in widths.iter_mut().zip(row) {
            *width = word.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let padded: Vec<String> =
            row.iter().zip(widths).map(|(word, width)| format!("{word:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&titles);
    for (item, row) in items.iter().zip(&rows) {
        text.push_str(&line(row));
        let reasons = item.get("failure_reasons").and_then(Value::as_array);
        for reason in reasons.map(Vec::as_slice).unwrap_or_default() {
            text.push_str(&format!("    {} {}\n", word(reason, "count"), word(reason, "reason")));
        }
    }
    text
}

/// A value as a word.
fn word(item: &Value, name: &str) -> String {
    match item.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::list;

    #[test]
    fn the_list_has_a_line_for_each_listener_and_each_reason() {
        let answer = json!({ "total": 2, "items": [
            { "name": "tcp", "address": "127.0.0.1:1883", "transport": "tcp", "state": "accepting", "connections": 3,
              "refused": 0, "handshake_failures": 0, "failure_reasons": [] },
            { "name": "outer", "address": "[::]:8883", "transport": "tls", "state": "paused", "connections": 12,
              "refused": 1, "handshake_failures": 2, "failure_reasons": [{ "reason": "tls: no TLS", "count": 2 }] },
        ]});
        let expected = "\
NAME   ADDRESS         TRANSPORT  STATE      CONNECTIONS  REFUSED  FAILED HANDSHAKES
tcp    127.0.0.1:1883  tcp        accepting  3            0        0
outer  [::]:8883       tls        paused     12           1        2
    2 tls: no TLS
";
        assert_eq!(list(&answer), expected);
    }
}
