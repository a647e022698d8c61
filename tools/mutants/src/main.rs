//! Mutates a package, all mutants in one build, and lists those of a sample that no test notices. README.md has more.

mod compile;
mod edit;
mod equivalents;
mod find;
mod judge;
mod mutant;
mod operators;
mod process;
mod report;
mod suite;
#[cfg(test)]
mod tests;
mod tree;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use compile::Binary;
use equivalents::Reason;
use mutant::Mutant;
use process::Place;
use report::{Report, Row};
use suite::{Suite, each};
use tree::Tree;

#[derive(Debug, Parser)]
struct Arguments {
    /// The package
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the copy, the reports and what is kept between runs go
    #[arg(long, default_value = "build/mutants")]
    out: PathBuf,
    /// Where the copy is built
    #[arg(long)]
    target_dir: Option<PathBuf>,
    /// Decides which mutants are in the sample
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many mutants are tried
    #[arg(long, default_value_t = 100)]
    sample: usize,
    /// Only mutants below these folders
    #[arg(long, value_delimiter = ',')]
    folder: Vec<String>,
    /// Only mutants in these files
    #[arg(long, value_delimiter = ',')]
    file: Vec<String>,
    /// Only the mutants with these names
    #[arg(long)]
    only: Vec<String>,
    /// Print the names of the chosen mutants, and run nothing
    #[arg(long)]
    list: bool,
    /// Mutants that are tried at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds that a batch of tests may take beyond many times what it should
    #[arg(long, default_value_t = 20)]
    patience: u64,
    /// End with status 1 if fewer of a hundred are noticed
    #[arg(long)]
    require: Option<f64>,
    /// The folder of the lists of equivalent mutants
    #[arg(long)]
    equivalents: Option<PathBuf>,
    /// Features of the package
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
    /// Integration tests that are not run
    #[arg(long, value_delimiter = ',')]
    leave_out: Vec<String>,
    /// Folders that the tests do not need: a change in them is no reason to build again
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// A folder of programs that load the shared library: each is a test, too
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether as many mutants are noticed as are required.
fn run(arguments: &Arguments) -> io::Result<bool> {
    let root = arguments.root.canonicalize()?;
    fs::create_dir_all(&arguments.out)?;
    let out = arguments.out.canonicalize()?;
    let tree = Tree::read(&root, &out.join("tree"), &arguments.without)?;
    let equivalents = match &arguments.equivalents {
        Some(folder) => equivalents::read(folder)?,
        None => BTreeMap::new(),
    };
    let chosen: Vec<&Mutant> = tree.mutants.iter().filter(|mutant| arguments.chooses(mutant)).collect();
    if arguments.list {
        let chosen = mutant::sample(chosen, arguments.seed, arguments.sample);
        chosen.iter().for_each(|mutant| println!("{}:{} {}", mutant.file, mutant.line, mutant.id));
        return Ok(true);
    }
    let target = arguments.target_dir.clone().unwrap_or_else(|| out.join("target"));
    let places = places(arguments, &out, &tree.copy, &target)?;
    let (binaries, suite, dropped) = prepare(arguments, &tree, &out, &target, &places)?;
    let viable = chosen.into_iter().filter(|mutant| !dropped.contains(&mutant.number)).collect();
    let sampled = mutant::sample(viable, arguments.seed, arguments.sample);
    let rows = try_all(&sampled, &suite, &binaries, &places, &equivalents);
    let known: HashSet<&str> = tree.mutants.iter().map(|mutant| mutant.id.as_str()).collect();
    let unknown = equivalents.keys().filter(|id| !known.contains(id.as_str())).cloned().collect();
    let report = Report { seed: arguments.seed, rows, unknown, unusable: suite.unusable };
    print!("{}", report.text());
    fs::write(out.join("report.txt"), report.text())?;
    fs::write(out.join("report.json"), format!("{:#}\n", report.json()))?;
    Ok(arguments.require.is_none_or(|least| report.percent() >= least))
}

impl Arguments {
    fn chooses(&self, mutant: &Mutant) -> bool {
        let below = |folder: &String| {
            mutant.file.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        };
        (self.folder.is_empty() && self.file.is_empty()
            || self.folder.iter().any(below)
            || self.file.contains(&mutant.file))
            && (self.only.is_empty() || self.only.contains(&mutant.id))
    }
}

/// A folder for each worker.
fn places(arguments: &Arguments, out: &Path, copy: &Path, target: &Path) -> io::Result<Vec<Place>> {
    (0..arguments.jobs.max(1))
        .map(|number| {
            let folder = out.join(format!("worker-{number}"));
            fs::create_dir_all(&folder)?;
            let patience = Duration::from_secs(arguments.patience);
            Ok(Place { folder, package: copy.to_owned(), libraries: target.join("debug/deps"), patience })
        })
        .collect()
}

/// Builds and explores; what is still the same since the last run is not done again.
fn prepare(
    arguments: &Arguments,
    tree: &Tree,
    out: &Path,
    target: &Path,
    places: &[Place],
) -> io::Result<(Vec<Binary>, Suite, HashSet<u32>)> {
    let (unviable, state) = (out.join("unviable.txt"), out.join("state.json"));
    let known = fs::read_to_string(&unviable).unwrap_or_default();
    let known: HashSet<&str> = known.lines().collect();
    let named = |mutant: &&Mutant| known.contains(mutant.id.as_str());
    let mut dropped: HashSet<u32> = tree.mutants.iter().filter(named).map(|mutant| mutant.number).collect();
    let kept: Option<Value> =
        fs::read_to_string(&state).ok().and_then(|text| serde_json::from_str(&text).ok());
    let print = |tree: &Tree| -> io::Result<String> {
        let Arguments { features, leave_out, programs, .. } = arguments;
        Ok(format!("{} {features:?} {leave_out:?} {programs:?}", tree.fingerprint("")?))
    };
    tree.write(&dropped)?;
    let fingerprint = print(tree)?;
    if let Some(kept) = kept.as_ref().filter(|kept| kept["fingerprint"] == fingerprint)
        && let Some((binaries, suite)) = unchanged(kept)
        && kept["binaries"].as_array().is_some_and(|all| all.len() == binaries.len())
    {
        return Ok((binaries, suite, dropped));
    }
    eprintln!("{} mutants in {} files; building", tree.mutants.len(), tree.sources.len());
    let mut binaries =
        compile::compile(tree, target, &arguments.features, &arguments.leave_out, &mut dropped)?;
    if let Some(folder) = &arguments.programs {
        binaries.extend(compile::programs(folder)?);
    }
    eprintln!("{} mutants compile, {} do not", tree.mutants.len() - dropped.len(), dropped.len());
    let names = tree.mutants.iter().filter(|mutant| dropped.contains(&mutant.number));
    fs::write(&unviable, names.map(|mutant| format!("{}\n", mutant.id)).collect::<String>())?;
    // Programs are the same when the library that they load is another: what they reach is kept with the sources.
    let sources = tree.fingerprint("src/")?;
    let before = kept.filter(|kept| kept["sources"] == sources).and_then(|kept| unchanged(&kept));
    let suite = Suite::explore(&binaries, places, tree.mutants.len(), before.unwrap_or_default())?;
    let paths: Vec<Value> = binaries
        .iter()
        .map(|binary| json!([binary.name, binary.path.to_string_lossy(), binary.harness, binary.stamp()]))
        .collect();
    let value = json!({
        "fingerprint": print(tree)?, "sources": sources, "binaries": paths, "suite": suite.to_json(),
    });
    fs::write(&state, value.to_string())?;
    Ok((binaries, suite, dropped))
}

/// The binaries of the last run that were not built again, and what their tests reach.
fn unchanged(kept: &Value) -> Option<(Vec<Binary>, Suite)> {
    let mut suite = Suite::from_json(kept.get("suite")?)?;
    let (mut binaries, mut places) = (Vec::new(), Vec::new());
    for value in kept.get("binaries")?.as_array()? {
        let path = PathBuf::from(value.get(1)?.as_str()?);
        let binary =
            Binary { name: value.get(0)?.as_str()?.to_owned(), path, harness: value.get(2)?.as_bool()? };
        let same = value.get(3)?.as_str()? == binary.stamp();
        places.push(same.then_some(binaries.len()));
        if same {
            binaries.push(binary);
        }
    }
    suite.tests.retain_mut(|test| match places.get(test.binary).copied().flatten() {
        Some(place) => {
            test.binary = place;
            true
        }
        None => false,
    });
    let known =
        |name: &String| binaries.iter().any(|binary: &Binary| name.starts_with(&format!("{} ", binary.name)));
    suite.unusable.retain(known);
    Some((binaries, suite))
}

fn try_all<'m>(
    sampled: &[&'m Mutant],
    suite: &Suite,
    binaries: &[Binary],
    places: &[Place],
    equivalents: &'m BTreeMap<String, Reason>,
) -> Vec<Row<'m>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let rows = Mutex::new(Vec::new());
    each(places, |place| {
        while let Some(mutant) = sampled.get(next.fetch_add(1, Ordering::Relaxed)) {
            match judge::judge(suite, binaries, place, mutant.number) {
                Ok(verdict) => {
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    eprintln!("{done}/{} {} {verdict:?}", sampled.len(), mutant.id);
                    let reason = equivalents.get(&mutant.id);
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows.push(Row { mutant, verdict, reason });
                }
                Err(error) => eprintln!("{}: {error}", mutant.id),
            }
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| row.mutant.number);
    rows
}
