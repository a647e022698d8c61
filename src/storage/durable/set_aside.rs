//! Putting the files of a damaged store aside.

use crate::storage::StoreError;
use crate::storage::durable::disk::Disk;
use crate::storage::durable::log::NAMES;
use crate::storage::durable::tables::{FILE, NEW_FILE};

/// Renames the files of the store, so that the disk has none: `log.0` becomes `log.0.damaged-` and `number`. The new
/// path of the first one.
///
/// # Errors
/// A file cannot be renamed.
pub fn set_aside(disk: &dyn Disk, number: u64) -> Result<String, StoreError> {
    let cannot = |name: &str, error: &std::io::Error| StoreError::Failed {
        cause: format!("{} cannot be renamed: {error}", disk.describe(name)),
    };
    let mut kept = None;
    for name in disk.names().map_err(|error| cannot("", &error))? {
        if name == FILE || name == NEW_FILE || NAMES.contains(&&*name) {
            let aside = format!("{name}.damaged-{number}");
            disk.rename(&name, &aside).map_err(|error| cannot(&name, &error))?;
            kept.get_or_insert_with(|| disk.describe(&aside));
        }
    }
    disk.sync().map_err(|error| cannot("", &error))?;
    Ok(kept.unwrap_or_else(|| disk.describe("")))
}
