//! Builds the copy, and drops the mutants that do not compile.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::edit::Written;
use crate::tree::Tree;

/// Rounds of dropping before giving up.
const ROUNDS: usize = 25;

/// A test binary that was built.
#[derive(Clone, Debug)]
pub struct Binary {
    pub name: String,
    pub path: PathBuf,
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
    leave_out: &[String],
    dropped: &mut HashSet<u32>,
) -> io::Result<Vec<Binary>> {
    let tests: Vec<String> =
        tree.test_targets().into_iter().filter(|name| !leave_out.contains(name)).collect();
    let mut suites = vec!["test", "--no-run", "--lib"];
    if tree.files.iter().any(|name| name == "src/main.rs" || name.starts_with("src/bin/")) {
        suites.push("--bins");
    }
    suites.extend(tests.iter().flat_map(|name| ["--test", name]));
    let mut stages: &[&[&str]] = &[&["build", "--lib"], &suites];
    for round in 1..=ROUNDS {
        let Some((stage, rest)) = stages.split_first() else {
            break;
        };
        let places = tree.write(dropped)?;
        let messages = cargo(tree, target, stage)?;
        let errors: Vec<(String, Vec<Span>)> = messages.iter().filter_map(error).collect();
        if errors.is_empty() {
            if rest.is_empty() {
                return Ok(messages.iter().filter_map(binary).collect());
            }
            stages = rest;
            continue;
        }
        let mut guilty = HashSet::new();
        for (text, spans) in &errors {
            let blamed = blame(tree, &places, spans);
            if blamed.is_empty() {
                eprintln!("no mutant is to blame for: {text}");
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
    Some(Binary { name, path: path.into() })
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

/// The mutants without which the error would not be: those in whose text it is, or else those around it.
fn blame(tree: &Tree, places: &BTreeMap<String, Written>, spans: &[Span]) -> Vec<u32> {
    let around =
        |outer: &Range<usize>, inner: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
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
    for span in spans.iter().filter(|span| span.primary) {
        let Some((written, source)) = places.get(&span.file).zip(tree.sources.get(&span.file)) else {
            continue;
        };
        let numbers =
            |mutants: &[usize]| mutants.iter().map(|mutant| source.offset + *mutant as u32 + 1).collect();
        let inside = written.places.iter().filter(|(range, _)| around(range, &span.range));
        if let Some((_, mutants)) = inside.min_by_key(|(range, _)| range.len()) {
            return numbers(mutants);
        }
        let functions = written.functions.iter().filter(|(range, _)| around(range, &span.range));
        if let Some((function, _)) = functions.min_by_key(|(range, _)| range.len()) {
            let all = written.places.iter().filter(|(range, _)| around(function, range));
            let mutants: Vec<usize> = all.flat_map(|(_, mutants)| mutants.iter().copied()).collect();
            return numbers(&mutants);
        }
    }
    Vec::new()
}
