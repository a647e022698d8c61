//! Unix domain sockets that listen: their file, its rights and its owner.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::mem::offset_of;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Group, User};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{self, ConfigError, ListenAddress, Listener};
use crate::net::listener::BindError;
use crate::runtime::peer_credentials;

/// The longest path of a socket, or name of one in the abstract namespace, in bytes.
const LONGEST: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;
/// How often a lock is tried that another process holds, and the pause between.
const LOCK: (u32, Duration) = (50, Duration::from_millis(10));

/// The file of a socket. It is removed when this is dropped, unless another file has its path by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and the number of the file.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // At worst a file without a listener stays, which the next broker replaces.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

/// A non-blocking socket that listens at a path. A file that a dead broker has left is replaced.
pub(super) fn listen_at(
    path: &Path,
    settings: &Listener,
    backlog: i32,
) -> Result<(Socket, SocketFile), BindError> {
    let owner = Owner::of(settings)?;
    let failed = |error| BindError::Io(ListenAddress::Unix(path.to_owned()), error);
    let (socket, file) = bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(settings.unix_mode)).map_err(failed)?;
    if owner.user.is_some() || owner.group.is_some() {
        chown(path, owner.user, owner.group).map_err(|error| {
            let cause = format!("the file cannot be given to {:?}: {error}", settings.unix_owner);
            owner_error(settings, cause)
        })?;
    }
    // Nobody can connect before this.
    socket.listen(backlog).map_err(failed)?;
    Ok((socket, file.listens()))
}

/// A socket that is bound to a path and does not listen yet.
fn bind(path: &Path) -> io::Result<(Socket, Unheard)> {
    check_length(path.as_os_str().as_encoded_bytes())?;
    let absolute = std::path::absolute(path)?;
    // Another broker that starts at the same moment does not replace the file before it listens.
    let lock = lock(absolute.parent());
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile { path: absolute, identity: (made.dev(), made.ino()) };
    Ok((socket, Unheard { file, _lock: lock }))
}

/// The file of a socket that does not listen yet, with the lock that protects it.
struct Unheard {
    file: SocketFile,
    _lock: Option<File>,
}

impl Unheard {
    /// The file of a socket that listens.
    fn listens(self) -> SocketFile {
        self.file
    }
}

/// A non-blocking socket that listens at a name of the abstract namespace.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn listen_abstract(name: &str, backlog: i32) -> io::Result<Socket> {
    check_length(name.as_bytes())?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(format!("\0{name}"))?;
    socket.bind(&address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => in_use(&address),
        _ => error,
    })?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Other systems have no abstract namespace.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn listen_abstract(_name: &str, _backlog: i32) -> io::Result<Socket> {
    Err(io::Error::new(ErrorKind::Unsupported, "only Linux has sockets without a file"))
}

fn check_length(name: &[u8]) -> io::Result<()> {
    if name.len() <= LONGEST {
        return Ok(());
    }
    let cause = format!("the path has {} bytes; a socket's may have {LONGEST} at most", name.len());
    Err(io::Error::new(ErrorKind::InvalidInput, cause))
}

/// A lock on the directory of a socket, as long as it is open. Without one, because the directory cannot be read or another
/// program holds the lock, the broker starts all the same.
fn lock(directory: Option<&Path>) -> Option<File> {
    let directory = File::open(directory?).ok()?;
    for _ in 0..LOCK.0 {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK.1),
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Removes the file of a socket at which nobody listens.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let cause = "there is a file that is no socket, which the broker does not remove";
        return Err(io::Error::new(ErrorKind::AlreadyExists, cause));
    }
    let address = SockAddr::unix(path)?;
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Ok(()) => Err(taken_by(&probe)),
        Err(_) => Err(in_use(&address)),
    }
}

/// The error for a name at which another socket listens.
fn in_use(address: &SockAddr) -> io::Error {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None);
    match probe.and_then(|probe| probe.set_nonblocking(true).and(probe.connect(address)).map(|()| probe)) {
        Ok(probe) => taken_by(&probe),
        Err(_) => io::Error::new(ErrorKind::AddrInUse, "address in use"),
    }
}

/// The error for a name at which the process listens that this socket is connected to.
fn taken_by(probe: &Socket) -> io::Error {
    let who = peer_credentials(probe).filter(|who| who.pid != 0);
    let cause = match who {
        None => "address in use: another process listens there".to_owned(),
        Some(who) if who.pid == std::process::id() => "address in use: this process listens there".to_owned(),
        Some(who) => {
            let name = fs::read_to_string(format!("/proc/{}/comm", who.pid)).unwrap_or_default();
            let name = name.trim_end();
            match name.is_empty() {
                true => format!("address in use: process {} listens there", who.pid),
                false => format!("address in use: process {} ({name}) listens there", who.pid),
            }
        }
    };
    io::Error::new(ErrorKind::AddrInUse, cause)
}

/// The owner that a socket's file gets.
#[derive(Debug, Default)]
struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owner {
    /// The owner in `listener.*.unix_owner`: `user`, `user:group` or `:group`.
    fn of(settings: &Listener) -> Result<Owner, ConfigError> {
        let (user, group) = settings.unix_owner.split_once(':').unwrap_or((&settings.unix_owner, ""));
        let unknown =
            |what, name: &str| owner_error(settings, format!("this machine has no {what} {name:?}"));
        let user = match user {
            "" => None,
            name => Some(user_id(name).ok_or_else(|| unknown("user", name))?),
        };
        let group = match group {
            "" => None,
            name => Some(group_id(name).ok_or_else(|| unknown("group", name))?),
        };
        Ok(Owner { user, group })
    }
}

fn user_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Some(User::from_name(name).ok()??.uid.as_raw()))
}

fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Some(Group::from_name(name).ok()??.gid.as_raw()))
}

fn owner_error(settings: &Listener, cause: String) -> ConfigError {
    let key = format!("listener.{}.unix_owner", settings.name);
    ConfigError::of_key(config::ErrorKind::BadValue, &key, cause)
}
