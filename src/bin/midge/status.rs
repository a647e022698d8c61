//! `midge status`: the status of a running broker.

use std::time::{SystemTime, UNIX_EPOCH};

use midge::stats::DropReason;

use crate::arguments;
use crate::failure::Failure;
use crate::query::{Topics, ask};

/// The lines of the report: a name, then the values of topics, each followed by a word.
const LINES: [(&str, &[(&str, &str)]); 5] = [
    ("clients", &[(CLIENTS, " connected"), ("clients/disconnected", " offline")]),
    ("subscriptions", &[(SUBSCRIPTIONS, "")]),
    ("retained", &[("retained messages/count", " messages"), ("retained messages/bytes", " bytes")]),
    ("messages", &[("messages/published", " published"), ("messages/delivered", " delivered")]),
    ("dropped", &[("publish/messages/dropped", "")]),
];
/// The counts of a Midge that include this query: it is a client with one subscription.
const COUNTED: [&str; 2] = [CLIENTS, SUBSCRIPTIONS];
const CLIENTS: &str = "clients/connected";
const SUBSCRIPTIONS: &str = "subscriptions/count";
const DAY: u64 = 86_400;

/// Prints the status of the broker at the address.
pub(crate) fn run(arguments: &arguments::Status) -> Result<(), Failure> {
    let mut topics = ask(&arguments.address, arguments.timeout)?;
    leave_out_query(&mut topics);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    crate::print(&report(&arguments.address, &topics, now))
}

/// Subtracts this query from clients and subscriptions. Other brokers publish counts from before it connected.
fn leave_out_query(topics: &mut Topics) {
    if topics.get("version").is_some_and(|version| version.starts_with("midge ")) {
        for topic in COUNTED {
            if let Some(count) = number(topics, topic) {
                topics.insert(topic.to_owned(), count.saturating_sub(1).to_string());
            }
        }
    }
}

/// The report in lines. Topics that the broker does not publish are left out.
fn report(address: &str, topics: &Topics, now: u64) -> String {
    let version = topics.get("version").map_or("an MQTT broker", String::as_str);
    let mut lines = vec![format!("{version} is running at {address}")];
    if let Some(uptime) = number(topics, "uptime") {
        let since = number(topics, "started").unwrap_or(now.saturating_sub(uptime));
        lines.push(line("running", &format!("for {}, since {}", duration(uptime), utc(since))));
    }
    for (name, values) in LINES {
        let known = values.iter().filter_map(|(topic, word)| Some(format!("{}{word}", topics.get(*topic)?)));
        let known: Vec<String> = known.collect();
        if !known.is_empty() {
            lines.push(line(name, &known.join(", ")));
        }
    }
    for reason in DropReason::ALL {
        let topic = format!("publish/messages/dropped/{}", reason.name());
        if let Some(count) = number(topics, &topic).filter(|count| *count > 0) {
            lines.push(line("", &format!("{count} {}", reason.explanation())));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn line(name: &str, text: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!("{name}:") };
    format!("  {name:<15}{text}")
}

/// The number at the start of a topic's value: `12 seconds` is 12.
fn number(topics: &Topics, topic: &str) -> Option<u64> {
    topics.get(topic)?.split_whitespace().next()?.parse().ok()
}

/// `seconds` in the two largest units: `3 d 4 h`.
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / DAY, seconds % DAY / 3600);
    let (minutes, rest) = (seconds % 3600 / 60, seconds % 60);
    match seconds {
        ..60 => format!("{rest} s"),
        60..3600 => format!("{minutes} min {rest} s"),
        3600..DAY => format!("{hours} h {minutes} min"),
        DAY.. => format!("{days} d {hours} h"),
    }
}

/// `unix`, in seconds since 1970, as a date and a time of day.
fn utc(unix: u64) -> String {
    let (year, month, day) = date(unix / DAY);
    let (hour, minute, second) = (unix % DAY / 3600, unix % 3600 / 60, unix % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The year, month and day that is `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March of the year 0, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{Topics, duration, leave_out_query, report, utc};

    fn topics(pairs: &[(&str, &str)]) -> Topics {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_report_of_everything() {
        let topics = topics(&[
            ("version", "midge 1.2.3"),
            ("uptime", "3725 seconds"),
            ("started", "1700000000"),
            ("clients/connected", "2"),
            ("clients/disconnected", "1"),
            ("subscriptions/count", "4"),
            ("retained messages/count", "5"),
            ("retained messages/bytes", "60"),
            ("messages/published", "7"),
            ("messages/delivered", "8"),
            ("publish/messages/dropped", "9"),
            ("publish/messages/dropped/no_subscriber", "9"),
            ("publish/messages/dropped/expired", "0"),
        ]);
        let expected = "\
midge 1.2.3 is running at here:1
  running:       for 1 h 2 min, since 2023-11-14 22:13:20 UTC
  clients:       2 connected, 1 offline
  subscriptions: 4
  retained:      5 messages, 60 bytes
  messages:      7 published, 8 delivered
  dropped:       9
                 9 no subscriber: nobody had subscribed to the topic when the message was published.
";
        assert_eq!(report("here:1", &topics, 0), expected);
    }

    #[test]
    fn the_query_is_not_counted_where_the_broker_counts_it() {
        let counted = |version, clients| {
            let mut topics = topics(&[("version", version), ("clients/connected", clients)]);
            leave_out_query(&mut topics);
            topics["clients/connected"].clone()
        };
        assert_eq!(counted("midge 1.2.3", "3"), "2");
        assert_eq!(counted("midge 1.2.3", "0"), "0");
        assert_eq!(counted("other 1.2.3", "3"), "3");
    }

    #[test]
    fn a_broker_that_says_less_is_reported_too() {
        let expected =
            "x 1 is running at here:1\n  running:       for 1 min 0 s, since 1970-01-01 00:01:40 UTC\n";
        assert_eq!(report("here:1", &topics(&[("version", "x 1"), ("uptime", "60 seconds")]), 160), expected);
        assert_eq!(report("here:1", &topics(&[("load", "1")]), 0), "an MQTT broker is running at here:1\n");
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (176_400, "2 d 1 h")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn dates_know_leap_years() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
        ];
        for (unix, text) in cases {
            assert_eq!(utc(unix), text);
        }
    }
}
