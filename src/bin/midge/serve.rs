//! `midge serve`: a broker that runs until a signal stops it.

use std::io::Write;

use midge::config::Config;
use midge::embed::{Broker, Hooks};
use midge::session::event::Level;

use crate::failure::Failure;
use crate::system::{StopSignals, join_free_memory, raise_descriptor_limit};
use crate::{arguments, configuration, memory};

/// Runs a broker until SIGINT or SIGTERM.
pub(crate) fn run(arguments: &arguments::Serve) -> Result<(), Failure> {
    let mut config = configuration::load(&arguments.settings)?;
    listen(&mut config, &arguments.listen)?;
    // Before the first thread starts, so that no other thread handles them.
    let signals = StopSignals::block()
        .map_err(|error| Failure::runtime(format!("cannot wait for signals: {error}")))?;
    raise_descriptor_limit();
    join_free_memory();
    let _clearing_up =
        memory::clear_up().map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))?;
    let broker = Broker::builder(&config).hooks(hooks()).start()?;
    let addresses = broker.addresses();
    if addresses.is_empty() {
        return Err(Failure::usage("every listener is off; set listener.tcp.bind or use --listen"));
    }
    if !arguments.quiet {
        let lines = addresses.iter().map(|(name, address)| format!("listening on {address} ({name})\n"));
        let console = broker.console_address().map(|address| format!("console at http://{address}\n"));
        crate::print(&lines.chain(console).collect::<String>())?;
    }
    signals.wait().map_err(|error| Failure::runtime(format!("cannot wait for signals: {error}")))?;
    Ok(broker.stop(None)?)
}

/// Errors of the running broker, such as a store that cannot be written, go to standard error.
fn hooks() -> Hooks {
    Hooks::new().on_log(Level::Error, |line| {
        // Nobody is left to be told that it cannot be written.
        let _written = writeln!(std::io::stderr().lock(), "midge: {line}");
    })
}

/// Adds a listener for each address of the command line.
fn listen(config: &mut Config, addresses: &[String]) -> Result<(), Failure> {
    for (index, address) in addresses.iter().enumerate() {
        let name = if index == 0 { "tcp".to_owned() } else { format!("tcp-{}", index + 1) };
        config.set(&format!("listener.{name}.bind"), address)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use midge::config::Config;

    use super::listen;

    #[test]
    fn addresses_are_listeners_in_order() {
        let mut config = Config::new();
        listen(&mut config, &["0.0.0.0:1".to_owned(), "[::1]:2".to_owned()]).unwrap();
        assert_eq!(config.get("listener.tcp.bind").unwrap(), "0.0.0.0:1");
        assert_eq!(config.get("listener.tcp-2.bind").unwrap(), "[::1]:2");
        assert_eq!(config.settings().listeners.len(), 2);
    }
}
