//! Golden packets: what the specification says of bytes, played against the real listener.
//!
//! The scenarios stand in the `.txt` files beside this one, a file for each chapter of the specification; README.txt
//! tells their notation. Nothing of `midge::codec` is used here: the bytes are checked independently of what wrote them.

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
                while let Some((chapter, scenario, version)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err((line, cause)) = play::play(scenario, *version) {
                        let place = format!("tests/wire/{}:{line}", chapter.name);
                        let title = &scenario.title;
                        failures.lock().unwrap().push(format!("{place}: MQTT {version}: {title}\n    {cause}"));
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
    assert!(failures.is_empty(), "{} of {} cases failed:\n{}", failures.len(), cases.len(), failures.join("\n"));
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
            script::parse(name, &text).unwrap_or_else(|(line, cause)| panic!("tests/wire/{name}:{line}: {cause}"))
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
