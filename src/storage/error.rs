//! The errors of a store.

/// Why a store cannot be read, or no longer commits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store itself has failed.
    #[error("{cause}")]
    Failed {
        /// The store's description of the failure: the file, the operation, and the system's error.
        cause: String,
    },
    /// The content of the store cannot be restored.
    #[error("the store cannot be restored: {0}")]
    Load(#[from] LoadError),
    /// There is no space left. Nothing was lost, and the store works again when there is space.
    #[error("{file}: {operation}: {cause}: free space on this disk")]
    Full {
        /// The path of the file.
        file: String,
        /// What the store did.
        operation: &'static str,
        /// The system's error.
        cause: String,
    },
    /// A file has other bytes than the store has written.
    #[error("{file} is damaged at byte {offset}: {what}: restore the store from a backup, or set it aside")]
    Damaged {
        /// The path of the file.
        file: String,
        /// The position of the first damaged bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file has content that the store has not written.
    #[error("{file} is damaged: {what}: restore the store from a backup, or set it aside")]
    Unreadable {
        /// The path of the file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// A file of the store does not exist.
    #[error("{file} is missing: restore the store from a backup, or set it aside")]
    Missing {
        /// The path of the file.
        file: String,
    },
    /// A file belongs to another store.
    #[error("{file} belongs to another store: put back the file of this store")]
    Foreign {
        /// The path of the file.
        file: String,
    },
    /// A file has a format that this version does not know.
    #[error(
        "{file} has format {found}, and this version of Midge knows {known}: run the version that wrote it"
    )]
    Format {
        /// The path of the file.
        file: String,
        /// The format of the file.
        found: u32,
        /// The format that this version reads and writes.
        known: u32,
    },
    /// The directory of the store cannot be used.
    #[error("{path}: {what}")]
    Directory {
        /// The path of the directory.
        path: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl StoreError {
    /// Whether the store's files are damaged, missing, or do not belong together.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            StoreError::Load(_)
                | StoreError::Damaged { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Missing { .. }
                | StoreError::Foreign { .. }
        )
    }
}

/// Why a change cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A change names a session that has not begun, or has ended.
    #[error("change {change:?} names session {client_id:?}, which has not begun or has ended")]
    UnknownSession {
        /// The Client Identifier.
        client_id: String,
        /// The name of the change.
        change: &'static str,
    },
    /// A session begins that already exists.
    #[error("session {client_id:?} begins, but it already exists")]
    SessionExists {
        /// The Client Identifier.
        client_id: String,
    },
    /// There are more sessions than the settings allow.
    #[error("session {client_id:?}: session limit reached (session.max_sessions = {max})")]
    TooManySessions {
        /// The Client Identifier.
        client_id: String,
        /// The limit.
        max: usize,
    },
    /// A change removes a message at an index beyond the end of the queue.
    #[error("session {client_id:?}: change {change:?} takes message {index}, but {len} are queued")]
    NotQueued {
        /// The Client Identifier.
        client_id: String,
        /// The name of the change.
        change: &'static str,
        /// The index.
        index: usize,
        /// The number of queued messages.
        len: usize,
    },
    /// A change names a delivery or a received message that does not exist.
    #[error(
        "session {client_id:?}: change {change:?} names packet identifier {packet_id}, which is not in use"
    )]
    UnknownPacketId {
        /// The Client Identifier.
        client_id: String,
        /// The name of the change.
        change: &'static str,
        /// The Packet Identifier.
        packet_id: u16,
    },
    /// A delivery begins with a Packet Identifier that another delivery uses.
    #[error("session {client_id:?}: packet identifier {packet_id} is sent twice")]
    PacketIdInUse {
        /// The Client Identifier.
        client_id: String,
        /// The Packet Identifier.
        packet_id: u16,
    },
    /// A change names a subscription that is not there.
    #[error("session {client_id:?}: change {change:?} names subscription {filter:?}, which is not there")]
    UnknownSubscription {
        /// The Client Identifier.
        client_id: String,
        /// The change in a word.
        change: &'static str,
        /// The Topic Filter.
        filter: String,
    },
    /// A Topic Filter is not valid.
    #[error("session {client_id:?}: topic filter {filter:?} is not valid")]
    Filter {
        /// The Client Identifier.
        client_id: String,
        /// The Topic Filter.
        filter: String,
    },
    /// A Topic Name is not valid.
    #[error("topic {topic:?} is not valid")]
    Topic {
        /// The Topic Name.
        topic: String,
    },
    /// A queued message has QoS 0.
    #[error("session {client_id:?}: a message of QoS 0 is queued, but QoS 0 is never stored")]
    QueuedQos0 {
        /// The Client Identifier.
        client_id: String,
    },
}
