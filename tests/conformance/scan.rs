//! Finds citations, `[MQTT-1.2.3-4]`, in the sources and the tests.

use std::fs;
use std::path::Path;

/// A citation: of which statement, in which file, by which function or test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Citation {
    pub id: String,
    /// Relative to the root of the repository.
    pub file: String,
    /// The function, or what the comment is about; empty for a whole file.
    pub symbol: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A line of the broker.
    Source,
    /// A test.
    Test,
    /// What tests share.
    Helper,
}

/// All citations below `src` and `tests`.
pub fn all() -> Vec<Citation> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(root, &root.join(folder), &mut files);
    }
    files.sort();
    files.iter().flat_map(|file| scan(file, &fs::read_to_string(root.join(file)).unwrap())).collect()
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// The citations of one file.
fn scan(file: &str, text: &str) -> Vec<Citation> {
    let mut in_tests = file.starts_with("tests/") || file.ends_with("tests.rs");
    let mut found = Vec::new();
    // Citations of doc comments, which belong to the item that follows.
    let mut pending: Vec<String> = Vec::new();
    let mut is_test = false;
    let mut current = (String::new(), false);
    for line in text.lines() {
        let trimmed = line.trim();
        in_tests |= trimmed == "#[cfg(test)]";
        if trimmed.starts_with("///") {
            pending.extend(ids(trimmed));
            continue;
        }
        if trimmed.starts_with("#[") {
            is_test |= trimmed == "#[test]";
            continue;
        }
        let name = function(trimmed);
        if let Some(name) = name {
            current = (name.to_owned(), std::mem::take(&mut is_test));
        }
        let mut cite = |id: String, symbol: &str, test: bool| {
            let kind = match (in_tests, test) {
                (false, _) => Kind::Source,
                (true, true) => Kind::Test,
                (true, false) => Kind::Helper,
            };
            found.push(Citation { id, file: file.to_owned(), symbol: symbol.to_owned(), kind });
        };
        for id in pending.drain(..) {
            cite(id, name.unwrap_or_else(|| item(trimmed)), name.is_some() && current.1);
        }
        let symbol = if trimmed.starts_with("//!") { "" } else { &current.0 };
        for id in ids(trimmed) {
            cite(id, symbol, current.1);
        }
    }
    found
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "unsafe "];
    let mut rest = line;
    while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter;
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// The name of what begins on this line and is no function.
fn item(line: &str) -> &str {
    let words = ["pub", "pub(crate)", "struct", "enum", "const", "type", "static", "trait"];
    let mut parts = line.split(|c: char| !c.is_alphanumeric() && !"_()".contains(c));
    parts.find(|part| !part.is_empty() && !words.contains(part)).unwrap_or("")
}

/// The statements that a line cites.
fn ids(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in line.split("[MQTT").skip(1) {
        if let Some((id, _)) = part.split_once(']')
            && id.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-')
            && id.contains('-')
        {
            found.push(format!("MQTT{id}"));
        }
    }
    found
}

#[test]
fn citations_are_found_where_they_stand() {
    let text = concat!(
        "//! About [MQTT-1.0.0-1].\n",
        "/// Does it [MQTT3-2.0.0-1].\n",
        "pub(crate) const fn obeys<T>(a: u8) {\n",
        "    go(); // [MQTT-3.0.0-1], [MQTT-3.0.0-2]\n",
        "}\n",
        "#[cfg(test)]\n",
        "mod tests {\n",
        "    /// [MQTT-4.0.0-1]\n",
        "    #[test]\n",
        "    fn tests_it() {\n",
        "        // [MQTT31-5], and no [MQTT name]\n",
        "    }\n",
        "    /// [MQTT-6.0.0-1]\n",
        "    fn helps() {}\n",
        "}\n",
    );
    let found: Vec<_> = scan("src/a.rs", text).into_iter().map(|c| (c.id, c.symbol, c.kind)).collect();
    let expected = [
        ("MQTT-1.0.0-1", "", Kind::Source),
        ("MQTT3-2.0.0-1", "obeys", Kind::Source),
        ("MQTT-3.0.0-1", "obeys", Kind::Source),
        ("MQTT-3.0.0-2", "obeys", Kind::Source),
        ("MQTT-4.0.0-1", "tests_it", Kind::Test),
        ("MQTT31-5", "tests_it", Kind::Test),
        ("MQTT-6.0.0-1", "helps", Kind::Helper),
    ];
    assert_eq!(found, expected.map(|(id, symbol, kind)| (id.to_owned(), symbol.to_owned(), kind)));
}
