//! The console, for a broker whose setting `console.listen` asks for one.

pub(super) use imp::{Running, bind, keep_journal, listeners, start};

#[cfg(feature = "console")]
mod imp {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::config::{Config, ConfigError, ErrorKind, ListenAddress, Settings};
    use crate::embed::error::Error;
    use crate::embed::listeners::{add, failed};
    use crate::embed::storage::StorageSource;
    use crate::engine::core::state::Engine;
    use crate::http::{
        self, Console, ConsoleJournal, ConsoleParts, ListenerControl, ListenerView, Refused, Server,
    };
    use crate::net::{self, Connections, ListenerError, Listeners};
    use crate::runtime::{Clock, Runtime};
    #[cfg(feature = "tls")]
    use crate::tls::{TlsFiles, TlsServer};

    /// A console that is served.
    pub(in crate::embed) struct Running {
        address: SocketAddr,
        server: Server,
    }

    impl Running {
        /// Its address, with the port that the system chose.
        pub(in crate::embed) fn address(&self) -> SocketAddr {
            self.address
        }

        /// Ends its connections, at most until `by`.
        pub(in crate::embed) fn stop(&self, by: Instant) {
            self.server.stop(by);
        }
    }

    /// Binds the console's address, if it has one.
    pub(in crate::embed) fn bind(settings: &Settings) -> Result<Option<http::Bound>, Error> {
        let bind = |address| http::bind(address).map_err(|source| Error::BindConsole { address, source });
        settings.console.listen.map(bind).transpose()
    }

    /// The same broker with a journal, if there will be a console; and the journal.
    pub(in crate::embed) fn keep_journal(
        engine: Engine,
        settings: &Settings,
    ) -> (Engine, Option<Arc<ConsoleJournal>>) {
        match settings.console.listen {
            None => (engine, None),
            Some(_) => {
                let log = ConsoleJournal::new(settings.console.events);
                (engine.with_sink(log.clone()), Some(log))
            }
        }
    }

    /// What the console asks about listeners, and may change.
    struct Control(Arc<Listeners>);

    pub(in crate::embed) fn listeners(listeners: &Arc<Listeners>) -> Box<dyn ListenerControl> {
        Box::new(Control(Arc::clone(listeners)))
    }

    impl ListenerControl for Control {
        fn views(&self) -> Vec<ListenerView> {
            let show = |view: net::ListenerView| ListenerView {
                name: view.name,
                address: view.address,
                transport: view.transport,
                state: view.state.name(),
                connections: view.connections,
                max_connections: view.max_connections,
                accepted: view.accepted,
                refused: view.refused,
                handshake_failures: view.handshake_failures,
            };
            self.0.views().into_iter().map(show).collect()
        }

        fn add(&self, name: &str, config: &Config) -> Result<ListenAddress, Refused> {
            add(&self.0, name, config).map_err(|error| Refused::Wrong(error.to_string()))
        }

        fn stop(&self, name: &str, disconnect: bool) -> Result<u32, Refused> {
            let connections = if disconnect { Connections::Disconnect } else { Connections::Keep };
            self.0.stop(name, connections).map_err(|error| refused(name, error))
        }

        fn pause(&self, name: &str) -> Result<(), Refused> {
            self.0.pause(name).map_err(|error| refused(name, error))
        }

        fn resume(&self, name: &str) -> Result<(), Refused> {
            self.0.resume(name).map_err(|error| refused(name, error))
        }
    }

    fn refused(name: &str, error: ListenerError) -> Refused {
        let is_unknown = matches!(error, ListenerError::Unknown);
        let why = failed(name, error).to_string();
        if is_unknown { Refused::Unknown(why) } else { Refused::Wrong(why) }
    }

    /// Serves the console on the broker's runtime.
    pub(in crate::embed) fn start(
        bound: http::Bound,
        runtime: &Runtime,
        engine: &Arc<Engine>,
        clock: Clock,
        config: &Config,
        (log, listeners, storage): (
            Option<Arc<ConsoleJournal>>,
            Box<dyn ListenerControl>,
            Option<StorageSource>,
        ),
        mqtt: &Arc<net::Server>,
    ) -> Result<Running, Error> {
        let address = bound.address();
        let _inside = runtime.handle().enter();
        let log = log.unwrap_or_else(|| ConsoleJournal::new(config.settings().console.events));
        let surroundings = ConsoleParts {
            engine: Arc::clone(engine),
            clock,
            log,
            config: config.clone(),
            listeners,
            storage,
            #[cfg(feature = "tls")]
            tls: secure(config.settings(), mqtt)?,
        };
        #[cfg(not(feature = "tls"))]
        refuse_certificate(config.settings(), mqtt)?;
        let console = Console::new(surroundings, address)
            .map_err(|(key, cause)| ConfigError::of_key(ErrorKind::BadValue, key, cause))?;
        let most = config.settings().console.max_connections;
        let server = bound.serve(console, most).map_err(|source| Error::BindConsole { address, source })?;
        Ok(Running { address, server })
    }

    /// The certificates of the console, and what it needs to show and read again all of the broker.
    #[cfg(feature = "tls")]
    fn secure(settings: &Settings, mqtt: &Arc<net::Server>) -> Result<http::ConsoleTls, ConfigError> {
        let console = &settings.console;
        let mut own = None;
        if !console.certificate.is_empty() {
            let files = TlsFiles::of_server(&console.certificate, &console.key);
            let server = TlsServer::load(files, &[b"http/1.1"]).map_err(|error| {
                let key = format!("console.{}", error.kind.setting());
                ConfigError::of_key(ErrorKind::Io, &key, error.to_string())
            })?;
            let server = Arc::new(server);
            mqtt.watch_certificates("console".to_owned(), &server);
            own = Some(server);
        }
        let (servers, mqtt) = (Arc::clone(mqtt.secured()), Arc::downgrade(mqtt));
        let reload =
            Box::new(move || mqtt.upgrade().map(|mqtt| mqtt.reload_certificates()).unwrap_or_default());
        Ok(http::ConsoleTls { own, servers, reload })
    }

    /// A library without TLS cannot use the console's certificate.
    #[cfg(not(feature = "tls"))]
    fn refuse_certificate(settings: &Settings, _mqtt: &Arc<net::Server>) -> Result<(), ConfigError> {
        match settings.console.certificate.is_empty() {
            true => Ok(()),
            false => {
                let cause = "this library was built without TLS (cargo feature `tls`)";
                Err(ConfigError::of_key(ErrorKind::Conflict, "console.certificate", cause))
            }
        }
    }
}

/// A library without the console: the setting that asks for one is refused.
#[cfg(not(feature = "console"))]
mod imp {
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::config::{Config, ConfigError, ErrorKind, Settings};
    use crate::embed::error::Error;
    use crate::embed::storage::StorageSource;
    use crate::engine::core::state::Engine;
    use crate::net::Listeners;
    use crate::runtime::{Clock, Runtime};

    /// A console, of which there is none.
    pub(in crate::embed) struct Running(Infallible);

    impl Running {
        pub(in crate::embed) fn address(&self) -> SocketAddr {
            match self.0 {}
        }

        pub(in crate::embed) fn stop(&self, _by: Instant) {
            match self.0 {}
        }
    }

    pub(in crate::embed) fn bind(settings: &Settings) -> Result<Option<Infallible>, Error> {
        match settings.console.listen {
            None => Ok(None),
            Some(_) => {
                let cause = "this library was built without the console (cargo feature `console`)";
                Err(ConfigError::of_key(ErrorKind::Conflict, "console.listen", cause).into())
            }
        }
    }

    pub(in crate::embed) fn keep_journal(engine: Engine, _settings: &Settings) -> (Engine, ()) {
        (engine, ())
    }

    pub(in crate::embed) fn listeners(_listeners: &Arc<Listeners>) {}

    pub(in crate::embed) fn start(
        bound: Infallible,
        _runtime: &Runtime,
        _engine: &Arc<Engine>,
        _clock: Clock,
        _config: &Config,
        _given: ((), (), Option<StorageSource>),
        _mqtt: &Arc<crate::net::Server>,
    ) -> Result<Running, Error> {
        match bound {}
    }

    #[cfg(test)]
    mod tests {
        use crate::config::Config;
        use crate::embed::Broker;

        #[test]
        fn a_console_that_is_not_there_is_refused() {
            let mut config = Config::new();
            for (key, value) in [
                ("listener.tcp.bind", "off"),
                ("console.listen", "127.0.0.1:0"),
                ("console.tutorial", "true"),
            ] {
                config.set(key, value).unwrap();
            }
            let sentence = Broker::start(&config).err().unwrap().to_string();
            assert!(sentence.starts_with("console.listen: this library was built without"), "{sentence}");
        }
    }
}
