//! The listeners of a running server: added, paused, stopped, listed.

use std::io;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::config::{ListenAddress, Listener, Transport, check_listener};
use crate::locks::Mutex;
use crate::net::gate::{Gate, ListenerState};
use crate::net::listener::{BindError, Bound, bind};
use crate::net::places::ListenerLimit;
use crate::net::server::Server;
use crate::net::transport::{MakeLayers, choose, secure};
use crate::runtime::on_own_thread;
use crate::session::event::Level;

/// What becomes of a listener's connections when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connections {
    /// They go on.
    Keep,
    /// Clients are disconnected, with 0x98 Administrative action if they speak MQTT 5. Their sessions stay.
    Disconnect,
}

/// A listener at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerView {
    /// Its name in the settings.
    pub name: String,
    /// Its address, with the port that the system chose.
    pub address: ListenAddress,
    /// Its transport: the word of the setting.
    pub transport: &'static str,
    /// Its state.
    pub state: ListenerState,
    /// The clients that are connected by it.
    pub connections: u32,
    /// The most clients that may be; `None`: no limit.
    pub max_connections: Option<u32>,
    /// The connections that it has accepted.
    pub accepted: u64,
    /// The connections that were refused because a limit was reached.
    pub refused: u64,
    /// The connections that were closed before their handshake was complete, by reason, the most frequent first. Only
    /// transports other than `tcp` have handshakes.
    pub handshake_failures: Vec<(String, u64)>,
}

/// Why a listener could not be changed.
#[derive(Debug)]
pub enum ListenerError {
    /// There is a listener of this name.
    Exists,
    /// There is no listener of this name.
    Unknown,
    /// It cannot listen.
    Bind(BindError),
}

/// What makes the layers of a connection.
#[derive(Clone, Default)]
pub struct Layers(pub(super) Option<MakeLayers>);

/// The listeners of a server, in the order in which they were added.
pub struct Listeners {
    server: Arc<Server>,
    /// None when the broker has stopped: a handle keeps the runtime's descriptors.
    runtime: Mutex<Option<Handle>>,
    open: Mutex<Vec<Open>>,
    /// The names of listeners that are being added, which may take a while. No lock is held meanwhile: the log may call
    /// the host.
    coming: Mutex<Vec<String>>,
}

/// A name that is being added; dropping it frees the name.
struct Coming<'l> {
    listeners: &'l Listeners,
    name: &'l str,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.listeners.coming.lock().retain(|name| name != self.name);
    }
}

/// A listener that is open.
struct Open {
    address: ListenAddress,
    settings: Listener,
    layers: Option<MakeLayers>,
    limit: Arc<ListenerLimit>,
    gate: Arc<Gate>,
}

impl Listeners {
    /// No listener yet. `runtime` runs their tasks.
    pub fn new(server: Arc<Server>, runtime: Handle) -> Listeners {
        let runtime = Mutex::new(Some(runtime));
        Listeners { server, runtime, open: Mutex::default(), coming: Mutex::default() }
    }

    /// Lets go of the runtime, which has ended with all tasks.
    pub fn end(&self) {
        self.runtime.lock().take();
        self.open.lock().iter().for_each(|open| open.gate.forget_task());
    }

    /// Accepts connections of a socket that is bound.
    ///
    /// # Errors
    /// The system refuses, or the broker stops.
    pub fn open(&self, bound: Bound) -> io::Result<()> {
        let runtime = self.runtime.lock().clone();
        let runtime = runtime.ok_or_else(|| io::Error::other("the broker stops"))?;
        let _inside = runtime.enter();
        let gate = Arc::new(Gate::default());
        let limit = bound.limit(&self.server);
        let (address, settings) = (bound.address().clone(), bound.settings().clone());
        let layers = bound.layers();
        let task = bound.accept(Arc::clone(&self.server), Arc::clone(&limit), Arc::clone(&gate))?;
        self.open.lock().push(Open { address, settings, layers, limit, gate });
        runtime.spawn(task);
        Ok(())
    }

    /// Binds a listener with these settings and accepts its connections; returns its address.
    ///
    /// # Errors
    /// There is one of its name, or it cannot listen.
    pub fn add(&self, address: &ListenAddress, settings: &Listener) -> Result<ListenAddress, ListenerError> {
        let _coming = self.reserve(&settings.name)?;
        let bound = bind(address, settings).map_err(ListenerError::Bind)?;
        let address = bound.address().clone();
        self.server.log(Level::Info, || format!("listener {} is at {address}", settings.name));
        self.open(bound).map_err(|error| ListenerError::Bind(BindError::Io(address.clone(), error)))?;
        Ok(address)
    }

    fn reserve<'l>(&'l self, name: &'l str) -> Result<Coming<'l>, ListenerError> {
        let mut coming = self.coming.lock();
        if coming.iter().any(|other| other == name) || self.with(name, |_| ()).is_ok() {
            return Err(ListenerError::Exists);
        }
        coming.push(name.to_owned());
        Ok(Coming { listeners: self, name })
    }

    /// Closes a listener, whose name and address are free again when this returns, or soon after it if a callback calls
    /// it. Returns the number of its clients that were connected.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn stop(&self, name: &str, connections: Connections) -> Result<u32, ListenerError> {
        let found = {
            let mut open = self.open.lock();
            let at = open.iter().position(|open| open.settings.name == name);
            open.remove(at.ok_or(ListenerError::Unknown)?)
        };
        found.gate.set(ListenerState::Stopped);
        if !on_own_thread() {
            found.gate.wait_closed();
        }
        let clients = found.limit.open();
        self.server.log(Level::Info, || match connections {
            Connections::Keep => format!("listener {name} is stopped; {clients} clients stay connected"),
            Connections::Disconnect => {
                format!("listener {name} is stopped; {clients} clients are disconnected")
            }
        });
        if connections == Connections::Disconnect {
            self.server.end_connections_of(&found.limit);
        }
        Ok(clients)
    }

    /// Lets a listener's new connections wait with the system.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn pause(&self, name: &str) -> Result<(), ListenerError> {
        self.switch(name, ListenerState::Paused, "is paused")
    }

    /// Lets a paused listener accept again.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn resume(&self, name: &str) -> Result<(), ListenerError> {
        self.switch(name, ListenerState::Accepting, "accepts again")
    }

    fn switch(&self, name: &str, state: ListenerState, what: &str) -> Result<(), ListenerError> {
        let changed = self.with(name, |open| {
            let changed = open.gate.state() != state;
            open.gate.set(state);
            changed
        })?;
        if changed {
            self.server.log(Level::Info, || format!("listener {name} {what}"));
        }
        Ok(())
    }

    /// Every listener, in the order in which they were added.
    pub fn views(&self) -> Vec<ListenerView> {
        let show = |open: &Open| ListenerView {
            name: open.settings.name.clone(),
            address: open.address.clone(),
            transport: open.settings.transport.name(),
            state: open.gate.state(),
            connections: open.limit.open(),
            max_connections: open.settings.max_connections,
            accepted: open.limit.tally().accepted(),
            refused: open.limit.tally().refused(),
            handshake_failures: open.limit.tally().failures(),
        };
        self.open.lock().iter().map(show).collect()
    }

    /// Every listener's name and address.
    pub fn addresses(&self) -> Vec<(String, ListenAddress)> {
        let open = self.open.lock();
        open.iter().map(|open| (open.settings.name.clone(), open.address.clone())).collect()
    }

    /// The limit of a listener's connections, and the layers of one that comes over `transport`.
    ///
    /// # Errors
    /// There is none of this name, or its settings do not fit the transport.
    pub fn limit(
        &self,
        name: &str,
        transport: Transport,
    ) -> Result<(Arc<ListenerLimit>, Layers), ListenerError> {
        let (limit, mut settings, layers) =
            self.with(name, |open| (Arc::clone(&open.limit), open.settings.clone(), open.layers.clone()))?;
        if transport == settings.transport || transport == Transport::Tcp {
            return Ok((limit, Layers(layers.filter(|_| transport != Transport::Tcp))));
        }
        settings.transport = transport;
        let made = check_listener(&settings)
            .and_then(|()| secure(transport, &settings))
            .and_then(|secured| choose(transport, &settings, secured.as_ref()))
            .map_err(|error| ListenerError::Bind(BindError::Config(error)))?;
        Ok((limit, Layers(made)))
    }

    fn with<T>(&self, name: &str, then: impl FnOnce(&Open) -> T) -> Result<T, ListenerError> {
        let open = self.open.lock();
        open.iter().find(|open| open.settings.name == name).map(then).ok_or(ListenerError::Unknown)
    }
}
