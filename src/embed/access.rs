//! The authorities of the settings and the hooks of the host, which decide about clients, in the order of the settings.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::access::anonymous::NoAnonymous;
#[cfg(feature = "accounts")]
use crate::access::passwords::authority::{PasswordAuthority, Strangers, Surroundings};
#[cfg(feature = "accounts")]
use crate::access::passwords::file::MAX_BYTES as MAX_PASSWORD_FILE;
use crate::access::rules::authority::RuleAuthority;
use crate::access::rules::file::MAX_BYTES as MAX_ACL_FILE;
use crate::access::rules::ruleset::RuleSet;
use crate::access::{AccessFile, AccessFiles, Reread};
use crate::config::{Anonymous, AuthorityName, ConfigError, ErrorKind, Settings};
use crate::embed::broker::Broker;
use crate::embed::error::Error;
use crate::embed::hooks::Hooks;
use crate::embed::openness::Openness;
use crate::engine::access::authority::Authority;
use crate::engine::access::hooks::Host;
use crate::engine::core::state::Engine;
#[cfg(feature = "accounts")]
use crate::runtime::generation;
use crate::runtime::{Clock, Runtime};
use crate::session::event::Level;

/// Time between two looks at the files. A change is read at the second look that finds it: within 20 seconds.
const LOOK: Duration = Duration::from_secs(10);

/// The authorities of one broker.
pub(super) struct Access {
    /// Those of the settings, each with its place in the order.
    authorities: Vec<(AuthorityName, Arc<dyn Authority>)>,
    files: Arc<AccessFiles>,
    #[cfg(feature = "accounts")]
    passwords: Option<Arc<PasswordAuthority>>,
    /// Whether listeners may be reached by other machines.
    pub(super) openness: Openness,
    /// What the log says at the start.
    remarks: Vec<(Level, String)>,
}

impl Access {
    /// Makes the authorities of the settings, and reads their files.
    ///
    /// # Errors
    /// A file cannot be used, or the settings and the hooks do not fit.
    pub(super) fn open(settings: &Settings, hooks: &Hooks, clock: &Clock) -> Result<Access, Error> {
        let of_settings = &settings.access;
        let mut access = Access {
            authorities: Vec::new(),
            files: Arc::default(),
            #[cfg(feature = "accounts")]
            passwords: None,
            openness: Openness::of(of_settings, hooks),
            remarks: Vec::new(),
        };
        if access.openness == Openness::Closed {
            let remark = "nobody decides who may connect: each client may do everything. A listener that other machines \
                          can reach needs access.password_file, a hook, or access.anonymous = true";
            access.remarks.push((Level::Info, remark.to_owned()));
        }
        let mut files = AccessFiles::default();
        if hooks.decide() && !of_settings.order().contains(&AuthorityName::Hooks) {
            return Err(conflict("access.authorities", "the host has hooks that decide: name hooks here"));
        }
        let checks_names = hooks.wanted().authenticate || !of_settings.password_file.is_empty();
        if of_settings.anonymous == Anonymous::Refused && !checks_names {
            let cause = "false needs somebody who checks user names: set access.password_file";
            return Err(conflict("access.anonymous", cause));
        }
        if !of_settings.password_file.is_empty() {
            access.add_passwords(settings, hooks, clock, &mut files)?;
        }
        if !of_settings.acl_file.is_empty() {
            if hooks.wanted().authorize && of_settings.is_before(AuthorityName::Hooks, AuthorityName::Acl) {
                let remark = "access.acl_file: it is never asked, because the hook authorize is asked first \
                              (access.authorities)";
                access.remarks.push((Level::Warn, remark.to_owned()));
            }
            let rules = Arc::new(RuleAuthority::new(RuleSet::default(), of_settings.subscribe));
            let path = Path::new(&of_settings.acl_file);
            let file = AccessFile::new("access.acl_file", path, MAX_ACL_FILE as u64, rules.clone());
            access.add(AuthorityName::Acl, rules, file, &mut files)?;
        }
        access.files = Arc::new(files);
        Ok(access)
    }

    #[cfg(feature = "accounts")]
    fn add_passwords(
        &mut self,
        settings: &Settings,
        hooks: &Hooks,
        clock: &Clock,
        files: &mut AccessFiles,
    ) -> Result<(), Error> {
        let access = &settings.access;
        let order = access.order();
        let place = |name| order.iter().position(|one| *one == name);
        let hooks_follow = place(AuthorityName::Hooks) > place(AuthorityName::Passwords);
        let asks_hooks = hooks.wanted().authenticate;
        if asks_hooks && !hooks_follow {
            let remark = "access.password_file: it is never asked, because the hook authenticate is asked first \
                          (access.authorities)";
            self.remarks.push((Level::Warn, remark.to_owned()));
        }
        let unknown = asks_hooks && hooks_follow;
        let anonymous = match access.anonymous {
            Anonymous::Allowed => true,
            Anonymous::Refused => false,
            Anonymous::Auto => unknown,
        };
        let own = clock.clone();
        let surroundings = Surroundings {
            spawn: |name, body| Runtime::spawn_thread(name, body),
            now: Box::new(move || own.now()),
            process: generation,
        };
        let strangers = Strangers { anonymous, unknown };
        let passwords = Arc::new(PasswordAuthority::new(strangers, access.max_waiting, surroundings));
        self.passwords = Some(Arc::clone(&passwords));
        let path = Path::new(&access.password_file);
        let file = AccessFile::new(
            "access.password_file",
            path,
            MAX_PASSWORD_FILE,
            Arc::clone(&passwords) as Arc<_>,
        );
        self.add(AuthorityName::Passwords, passwords, file.secret(), files)
    }

    /// A library without the feature has no password files.
    #[cfg(not(feature = "accounts"))]
    fn add_passwords(
        &mut self,
        _: &Settings,
        _: &Hooks,
        _: &Clock,
        _: &mut AccessFiles,
    ) -> Result<(), Error> {
        Err(conflict(
            "access.password_file",
            "this library is built without password files (feature accounts)",
        ))
    }

    /// Adds an authority and its file, which is read.
    fn add(
        &mut self,
        name: AuthorityName,
        authority: Arc<dyn Authority>,
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
        if settings.access.anonymous == Anonymous::Refused {
            engine = engine.with_authority(Arc::new(NoAnonymous));
        }
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

    /// Ends the threads that verify passwords. Clients that wait for them are refused.
    pub(super) fn close(&self) {
        #[cfg(feature = "accounts")]
        if let Some(passwords) = &self.passwords {
            passwords.close();
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
