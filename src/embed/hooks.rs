//! The host's hooks: functions that decide for the broker, and that it tells what happens.

use std::sync::Arc;

use crate::engine::access::edit::Edit;
use crate::engine::access::hooks::{
    AccessRequest, Answer, ConnectRequest, Decision, Deferred, Host, Passage, Wanted, defer_in,
};
use crate::runtime::{generation, in_callback};
use crate::session::event::{
    Arrival, Delivered, Departure, Dropped, Event, Level, LogLine, Subscribed, Unsubscribed,
};

type Authenticate = dyn Fn(&ConnectRequest<'_>) -> Answer + Send + Sync;
type Authorize = dyn Fn(&AccessRequest<'_>) -> Answer + Send + Sync;
type OnPublish = dyn Fn(&mut Edit<'_>) -> Passage + Send + Sync;
/// The least that is logged, and to whom.
pub(crate) type Log = (Level, Arc<dyn Fn(&LogLine) + Send + Sync>);
type Told<T> = Option<Arc<dyn Fn(&T) + Send + Sync>>;

/// Functions of the host, each of which may be left out: then it costs nothing. A clone has the same functions, and
/// several brokers may.
///
/// They are called on the broker's threads, and on a thread of the host that publishes, with no lock of the broker
/// held: they may publish, subscribe and end connections, but not stop a broker. They must not block: the connection
/// that a decision is about waits, and with it the thread. A decision may be [deferred](crate::embed::defer). A panic
/// is a denial, and counted in the statistic `hooks_failed`.
///
/// `on_publish` and the decisions are called from several threads at once; the others one after the other, in the order
/// in which things happened.
#[derive(Clone, Default)]
#[must_use = "hooks do nothing until a broker is started with them"]
pub struct Hooks {
    authenticate: Option<Arc<Authenticate>>,
    authorize: Option<Arc<Authorize>>,
    on_publish: Option<Arc<OnPublish>>,
    on_connected: Told<Arrival>,
    on_disconnected: Told<Departure>,
    on_subscribed: Told<Subscribed>,
    on_unsubscribed: Told<Unsubscribed>,
    on_delivered: Told<Delivered>,
    on_dropped: Told<Dropped>,
    on_log: Option<Log>,
}

impl Hooks {
    /// No hooks.
    pub fn new() -> Hooks {
        Hooks::default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.wanted() == Wanted::default()
    }

    /// Whether there is one that decides what clients may do.
    pub(super) fn decide(&self) -> bool {
        let wanted = self.wanted();
        wanted.authenticate || wanted.authorize
    }

    /// Decides who is let in, by what CONNECT says. Without it, everybody is, except clients that want to authenticate by
    /// a method: those are refused with 0x8C.
    ///
    /// A client of MQTT 5 may name a method ([`ConnectRequest::auth_method`]). The hook then asks for more by
    /// [`Verdict::Continue`](crate::embed::Verdict), and is called again with each answer of the client, until it lets
    /// the client in by [`Verdict::AllowWith`](crate::embed::Verdict) or denies. The client may authenticate again later;
    /// if that fails, its connection ends. What the hook wants to remember between two steps it finds by
    /// [`ConnectRequest::connection`]; an exchange has `mqtt.connect_timeout` to come to an end, and a client that goes
    /// before is not told of.
    ///
    /// ```
    /// use midge::Hooks;
    /// use midge::hooks::Verdict;
    /// use midge::protocol::ReasonCode;
    ///
    /// let hooks = Hooks::new().authenticate(|client| match (client.auth_method, client.auth_step) {
    ///     (Some("riddle"), 0) => Verdict::Continue(b"What has keys but opens no lock?".to_vec()),
    ///     (Some("riddle"), _) if client.auth_data == Some(b"a piano") => Verdict::AllowWith(Vec::new()),
    ///     (Some("riddle"), _) => Verdict::Deny,
    ///     (Some(_), _) => Verdict::DenyWith(ReasonCode::BadAuthenticationMethod),
    ///     (None, _) => Verdict::Allow,
    /// });
    /// ```
    pub fn authenticate<A: Into<Answer>>(
        mut self,
        hook: impl Fn(&ConnectRequest<'_>) -> A + Send + Sync + 'static,
    ) -> Hooks {
        self.authenticate = Some(Arc::new(move |request: &ConnectRequest<'_>| hook(request).into()));
        self
    }

    /// Decides what clients may publish and subscribe to. Without it, everything. A Will is asked about when its client
    /// connects; one that is denied costs the client its connection.
    pub fn authorize<A: Into<Answer>>(
        mut self,
        hook: impl Fn(&AccessRequest<'_>) -> A + Send + Sync + 'static,
    ) -> Hooks {
        self.authorize = Some(Arc::new(move |request: &AccessRequest<'_>| hook(request).into()));
        self
    }

    /// Looks at each message and Will of a client before it is published, and may change or drop it. The host's own
    /// messages pass without.
    pub fn on_publish(mut self, hook: impl Fn(&mut Edit<'_>) -> Passage + Send + Sync + 'static) -> Hooks {
        self.on_publish = Some(Arc::new(hook));
        self
    }

    /// Is told of a client that has been let in, before it is told itself.
    pub fn on_connected(mut self, hook: impl Fn(&Arrival) + Send + Sync + 'static) -> Hooks {
        self.on_connected = Some(Arc::new(hook));
        self
    }

    /// Is told that a client's connection has ended, and why.
    pub fn on_disconnected(mut self, hook: impl Fn(&Departure) + Send + Sync + 'static) -> Hooks {
        self.on_disconnected = Some(Arc::new(hook));
        self
    }

    /// Is told that a client has subscribed.
    pub fn on_subscribed(mut self, hook: impl Fn(&Subscribed) + Send + Sync + 'static) -> Hooks {
        self.on_subscribed = Some(Arc::new(hook));
        self
    }

    /// Is told that a client has unsubscribed. The end of its session is no unsubscribing.
    pub fn on_unsubscribed(mut self, hook: impl Fn(&Unsubscribed) + Send + Sync + 'static) -> Hooks {
        self.on_unsubscribed = Some(Arc::new(hook));
        self
    }

    /// Is told of each message that a client has: one of QoS 0 when it is sent, another when it is acknowledged.
    pub fn on_delivered(mut self, hook: impl Fn(&Delivered) + Send + Sync + 'static) -> Hooks {
        self.on_delivered = Some(Arc::new(hook));
        self
    }

    /// Is told of each message that is dropped, for each receiver.
    pub fn on_dropped(mut self, hook: impl Fn(&Dropped) + Send + Sync + 'static) -> Hooks {
        self.on_dropped = Some(Arc::new(hook));
        self
    }

    /// Is given the log's lines of this level and of those that matter more. Lines of other levels cost nothing.
    ///
    /// It is a hook as the others: called by the broker's threads, and by threads of the host that start or stop the
    /// broker, publish or kick, with no lock held, for one line after the other.
    ///
    /// ```
    /// use midge::{Broker, Config, Hooks, Level};
    ///
    /// let mut config = Config::new();
    /// config.set("listener.tcp.bind", "127.0.0.1:0")?;
    /// let hooks = Hooks::new().on_log(Level::Info, |line| eprintln!("{line}"));
    /// let broker = Broker::builder(&config).hooks(hooks).start()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_log(self, level: Level, hook: impl Fn(&LogLine) + Send + Sync + 'static) -> Hooks {
        self.with_log(Some((level, Arc::new(hook))))
    }

    /// The same hooks, with this log.
    pub(crate) fn with_log(self, log: Option<Log>) -> Hooks {
        Hooks { on_log: log, ..self }
    }
}

/// A deferred decision: the first half is for the code that decides, the second is the hook's answer.
pub fn defer() -> (Decision, Deferred) {
    defer_in(generation)
}

impl Host for Hooks {
    fn wanted(&self) -> Wanted {
        Wanted {
            authenticate: self.authenticate.is_some(),
            authorize: self.authorize.is_some(),
            on_publish: self.on_publish.is_some(),
            connected: self.on_connected.is_some(),
            disconnected: self.on_disconnected.is_some(),
            subscribed: self.on_subscribed.is_some(),
            unsubscribed: self.on_unsubscribed.is_some(),
            delivered: self.on_delivered.is_some(),
            dropped: self.on_dropped.is_some(),
            log: self.on_log.as_ref().map(|(level, _)| *level),
        }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        let _calling = in_callback();
        self.authenticate.as_ref().map_or(Answer::ALLOW, |hook| hook(request))
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Answer {
        let _calling = in_callback();
        self.authorize.as_ref().map_or(Answer::ALLOW, |hook| hook(request))
    }

    fn on_publish(&self, edit: &mut Edit<'_>) -> Passage {
        let _calling = in_callback();
        self.on_publish.as_ref().map_or(Passage::Pass, |hook| hook(edit))
    }

    fn tell(&self, event: &Event) {
        let _calling = in_callback();
        match event {
            Event::Connected(about) => tell(&self.on_connected, about),
            Event::Disconnected(about) => tell(&self.on_disconnected, about),
            Event::Subscribed(about) => tell(&self.on_subscribed, about),
            Event::Unsubscribed(about) => tell(&self.on_unsubscribed, about),
            Event::Delivered(about) => tell(&self.on_delivered, about),
            Event::Dropped(about) => tell(&self.on_dropped, about),
            Event::Refused(_) => {}
            Event::Logged(line) => {
                if let Some((_, hook)) = &self.on_log {
                    hook(line);
                }
            }
        }
    }
}

fn tell<T>(hook: &Told<T>, about: &T) {
    if let Some(hook) = hook {
        hook(about);
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooks").field(&self.wanted()).finish()
    }
}
