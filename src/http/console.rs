//! The state that all requests to a console share.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Config;
use crate::engine::core::state::Engine;
use crate::http::access::Access;
#[cfg(feature = "tls")]
use crate::http::certificates::ConsoleTls;
use crate::http::guard::AllowedHosts;
use crate::http::history::{History, STEP};
use crate::http::journal::ConsoleJournal;
use crate::http::listeners::ListenerControl;
use crate::http::live_budget::LiveBudget;
use crate::http::origin::TrustedProxies;
use crate::http::topics::Watching;
use crate::http::tutorial::TutorialSteps;
use crate::locks::Mutex;
use crate::runtime::Clock;
use crate::storage::StorageStats;
use crate::time::Time;

/// The parts of a console.
pub struct ConsoleParts {
    /// The broker.
    pub engine: Arc<Engine>,
    /// The broker's clock.
    pub clock: Clock,
    /// The broker's journal.
    pub log: Arc<ConsoleJournal>,
    /// The broker's settings.
    pub config: Config,
    /// The MQTT listeners.
    pub listeners: Box<dyn ListenerControl>,
    /// Returns what the durable store does; `None` without one.
    pub storage: Option<StorageSource>,
    /// Its certificates, and those of the listeners.
    #[cfg(feature = "tls")]
    pub tls: ConsoleTls,
}

/// Returns what a durable store does at a moment.
pub type StorageSource = Box<dyn Fn() -> StorageStats + Send + Sync>;

/// The console of one broker.
pub struct Console {
    pub(super) engine: Arc<Engine>,
    pub(super) config: Config,
    pub(super) listeners: Box<dyn ListenerControl>,
    pub(super) storage: Option<StorageSource>,
    #[cfg(feature = "tls")]
    pub(super) tls: ConsoleTls,
    pub(super) history: Mutex<History>,
    pub(super) log: Arc<ConsoleJournal>,
    pub(super) topics: Watching,
    pub(super) live: Arc<LiveBudget>,
    pub(super) steps: TutorialSteps,
    me: Weak<Console>,
    clock: Clock,
    /// Milliseconds since 1970 at the broker's time zero.
    began: u64,
    access: Access,
    hosts: AllowedHosts,
    proxies: TrustedProxies,
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Console {
    /// The console that is served at `address`.
    ///
    /// # Errors
    /// A password file cannot be read: the key of its setting, and a sentence.
    pub fn new(
        surroundings: ConsoleParts,
        address: SocketAddr,
    ) -> Result<Arc<Console>, (&'static str, String)> {
        let ConsoleParts {
            engine,
            clock,
            log,
            config,
            listeners,
            storage,
            #[cfg(feature = "tls")]
            tls,
        } = surroundings;
        let settings = config.settings();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let began = u64::try_from(unix).unwrap_or(0).saturating_sub(clock.now().as_millis());
        let access = Access::new(settings, address.port())?;
        Ok(Arc::new_cyclic(|me| Console {
            access,
            hosts: AllowedHosts::new(&config.settings().console.hosts),
            proxies: TrustedProxies::new(&config.settings().console.trusted_proxies),
            history: Mutex::default(),
            topics: Watching::default(),
            live: LiveBudget::new(config.settings().console.max_live_bytes),
            steps: TutorialSteps::default(),
            me: me.clone(),
            stop: watch::Sender::new(false),
            engine,
            log,
            config,
            listeners,
            storage,
            #[cfg(feature = "tls")]
            tls,
            clock,
            began,
            address,
        }))
    }

    /// A reference to this console for a task.
    pub(super) fn me(&self) -> Option<Arc<Console>> {
        self.me.upgrade()
    }

    /// The broker's time.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// A point of the broker's time in milliseconds since 1970.
    pub(super) fn unix(&self, time: Time) -> u64 {
        self.began.saturating_add(time.as_millis())
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn hosts(&self) -> &AllowedHosts {
        &self.hosts
    }

    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// Whether only this machine can reach the console.
    pub(super) fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Whether the console shows the first steps.
    pub(super) fn is_tutorial(&self) -> bool {
        self.config.settings().console.tutorial
    }

    /// Logs a line about a peer that did not come as far as a request.
    #[cfg(feature = "tls")]
    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        let mut turn = self.engine.turn(self.clock.now());
        self.engine.log(&mut turn, crate::session::event::Level::Info, None, text);
    }

    /// Whether it speaks HTTPS.
    pub(super) fn is_secured(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.own.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The time limit of a client (`console.io_timeout`).
    pub(super) fn io_timeout(&self) -> Duration {
        self.config.settings().console.io_timeout
    }

    /// The maximum size of a body with a message, in bytes: base64 and JSON make it larger.
    pub(super) fn largest_body(&self) -> usize {
        2 * self.config.settings().mqtt.max_packet_size as usize + 64 * 1024
    }

    /// Becomes true when the broker stops.
    pub(super) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Ends streams and connections.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Records the statistics for the history, until the task is dropped.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let snapshot = self.engine.snapshot();
            self.steps.note(&snapshot);
            self.log.refill();
            self.engine.refresh_sinks();
            self.history.lock().note(self.unix(self.now()), &snapshot);
            sleep(Duration::from_millis(STEP)).await;
        }
    }
}
