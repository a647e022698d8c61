//! What the system says of sockets that std has no word for: the process at the other end, and passed descriptors.
#![allow(
    unsafe_code,
    reason = "neither std nor socket2 asks for a peer's process or takes a number for a descriptor; on the short list of \
              docs/design.md"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use socket2::{SockRef, Socket};

use crate::session::peer::Credentials;

/// What the system says of the process that connected a Unix domain socket, or that listens at its other end; `None` for
/// another kind of socket.
pub fn peer_credentials(socket: &Socket) -> Option<Credentials> {
    imp::peer_credentials(socket)
}

/// A duplicate of a socket that another program has left open for this one. Programs that this one starts inherit neither.
///
/// # Errors
/// The descriptor is not open.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is only handed to fcntl, which fails if it is not open. It is not -1.
    let given = unsafe { BorrowedFd::borrow_raw(descriptor) };
    SockRef::from(&given).set_cloexec(true)?;
    given.try_clone_to_owned()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::os::fd::AsRawFd;

    use super::{Credentials, Socket};

    pub(super) fn peer_credentials(socket: &Socket) -> Option<Credentials> {
        // The system writes these to sockets of other kinds.
        const NOBODY: libc::ucred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut found = NOBODY;
        let mut size = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `found` and `size` are live and `size` is that of `found`, which has room for what the system writes.
        let answer = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &raw mut size,
            )
        };
        if answer != 0 || found.uid == NOBODY.uid {
            return None;
        }
        let pid = u32::try_from(found.pid).unwrap_or(0);
        Some(Credentials { uid: found.uid, gid: found.gid, pid })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod imp {
    use std::os::fd::AsRawFd;

    use super::{Credentials, Socket};

    pub(super) fn peer_credentials(socket: &Socket) -> Option<Credentials> {
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: both places are live.
        let answer = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) };
        (answer == 0).then_some(Credentials { uid, gid, pid: 0 })
    }
}
