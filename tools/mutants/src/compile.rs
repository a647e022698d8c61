//! Builds the copy, and drops the mutants that do not compile.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::edit::Written;
use crate::tree::Tree;

/// Rounds of dropping before giving up.
const ROUNDS: usize = 25;

/// A program that runs tests.
#[derive(Clone, Debug)]
pub struct Binary {
    pub name: String,
    pub path: PathBuf,
    /// Whether it is a test binary of cargo, which takes names of tests; others are one test as a whole.
    pub harness: bool,
}

impl Binary {
    /// What differs if it was built again: its path, and when it was written.
    pub fn stamp(&self) -> String {
        let written = std::fs::metadata(&self.path).and_then(|data| data.modified()).ok();
        let since = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        format!("{} {}", self.path.display(), since.map_or(0, |since| since.as_nanos()))
    }
}

#[derive(Debug)]
struct Span {
    file: String,
    range: Range<usize>,
    primary: bool,
}

/// Writes and builds until everything compiles; adds to `dropped` what does not.
pub fn compile(
    tree: &Tree,
    target: &Path,
    features: &[String],
    leave_out: &[String],
    dropped: &mut HashSet<u32>,
) -> io::Result<Vec<Binary>> {
    let tests: Vec<String> =
        tree.test_targets().into_iter().filter(|name| !leave_out.contains(name)).collect();
    let features = features.join(",");
    let mut suites = vec!["test", "--no-run", "--features", &features, "--lib"];
    if tree.files.iter().any(|name| name == "src/main.rs" || name.starts_with("src/bin/")) {
        suites.push("--bins");
    }
    suites.extend(tests.iter().flat_map(|name| ["--test", name]));
    let mut blame = Blame::default();
    for round in 1..=ROUNDS {
        let places = tree.write(dropped)?;
        let messages = cargo(tree, target, &suites)?;
        let errors: Vec<(String, Vec<Span>)> = messages.iter().filter_map(error).collect();
        if errors.is_empty() {
            return Ok(messages.iter().filter_map(binary).collect());
        }
        blame.round = round;
        let mut guilty = HashSet::new();
        for (text, spans) in &errors {
            let blamed = blame.find(tree, &places, spans);
            if blamed.len() > 1 {
                eprintln!("{} mutants are suspected of: {text}", blamed.len());
            }
            guilty.extend(blamed);
        }
        eprintln!("round {round}: {} errors, {} mutants do not compile", errors.len(), guilty.len());
        if guilty.is_empty() {
            return Err(io::Error::other("the copy does not build"));
        }
        dropped.extend(guilty);
    }
    Err(io::Error::other("the copy does not build after many rounds"))
}

fn cargo(tree: &Tree, target: &Path, arguments: &[&str]) -> io::Result<Vec<Value>> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--quiet", "--message-format=json"])
        .current_dir(&tree.copy)
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .stderr(Stdio::piped())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !output.status.success() && !messages.iter().any(|message| error(message).is_some()) {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(messages)
}

fn binary(message: &Value) -> Option<Binary> {
    let test = message.get("profile")?.get("test")?.as_bool()?;
    let path = message.get("executable")?.as_str().filter(|_| test)?;
    let target = message.get("target")?;
    let kind = target.get("kind")?.get(0)?.as_str()?;
    let name = target.get("name")?.as_str()?;
    let name = match kind {
        "test" => name.to_owned(),
        "bin" => format!("bin {name}"),
        _ => "lib".to_owned(),
    };
    Some(Binary { name, path: path.into(), harness: true })
}

/// The programs in a folder, which load the package's shared library.
pub fn programs(folder: &Path) -> io::Result<Vec<Binary>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let executable = std::fs::metadata(&path)?.permissions().mode() & 0o111 != 0;
        if path.is_file() && executable {
            found.push(Binary { name, path: path.canonicalize()?, harness: false });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The text and the places of an error.
fn error(message: &Value) -> Option<(String, Vec<Span>)> {
    let message = message.get("message")?;
    if message.get("level")?.as_str()? != "error" {
        return None;
    }
    let mut found = Vec::new();
    spans(message, true, &mut found);
    let rendered = message.get("rendered").and_then(Value::as_str).unwrap_or_default().to_owned();
    (!found.is_empty()).then_some((rendered, found))
}

fn spans(message: &Value, own: bool, found: &mut Vec<Span>) {
    for span in message.get("spans").and_then(Value::as_array).into_iter().flatten() {
        let mut span = Some(span);
        while let Some(at) = span {
            let number = |key| at.get(key).and_then(Value::as_u64).unwrap_or_default() as usize;
            found.push(Span {
                file: at.get("file_name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                range: number("byte_start")..number("byte_end"),
                primary: own && at.get("is_primary").and_then(Value::as_bool).unwrap_or_default(),
            });
            span = at.get("expansion").and_then(|expansion| expansion.get("span"));
        }
    }
    for child in message.get("children").and_then(Value::as_array).into_iter().flatten() {
        spans(child, false, found);
    }
}

/// Finds the mutants without which an error would not be.
#[derive(Debug, Default)]
struct Blame {
    round: usize,
    /// For each function that was suspected as a whole: in which round, and how far that went.
    suspected: HashMap<(String, usize), (usize, usize)>,
}

impl Blame {
    fn find(&mut self, tree: &Tree, places: &BTreeMap<String, Written>, spans: &[Span]) -> Vec<u32> {
        for primary in [true, false] {
            for span in spans.iter().filter(|span| span.primary == primary) {
                let Some((written, source)) = places.get(&span.file).zip(tree.sources.get(&span.file)) else {
                    continue;
                };
                let inside = written.alternatives.iter().filter(|(range, _)| around(range, &span.range));
                if let Some((_, mutant)) = inside.min_by_key(|(range, _)| range.len()) {
                    return vec![source.offset + *mutant as u32 + 1];
                }
            }
        }
        let primary = spans.iter().filter(|span| span.primary);
        primary
            .map(|span| self.suspect(tree, places, span))
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }

    /// The error is in what is not mutated, such as a value that is used after a `drop` that may be left out, or before
    /// an assignment that may be: first those are suspected, then all statements, then everything in the function.
    fn suspect(&mut self, tree: &Tree, places: &BTreeMap<String, Written>, span: &Span) -> Vec<u32> {
        let Some((written, source)) = places.get(&span.file).zip(tree.sources.get(&span.file)) else {
            return Vec::new();
        };
        let functions = written.functions.iter().filter(|(range, _)| around(range, &span.range));
        let Some((function, own)) = functions.min_by_key(|(range, _)| range.len()) else {
            return Vec::new();
        };
        let inside = written.places.iter().filter(|(range, _)| around(function, range));
        let mutants: Vec<u32> = inside
            .flat_map(|(_, mutants)| mutants)
            .map(|mutant| source.offset + *mutant as u32 + 1)
            .collect();
        let change = |number: &u32| tree.mutants[*number as usize - 1].change.as_str();
        let frees = |number: &u32| {
            let change = change(number);
            change.starts_with("delete `") && (change.contains("drop(") || change.contains(" = "))
        };
        let levels: [&dyn Fn(&u32) -> bool; 3] =
            [&frees, &|number| change(number).starts_with("delete `"), &|_| true];
        let (round, level) = self.suspected.entry((span.file.clone(), own.start)).or_default();
        if *round == self.round {
            return Vec::new();
        }
        *round = self.round;
        while let Some(suspicious) = levels.get(*level) {
            *level += 1;
            let found: Vec<u32> = mutants.iter().copied().filter(|number| suspicious(number)).collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }
}

fn around(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
