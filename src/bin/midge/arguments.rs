//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Run a broker until SIGINT (Ctrl-C) or SIGTERM; SIGHUP reads certificates and password files again
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Show the status of a running broker
    #[command(after_help = EXIT_CODES)]
    Status(Status),
    /// Print the settings with their help, as TOML that --config reads
    #[command(after_help = EXIT_CODES)]
    Config(Config),
    /// List, add, pause and stop the listeners of a running broker
    #[cfg(feature = "console")]
    #[command(after_help = EXIT_CODES)]
    Listener(ListenerCommand),
    /// Check a file of access rules, and explain what they allow
    #[command(after_help = EXIT_CODES)]
    Rule(RuleCommand),
    /// Make certificates for learning, tests and private networks
    #[cfg(feature = "certificate")]
    #[command(after_help = EXIT_CODES)]
    Certificate(Certificate),
    /// Add, change and remove users of a password file, as mosquitto_passwd does
    #[cfg(feature = "accounts")]
    #[command(after_help = EXIT_CODES)]
    Passwd(Passwd),
    /// Check, export, import, compact or copy the store of a directory
    #[cfg(feature = "durable")]
    #[command(after_help = EXIT_CODES)]
    Storage(StorageCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Address to listen on; port 0 takes a free port. The first is the listener `tcp`, then `tcp-2`, `tcp-3`, ...
    #[arg(short, long, value_name = "HOST:PORT")]
    pub(crate) listen: Vec<String>,
    /// Listen with TLS: the PEM files of the certificate and of its key. Without --listen at 127.0.0.1:8883
    #[arg(long, value_names = ["CERT", "KEY"], num_args = 2)]
    pub(crate) tls: Vec<String>,
    /// Let in the users of this file alone, which `midge passwd` or mosquitto_passwd has written
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<String>,
    /// Do not print addresses
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[cfg(feature = "accounts")]
#[derive(Debug, Args)]
pub(crate) struct Passwd {
    /// Make a new file; one that exists is replaced
    #[arg(short, long, conflicts_with = "delete")]
    pub(crate) create: bool,
    /// Remove the user
    #[arg(short = 'D', long)]
    pub(crate) delete: bool,
    /// Take the password from the command line. Danger: other users of this machine can see it there
    #[arg(short, long, requires = "password")]
    pub(crate) batch: bool,
    /// Hash the passwords of a file that contains them in clear text; lines with a hash stay as they are
    #[arg(short = 'U', long, conflicts_with_all = ["create", "delete", "batch", "user"])]
    pub(crate) upgrade: bool,
    /// How passwords are hashed: argon2id, which mosquitto reads from version 2.1 on, or sha512-pbkdf2
    #[arg(short = 'H', long, value_name = "KIND", default_value = "argon2id", value_parser = ["argon2id", "sha512-pbkdf2"])]
    pub(crate) hash: String,
    /// The password file
    pub(crate) file: PathBuf,
    /// The user name
    #[arg(required_unless_present = "upgrade")]
    pub(crate) user: Option<String>,
    /// The password, with --batch; it is asked for otherwise, or read from the standard input if that is no terminal
    #[arg(requires = "batch")]
    pub(crate) password: Option<String>,
}

#[cfg(feature = "certificate")]
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// Directory of the files; it is created if it does not exist. An authority that is in it is used again
    pub(crate) dir: PathBuf,
    /// Host name or address of the broker; several times for several names of one certificate
    #[arg(short, long, value_name = "HOST")]
    pub(crate) server: Vec<String>,
    /// Name of a client; several times for a certificate each
    #[arg(short, long, value_name = "NAME")]
    pub(crate) client: Vec<String>,
    /// Days that the certificates of server and clients are valid
    #[arg(short, long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Address of the broker
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883", value_parser = address)]
    pub(crate) address: String,
    /// Longest time to wait for the answer
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print only this setting, such as mqtt.max_qos
    pub(crate) key: Option<String>,
}

/// The console of a running broker, and who asks it.
#[cfg(feature = "console")]
#[derive(Debug, Args)]
pub(crate) struct ConsoleAccess {
    /// Address of the console
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:18083", value_parser = crate::api::console)]
    pub(crate) console: hyper::Uri,
    /// User of the console
    #[arg(short, long, value_name = "NAME", default_value = "admin")]
    pub(crate) user: String,
    /// Read the password from the first line of this file, not from the environment variable MIDGE_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// For https: trust the authorities of this PEM file, not those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Longest time to wait for the answer
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[cfg(feature = "console")]
#[derive(Debug, Args)]
pub(crate) struct ListenerCommand {
    #[command(flatten)]
    pub(crate) access: ConsoleAccess,
    #[command(subcommand)]
    pub(crate) command: Listener,
}

#[cfg(feature = "console")]
#[derive(Debug, Subcommand)]
pub(crate) enum Listener {
    /// Print the listeners, and why handshakes have failed
    #[command(after_help = EXIT_CODES)]
    List,
    /// Open a listener until it is stopped or the broker ends
    #[command(after_help = EXIT_CODES)]
    Add {
        /// Name of the listener
        name: String,
        /// Address to listen on, such as 127.0.0.1:1884 or unix:/run/midge/mqtt.sock; port 0 takes a free port
        bind: String,
        /// Set one of the settings of the listener, such as transport=tls
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
    },
    /// Let the new connections of a listener wait
    #[command(after_help = EXIT_CODES)]
    Pause {
        /// Name of the listener
        name: String,
    },
    /// Let a paused listener accept again
    #[command(after_help = EXIT_CODES)]
    Resume {
        /// Name of the listener
        name: String,
    },
    /// Close a listener; its clients stay connected
    #[command(after_help = EXIT_CODES)]
    Stop {
        /// Name of the listener
        name: String,
        /// Disconnect its clients
        #[arg(short, long)]
        disconnect: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RuleCommand {
    #[command(subcommand)]
    pub(crate) command: Rule,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rule {
    /// Read a file of rules, and name the line that is wrong
    #[command(after_help = EXIT_CODES)]
    Check {
        /// File in the format of mosquitto's acl_file
        file: PathBuf,
    },
    /// Say whether a client may do something, and which line decides
    #[command(after_help = EXIT_CODES)]
    Explain(ExplainRule),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainRule {
    /// File in the format of mosquitto's acl_file
    pub(crate) file: PathBuf,
    /// User name of the client; without it the client is anonymous
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Client identifier
    #[arg(short, long, value_name = "ID")]
    pub(crate) client: String,
    /// What the client does: publish, subscribe or receive
    #[arg(hide_possible_values = true)]
    pub(crate) action: Action,
    /// Topic of the message, or topic filter of the subscription
    pub(crate) topic: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Action {
    Publish,
    Subscribe,
    Receive,
}

#[cfg(feature = "durable")]
#[derive(Debug, Args)]
pub(crate) struct StorageCommand {
    #[command(subcommand)]
    pub(crate) command: Storage,
}

#[cfg(feature = "durable")]
#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Read all of a store and tell what it holds
    #[command(after_help = EXIT_CODES)]
    Check {
        /// Directory of the store, as in storage.path
        dir: PathBuf,
    },
    /// Write what a store holds as lines of JSON
    #[command(after_help = EXIT_CODES)]
    Export {
        /// Directory of the store, as in storage.path
        dir: PathBuf,
        /// Write to this new file; `-` is the standard output
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make a new store from an export or from a mosquitto.db
    #[command(after_help = EXIT_CODES)]
    Import {
        /// Directory without a store; it is created if it does not exist
        dir: PathBuf,
        /// What `midge storage export` has written, or the file of a mosquitto 2; `-` is the standard input
        file: PathBuf,
    },
    /// Make the files of a store as small as they can be
    #[command(after_help = EXIT_CODES)]
    Compact {
        /// Directory of the store, as in storage.path
        dir: PathBuf,
    },
    /// Copy a store to a new directory
    #[command(after_help = EXIT_CODES)]
    Backup {
        /// Directory of the store, as in storage.path
        dir: PathBuf,
        /// Directory without a store; it is created if it does not exist
        to: PathBuf,
    },
}

/// The sources of settings: a file, then single settings.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Read settings from this TOML file; `-` is the standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set a setting to a value, such as mqtt.max_qos=1; overrides the file
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err("write HOST:PORT".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0);
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{Arg, Command, CommandFactory};

    use super::{Arguments, address, pair, seconds};
    use crate::failure::EXIT_CODES;

    /// The words of man/midge.1 in one line, without roff markup.
    fn man_page() -> String {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/midge.1")).unwrap();
        let plain = ["\\fB", "\\fI", "\\fR", "\""].iter().fold(page, |page, mark| page.replace(mark, ""));
        let words = plain.replace("\\-", "-").replace(" , ", ", ");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The form of an option in the manual: "-c, --config FILE", "--tls CERT KEY".
    fn heading(argument: &Arg) -> String {
        let value = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect());
        let names: Vec<String> = value.unwrap_or_default();
        let takes = argument.get_action().takes_values();
        let options = [
            argument.get_short().map(|short| format!("-{short}")),
            argument.get_long().map(|long| format!("--{long}")),
        ];
        let options: Vec<String> = options.into_iter().flatten().collect();
        let value = if takes { names.join(" ") } else { String::new() };
        format!("{} {value}", options.join(", ")).trim().to_owned()
    }

    #[test]
    fn the_manual_says_what_the_help_says() {
        let page = man_page();
        let mut command = Arguments::command();
        command.build();
        let has = |words: &str| assert!(page.contains(words), "man/midge.1 lacks: {words}");
        has(&format!("midge {} ", env!("CARGO_PKG_VERSION")));
        has(&command.get_about().unwrap().to_string());
        let of = |command: &Command| -> Vec<Arg> { command.get_arguments().cloned().collect() };
        let mut options: Vec<String> = of(&command).iter().map(heading).collect();
        let groups =
            command.get_subcommands().filter(|sub| ["listener", "rule", "storage"].contains(&sub.get_name()));
        let of_groups = groups.flat_map(Command::get_subcommands).filter(|sub| sub.get_name() != "help");
        for sub in command.get_subcommands().chain(of_groups) {
            has(&format!(".SS {} {}.", sub.get_name(), sub.get_about().unwrap()));
            if sub.get_name() == "help" {
                continue;
            }
            for argument in of(sub).iter().filter(|argument| argument.get_id() != "help") {
                let values = argument.get_default_values().iter();
                let defaults =
                    values.filter(|_| argument.get_action().takes_values()).map(|v| v.to_string_lossy());
                let default = defaults.map(|value| format!(" [default: {value}]")).collect::<String>();
                has(&format!("{} {}{default}", heading(argument), argument.get_help().unwrap()));
            }
            options.extend(of(sub).iter().map(heading));
        }
        for line in EXIT_CODES.lines().skip(1) {
            let (code, sentence) = line.trim().split_once("  ").unwrap();
            has(&format!(".TP .B {code} {sentence}"));
        }
        for word in page.split_whitespace().filter(|word| word.starts_with("--")) {
            let word = word.trim_end_matches([',', '.', ';']);
            assert!(
                options.iter().any(|option| option.split_whitespace().any(|known| known == word)),
                "man/midge.1 has {word}, which the command has not"
            );
        }
    }

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
