//! Why a group is not in the log, and the sentences for errors of the system.

use std::io;

use crate::storage::StoreError;

/// Why the log has not done what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The group does not fit into what is left of this generation: rotate first. Nothing was written.
    #[error("a group of {len} bytes does not fit into the {room} bytes that are left of this generation")]
    NoRoom {
        /// Bytes of the group.
        len: usize,
        /// Bytes of the largest group that fits.
        room: usize,
    },
    /// A record cannot be as long as this group. Nothing was written.
    #[error("a group of {len} bytes is larger than the largest record (4,294,967,295 bytes)")]
    TooLarge {
        /// Bytes of the group.
        len: usize,
    },
    /// The other file is still needed: the tables do not have its generation. The log goes on in this generation.
    #[error("generation {generation} is not in the tables, and its file cannot be used again")]
    NotApplied {
        /// The generation in the other file.
        generation: u64,
    },
    /// There is no space for the group. Nothing of it will be replayed, and the log works.
    #[error("{0}")]
    Full(StoreError),
    /// The log has failed, now or before. Nothing is written any more.
    #[error("{0}")]
    Failed(StoreError),
}

/// Whether space or a quota is all that is missing.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge)
}

/// An error before the log is in use.
pub fn unusable(file: &str, operation: &'static str, error: &io::Error) -> StoreError {
    let file = file.to_owned();
    if is_full(error) {
        return StoreError::Full { file, operation, cause: error.to_string() };
    }
    StoreError::Failed {
        cause: format!("{file}: {operation}: {error}: check the disk and the rights of the file"),
    }
}

/// An error after which nobody knows what is on the disk.
pub fn poisoned(file: &str, operation: &'static str, error: &io::Error) -> StoreError {
    let advice = "nothing is acknowledged any more: check the disk, then restart the broker";
    StoreError::Failed { cause: format!("{file}: {operation}: {error}: {advice}") }
}
