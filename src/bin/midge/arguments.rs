//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::failure::EXIT_CODES;

/// An MQTT broker (3.1, 3.1.1 and 5.0).
#[derive(Debug, Parser)]
#[command(name = "midge", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker until SIGINT (Ctrl-C) or SIGTERM
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Ask a running broker how it is
    #[command(after_help = EXIT_CODES)]
    Status(Status),
    /// Print the settings with their help, as TOML that --config reads
    #[command(after_help = EXIT_CODES)]
    Config(Config),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Listen here; port 0 takes a free port. The first is the listener `tcp`, the next are `tcp-2`, `tcp-3`, ...
    #[arg(short, long, value_name = "HOST:PORT")]
    pub(crate) listen: Vec<String>,
    /// Print no addresses
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Where the broker listens
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883", value_parser = address)]
    pub(crate) address: String,
    /// How long to wait for the answer
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print this setting alone, such as mqtt.max_qos
    pub(crate) key: Option<String>,
}

/// Where settings come from: a file, then single ones.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Read settings from this TOML file; `-` is the standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Give a setting a value, such as mqtt.max_qos=1; overrides the file
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("there is no `=`")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err("an address is a host, a colon and a port".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0);
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "it is not a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::{Arguments, address, pair, seconds};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_setting_is_split_at_the_first_equals_sign() {
        assert_eq!(pair("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert_eq!(pair("a = 1"), Ok(("a".to_owned(), "1".to_owned())));
        assert!(pair("a").is_err());
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for right in ["127.0.0.1:1883", "localhost:1", "[::1]:65535"] {
            assert_eq!(address(right).as_deref(), Ok(right));
        }
        for wrong in ["", "localhost", ":1883", "localhost:", "localhost:0", "localhost:65536"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_a_positive_number() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "inf", "NaN", "1e300", "1e-300", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
