//! The TLS servers of one broker, by the names of their listeners.

use std::sync::{Arc, Weak};

use crate::locks::Mutex;
use crate::tls::files::TlsError;
use crate::tls::server::{ServedCertificate, TlsServer};

/// The TLS servers of one broker. A listener that ends leaves it by itself.
#[derive(Default)]
pub struct TlsServers(Mutex<Vec<(String, Weak<TlsServer>)>>);

/// What has become of the files of one TLS server.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The settings of the server: `listener.<name>` or `console`.
    pub group: String,
    /// The certificates that new connections get from now on; after an error those from before.
    pub certificates: Arc<[ServedCertificate]>,
    /// What is wrong with the files although they can be used.
    pub remarks: Vec<String>,
    /// Why the new files are not used.
    pub error: Option<TlsError>,
}

impl Reloaded {
    /// The sentence of an error, with the setting.
    pub fn failure(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!("{}.{}: {error}", self.group, error.kind.setting()))
    }
}

impl TlsServers {
    /// Adds the server of these settings.
    pub fn add(&self, group: String, server: &Arc<TlsServer>) {
        let mut servers = self.0.lock();
        servers.retain(|(_, server)| server.strong_count() > 0);
        servers.push((group, Arc::downgrade(server)));
    }

    /// The servers that exist.
    pub fn all(&self) -> Vec<(String, Arc<TlsServer>)> {
        let servers = self.0.lock();
        servers.iter().filter_map(|(group, server)| Some((group.clone(), server.upgrade()?))).collect()
    }

    /// Reads the files of all servers again.
    pub fn reload(&self) -> Vec<Reloaded> {
        self.all().into_iter().map(|(group, server)| reloaded(group, &server, server.reload())).collect()
    }

    /// Reads the files of the servers again whose files have changed.
    pub fn reload_changed(&self) -> Vec<Reloaded> {
        let changed = |(group, server): (String, Arc<TlsServer>)| {
            let outcome = server.reload_if_changed()?;
            Some(reloaded(group, &server, outcome))
        };
        self.all().into_iter().filter_map(changed).collect()
    }
}

fn reloaded(group: String, server: &TlsServer, outcome: Result<(), TlsError>) -> Reloaded {
    Reloaded { group, certificates: server.certificates(), remarks: server.remarks(), error: outcome.err() }
}
