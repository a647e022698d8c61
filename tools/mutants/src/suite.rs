//! The tests: which there are, what each reaches, and how long it takes.

use std::fs;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::compile::Binary;
use crate::process::{End, Place};

/// What a test may take without a mutant.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Clone, Debug)]
pub struct Test {
    /// Index of the binary.
    pub binary: usize,
    pub name: String,
    pub millis: u64,
    /// One bit for each mutant.
    pub reached: Vec<u8>,
}

impl Test {
    pub fn reaches(&self, mutant: u32) -> bool {
        self.reached.get(mutant as usize / 8).is_some_and(|byte| byte & (1 << (mutant % 8)) != 0)
    }
}

/// The tests that pass without a mutant, and the names of those that do not.
#[derive(Debug, Default)]
pub struct Suite {
    pub tests: Vec<Test>,
    pub unusable: Vec<String>,
}

impl Suite {
    /// Runs every test alone and notes what it reaches; of binaries that were not built again, `known` has it.
    pub fn explore(
        binaries: &[Binary],
        places: &[Place],
        mutants: usize,
        (same, mut known): (Vec<Binary>, Self),
    ) -> io::Result<Self> {
        let mut names = Vec::new();
        let place_of = |old: usize| binaries.iter().position(|binary| same[old].path == binary.path);
        known.tests.retain_mut(|test| place_of(test.binary).map(|index| test.binary = index).is_some());
        for (index, binary) in binaries.iter().enumerate() {
            if same.iter().any(|known| known.path == binary.path) {
                continue;
            }
            names.extend(list(binary)?.into_iter().map(|name| (index, name)));
        }
        eprintln!("{} tests are run alone, to see which mutants they reach", names.len());
        let next = AtomicUsize::new(0);
        let suite = Mutex::new(known);
        each(places, |place| {
            while let Some((index, name)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = explore(place, binaries, *index, name, mutants);
                let mut suite = suite.lock().unwrap_or_else(PoisonError::into_inner);
                match found {
                    Ok(Some(test)) => suite.tests.push(test),
                    _ => suite.unusable.push(format!("{} {name}", binaries[*index].name)),
                }
            }
        });
        let mut suite = suite.into_inner().unwrap_or_else(PoisonError::into_inner);
        suite.tests.sort_by(|a, b| (a.binary, &a.name).cmp(&(b.binary, &b.name)));
        suite.unusable.sort();
        Ok(suite)
    }

    pub fn to_json(&self) -> Value {
        let tests = self.tests.iter().map(|test| {
            let bits: String = test.reached.iter().map(|byte| format!("{byte:02x}")).collect();
            json!([test.binary, test.name, test.millis, bits])
        });
        json!({ "tests": tests.collect::<Vec<_>>(), "unusable": self.unusable })
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let mut suite = Self::default();
        for test in value.get("tests")?.as_array()? {
            let bits = test.get(3)?.as_str()?.as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            suite.tests.push(Test {
                binary: test.get(0)?.as_u64()? as usize,
                name: test.get(1)?.as_str()?.to_owned(),
                millis: test.get(2)?.as_u64()?,
                reached: bits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?,
            });
        }
        let unusable = value.get("unusable")?.as_array()?;
        suite.unusable = unusable.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        Some(suite)
    }
}

/// Runs `work` on one thread for each place.
pub fn each(places: &[Place], work: impl Fn(&Place) + Sync) {
    thread::scope(|scope| {
        for place in places {
            scope.spawn(|| work(place));
        }
    });
}

fn explore(
    place: &Place,
    binaries: &[Binary],
    index: usize,
    name: &str,
    mutants: usize,
) -> io::Result<Option<Test>> {
    let hits = place.folder.join("hits");
    fs::write(&hits, vec![b'0'; mutants + 1])?;
    let start = Instant::now();
    let variable = ("MIDGE_MUTANT_HITS", hits.to_string_lossy().into_owned());
    let end = place.run(&binaries[index], &[name], (variable.0, &variable.1), LIMIT)?;
    let millis = start.elapsed().as_millis() as u64;
    if end != End::Passed {
        return Ok(None);
    }
    let mut reached = vec![0; mutants / 8 + 1];
    for (mutant, _) in fs::read(&hits)?.iter().enumerate().filter(|(_, byte)| **byte == b'1') {
        reached[mutant / 8] |= 1 << (mutant % 8);
    }
    Ok(Some(Test { binary: index, name: name.to_owned(), millis, reached }))
}

/// The tests of a binary that are not ignored.
fn list(binary: &Binary) -> io::Result<Vec<String>> {
    if !binary.harness {
        return Ok(vec!["as a whole".to_owned()]);
    }
    let names = |more: &[&str]| -> io::Result<Vec<String>> {
        let output = Command::new(&binary.path).args(["--list", "--format", "terse"]).args(more).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let ignored = names(&["--ignored"])?;
    Ok(names(&[])?.into_iter().filter(|name| !ignored.contains(name)).collect())
}
