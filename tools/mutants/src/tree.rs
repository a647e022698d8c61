//! The copy of the package, and its sources with all mutants written in.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::edit::{self, Edit, Written};
use crate::find;
use crate::mutant::Mutant;

const SWITCH: &str = include_str!("switch.rs");

/// A source file with its places.
#[derive(Debug)]
pub struct Source {
    pub text: String,
    pub edits: Vec<Edit>,
    /// How many mutants the files before have.
    pub offset: u32,
    /// The path of the switch, as this file's crate says it.
    on: String,
}

/// The package: what is copied, and what is mutated in it.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    pub copy: PathBuf,
    pub files: Vec<String>,
    pub sources: BTreeMap<String, Source>,
    pub mutants: Vec<Mutant>,
}

impl Tree {
    /// Reads what git knows of below `root`, and what is new there and not ignored, but nothing in `without`.
    pub fn read(root: &Path, copy: &Path, without: &[String]) -> io::Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()?;
        let text = String::from_utf8_lossy(&listed.stdout);
        let mut files: Vec<String> =
            text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        files.retain(|name| {
            root.join(name).is_file() && !without.iter().any(|folder| name.starts_with(&format!("{folder}/")))
        });
        files.sort();
        files.dedup();
        let mut tree = Self {
            root: root.to_owned(),
            copy: copy.to_owned(),
            files,
            sources: BTreeMap::new(),
            mutants: Vec::new(),
        };
        tree.find()?;
        Ok(tree)
    }

    fn find(&mut self) -> io::Result<()> {
        let library = self.library()?;
        let mut found = BTreeMap::new();
        let mut tests = HashSet::new();
        for name in self.files.iter().filter(|name| name.starts_with("src/") && name.ends_with(".rs")) {
            let text = fs::read_to_string(self.root.join(name))?;
            let inside =
                find::find(name, &text).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            let folder = module_folder(name);
            tests.extend(inside.test_modules.iter().map(|module| format!("{folder}/{module}")));
            found.insert(name.clone(), (text, inside));
        }
        let for_tests = |name: &str| {
            let module = name.trim_end_matches(".rs").trim_end_matches("/mod");
            Path::new(module).ancestors().any(|part| tests.contains(part.to_string_lossy().as_ref()))
        };
        for (name, (text, inside)) in found {
            let offset = self.mutants.len() as u32;
            let own_crate = name == "src/main.rs" || name.starts_with("src/bin/");
            let on = format!("{}::mutant_switch::on", if own_crate { &library } else { "crate" });
            let mut source = Source { text, edits: Vec::new(), offset, on };
            if !for_tests(&name) {
                source.edits = inside.edits;
                self.mutants.extend(inside.mutants);
            }
            self.sources.insert(name, source);
        }
        for (index, mutant) in self.mutants.iter_mut().enumerate() {
            mutant.number = index as u32 + 1;
        }
        Ok(())
    }

    /// The name of the library's crate.
    fn library(&self) -> io::Result<String> {
        let text = fs::read_to_string(self.root.join("Cargo.toml"))?;
        let table: toml::Table = text.parse().map_err(io::Error::other)?;
        let name =
            table.get("package").and_then(|package| package.get("name")).and_then(|name| name.as_str());
        Ok(name.unwrap_or_default().replace('-', "_"))
    }

    /// Writes the copy with all mutants but the `dropped`; says where they are.
    pub fn write(&self, dropped: &HashSet<u32>) -> io::Result<BTreeMap<String, Written>> {
        let mut places = BTreeMap::new();
        for name in &self.files {
            let target = self.copy.join(name);
            let mut content = fs::read(self.root.join(name))?;
            if let Some(source) = self.sources.get(name) {
                let number = |index: usize| {
                    Some(source.offset + index as u32 + 1).filter(|number| !dropped.contains(number))
                };
                let mut written = edit::write(&source.text, &source.edits, &source.on, &number);
                if name == "src/lib.rs" {
                    let count = format!("MUTANTS: usize = {};", self.mutants.len());
                    written.text.push_str(&SWITCH.replace("MUTANTS: usize = 0;", &count));
                }
                content = written.text.clone().into_bytes();
                places.insert(name.clone(), written);
            }
            // What is the same keeps its time, so that cargo need not build it again.
            if fs::read(&target).ok().as_ref() != Some(&content) {
                fs::create_dir_all(target.parent().unwrap_or(&self.copy))?;
                fs::write(&target, content)?;
                fs::set_permissions(&target, fs::metadata(self.root.join(name))?.permissions())?;
            }
        }
        self.remove_others(&self.copy, &self.files.iter().map(String::as_str).collect())?;
        Ok(places)
    }

    /// Removes what is no longer in the package.
    fn remove_others(&self, folder: &Path, files: &HashSet<&str>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.remove_others(&path, files)?;
            } else if let Ok(name) = path.strip_prefix(&self.copy)
                && !files.contains(name.to_string_lossy().as_ref())
            {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// A text that says whether the copy is still the same, as far as names begin with `start`.
    pub fn fingerprint(&self, start: &str) -> io::Result<String> {
        let mut sum = 0_u64;
        for name in self.files.iter().filter(|name| name.starts_with(start)) {
            let content = fs::read(self.copy.join(name))?;
            let own = crate::mutant::hash(name.bytes().chain([0]).chain(content));
            sum = sum.rotate_left(5) ^ own;
        }
        Ok(format!("{sum:016x}"))
    }

    /// The integration tests: `tests/name.rs` and `tests/name/main.rs`.
    pub fn test_targets(&self) -> Vec<String> {
        let names = self.files.iter().filter_map(|name| {
            let rest = name.strip_prefix("tests/")?.strip_suffix(".rs")?;
            let rest = rest.strip_suffix("/main").unwrap_or(rest);
            (!rest.contains('/')).then(|| rest.to_owned())
        });
        names.collect()
    }
}

/// Where the modules are that a file declares.
fn module_folder(name: &str) -> String {
    let path = Path::new(name);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    match stem.as_str() {
        "lib" | "main" | "mod" => folder,
        _ => format!("{folder}/{stem}"),
    }
}
