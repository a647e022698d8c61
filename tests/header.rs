//! include/midge.h is what cbindgen writes from src/ffi. `make bless` rewrites it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use crate::header::{CHAPTERS, chapter};

#[path = "../tools/header.rs"]
mod header;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    header::generate(root()).unwrap()
}

/// The names that follow `before` in the lines of `text` that begin with it, in front of a parenthesis.
fn names<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.strip_prefix(before)?.split('(').next())
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let committed = std::fs::read_to_string(root().join("include/midge.h")).unwrap_or_default();
    assert!(committed == generated(), "include/midge.h is not up to date; `make bless` writes it");
}

#[test]
fn every_exported_function_is_declared_and_documented() {
    let header = generated();
    let mut functions = 0;
    for name in CHAPTERS {
        let source = std::fs::read_to_string(chapter(root(), name)).unwrap();
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
        .map(|name| std::fs::read_to_string(chapter(root(), name)).unwrap());
    assert!(elsewhere.iter().all(|source| !source.contains("no_mangle")));
}

#[test]
fn every_function_is_tried_with_wrong_arguments() {
    let tests = std::fs::read_to_string(root().join("tests/c/arguments.c")).unwrap();
    for name in CHAPTERS {
        let source = std::fs::read_to_string(chapter(root(), name)).unwrap();
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
