//! The commands of docs/storage.md, run in their order: they print what the page says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../docs/storage.md");
/// The directory that the page names.
const PLACE: &str = "/var/lib/midge";

/// The blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What a command of the page prints, with the page's directory in place of that of the test.
fn run(line: &str, place: &Path) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_midge")).parent().unwrap().to_str().unwrap();
    let place = place.to_str().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; PATH='{folder}':$PATH; {}", line.replace(PLACE, place))])
        .current_dir(place)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace(place, PLACE)
}

#[test]
fn the_commands_of_the_page_print_what_it_says() {
    let place = std::env::temp_dir().join(format!("midge-page-{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    let place = place.canonicalize().unwrap();
    fs::write(place.join("store.jsonl"), blocks("json")[0]).unwrap();
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/durable/data/mosquitto.db"),
        place.join("mosquitto.db"),
    )
    .unwrap();
    let mut commands = 0;
    for block in blocks("console") {
        let mut printed = String::new();
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            commands += 1;
            printed.push_str(&format!("$ {line}\n{}", run(line, &place)));
        }
        assert_eq!(printed, block);
    }
    assert!(commands > 8, "{commands}");
    fs::remove_dir_all(&place).unwrap();
}
