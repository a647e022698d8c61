//! Certificates of a running server: noted, read again, watched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::net::places::ListenerLimit;
use crate::net::server::Server;
use crate::session::event::Level;
use crate::tls::{Reloaded, TlsServer, TlsServers};

/// Time between two looks at the files. A change is read at the second look that finds it: within 20 seconds.
const LOOK: Duration = Duration::from_secs(10);
/// Looks between two warnings about certificates that end soon: a day.
const REMIND: u32 = 24 * 360;

/// The certificates of a server's listeners, and of the console.
#[derive(Default)]
pub(super) struct Certificates {
    servers: Arc<TlsServers>,
    is_watched: AtomicBool,
}

impl Server {
    /// The TLS servers of this broker.
    pub fn secured(&self) -> &Arc<TlsServers> {
        &self.certificates().servers
    }

    /// Notes the certificates of a listener.
    pub(super) fn note_secured(self: &Arc<Self>, limit: &ListenerLimit, secured: &Arc<TlsServer>) {
        let name = limit.name().map(AsRef::as_ref).unwrap_or_default();
        self.watch_certificates(format!("listener.{name}"), secured);
    }

    /// Notes the certificates of the settings `group`, logs what is wrong with them, and reads their files when they
    /// change. Must be called inside the runtime.
    pub fn watch_certificates(self: &Arc<Self>, group: String, secured: &Arc<TlsServer>) {
        self.warn_of(&group, &secured.remarks());
        self.secured().add(group, secured);
        let is_watched = self.certificates().is_watched.swap(true, Ordering::Relaxed);
        if !is_watched && self.test_net().is_none() {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Reads the files of all certificates again, and logs what comes of it. The call reads files.
    pub fn reload_certificates(&self) -> Vec<Reloaded> {
        let reloaded = self.secured().reload();
        self.log_reloaded(&reloaded);
        reloaded
    }

    fn reload_changed(&self) {
        self.log_reloaded(&self.secured().reload_changed());
    }

    fn log_reloaded(&self, reloaded: &[Reloaded]) {
        for reloaded in reloaded {
            let group = &reloaded.group;
            if let Some(failure) = reloaded.failure() {
                self.log(Level::Error, || format!("{failure}; the certificates from before stay in use"));
                continue;
            }
            self.log(Level::Info, || {
                let subjects: Vec<_> =
                    reloaded.certificates.iter().map(|served| served.certificate.subject.as_str()).collect();
                format!("{group}: certificates read again: {}", subjects.join(", "))
            });
            self.warn_of(group, &reloaded.remarks);
        }
    }

    fn warn_of(&self, group: &str, remarks: &[String]) {
        for remark in remarks {
            self.log(Level::Warn, || format!("{group}: {remark}"));
        }
    }

    fn remind(&self) {
        for (group, server) in self.secured().all() {
            self.warn_of(&group, &server.remarks());
        }
    }
}

/// Looks at the files for as long as the server exists. Reading them may take long, so another thread does it.
async fn watch(server: Weak<Server>) {
    let mut looks = 0;
    loop {
        sleep(LOOK).await;
        let Some(server) = server.upgrade() else {
            return;
        };
        looks = (looks + 1) % REMIND;
        // It fails if the runtime ends.
        let _looked = tokio::task::spawn_blocking(move || {
            server.reload_changed();
            if looks == 0 {
                server.remind();
            }
        })
        .await;
    }
}
