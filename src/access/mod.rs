//! Floor 5: the broker's own authorities, over files that may be read again while it runs.

pub mod anonymous;
pub mod files;
#[cfg(feature = "accounts")]
pub mod passwords;
pub mod rules;

pub use files::{AccessFile, AccessFileError, AccessFiles, Contained, FileContent, Reread};
