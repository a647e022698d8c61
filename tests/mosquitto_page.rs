//! The commands of docs/from-mosquitto.md, with the file that the page shows: they print what the page says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../docs/from-mosquitto.md");

/// The only block of a language.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let mut blocks = PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.next().unwrap();
    assert!(blocks.next().is_none(), "{language}");
    block
}

#[test]
fn the_commands_of_the_page_print_what_it_says() {
    let place = std::env::temp_dir().join(format!("midge-mosquitto-page-{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    fs::write(place.join("acl"), block("text")).unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_midge")).parent().unwrap().to_str().unwrap();
    let mut printed = String::new();
    for line in block("console").lines().filter_map(|line| line.strip_prefix("$ ")) {
        let command = format!("exec 2>&1; PATH='{folder}':$PATH; {line}");
        let output = Command::new("sh").args(["-c", &command]).current_dir(&place).output().unwrap();
        printed.push_str(&format!("$ {line}\n{}", String::from_utf8(output.stdout).unwrap()));
    }
    fs::remove_dir_all(&place).unwrap();
    assert_eq!(printed, block("console"));
}
