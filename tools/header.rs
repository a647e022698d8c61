//! How include/midge.h is made of src/ffi: a part of build.rs (feature `header`) and of tests/header.rs.

use std::path::{Path, PathBuf};

/// The chapters of the header, in their order.
pub const CHAPTERS: &[&str] = &[
    "status",
    "error",
    "tls",
    "views",
    "config",
    "broker",
    "publish",
    "message",
    "subscribe",
    "edit",
    "hooks",
    "decision",
    "log",
    "queue",
    "stats",
    "storage",
    "listeners",
    "lists",
    "sessions",
    "testing",
];

/// The file of a chapter, below the folder of the crate.
pub fn chapter(root: &Path, name: &str) -> PathBuf {
    root.join("src/ffi").join(name).with_extension("rs")
}

/// The text of the header.
pub fn generate(root: &Path) -> Result<String, String> {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in CHAPTERS {
        builder = builder.with_src(chapter(root, name));
    }
    let mut text = Vec::new();
    builder.generate().map_err(|error| error.to_string())?.write(&mut text);
    String::from_utf8(text).map_err(|error| error.to_string())
}
