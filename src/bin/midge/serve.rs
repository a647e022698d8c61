//! `midge serve`: a broker that runs until a signal stops it.

use std::io::Write;

use midge::config::Config;
use midge::embed::{Broker, Hooks};
use midge::session::event::Level;

use crate::failure::Failure;
use crate::system::{Asked, Signals, join_free_memory, raise_descriptor_limit};
use crate::{arguments, configuration, memory};

/// The address of `--tls` without `--listen`: the port for MQTT over TLS.
const SECURE_ADDRESS: &str = "127.0.0.1:8883";

/// Runs a broker until SIGINT or SIGTERM. SIGHUP reads the certificates and the files of authorities again.
pub(crate) fn run(arguments: &arguments::Serve) -> Result<(), Failure> {
    let mut config = configuration::load(&arguments.settings)?;
    listen(&mut config, &arguments.listen)?;
    secure(&mut config, arguments)?;
    if let Some(file) = &arguments.password_file {
        config.set("access.password_file", file)?;
    }
    // Before the first thread starts, so that no other thread handles them.
    let signals =
        Signals::block().map_err(|error| Failure::runtime(format!("cannot wait for signals: {error}")))?;
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
        let scheme = if config.settings().console.certificate.is_empty() { "http" } else { "https" };
        let console = broker.console_address().map(|address| format!("console at {scheme}://{address}\n"));
        crate::print(&lines.chain(console).collect::<String>())?;
    }
    let wait =
        || signals.wait().map_err(|error| Failure::runtime(format!("cannot wait for signals: {error}")));
    while wait()? == Asked::Reload {
        // What is wrong with new files is logged; those from before stay in use.
        let _logged = broker.reload_certificates();
        let _logged = broker.reload_access();
    }
    Ok(broker.stop(None)?)
}

/// Gives the listeners of the command line TLS with the certificate and key of `--tls`.
fn secure(config: &mut Config, arguments: &arguments::Serve) -> Result<(), Failure> {
    let [certificate, key] = arguments.tls.as_slice() else {
        return Ok(());
    };
    let names = (1..=arguments.listen.len().max(1)).map(listener_name);
    for name in names {
        if arguments.listen.is_empty() {
            config.set(&format!("listener.{name}.bind"), SECURE_ADDRESS)?;
        }
        config.set(&format!("listener.{name}.transport"), "tls")?;
        config.set(&format!("listener.{name}.certificate"), certificate)?;
        config.set(&format!("listener.{name}.key"), key)?;
    }
    Ok(())
}

fn listener_name(number: usize) -> String {
    if number == 1 { "tcp".to_owned() } else { format!("tcp-{number}") }
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
        let name = listener_name(index + 1);
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
