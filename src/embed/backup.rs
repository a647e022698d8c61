//! A copy of the store of a running broker.

use std::path::Path;

use crate::embed::broker::Broker;
use crate::embed::error::Error;

impl Broker {
    /// Copies the store of the setting `storage.path` to a directory, which `storage.path` may name afterwards.
    ///
    /// The copy has all that was acknowledged before the call, and perhaps some of what came later: the state of one moment.
    /// The directory is created if it does not exist, and must not have a store; there is one in it when the copy is
    /// whole. Messages are acknowledged meanwhile. The call waits until the copy is on stable storage, so it does not
    /// belong into a callback.
    ///
    /// # Errors
    /// The broker has no store ([`Error::Storage`]), or the store has failed; the directory cannot be written, or has a
    /// store ([`Error::Argument`]); the broker has stopped.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let shared = self.shared()?;
        if shared.has_stopped() {
            return Err(Error::Stopped);
        }
        match &shared.storage {
            Some(storage) => storage.backup(path.as_ref()),
            None => Err(Error::Storage("it is not set, so this broker has no store to copy".to_owned())),
        }
    }
}
