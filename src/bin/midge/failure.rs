//! Why the command failed, and the exit code that says so.

use midge::config::ConfigError;
use midge::embed::Error;

/// The command ran and failed.
pub(crate) const RUNTIME: u8 = 1;
/// The arguments or the settings are wrong; clap exits with it, too.
pub(crate) const USAGE: u8 = 2;
/// No broker or console is running at the address.
pub(crate) const NOT_RUNNING: u8 = 3;
/// A program at the address does not report a broker's status, or is no console.
pub(crate) const NO_ANSWER: u8 = 4;
/// A store is damaged.
#[cfg(feature = "durable")]
pub(crate) const DAMAGED: u8 = 5;

/// The rules deny what was asked about.
pub(crate) const DENIED: u8 = 6;

/// The exit codes, for the help text.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  success; `status`: the broker is running
  1  failure, such as an address in use
  2  error in the arguments, a setting or the settings file
  3  no broker, or for `listener` no console, is running at the address
  4  the program there is not an MQTT broker that reports its status, or not a console
  5  `storage`: the store is damaged
  6  `rule explain`: the rules deny it";

/// An exit code and one sentence for people.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) sentence: String,
}

impl Failure {
    pub(crate) fn new(code: u8, sentence: impl Into<String>) -> Failure {
        Failure { code, sentence: sentence.into() }
    }

    pub(crate) fn runtime(sentence: impl Into<String>) -> Failure {
        Failure::new(RUNTIME, sentence)
    }

    pub(crate) fn usage(sentence: impl Into<String>) -> Failure {
        Failure::new(USAGE, sentence)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Config(error) => error.into(),
            other => Failure::runtime(other.to_string()),
        }
    }
}
