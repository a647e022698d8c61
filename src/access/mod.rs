//! Floor 5: the broker's own authorities, over files that may be read again while it runs.

pub mod files;
pub mod rules;

pub use files::{AccessFile, AccessFileError, AccessFiles, Contained, FileContent, Reread};
