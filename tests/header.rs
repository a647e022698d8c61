//! include/midge.h is what cbindgen writes from src/ffi. `MIDGE_BLESS=1 cargo test --test header` rewrites it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

/// The chapters of the header, in their order.
const CHAPTERS: &[&str] = &[
    "status",
    "error",
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
    "lists",
    "testing",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chapter(name: &str) -> PathBuf {
    root().join("src/ffi").join(name).with_extension("rs")
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let builder = cbindgen::Builder::new().with_config(config);
    let bindings =
        CHAPTERS.iter().fold(builder, |builder, name| builder.with_src(chapter(name))).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).unwrap()
}

/// The names that follow `before` in the lines of `text` that begin with it, in front of a parenthesis.
fn names<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.strip_prefix(before)?.split('(').next())
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = root().join("include/midge.h");
    let generated = generated();
    if std::env::var_os("MIDGE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/midge.h is not up to date; MIDGE_BLESS=1 cargo test --test header"
    );
}

#[test]
fn every_exported_function_is_declared_and_documented() {
    let header = generated();
    let mut functions = 0;
    for name in CHAPTERS {
        let source = std::fs::read_to_string(chapter(name)).unwrap();
        let exported = source.matches("#[unsafe(no_mangle)]").count();
        let found: Vec<_> = names(&source, "pub unsafe extern \"C\" fn ")
            .chain(names(&source, "pub extern \"C\" fn "))
            .collect();
        assert_eq!(found.len(), exported, "{name}");
        for function in found {
            assert!(function.starts_with("midge_"), "{function}");
            assert!(header.contains(&format!("{function}(")), "{function}");
        }
        functions += exported;
    }
    assert!(functions > 60);
    let elsewhere = ["arguments", "guard", "hook_calls", "mod"]
        .map(|name| std::fs::read_to_string(chapter(name)).unwrap());
    assert!(elsewhere.iter().all(|source| !source.contains("no_mangle")));
}

#[test]
fn every_function_is_tried_with_wrong_arguments() {
    let tests = std::fs::read_to_string(root().join("tests/c/arguments.c")).unwrap();
    for name in CHAPTERS {
        let source = std::fs::read_to_string(chapter(name)).unwrap();
        for function in names(&source, "pub unsafe extern \"C\" fn ") {
            assert!(tests.contains(&format!("{function}(")), "{function} is missing in tests/c/arguments.c");
        }
    }
}

#[test]
fn every_name_in_the_header_is_midge_s_own_and_the_version_is_the_crate_s() {
    let header = generated();
    assert!(header.contains(&format!("#define MIDGE_VERSION \"{}\"", env!("CARGO_PKG_VERSION"))));
    for name in names(&header, "#define ").filter_map(|rest| rest.split_whitespace().next()) {
        assert!(name.starts_with("MIDGE_"), "{name}");
    }
    for line in header.lines().filter(|line| line.starts_with("typedef ") && line.ends_with(';')) {
        assert!(line.contains("midge_"), "{line}");
    }
}
