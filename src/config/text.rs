//! Values from their texts and back: words, numbers with units, addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::address::ListenAddress;
use crate::config::error::ErrorKind;
use crate::config::kind::{Kind, Limits, one_of};
use crate::config::value::Value;

/// Why a kind refuses a text.
pub(super) struct ValueError {
    pub(super) kind: ErrorKind,
    pub(super) cause: String,
}

/// Units of time in milliseconds, longest first.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Units of memory in bytes for writing, largest first.
const MEMORY_UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Units of memory in bytes for reading only.
const DECIMAL_UNITS: &[(&str, u64)] = &[("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)];

impl Kind {
    /// The value of `text`; surrounding spaces are ignored.
    pub(super) fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let text = text.trim();
        match self {
            Kind::Bool => parse_bool(text),
            Kind::Integer(limits) => {
                if !is_digits(text.strip_prefix('-').unwrap_or(text)) {
                    return self
                        .absent_or(limits, text, || bad(format!("{} is not an integer", quoted(text))));
                }
                self.bounded(limits, text, text.parse().ok())
            }
            Kind::Duration(limits) => self.parse_duration(limits, text),
            Kind::Size(limits) => self.parse_size(limits, text),
            Kind::Choice(names) => match names.iter().find(|name| **name == text) {
                Some(name) => Ok(Value::Choice(name)),
                None => Err(bad(format!("{} is not one of {}", quoted(text), one_of(names)))),
            },
            Kind::Address => parse_address(text),
            Kind::ListenAddress => parse_listen_address(text),
            Kind::Mode => parse_mode(text),
            Kind::Text if text.chars().any(char::is_control) => {
                Err(bad(format!("{} has a control character", quoted(text))))
            }
            Kind::Secret if text.chars().any(char::is_control) => {
                Err(bad("the text has a control character".to_owned()))
            }
            Kind::Text | Kind::Secret => Ok(Value::Text(text.to_owned())),
        }
    }

    /// The canonical text of `value`: `parse` gives the same value back.
    pub(super) fn write(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Size(_), Value::Number(bytes)) => in_largest_unit(*bytes, MEMORY_UNITS),
            (Kind::Mode, Value::Number(mode)) => format!("{mode:04o}"),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Bool(bool)) => bool.to_string(),
            (_, Value::Duration(time)) => {
                in_largest_unit(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), TIME_UNITS)
            }
            (_, Value::Choice(name)) => (*name).to_owned(),
            (_, Value::Address(address)) => address.to_string(),
            (_, Value::Listen(address)) => address.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::Absent) => self.absent_word().to_owned(),
        }
    }

    fn parse_duration(&self, limits: &Limits, text: &str) -> Result<Value, ValueError> {
        let examples = "examples: 250ms, 30s, 5m, 2h, 7d";
        let (digits, unit) = split_unit(text);
        if is_digits(digits) && unit.is_empty() && !digits.trim_matches('0').is_empty() {
            return Err(bad(format!("{digits} has no unit of time ({examples})")));
        }
        let factor = match TIME_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None if is_digits(digits) && unit.is_empty() => 1,
            None => {
                let error = || bad(format!("{} is not a duration ({examples})", quoted(text)));
                return self.absent_or(limits, text, error);
            }
        };
        if !is_digits(digits) {
            return Err(bad(format!("{} is not a duration ({examples})", quoted(text))));
        }
        let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        self.bounded(limits, text, millis)
    }

    fn parse_size(&self, limits: &Limits, text: &str) -> Result<Value, ValueError> {
        let (digits, unit) = split_unit(text);
        let factor = match unit {
            "" => Some(1),
            unit => MEMORY_UNITS
                .iter()
                .chain(DECIMAL_UNITS)
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| *factor),
        };
        match factor {
            Some(factor) if is_digits(digits) => {
                let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
                self.bounded(limits, text, bytes)
            }
            _ => self.absent_or(limits, text, || {
                bad(format!("{} is not a size (examples: 512B, 64KiB, 16MiB, 1GiB)", quoted(text)))
            }),
        }
    }

    /// `number` if it is within the limits; `None` is a number too large or too small to represent.
    fn bounded(&self, limits: &Limits, text: &str, number: Option<u64>) -> Result<Value, ValueError> {
        match number {
            Some(number) if limits.take(number) => Ok(match self {
                Kind::Duration(_) => Value::Duration(Duration::from_millis(number)),
                _ => Value::Number(number),
            }),
            _ => Err(ValueError {
                kind: ErrorKind::OutOfRange,
                cause: format!("{} is out of range ({})", clipped(text), self.range()),
            }),
        }
    }

    /// No limit if `text` says so and the limits allow it, else the error.
    fn absent_or(
        &self,
        limits: &Limits,
        text: &str,
        error: impl Fn() -> ValueError,
    ) -> Result<Value, ValueError> {
        if text != self.absent_word() {
            return Err(error());
        }
        if limits.absent {
            return Ok(Value::Absent);
        }
        Err(ValueError {
            kind: ErrorKind::OutOfRange,
            cause: format!("{text} is out of range ({})", self.range()),
        })
    }
}

fn parse_bool(text: &str) -> Result<Value, ValueError> {
    match text {
        "true" | "on" | "yes" => Ok(Value::Bool(true)),
        "false" | "off" | "no" => Ok(Value::Bool(false)),
        _ => Err(bad(format!("{} is neither true nor false", quoted(text)))),
    }
}

fn parse_address(text: &str) -> Result<Value, ValueError> {
    if text == "off" {
        return Ok(Value::Absent);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) if is_digits(port) => {
            port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        _ => text.parse().ok(),
    };
    address.map(Value::Address).ok_or_else(|| {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let why = match port {
            Some(port) if is_digits(port) && port.parse::<u16>().is_err() => {
                ": the port must be at most 65535"
            }
            Some(port) if is_digits(port) => ": the host must be an IP address or localhost",
            _ => ": write an IP address, a colon and a port",
        };
        bad(format!(
            "{} is not an address (examples: 127.0.0.1:1883, [::1]:1883, localhost:1883, off){why}",
            quoted(text)
        ))
    })
}

fn parse_listen_address(text: &str) -> Result<Value, ValueError> {
    if text.chars().any(char::is_control) {
        return Err(bad(format!("{} has a control character", quoted(text))));
    }
    match ListenAddress::parse_local(text) {
        Some(Ok(address)) => Ok(Value::Listen(address)),
        Some(Err(why)) => Err(bad(format!(
            "{} is not an address (examples: unix:/run/midge/mqtt.sock, unix:@midge): {why}",
            quoted(text)
        ))),
        None => parse_address(text).map(|value| match value {
            Value::Address(address) => Value::Listen(address.into()),
            other => other,
        }),
    }
}

/// The rights of a file in octal digits.
fn parse_mode(text: &str) -> Result<Value, ValueError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u64::from_str_radix(digits, 8).ok().filter(|mode| is_digits(digits) && *mode <= 0o777);
    mode.filter(|_| digits.len() >= 3).map(Value::Number).ok_or_else(|| {
        bad(format!("{} is not a file mode in octal digits (examples: 0660, 0600, 0666)", quoted(text)))
    })
}

fn bad(cause: String) -> ValueError {
    ValueError { kind: ErrorKind::BadValue, cause }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The leading digits of `text`, and what follows them without the space between.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits, unit.trim_start())
}

/// `number` in the largest of the units that divides it.
fn in_largest_unit(number: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, factor)| number != 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => number.to_string(),
    }
}

/// `text` in quotation marks, escaped and clipped so that an error stays one readable line.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", clipped(text))
}

fn clipped(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::error::ErrorKind;
    use crate::config::kind::Kind;

    const DURATION: Kind = Kind::duration(0, 7 * 86_400_000).or_unlimited();
    const SIZE: Kind = Kind::size(0, 1 << 40).or_unlimited();

    /// The canonical text of `text`.
    fn canonical(kind: Kind, text: &str) -> String {
        match kind.parse(text) {
            Ok(value) => kind.write(&value),
            Err(refusal) => panic!("{text}: {}", refusal.cause),
        }
    }

    fn refused(kind: Kind, text: &str) -> (ErrorKind, String) {
        match kind.parse(text) {
            Ok(value) => panic!("{text}: {value:?}"),
            Err(refusal) => (refusal.kind, refusal.cause),
        }
    }

    #[test]
    fn durations_take_a_unit_and_are_written_in_the_largest() {
        let pairs = [
            ("250ms", "250ms"),
            ("1500ms", "1500ms"),
            ("2000ms", "2s"),
            ("30s", "30s"),
            ("90s", "90s"),
            ("60s", "1m"),
            ("90m", "90m"),
            ("120m", "2h"),
            ("24h", "1d"),
            ("7d", "7d"),
            (" 5 m ", "5m"),
            ("0", "0"),
            ("0s", "0"),
            ("never", "never"),
        ];
        for (text, expected) in pairs {
            assert_eq!(canonical(DURATION, text), expected, "{text}");
            assert_eq!(canonical(DURATION, expected), expected, "{expected}");
        }
    }

    #[test]
    fn durations_without_a_unit_or_with_a_strange_one_are_refused() {
        let (kind, cause) = refused(DURATION, "30");
        assert_eq!(kind, ErrorKind::BadValue);
        assert_eq!(cause, "30 has no unit of time (examples: 250ms, 30s, 5m, 2h, 7d)");
        for text in ["5 parsecs", "", "s", "1.5s", "-1s", "1h30m", "1 S", "5M", "off", "1e3s", "٣s"] {
            let (kind, cause) = refused(DURATION, text);
            assert_eq!(kind, ErrorKind::BadValue, "{text}");
            let expected = format!("{text:?} is not a duration (examples: 250ms, 30s, 5m, 2h, 7d)");
            assert_eq!(cause, expected);
        }
    }

    #[test]
    fn durations_have_limits_and_steps() {
        let kind = Kind::duration(1000, 65_535_000).or_zero().in_steps_of(1000);
        assert_eq!(kind.range(), "0, or 1s to 65535s in steps of 1s");
        assert_eq!(canonical(kind, "0"), "0");
        assert_eq!(canonical(kind, "65535s"), "65535s");
        for text in
            ["1ms", "1500ms", "65536s", "1d", "99999999999999999999d", "18446744073709551615d", "never"]
        {
            assert_eq!(refused(kind, text).0, ErrorKind::OutOfRange, "{text}");
        }
        assert_eq!(refused(Kind::duration(100, 1000), "0").0, ErrorKind::OutOfRange);
    }

    #[test]
    fn sizes_take_units_of_both_families_and_plain_bytes() {
        let pairs = [
            ("64KiB", "64KiB"),
            ("64kib", "64KiB"),
            ("65536", "64KiB"),
            ("65537", "65537B"),
            ("1024KiB", "1MiB"),
            ("1 GiB", "1GiB"),
            ("64KB", "64000B"),
            ("1MB", "1000000B"),
            ("2GB", "1953125KiB"),
            ("0", "0"),
            ("0GiB", "0"),
            ("512B", "512B"),
            ("unlimited", "unlimited"),
        ];
        for (text, expected) in pairs {
            assert_eq!(canonical(SIZE, text), expected, "{text}");
            assert_eq!(canonical(SIZE, expected), expected, "{expected}");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in ["", "KiB", "64K", "1.5MiB", "-1", "many", "64KiBs", "0x10"] {
            let (kind, cause) = refused(SIZE, text);
            assert_eq!(kind, ErrorKind::BadValue, "{text}");
            assert_eq!(cause, format!("{text:?} is not a size (examples: 512B, 64KiB, 16MiB, 1GiB)"));
        }
        assert_eq!(refused(SIZE, "1025GiB").1, "1025GiB is out of range (0 to 1024GiB, or unlimited)");
        assert_eq!(refused(SIZE, "18446744073709551616").0, ErrorKind::OutOfRange);
        assert_eq!(refused(SIZE, "18446744073709551615GiB").0, ErrorKind::OutOfRange);
        assert_eq!(refused(Kind::size(1, 2), "unlimited").0, ErrorKind::OutOfRange);
    }

    #[test]
    fn integers_have_limits() {
        let kind = Kind::integer(1, 64);
        assert_eq!(canonical(kind, "1"), "1");
        assert_eq!(canonical(kind, "064"), "64");
        for text in ["0", "65", "-1", "99999999999999999999", "unlimited"] {
            assert_eq!(
                refused(kind, text),
                (ErrorKind::OutOfRange, format!("{text} is out of range (1 to 64)"))
            );
        }
        for text in ["", "one", "1.0", "+1", "1_000", "never", "--1", "-"] {
            assert_eq!(
                refused(kind, text),
                (ErrorKind::BadValue, format!("{text:?} is not an integer")),
                "{text}"
            );
        }
        assert_eq!(canonical(kind.or_unlimited(), "unlimited"), "unlimited");
        assert_eq!(kind.or_unlimited().range(), "1 to 64, or unlimited");
    }

    #[test]
    fn booleans_have_three_pairs_of_words() {
        for (yes, no) in [("true", "false"), ("on", "off"), ("yes", "no")] {
            assert_eq!(canonical(Kind::Bool, yes), "true");
            assert_eq!(canonical(Kind::Bool, no), "false");
        }
        for text in ["", "1", "True", "maybe"] {
            assert_eq!(
                refused(Kind::Bool, text),
                (ErrorKind::BadValue, format!("{text:?} is neither true nor false"))
            );
        }
    }

    #[test]
    fn choices_name_the_words_to_choose_from() {
        let kind = Kind::Choice(&["red", "green", "blue"]);
        assert_eq!(canonical(kind, "green"), "green");
        assert_eq!(refused(kind, "Green").1, "\"Green\" is not one of red, green or blue");
        assert_eq!(Kind::Choice(&["red"]).range(), "red");
    }

    #[test]
    fn addresses_are_numbers_and_a_port() {
        let pairs = [
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:1883", "[::1]:1883"),
            ("[0:0::1]:1883", "[::1]:1883"),
            ("off", "off"),
        ];
        for (text, expected) in pairs {
            assert_eq!(canonical(Kind::Address, text), expected);
        }
        let (no_port, too_high, no_address) =
            ("a colon and a port", "at most 65535", "an IP address or localhost");
        for (text, why) in [
            ("", no_port),
            ("127.0.0.1", no_port),
            (":1883", no_address),
            ("1883", no_port),
            ("localhost:", no_port),
            ("localhost:65536", too_high),
            ("::1:1883", no_address),
            ("broker.local:1", no_address),
        ] {
            let (kind, cause) = refused(Kind::Address, text);
            assert!(cause.contains(why), "{cause}");
            assert_eq!(kind, ErrorKind::BadValue, "{text}");
            assert!(cause.starts_with(&format!("{text:?} is not an address (examples: ")), "{cause}");
        }
    }

    #[test]
    fn a_listener_has_an_address_of_tcp_or_unix_or_the_service_manager() {
        for text in
            ["127.0.0.1:1883", "unix:/run/a b/ü.sock", "unix:run/mqtt.sock", "unix:@midge", "systemd", "off"]
        {
            assert_eq!(canonical(Kind::ListenAddress, text), text);
        }
        for (text, why) in [
            ("unix:", "the path of the socket is missing"),
            ("unix:@", "the name of the socket is missing"),
            ("unix", "write an IP address, a colon and a port"),
            ("unix:/a\nb", "control character"),
        ] {
            let (kind, cause) = refused(Kind::ListenAddress, text);
            assert!(cause.contains(why), "{cause}");
            assert_eq!(kind, ErrorKind::BadValue, "{text}");
        }
        assert_eq!(refused(Kind::Address, "unix:/a").0, ErrorKind::BadValue, "the console has none");
    }

    #[test]
    fn modes_are_octal() {
        for (text, expected) in [("660", "0660"), ("0600", "0600"), ("0o777", "0777"), ("000", "0000")] {
            assert_eq!(canonical(Kind::Mode, text), expected, "{text}");
        }
        for text in ["", "66", "0680", "1777", "-660", "+660", "rw-rw----"] {
            assert_eq!(refused(Kind::Mode, text).0, ErrorKind::BadValue, "{text}");
        }
    }

    #[test]
    fn texts_have_no_control_characters() {
        assert_eq!(canonical(Kind::Text, " a path/ü "), "a path/ü");
        assert_eq!(refused(Kind::Text, "a\0b").1, "\"a\\0b\" has a control character");
    }

    #[test]
    fn a_long_value_is_clipped_in_its_error() {
        let (_, cause) = refused(Kind::Bool, &"ü".repeat(1000));
        assert_eq!(cause, format!("\"{}...\" is neither true nor false", "ü".repeat(60)));
        let (_, cause) = refused(Kind::integer(0, 1), &"9".repeat(1000));
        assert_eq!(cause, format!("{}... is out of range (0 to 1)", "9".repeat(60)));
    }
}
