//! Golden packets: what the specification says of bytes, played against the real listener.
//!
//! The scenarios stand in the `.txt` files beside this one, a file for each chapter of the specification; README.txt
//! tells their notation. Nothing of `midge::codec` is used here: the bytes are checked independently of what wrote them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail by a panic"
)]

mod play;
mod script;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::script::{Chapter, Scenario, Version};

/// Scenarios that are played at the same time.
const PLAYERS: usize = 4;

#[test]
fn every_scenario_of_every_chapter_goes_as_the_specification_says() {
    let chapters = chapters();
    let cases: Vec<(&Chapter, &Scenario, Version)> = chapters
        .iter()
        .flat_map(|chapter| chapter.scenarios.iter().map(move |scenario| (chapter, scenario)))
        .flat_map(|(chapter, scenario)| scenario.versions.iter().map(move |v| (chapter, scenario, *v)))
        .filter(|(chapter, scenario, _)| is_wanted(chapter, scenario))
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some((chapter, scenario, version)) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err((line, cause)) = play::play(scenario, *version) {
                        let place = format!("tests/wire/{}:{line}", chapter.name);
                        let title = &scenario.title;
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("{place}: MQTT {version}: {title}\n    {cause}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let scenarios: usize = chapters.iter().map(|chapter| chapter.scenarios.len()).sum();
    println!("{} chapters, {scenarios} scenarios, {} cases played", chapters.len(), cases.len());
    assert!(!cases.is_empty(), "no scenario matches MIDGE_WIRE");
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// The scenarios can fail: each of these is false in the line that says so.
#[test]
fn a_scenario_that_is_not_so_fails_at_its_line() {
    let false_scenarios = r#"
## Another byte (3.1.1)
a connects
a > c0 00
a < d0 01 # false
## A byte more than there is (3.1.1)
a connects
a > 82 @ 0001 't' 00
a < 90 @ 0001 00 00 # false
## A byte less than there is (3.1.1)
a connects
a > 82 @ 0001 't' 00
a < 90 03 0001 # false
## Not quiet (5.0)
a connects
a > 82 @ 0001 {} 't' 00 / 30 @ 't' {} "x"
a < 90 @ 0001 {} 00
a ! quiet # false
## Open (5.0)
a connects
a > c0 00
a ! closed # false
## Closed for another reason (5.0)
a connects
a > 20 02 00 00
a ! closed 8d|8e # false
## Closed without a reason (5.0)
a connects
a > 20 02 00 00
a ! closed # false
## Not the same identifier (3.1.1)
a connects
a > 32 @ 't' 0007 "x"
a < 40 02 $p
a > 32 @ 't' 0008 "y"
a < 40 02 $p # false
## Both of two (5.0)
a connects
b connects
a > 82 @ 0001 {} 't' 00
a < 90 @ 0001 {} 00
b > 82 @ 0001 {} 't' 00
b < 90 @ 0001 {} 00
a > 30 @ 't' {} "x"
a|b < 30 @ 't' {} "x" # false
"#;
    let chapter = script::parse("false", false_scenarios).unwrap();
    for scenario in &chapter.scenarios {
        let (line, _) = play::play(scenario, scenario.versions[0]).expect_err(&scenario.title);
        let text = false_scenarios.lines().nth(line - 1).unwrap();
        assert!(text.ends_with("# false"), "{}: {text}", scenario.title);
    }
}

#[test]
fn the_notation_means_what_its_page_says() {
    let bytes = |text: &str| match script::parse_bytes(text) {
        Ok(tokens) => play::encode(&tokens, Version::V5),
        Err(cause) => Err(cause),
    };
    assert_eq!(bytes("10 0004 # comment").unwrap(), [0x10, 0, 4]);
    assert_eq!(bytes("\"ab\" 'ab' 41x3 'c'x2").unwrap(), b"ab\0\x02abAAA\0\x01c\0\x01c");
    assert_eq!(bytes("30 @ 't' {} \"x\"").unwrap(), [0x30, 5, 0, 1, b't', 0, b'x']);
    assert_eq!(bytes("c0 @ / c0 @").unwrap(), [0xC0, 0, 0xC0, 0]);
    assert_eq!(bytes("30 @ 78x128").unwrap()[..3], [0x30, 0x80, 1]);
    assert_eq!(bytes("{ 26 'k' 'v' }").unwrap(), [7, 0x26, 0, 1, b'k', 0, 1, b'v']);
    for wrong in ["1", "0x", "zz", "'a", "{ 01", "'a'3", "..", "*", "$p"] {
        assert!(bytes(wrong).is_err(), "{wrong}");
    }
}

/// Every chapter beside this file, in the order of the specification.
fn chapters() -> Vec<Chapter> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut chapters: Vec<Chapter> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt") && !path.ends_with("README.txt"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            script::parse(name, &text)
                .unwrap_or_else(|(line, cause)| panic!("tests/wire/{name}:{line}: {cause}"))
        })
        .collect();
    chapters.sort_by(|a, b| a.name.cmp(&b.name));
    chapters
}

/// Whether the environment variable `MIDGE_WIRE`, a part of a file's name or of a title, leaves the scenario in.
fn is_wanted(chapter: &Chapter, scenario: &Scenario) -> bool {
    std::env::var("MIDGE_WIRE")
        .map_or(true, |wanted| chapter.name.contains(&wanted) || scenario.title.contains(&wanted))
}
