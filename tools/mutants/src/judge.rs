//! Runs the tests that reach a mutant until one notices it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::compile::Binary;
use crate::process::{End, Place};
use crate::suite::{Suite, Test};

/// Tests of a binary that are tried before the slower ones of any.
const FIRST: usize = 8;
/// What a batch of the slower tests may take, in milliseconds, if nothing is wrong.
const BATCH: u64 = 3_000;

/// What came of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The test that failed, or how the process ended.
    Noticed(String),
    /// How many tests reach the mutant and pass.
    Survived(usize),
}

pub fn judge(suite: &Suite, binaries: &[Binary], place: &Place, mutant: u32) -> io::Result<Verdict> {
    let mut reaching = 0;
    for batch in batches(suite, mutant) {
        reaching += batch.len();
        if let Some(by) = notices(binaries, place, mutant, &batch)? {
            return Ok(Verdict::Noticed(by));
        }
    }
    Ok(Verdict::Survived(reaching))
}

/// The tests that reach the mutant, each batch of one binary: first the quickest of every binary.
fn batches(suite: &Suite, mutant: u32) -> Vec<Vec<&Test>> {
    let mut groups: BTreeMap<usize, Vec<&Test>> = BTreeMap::new();
    for test in suite.tests.iter().filter(|test| test.reaches(mutant)) {
        groups.entry(test.binary).or_default().push(test);
    }
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for tests in groups.values_mut() {
        tests.sort_by_key(|test| test.millis);
        let (quick, slow) = tests.split_at(tests.len().min(FIRST));
        first.push(quick.to_vec());
        let mut batch: Vec<&Test> = Vec::new();
        for test in slow {
            if !batch.is_empty() && time(&batch) + test.millis > BATCH {
                later.push(std::mem::take(&mut batch));
            }
            batch.push(test);
        }
        if !batch.is_empty() {
            later.push(batch);
        }
    }
    first.sort_by_key(|batch| time(batch));
    later.sort_by_key(|batch| time(batch));
    first.extend(later);
    first
}

fn time(batch: &[&Test]) -> u64 {
    batch.iter().map(|test| test.millis).sum()
}

/// What notices the mutant among these tests. A test that fails once and then passes has not noticed anything.
fn notices(binaries: &[Binary], place: &Place, mutant: u32, batch: &[&Test]) -> io::Result<Option<String>> {
    let Some(binary) = batch.first().map(|test| &binaries[test.binary]) else {
        return Ok(None);
    };
    let names: Vec<&str> = batch.iter().map(|test| test.name.as_str()).collect();
    let usual = time(batch);
    let limit = place.patience + Duration::from_millis((20 * usual).min(60_000.max(3 * usual)));
    let number = mutant.to_string();
    let by = |what: &str| Some(format!("{} {what}", binary.name));
    Ok(match place.run(binary, &names, ("MIDGE_MUTANT", &number), limit)? {
        End::Passed => None,
        End::TimedOut => by("(timed out)"),
        End::Crashed(how) => by(&format!("({how})")),
        End::Failed(failed) => {
            let again: Vec<&str> = failed.iter().map(String::as_str).take(3).collect();
            match place.run(binary, &again, ("MIDGE_MUTANT", &number), limit)? {
                End::Passed => None,
                _ => by(&failed[0]),
            }
        }
    })
}
