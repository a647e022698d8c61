//! The program as a whole, on the package in tests/fixture.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs the program in a folder of its own; its report, and whether it ended well.
fn run(name: &str, more: &[&str]) -> (Value, bool) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new(env!("CARGO_BIN_EXE_mutants"))
        .args(["--sample", "1000", "--patience", "2", "--root"])
        .arg(here.join("fixture"))
        .arg("--out")
        .arg(&out)
        .arg("--target-dir")
        .arg(out.join("target"))
        .arg("--equivalents")
        .arg(here.join("lists"))
        .args(more)
        .status()
        .unwrap();
    let text = std::fs::read_to_string(out.join("report.json")).unwrap();
    (serde_json::from_str(&text).unwrap(), status.success())
}

/// The mutant whose name ends so.
fn mutant<'r>(report: &'r Value, end: &str) -> Option<&'r Value> {
    report["mutants"].as_array().unwrap().iter().find(|mutant| mutant["id"].as_str().unwrap().ends_with(end))
}

#[test]
fn planted_mutants_are_noticed_or_survive() {
    let (report, ended_well) = run("planted", &["--require", "100"]);
    assert!(!ended_well, "mutants have survived");
    let noticed = |end: &str| mutant(&report, end).unwrap()["noticed_by"].as_str();
    let survived = |end: &str| mutant(&report, end).unwrap()["passing_tests"].as_u64();

    let boundary = "lib tests::adults_are_adult_from_eighteen_on";
    assert_eq!(noticed("is_adult: replace `>=` with `<` in `age >= 18`"), Some(boundary));
    assert_eq!(survived("is_warm: replace `>` with `>=` in `degrees > 20`"), Some(1));
    assert_eq!(survived("is_forgotten: return `true` at once"), Some(0));
    assert_eq!(noticed("steps: delete `number -= 1;`"), Some("lib (timed out)"));
    assert_eq!(noticed("late: delete `callback(length);`"), Some("lib tests::the_length_comes_late"));
    assert!(mutant(&report, "late: delete `length = text.len();`").is_none(), "it does not compile");

    // The lists: set aside, stale because noticed, stale because gone.
    let listed = mutant(&report, "is_forgotten: replace `>` with `>=` in `age > 100`").unwrap();
    assert_eq!(listed["reason"], "nobody is exactly a hundred");
    let stale = mutant(&report, "is_adult: replace `>=` with `>` in `age >= 18`").unwrap();
    assert_eq!((&stale["kind"], &stale["noticed_by"]), (&"equivalent".into(), &boundary.into()));
    assert_eq!(report["unknown_equivalents"][0], "src/lib.rs: is_gone: return `true` at once");
    assert_eq!(report["unusable_tests"][0], "lib tests::a_test_that_fails_without_a_mutant");

    // Again, with what the first run has kept: one by its name, and it is noticed.
    let name = "src/lib.rs: is_adult: replace `>=` with `<` in `age >= 18`";
    let (again, ended_well) = run("planted", &["--require", "100", "--only", name]);
    assert_eq!(again["mutants"].as_array().map(Vec::len), Some(1));
    assert!(ended_well && mutant(&again, name).is_some());
}
