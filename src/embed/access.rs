//! Who decides about clients: the authorities of the settings and the host's hooks, in the order of the settings.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::access::rules::authority::RuleAuthority;
use crate::access::rules::file::MAX_BYTES;
use crate::access::rules::ruleset::RuleSet;
use crate::access::{AccessFile, AccessFiles, FileContent, Reread};
use crate::config::{AuthorityName, ConfigError, ErrorKind, Settings};
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::engine::access::authority::Authority;
use crate::engine::access::hooks::Host;
use crate::engine::core::state::Engine;
use crate::runtime::{Clock, Runtime};
use crate::session::event::Level;

/// Time between two looks at the files. A change is read at the second look that finds it: within 20 seconds.
const LOOK: Duration = Duration::from_secs(10);

/// The authorities of one broker.
pub(super) struct Access {
    /// Those of the settings, each with its place in the order.
    authorities: Vec<(AuthorityName, Arc<dyn Authority>)>,
    files: Arc<AccessFiles>,
    /// What the log says at the start.
    remarks: Vec<(Level, String)>,
}

impl Access {
    /// Makes the authorities of the settings, and reads their files.
    ///
    /// # Errors
    /// A file cannot be used, or the settings and the hooks do not fit.
    pub(super) fn open(settings: &Settings, hooks: &Hooks) -> Result<Access, Error> {
        let mut access = Access { authorities: Vec::new(), files: Arc::default(), remarks: Vec::new() };
        let mut files = AccessFiles::default();
        let of_settings = &settings.access;
        let decide = hooks.wanted().authenticate || hooks.wanted().authorize;
        if decide && !of_settings.order().contains(&AuthorityName::Hooks) {
            return Err(conflict("access.authorities", "the host has hooks that decide: name hooks here"));
        }
        if !of_settings.password_file.is_empty() {
            return Err(conflict("access.password_file", "this library is built without password files"));
        }
        if !of_settings.acl_file.is_empty() {
            let rules = Arc::new(RuleAuthority::new(RuleSet::default(), of_settings.subscribe));
            let path = Path::new(&of_settings.acl_file);
            let file = AccessFile::new("access.acl_file", path, MAX_BYTES as u64, rules.clone());
            access.add(AuthorityName::Acl, rules, file, &mut files)?;
        }
        access.files = Arc::new(files);
        Ok(access)
    }

    /// Adds an authority and its file, which is read.
    fn add<A: Authority + FileContent + 'static>(
        &mut self,
        name: AuthorityName,
        authority: Arc<A>,
        file: AccessFile,
        files: &mut AccessFiles,
    ) -> Result<(), Error> {
        let contained = file
            .load()
            .map_err(|error| Error::from(ConfigError::of_key(ErrorKind::Io, error.key, error.to_string())))?;
        let key = file.key();
        self.remarks.push((Level::Info, format!("{key}: {}", contained.summary)));
        let remarks = contained.remarks.into_iter();
        self.remarks.extend(remarks.map(|remark| (Level::Warn, format!("{key}: {remark}"))));
        self.authorities.push((name, authority));
        files.add(file);
        Ok(())
    }

    /// The same broker with these authorities and the host's hooks, in the order of the settings.
    pub(super) fn give(&self, mut engine: Engine, settings: &Settings, hooks: Hooks) -> Engine {
        let mut hooks = (!hooks.is_empty()).then_some(hooks);
        for name in settings.access.order() {
            if name == AuthorityName::Hooks {
                if let Some(hooks) = hooks.take() {
                    engine = engine.with_host(Arc::new(hooks));
                }
                continue;
            }
            for (_, authority) in self.authorities.iter().filter(|(of, _)| *of == name) {
                engine = engine.with_authority(Arc::clone(authority));
            }
        }
        // Hooks that only watch may be left out of the order.
        match hooks {
            Some(hooks) => engine.with_host(Arc::new(hooks)),
            None => engine,
        }
    }

    /// Logs what the files contain, and reads them when they change.
    pub(super) fn run(&mut self, runtime: &Runtime, engine: &Arc<Engine>, clock: &Clock, watches: bool) {
        let mut turn = engine.turn(clock.now());
        for (level, remark) in self.remarks.drain(..) {
            engine.log(&mut turn, level, None, || remark);
        }
        drop(turn);
        if watches && !self.files.is_empty() {
            let files = Arc::clone(&self.files);
            runtime.handle().spawn(watch(files, Arc::downgrade(engine), clock.clone()));
        }
    }

    /// Reads all files again, and logs what comes of it.
    ///
    /// # Errors
    /// A file cannot be used: what it contained before still holds. The other files are read.
    pub(super) fn reload(&self, engine: &Engine, clock: &Clock) -> Result<usize, Error> {
        let reread = self.files.reload();
        take(&reread, engine, clock);
        let count = reread.iter().filter(|reread| reread.outcome.is_ok()).count();
        let failed = reread.into_iter().find_map(|reread| reread.outcome.err());
        failed.map_or(Ok(count), |error| {
            Err(ConfigError::of_key(ErrorKind::Io, error.key, error.to_string()).into())
        })
    }
}

impl Broker {
    /// Reads the files of the authorities again, `access.password_file` and `access.acl_file`. What they say holds at
    /// once, for clients that connect from now on and for what those that are connected do. Returns the number of files.
    ///
    /// The files are also read by themselves, within half a minute after they have changed.
    ///
    /// # Errors
    /// A file is missing or malformed ([`Error::Config`], with the setting, the file and the line): what it contained
    /// before still holds. The broker has stopped.
    pub fn reload_access(&self) -> Result<usize, Error> {
        let shared = self.shared()?;
        if shared.has_stopped() {
            return Err(Error::Stopped);
        }
        shared.access.reload(shared.engine(), &shared.clock)
    }
}

/// Logs what has become of files that were read again, and lets changed rights hold for connected clients.
fn take(reread: &[Reread], engine: &Engine, clock: &Clock) {
    let mut turn = engine.turn(clock.now());
    for Reread { key, outcome, .. } in reread {
        match outcome {
            Ok(contained) => {
                engine.log(&mut turn, Level::Info, None, || {
                    format!("{key}: read again: {}", contained.summary)
                });
                for remark in &contained.remarks {
                    engine.log(&mut turn, Level::Warn, None, || format!("{key}: {remark}"));
                }
            }
            Err(error) => engine.log(&mut turn, Level::Error, None, || {
                format!("{key}: {error}; what it contained before still holds")
            }),
        }
    }
    drop(turn);
    if reread.iter().any(|reread| reread.changes_rights) {
        engine.rights_changed(clock.now());
    }
}

/// Looks at the files for as long as the engine exists. Reading them may take long, so another thread does it.
async fn watch(files: Arc<AccessFiles>, engine: Weak<Engine>, clock: Clock) {
    loop {
        sleep(LOOK).await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let (files, clock) = (Arc::clone(&files), clock.clone());
        // It fails if the runtime ends.
        let _looked =
            tokio::task::spawn_blocking(move || take(&files.reload_changed(), &engine, &clock)).await;
    }
}

fn conflict(key: &str, cause: impl Into<String>) -> Error {
    ConfigError::of_key(ErrorKind::Conflict, key, cause).into()
}
