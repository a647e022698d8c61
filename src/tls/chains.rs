//! The certificates of a server, and which of them a client gets.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

thread_local! {
    /// The name that the client of this thread's last handshake step has asked for. rustls does not tell it to users of
    /// its connection without buffers, except in a resolver.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Takes the server name that a client has asked for in the handshake step that this thread has just done.
pub fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

/// One chain with its key.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) key: Arc<CertifiedKey>,
    /// The names in the first certificate, in lower case.
    pub(super) names: Vec<String>,
}

/// All chains of a server, in the order of the settings.
#[derive(Debug)]
pub(super) struct Chains(pub(super) Vec<Chain>);

impl Chains {
    /// The first chain for this name whose key the client can verify; else the first chain that it can verify.
    fn choose(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let named = |chain: &&Chain| name.is_some_and(|name| chain.names.iter().any(|of| matches(of, name)));
        let usable = || self.0.iter().filter(|chain| fits(&chain.key));
        usable().find(named).or_else(|| usable().next()).map(|chain| Arc::clone(&chain.key))
    }
}

impl ResolvesServerCert for Chains {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        SERVER_NAME.set(name.map(Into::into));
        self.choose(name, |key| key.key.choose_scheme(hello.signature_schemes()).is_some())
    }
}

/// Whether a name of a certificate, in lower case, covers the name of a server. A star stands for one label.
fn matches(of_certificate: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match of_certificate.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(label, parent)| !label.is_empty() && parent == rest),
        None => of_certificate == name,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_covers_one_label() {
        assert!(matches("a.example", "A.Example"));
        assert!(matches("*.example", "a.example"));
        assert!(!matches("*.example", "a.b.example"));
        assert!(!matches("*.example", "example"));
        assert!(!matches("*.example", ".example"));
        assert!(!matches("a.example", "b.example"));
    }
}
