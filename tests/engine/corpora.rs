//! Every input of the committed fuzz corpora, without cargo-fuzz: what the fuzzers have found stays found.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn every_input_of_the_corpora_passes() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, function) in fuzz::TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpora.join(target)).unwrap() {
            function(&fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {target} is empty");
    }
}

#[test]
fn a_target_is_found_by_its_name() {
    for (target, _) in fuzz::TARGETS {
        fuzz::run(target, b"");
    }
}
