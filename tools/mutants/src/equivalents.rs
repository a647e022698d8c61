//! The committed lists of mutants that no test can notice, with the reason of each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Why a mutant is set aside.
#[derive(Clone, Debug)]
pub struct Reason {
    /// `equivalent`: nothing that can be observed differs; `performance`: only time or memory does.
    pub kind: String,
    pub text: String,
}

/// Reads every list in the folder: mutants by their names.
pub fn read(folder: &Path) -> io::Result<BTreeMap<String, Reason>> {
    let mut all = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(all);
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path)?;
            parse(&text, &mut all).map_err(|what| io::Error::other(format!("{}: {what}", path.display())))?;
        }
    }
    Ok(all)
}

fn parse(text: &str, all: &mut BTreeMap<String, Reason>) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    for entry in table.get("mutant").and_then(toml::Value::as_array).into_iter().flatten() {
        let word = |key: &str| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let (id, kind, text) = (word("id"), word("kind"), word("reason"));
        if id.is_empty() || text.is_empty() || !["equivalent", "performance"].contains(&kind.as_str()) {
            return Err(format!("{id:?} needs an id, a kind (equivalent or performance) and a reason"));
        }
        if all.insert(id.clone(), Reason { kind, text }).is_some() {
            return Err(format!("{id:?} is there twice"));
        }
    }
    Ok(())
}
