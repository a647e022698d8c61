//! Every promise of docs/embedding.md has a test: `tests/promises/embedding.txt` lists the page's sentences with their tests.
#![allow(clippy::panic, reason = "tests may")]

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/embedding.md");
const LIST: &str = include_str!("promises/embedding.txt");

/// The sentences of the list, and the tests behind the last bar of each line; none for a hyphen.
fn entries(list: &str) -> Vec<(String, Vec<&str>)> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = lines.map(|line| line.rsplit_once(" | ").unwrap_or_else(|| panic!("no bar: {line}")));
    split
        .map(|(sentence, tests)| {
            (words(sentence), tests.split_whitespace().filter(|test| *test != "-").collect())
        })
        .collect()
}

/// The text of a page in one line, without headings, blocks of code, and the marks of lists and tables.
fn prose(page: &str) -> String {
    let mut text = String::new();
    for line in page.split("```").step_by(2).flat_map(str::lines) {
        let line = line.trim();
        let numbered = line.split_once(". ").filter(|(number, _)| number.parse::<u32>().is_ok());
        let line = numbered.map_or(line, |(_, rest)| rest);
        let line = line.strip_prefix("- ").unwrap_or(line);
        let line = line.strip_prefix("| ").unwrap_or(line);
        let line = line.strip_suffix(" |").unwrap_or(line);
        if !line.starts_with('#') && !line.starts_with("|---") {
            text.push_str(line);
            text.push(' ');
        }
    }
    words(&text)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is wrong with a list of promises; `exists` tells whether there is such a test.
fn faults(page: &str, list: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = prose(page);
    let mut entries = entries(list);
    // The longest first: a sentence may stand in another.
    entries.sort_by_key(|(sentence, _)| std::cmp::Reverse(sentence.len()));
    for (sentence, tests) in entries {
        match rest.find(&sentence) {
            Some(at) => rest.replace_range(at..at + sentence.len(), "\n"),
            None => faults.push(format!("the page does not say: {sentence}")),
        }
        faults.extend(
            tests.iter().filter(|test| !exists(test)).map(|test| format!("no test {test}: {sentence}")),
        );
    }
    let unlisted = rest.split('\n').map(str::trim).filter(|text| text.contains(char::is_alphanumeric));
    faults.extend(unlisted.map(|text| format!("not in the list: {text}")));
    faults
}

/// Whether a test such as `c/fork.c::a_child_decides_nothing` is there.
fn exists(test: &str) -> bool {
    let (file, function) = test.split_once("::").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match file.strip_prefix("python/") {
        Some(file) => root.join("bindings/python/tests").join(file),
        None => root.join("tests").join(file),
    };
    let Ok(text) = fs::read_to_string(path) else { return false };
    match file.rsplit_once('.') {
        // A function that main does not run is no test.
        Some((_, "c")) => text.contains(&format!("RUN({function});")),
        Some((_, "py")) => text.contains(&format!("def {function}(")),
        // Behind its mark, with other attributes between them.
        _ => text.split("#[test]").skip(1).any(|test| {
            test.split_once("fn ").is_some_and(|(_, name)| name.starts_with(&format!("{function}()")))
        }),
    }
}

#[test]
fn every_sentence_of_the_page_is_listed_with_tests_that_exist() {
    let faults = faults(PAGE, LIST, exists);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let tested = entries(LIST).iter().filter(|(_, tests)| !tests.is_empty()).count();
    assert!(tested > 90, "{tested}");
}

#[test]
fn a_fault_of_the_list_is_found() {
    let page = "# Heading\n\nIt starts.\nIt stops.\n\n1. First.\n- Second.\n\n| a | b |\n|---|---|\n| c | d |\n\n```c\nint x;\n```\n";
    let list = "It starts. | x::t\nIt stops. | -\nFirst. | -\nSecond. | -\na | b | -\nc | d | x::t x::u\n";
    assert_eq!(faults(page, list, |_| true), [""; 0]);
    assert_eq!(faults(page, list, |test| test == "x::t"), ["no test x::u: c | d"]);
    let shorter = list.replace("It stops. | -\n", "");
    assert_eq!(faults(page, &shorter, |_| true), ["not in the list: It stops."]);
    let other = list.replace("First.", "Third.");
    assert_eq!(faults(page, &other, |_| true), ["the page does not say: Third.", "not in the list: First."]);
    assert!(
        exists("promises.rs::a_fault_of_the_list_is_found")
            && exists("c/storm.c::a_storm_leaves_nothing_behind")
    );
    assert!(exists("python/test_storm.py::test_a_storm_leaves_nothing_behind"));
    assert!(
        !exists("promises.rs::words")
            && !exists("c/storm.c::play")
            && !exists("c/storm.c::")
            && !exists("nothing")
    );
}

/// Those of Rust by `cargo test --doc`, those of C by tests/c/run.sh, those of Python by its own tests.
#[test]
fn the_blocks_of_the_page_are_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["src/lib.rs", "tests/c/run.sh", "bindings/python/tests/test_examples.py"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains("embedding.md"), "{file}");
    }
    let blocks: Vec<_> =
        PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.lines().next()).collect();
    assert_eq!(blocks, ["rust", "c", "python"]);
}
