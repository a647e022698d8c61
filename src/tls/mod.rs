//! TLS without I/O on the network: certificates and keys from files, what they say, and how a connection is secured.

mod causes;
mod certificate;
mod chains;
mod files;
mod registry;
mod server;

pub use causes::cause;
pub use certificate::{Certificate, Lifetime};
pub use chains::take_server_name;
pub use files::{FileKind, TlsError, TlsFiles};
pub use registry::{Reloaded, TlsServers};
pub use server::{ServedCertificate, TlsServer};
