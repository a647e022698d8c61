//! The `midge` command: runs a broker, shows the status of one, prints settings.

#[cfg(feature = "console")]
mod api;
mod arguments;
#[cfg(feature = "certificate")]
mod certificate;
mod configuration;
mod failure;
#[cfg(feature = "console")]
mod listener;
mod memory;
#[cfg(feature = "accounts")]
mod passwd;
mod query;
mod rule;
mod serve;
mod status;
#[cfg(feature = "durable")]
mod storage;
mod system;
#[cfg(all(feature = "console", feature = "tls"))]
mod trust;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return print_answer(&answer),
    };
    let outcome = match &arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Config(arguments) => configuration::run(arguments),
        #[cfg(feature = "console")]
        Command::Listener(command) => listener::run(command),
        Command::Rule(command) => rule::run(&command.command),
        #[cfg(feature = "certificate")]
        Command::Certificate(arguments) => certificate::run(arguments),
        #[cfg(feature = "accounts")]
        Command::Passwd(arguments) => passwd::run(arguments),
        #[cfg(feature = "durable")]
        Command::Storage(command) => storage::run(&command.command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If stderr is closed, there is nowhere to report the failure.
            let _unheard = writeln!(io::stderr(), "midge: {}", failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

/// Writes `text` to the standard output. A closed reader is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a help text, the version, or an error in the arguments.
fn print_answer(answer: &clap::Error) -> ExitCode {
    let _unheard = answer.print();
    if answer.use_stderr() { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS }
}
