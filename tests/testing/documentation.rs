//! The code of docs/testing.md is that of programs which are compiled and run.

const PAGE: &str = include_str!("../../docs/testing.md");
const RUST: &str = include_str!("example.rs");
const C: &str = include_str!("../../examples/c/test_client.c");

/// The blocks of the page in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_code_of_the_page_is_code_that_runs() {
    for (language, program) in [("rust", RUST), ("c", C)] {
        let blocks = blocks(language);
        assert!(!blocks.is_empty(), "{language}");
        for block in blocks {
            assert!(program.contains(block), "not in the program that is tested:\n{block}");
        }
    }
}

/// The names of the page, in Rust and in C, exist.
#[test]
fn the_names_of_the_page_exist() {
    let header = include_str!("../../include/midge.h");
    let words = PAGE.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let names: Vec<_> = words.filter(|word| word.to_ascii_lowercase().starts_with("midge_")).collect();
    assert!(names.len() > 20);
    for name in names.iter().filter(|name| !name.ends_with('_')) {
        assert!(header.contains(name), "{name} is not in the header");
    }
}
