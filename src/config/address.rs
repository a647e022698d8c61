//! The address of a listener: of TCP, or of a Unix domain socket.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::value::{Field, Value};

/// What precedes the path of a Unix domain socket.
const UNIX: &str = "unix:";
/// The word for a socket of the service manager.
const SYSTEMD: &str = "systemd";

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
    /// The name of a Unix domain socket in Linux's abstract namespace, which has no file.
    Abstract(String),
    /// A socket that the service manager passes (systemd's `LISTEN_FDS`). Only a setting has this value: a listener that
    /// runs has the address of its socket.
    Systemd,
}

impl ListenAddress {
    /// The address in this text, unless it is no address of Unix or the service manager.
    pub(super) fn parse_local(text: &str) -> Option<Result<ListenAddress, &'static str>> {
        if text == SYSTEMD {
            return Some(Ok(ListenAddress::Systemd));
        }
        let path = text.strip_prefix(UNIX)?;
        Some(match path.strip_prefix('@') {
            Some("") => Err("the name of the socket is missing"),
            Some(name) => Ok(ListenAddress::Abstract(name.to_owned())),
            None if path.is_empty() => Err("the path of the socket is missing"),
            None => Ok(ListenAddress::Unix(PathBuf::from(path))),
        })
    }

    /// The IP address and the port, unless it is that of a Unix domain socket.
    pub fn as_socket(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address),
            _ => None,
        }
    }

    /// The path of the socket's file, if it has one.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            ListenAddress::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// Whether two listeners with this setting contradict each other.
    pub(super) fn is_exclusive(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.port() != 0,
            ListenAddress::Unix(_) | ListenAddress::Abstract(_) => true,
            ListenAddress::Systemd => false,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> ListenAddress {
        ListenAddress::Tcp(address)
    }
}

/// As the setting has it: `127.0.0.1:1883`, `unix:/run/midge.sock` or `unix:@midge`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            ListenAddress::Abstract(name) => write!(f, "{UNIX}@{name}"),
            ListenAddress::Systemd => f.write_str(SYSTEMD),
        }
    }
}

impl Field for ListenAddress {
    const BLANK: Self = ListenAddress::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    fn to_value(&self) -> Value {
        Value::Listen(self.clone())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Listen(address) => Some(address.clone()),
            _ => None,
        }
    }
}
