//! Listening sockets that a service manager passes, as systemd does by `LISTEN_FDS`.

use std::env;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;

use socket2::{SockAddr, Socket, Type};

use crate::config::ListenAddress;
use crate::runtime::duplicate;

/// The number of the first descriptor that is passed.
const FIRST: RawFd = 3;

/// The socket that the service manager has passed for the listener of this name, and its address.
pub(super) fn passed_socket(listener: &str) -> io::Result<(Socket, ListenAddress)> {
    let names = passed_names()?;
    let Some(index) = find(&names, listener) else {
        let cause = format!(
            "the service manager has passed no socket of the name {listener:?}, but {} (FileDescriptorName= in the \
             socket unit)",
            names.join(", ")
        );
        return Err(io::Error::new(ErrorKind::NotFound, cause));
    };
    let number = FIRST.saturating_add(RawFd::try_from(index).unwrap_or(RawFd::MAX));
    let socket = Socket::from(duplicate(number)?);
    let is_ours = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !is_ours || !socket.is_listener().unwrap_or(true) {
        let cause = format!(
            "descriptor {number} is no stream socket that listens (ListenStream= in the socket unit)"
        );
        return Err(io::Error::new(ErrorKind::InvalidInput, cause));
    }
    socket.set_nonblocking(true)?;
    let address = address_of(&socket.local_addr()?);
    Ok((socket, address))
}

/// The names of the sockets that are passed to this process, in their order.
fn passed_names() -> io::Result<Vec<String>> {
    let nothing = |why: &str| io::Error::new(ErrorKind::NotFound, format!("no socket was passed: {why}"));
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    match number("LISTEN_PID") {
        Some(process) if process == std::process::id() => {}
        Some(_) => return Err(nothing("LISTEN_PID is of another process")),
        None => {
            return Err(nothing(
                "LISTEN_PID is not set; the service manager starts this program by a socket unit",
            ));
        }
    }
    let count = number("LISTEN_FDS").ok_or_else(|| nothing("LISTEN_FDS is not set"))?;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    // A number beyond that of descriptors is a mistake.
    let names =
        (0..count.min(4096)).map(|_| names.next().filter(|name| !name.is_empty()).unwrap_or("unknown"));
    Ok(names.map(str::to_owned).collect())
}

/// The index of a listener's socket: the one of its name, or the only one.
fn find(names: &[String], listener: &str) -> Option<usize> {
    let of_its_name = names.iter().position(|name| name == listener);
    of_its_name.or((names.len() == 1).then_some(0))
}

/// The address at which a socket listens.
fn address_of(address: &SockAddr) -> ListenAddress {
    if let Some(address) = address.as_socket() {
        return ListenAddress::Tcp(address);
    }
    if let Some(path) = address.as_pathname() {
        return ListenAddress::Unix(path.to_owned());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_namespace() {
        return ListenAddress::Abstract(String::from_utf8_lossy(name).into_owned());
    }
    ListenAddress::Systemd
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_listener_has_the_socket_of_its_name_or_the_only_one() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(find(&names(&["a", "lan", "b"]), "lan"), Some(1));
        assert_eq!(find(&names(&["a", "b"]), "lan"), None);
        assert_eq!(find(&names(&["midge.socket"]), "lan"), Some(0));
        assert_eq!(find(&[], "lan"), None);
    }
}
