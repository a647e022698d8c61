//! `check`: everything is read, and nothing is changed.

use std::sync::Arc;

use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::log::{DEFAULT_SIZE, NAMES, TornTail};
use crate::storage::durable::store::{DurableOptions, DurableStore};
use crate::storage::durable::tables::{FILE, Tables};
use crate::storage::durable::tools::maker::directory;
use crate::storage::durable::tools::reading::{DeliveryState, Item, read};
use crate::storage::durable::tools::scratch::Scratch;
use crate::time::WallTime;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Sessions.
    pub sessions: u64,
    /// Those whose connection had not ended when the store was written last.
    pub connected: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Wills that may still be published.
    pub wills: u64,
    /// Messages that wait to be sent.
    pub queued: u64,
    /// Deliveries that are not complete.
    pub in_flight: u64,
    /// Received QoS 2 messages that are not released.
    pub received: u64,
    /// Bytes of the payloads that wait or are in flight; one that several sessions share counts for each.
    pub delivery_bytes: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bytes of their payloads.
    pub retained_bytes: u64,
    /// Records of the log that the tables do not have.
    pub log_records: u64,
    /// Bytes of the changes in them.
    pub log_bytes: u64,
    /// The last record of the log, if it was not written to its end. It was never acknowledged.
    pub torn: Option<TornTail>,
    /// The store's files, and their sizes.
    pub files: Vec<(String, u64)>,
}

/// A store that is open for reading.
pub(super) struct Reading {
    pub(super) tables: Tables,
    pub(super) report: StoreReport,
}

impl Reading {
    /// Opens the store of a disk, whose files stay what they are.
    ///
    /// # Errors
    /// There is no store, it is damaged, or of another version.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Reading, StoreError> {
        let files = files(&*disk)?;
        must_exist(&*disk, &files)?;
        let scratch: Arc<dyn Disk> = Arc::new(Scratch::over(disk));
        // The salt and the size are those of the store.
        let options = DurableOptions {
            salt: [0; 16],
            log_bytes: DEFAULT_SIZE,
            now: WallTime::default(),
            retry_millis: None,
        };
        let store = DurableStore::open(scratch, options)?;
        let replayed = store.replayed();
        let report = StoreReport {
            files,
            log_records: replayed.groups,
            log_bytes: replayed.bytes,
            torn: replayed.torn,
            ..StoreReport::default()
        };
        Ok(Reading { tables: store.take_tables()?, report })
    }
}

/// Reads the whole store of a disk, whose files stay what they are.
///
/// # Errors
/// There is no store; or it is damaged, and the sentence names the file.
pub fn check(disk: Arc<dyn Disk>) -> Result<StoreReport, StoreError> {
    let Reading { tables, mut report } = Reading::open(disk)?;
    read(&tables, &mut |item| {
        count(&mut report, &item);
        Ok::<_, StoreError>(())
    })?;
    Ok(report)
}

fn count(report: &mut StoreReport, item: &Item<'_>) {
    match item {
        Item::Retained(message) => {
            report.retained += 1;
            report.retained_bytes += message.payload.len() as u64;
        }
        Item::Session(session) => {
            report.sessions += 1;
            report.connected += u64::from(session.detached_at.is_none());
            report.subscriptions += session.subscriptions.len() as u64;
            report.wills += u64::from(session.will.is_some());
            report.received += session.received.len() as u64;
        }
        Item::Delivery(delivery) => {
            let queued = delivery.state == DeliveryState::Queued;
            *(if queued { &mut report.queued } else { &mut report.in_flight }) += 1;
            report.delivery_bytes += delivery.record.map_or(0, |record| record.message.payload.len() as u64);
        }
    }
}

/// The files of the store and their sizes.
pub(super) fn files(disk: &dyn Disk) -> Result<Vec<(String, u64)>, StoreError> {
    let cannot = |what: &str, error: std::io::Error| StoreError::Failed {
        cause: format!("cannot read {}: {error}", disk.describe(what)),
    };
    let mut names = disk.names().map_err(|error| cannot("", error))?;
    names.retain(|name| name == FILE || NAMES.contains(&&**name));
    names.sort_unstable();
    let mut files = Vec::new();
    for name in names {
        if let Some(file) = disk.open(&name).map_err(|error| cannot(&name, error))? {
            let len = file.len().map_err(|error| cannot(&name, error))?;
            files.push((name, len));
        }
    }
    Ok(files)
}

/// The error of a disk without a store, and of one whose tables are missing.
pub(super) fn must_exist(disk: &dyn Disk, files: &[(String, u64)]) -> Result<(), StoreError> {
    if files.iter().any(|(name, _)| name == FILE) {
        return Ok(());
    }
    Err(match files.is_empty() {
        false => StoreError::Missing { file: disk.describe(FILE) },
        true => StoreError::Directory {
            path: directory(disk),
            what: "there is no store here: name the directory of the setting storage.path".to_owned(),
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::check;
    use crate::codec::packet_id::PacketId;
    use crate::codec::qos::QoS;
    use crate::storage::durable::disk::{Disk, DiskFile};
    use crate::storage::durable::keys::{Key, Kind, numbered, of_filter, of_session, retained};
    use crate::storage::durable::overlay::Net;
    use crate::storage::durable::rows::{self, SessionRow};
    use crate::storage::durable::tools::{NewStore, Scratch};
    use crate::storage::{DeliveryRecord, MessageRecord, StoreError};
    use crate::time::WallTime;

    /// A disk without files.
    struct Nothing;

    impl Disk for Nothing {
        fn open(&self, _name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
            Ok(None)
        }

        fn create(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn remove(&self, _name: &str) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn names(&self) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn describe(&self, name: &str) -> String {
            name.to_owned()
        }
    }

    /// What a check says of a store with the session 1 of "c" and these rows.
    fn said(more: &[(Key, Vec<u8>)]) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(Scratch::over(Arc::new(Nothing)));
        let store = NewStore::begin(&*disk, [1; 16]).unwrap();
        let session = (numbered(Kind::Session, 1), SessionRow::new(5, None).encode("c"));
        let rows = std::iter::once(&session).chain(more);
        let rows: Vec<_> = rows.map(|(key, row)| (key.clone(), Net::New(row.clone().into()))).collect();
        store.put(&rows).unwrap();
        store.finish(100, 8192).unwrap();
        match check(disk) {
            Ok(_) => Ok(()),
            Err(StoreError::Unreadable { file, what }) => {
                assert_eq!(file, "midge.redb");
                Err(what)
            }
            Err(other) => Err(other.to_string()),
        }
    }

    fn message(topic: &str) -> MessageRecord<'_> {
        MessageRecord {
            topic,
            properties: &[],
            payload: b"p",
            qos: QoS::AtLeastOnce,
            retain: false,
            received_at: WallTime::from_millis(1),
            expires_at: WallTime::NEVER,
        }
    }

    fn delivery(qos: QoS, shared: u64) -> Vec<u8> {
        let record =
            DeliveryRecord { message: message("t"), qos, retain: false, identifiers: &[], share: None };
        rows::delivery(&record, shared)
    }

    #[test]
    fn rows_that_belong_to_nothing_or_say_nothing_are_damage() {
        let id = PacketId::new(7).unwrap();
        let shared = (numbered(Kind::Message, 9), rows::numbered_message(9, &message("t")));
        let queued = |shared| (of_session(Kind::Delivery, 1, 2), delivery(QoS::AtLeastOnce, shared));
        said(&[queued(9), shared.clone()]).unwrap();
        type Rows<'r> = &'r [(Key, Vec<u8>)];
        let cases: [(Rows<'_>, &str); 8] = [
            (std::slice::from_ref(&shared), "a message belongs to no delivery"),
            (&[queued(9)], "the message of a delivery of session \"c\" cannot be read"),
            (
                &[(of_session(Kind::Delivery, 1, 2), delivery(QoS::AtMostOnce, 9)), shared.clone()],
                "a delivery of session \"c\" cannot be read",
            ),
            (
                &[(of_session(Kind::Window, 1, 2), rows::window(id, true)), queued(9), shared.clone()],
                "a delivery of session \"c\" cannot be read",
            ),
            (
                &[(of_filter(Kind::Subscription, 1, "a#"), rows::subscription(0, 0))],
                "a subscription of session \"c\" cannot be read",
            ),
            (&[(retained("t"), rows::message(&message("other")))], "a retained message cannot be read"),
            (&[(retained("+"), rows::message(&message("+")))], "a message of topic \"+\" cannot be read"),
            (
                &[(numbered(Kind::Session, 3), SessionRow::new(5, None).encode("c"))],
                "there are two sessions of \"c\"",
            ),
        ];
        for (rows, what) in cases {
            assert_eq!(said(rows), Err(what.to_owned()));
        }
        for kind in [Kind::Delivery, Kind::Received] {
            said(&[(of_session(kind, 2, 2), delivery(QoS::AtLeastOnce, 9)), shared.clone()]).unwrap_err();
        }
    }
}
