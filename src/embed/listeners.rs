//! Listeners of a running broker.

use crate::config::{Config, ConfigError, ErrorKind, ListenAddress, check_listener};
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::shared::Shared;
use crate::net::{BindError, Connections, ListenerError, ListenerState, ListenerView, Listeners};

impl Broker {
    /// Adds the listener `name` with its settings in `config`, `listener.<name>.*`, and returns its address, with the port
    /// that the system chose. Other settings of `config` are not read.
    ///
    /// ```
    /// use midge::{Broker, Config, Connections};
    ///
    /// let mut config = Config::new();
    /// config.set("listener.tcp.bind", "off")?;
    /// let broker = Broker::start(&config)?;
    /// config.set("listener.lan.bind", "127.0.0.1:0")?;
    /// println!("clients connect to {}", broker.add_listener("lan", &config)?);
    /// broker.stop_listener("lan", Connections::Disconnect)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`]: there is a listener of this name; [`Error::Config`]: its settings are wrong;
    /// [`Error::Bind`]; [`Error::Stopped`]; [`Error::Forked`].
    pub fn add_listener(&self, name: &str, config: &Config) -> Result<ListenAddress, Error> {
        self.shared()?.add_listener(name, config)
    }

    /// Closes a listener, whatever brought it, and says what becomes of its connections. Returns the number of its clients
    /// that were connected. Its name is free again when this returns, as is its address; in a callback the address is soon
    /// after.
    ///
    /// # Errors
    /// [`Error::Argument`]: there is no listener of this name; [`Error::Stopped`]; [`Error::Forked`].
    pub fn stop_listener(&self, name: &str, connections: Connections) -> Result<u32, Error> {
        let shared = self.shared_running()?;
        shared.listeners.stop(name, connections).map_err(|error| failed(name, error))
    }

    /// Lets a listener accept no connection for now. Connections that exist go on. Clients that connect wait until
    /// [`Broker::resume_listener`]: the system has accepted them already, up to 1024, and refuses or ignores more. Does
    /// nothing if it is paused.
    ///
    /// # Errors
    /// Those of [`Broker::stop_listener`].
    pub fn pause_listener(&self, name: &str) -> Result<(), Error> {
        self.shared_running()?.listeners.pause(name).map_err(|error| failed(name, error))
    }

    /// Lets a paused listener accept again, those first that have waited. Does nothing if it is not paused.
    ///
    /// # Errors
    /// Those of [`Broker::stop_listener`].
    pub fn resume_listener(&self, name: &str) -> Result<(), Error> {
        self.shared_running()?.listeners.resume(name).map_err(|error| failed(name, error))
    }

    /// Every listener with its state and counts: those of the settings in their order, then those that were added. Those
    /// of a broker that has stopped are stopped. None in a forked child.
    pub fn listeners(&self) -> Vec<ListenerView> {
        if self.is_forked() { Vec::new() } else { self.shared.listener_views() }
    }

    fn shared_running(&self) -> Result<&Shared, Error> {
        let shared = self.shared()?;
        shared.runtime()?;
        Ok(shared)
    }
}

impl Shared {
    pub(super) fn add_listener(&self, name: &str, config: &Config) -> Result<ListenAddress, Error> {
        self.runtime()?;
        // A stop that began meanwhile is why it has failed.
        add(&self.listeners, name, config).map_err(|error| self.runtime().err().unwrap_or(error))
    }

    pub(super) fn listener_views(&self) -> Vec<ListenerView> {
        let mut views = self.listeners.views();
        if self.has_stopped() {
            views.iter_mut().for_each(|view| view.state = ListenerState::Stopped);
        }
        views
    }
}

/// Adds a listener with its settings in `config`.
pub(super) fn add(listeners: &Listeners, name: &str, config: &Config) -> Result<ListenAddress, Error> {
    let settings = config.settings().listeners.iter().find(|listener| listener.name == name);
    let given = settings.and_then(|settings| Some((settings, settings.bind.as_ref()?)));
    let Some((settings, address)) = given else {
        let key = format!("listener.{name}.bind");
        return Err(ConfigError::of_key(ErrorKind::Conflict, &key, "the listener needs an address").into());
    };
    check_listener(settings)?;
    listeners.add(address, settings).map_err(|error| failed(name, error))
}

/// The error of a listener for the host.
pub(super) fn failed(name: &str, error: ListenerError) -> Error {
    match error {
        ListenerError::Exists => argument(format!("this broker has a listener {name:?} already")),
        ListenerError::Unknown => argument(format!("this broker has no listener {name:?}")),
        ListenerError::Bind(BindError::Config(error)) => Error::Config(error),
        ListenerError::Bind(BindError::Io(address, source)) => {
            Error::Bind { listener: name.to_owned(), address, source }
        }
    }
}

fn argument(cause: String) -> Error {
    Error::Argument { argument: "listener", cause }
}
