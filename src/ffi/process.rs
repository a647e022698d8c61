//! The process at the other end of a Unix domain socket, as the structs of the C ABI show it.

use crate::session::peer::Peer;

/// Its user, its group and its number; -1 if the peer is no such process.
#[derive(Clone, Copy)]
pub(super) struct Process {
    pub uid: i64,
    pub gid: i64,
    pub pid: i64,
}

impl Process {
    pub(super) fn of(peer: Option<Peer>) -> Process {
        match peer.and_then(|peer| peer.credentials()) {
            Some(who) => Process { uid: who.uid.into(), gid: who.gid.into(), pid: who.pid.into() },
            None => Process { uid: -1, gid: -1, pid: -1 },
        }
    }
}
