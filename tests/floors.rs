//! The floor plan of docs/design.md, enforced: a folder imports only from lower floors, and the floors below the
//! runtime name nothing that does I/O, tells the time or draws a random number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Every folder of `src` and its floor. Folders of one floor do not import each other.
const FLOORS: [(&str, u8); 16] = [
    ("codec", 1),
    ("config", 1),
    ("locks", 1),
    ("stats", 1),
    ("time", 1),
    ("message", 2),
    ("storage", 2),
    ("session", 3),
    ("topics", 3),
    ("engine", 4),
    ("runtime", 5),
    ("tls", 5),
    ("disk", 6),
    ("net", 6),
    ("http", 6),
    ("embed", 7),
];
/// The thin roof: it may import everything, and nobody imports it.
const ROOF: &str = "ffi";

/// The rooms of the engine, from the lowest on. A room imports only rooms below it; those in one line do not import each
/// other.
const ROOMS: [&[&str]; 5] =
    [&["parts"], &["access"], &["observe"], &["core"], &["publish", "subscribe", "connection", "view"]];

/// What floors 1 to 4 must not name, and why.
const FOREIGN: [(&str, &str); 14] = [
    ("tokio", "the runtime begins on floor 5"),
    ("socket2", "sockets begin on floor 5"),
    ("TcpStream", "sockets begin on floor 5"),
    ("TcpListener", "sockets begin on floor 5"),
    ("UdpSocket", "sockets begin on floor 5"),
    ("thread::spawn", "threads begin on floor 5"),
    ("thread::sleep", "threads begin on floor 5"),
    ("thread::Builder", "threads begin on floor 5"),
    ("Instant", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("RandomState", "randomness is an argument"),
    ("libc::", "the system begins on floor 5"),
    ("nix::", "the system begins on floor 5"),
    ("getrandom", "randomness is an argument"),
];

fn floor(folder: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == folder).map(|(_, floor)| *floor)
}

/// Rust files below `folder`, tests of their own left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file: without comments, and without the module of tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The folders that code names as `crate::folder`, also in `use crate::{a, b::c}`.
fn imported(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => {
                let list = list.split("};").next().unwrap_or_default();
                let mut depth = 0;
                let mut start = true;
                let mut name = String::new();
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.push(std::mem::take(&mut name));
                            start = true;
                        }
                        letter if depth == 0 && start && (letter.is_alphanumeric() || letter == '_') => {
                            name.push(letter);
                        }
                        ':' => start = false,
                        _ => {}
                    }
                }
                found.push(name);
            }
            None => found.push(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// What is wrong with a file in `folder`.
fn faults(folder: &str, text: &str) -> Vec<String> {
    let own = floor(folder);
    let code = code(text);
    let mut faults = Vec::new();
    for name in imported(&code) {
        if name == ROOF && folder != ROOF {
            faults.push(format!("imports {ROOF}, the roof"));
        }
        let (Some(own), Some(other)) = (own, floor(&name)) else {
            continue;
        };
        if name != folder && other >= own {
            faults.push(format!("floor {own} imports {name}, floor {other}"));
        }
    }
    if own.is_some_and(|floor| floor <= 4) {
        for (word, why) in FOREIGN {
            if code.contains(word) {
                faults.push(format!("names {word}: {why}"));
            }
        }
    }
    faults
}

#[test]
fn every_folder_imports_only_lower_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        let folder = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !path.is_dir() || folder == "bin" {
            continue;
        }
        assert!(
            floor(&folder).is_some() || folder == ROOF,
            "src/{folder} has no floor: add it to the plan in docs/design.md and to this test"
        );
        for file in files(&path) {
            seen += 1;
            for fault in faults(&folder, &fs::read_to_string(&file).unwrap()) {
                wrong.push(format!("{}: {fault}", file.strip_prefix(&src).unwrap().display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} files were looked at");
    assert!(wrong.is_empty(), "the floor plan is broken:\n{}", wrong.join("\n"));
}

/// The level of a room of the engine.
fn level(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

/// The modules of the engine that a file names: `room::file`, or `room` alone if it names no file.
fn engine_imports(code: &str) -> Vec<String> {
    let names = code.split("crate::engine::").skip(1).map(|rest| {
        let path = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next().unwrap_or("");
        path.split("::").filter(|part| !part.is_empty()).take(2).collect::<Vec<_>>().join("::")
    });
    names.collect()
}

/// What is wrong between the rooms: each file as `room::file`, with its code.
fn room_faults(files: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, code) in files {
        let room = name.split("::").next().unwrap_or_default();
        let Some(own) = level(room) else {
            faults.push(format!("{name}: {room} is no room of the engine"));
            continue;
        };
        for import in engine_imports(code) {
            let other = import.split("::").next().unwrap_or_default().to_owned();
            match level(&other) {
                None => faults.push(format!("{name} imports {import}, which is in no room")),
                Some(level) if other != room && level >= own => {
                    faults.push(format!("{name} imports {import}, which is not below it"));
                }
                Some(_) => {}
            }
        }
    }
    faults.extend(circles(files));
    faults
}

/// The files that import themselves by way of others.
fn circles(files: &[(String, String)]) -> Vec<String> {
    let reach = |from: &str| {
        let mut seen: Vec<String> = Vec::new();
        let mut next = vec![from.to_owned()];
        while let Some(name) = next.pop() {
            let Some((_, code)) = files.iter().find(|(file, _)| *file == name) else { continue };
            for import in engine_imports(code) {
                if import != name && !seen.contains(&import) {
                    seen.push(import.clone());
                    next.push(import);
                }
            }
        }
        seen
    };
    let names = files.iter().map(|(name, _)| name);
    names
        .filter(|name| reach(name).contains(name))
        .map(|name| format!("{name} imports itself by way of others"))
        .collect()
}

/// The files of the engine as `room::file`, with their code.
fn engine_files() -> Vec<(String, String)> {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let mut found = Vec::new();
    for file in files(&engine) {
        let name = file.strip_prefix(&engine).unwrap().with_extension("");
        let parts: Vec<_> = name.iter().map(|part| part.to_str().unwrap()).collect();
        if parts != ["mod"] {
            found.push((parts.join("::"), code(&fs::read_to_string(&file).unwrap())));
        }
    }
    found
}

#[test]
fn the_rooms_of_the_engine_import_only_rooms_below_them_and_no_file_imports_itself_by_way_of_others() {
    let files = engine_files();
    assert!(files.len() > 30, "only {} files were looked at", files.len());
    let faults = room_faults(&files);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let plant = |name: &str, line: &str| {
        let mut files = engine_files();
        let file = files.iter_mut().find(|(file, _)| file == name).unwrap();
        file.1.push_str(line);
        room_faults(&files)
    };
    let upward = plant("parts::options", "\nuse crate::engine::core::state::Engine;");
    assert!(upward.iter().any(|fault| fault.contains("parts::options imports core::state")), "{upward:?}");
    let sideways = plant("publish::deliver", "\nuse crate::engine::subscribe::receive::X;");
    assert!(sideways.iter().any(|fault| fault.contains("which is not below it")), "{sideways:?}");
    let circle = plant("core::turn", "\nuse crate::engine::core::state::Engine;");
    assert!(circle.iter().any(|fault| fault == "core::turn imports itself by way of others"), "{circle:?}");
}

#[test]
fn files_begin_by_saying_what_they_are() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let silent: Vec<_> = files(&src)
        .into_iter()
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "without a first line that begins with //!: {silent:?}");
}

#[test]
fn unsafe_code_is_in_ffi_and_on_the_short_list() {
    const LIST: [&str; 4] =
        ["runtime/foreign.rs", "runtime/fork.rs", "runtime/readiness.rs", "bin/midge/system.rs"];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&src) {
        let name = file.strip_prefix(&src).unwrap().display().to_string();
        let text = code(&fs::read_to_string(&file).unwrap());
        let has = text.contains("unsafe {") || text.contains("unsafe fn") || text.contains("unsafe extern");
        let may = name.starts_with("ffi/") || LIST.contains(&name.as_str());
        assert!(!has || may, "{name} has unsafe code and is not on the list");
        assert!(has || !LIST.contains(&name.as_str()), "{name} is on the list and has no unsafe code");
    }
}

#[test]
fn an_upward_import_is_found_in_every_spelling() {
    let broken = [
        "use crate::engine::core::state::Engine;",
        "use crate::{time::Time, engine::{core::Engine, turn::Turn}};",
        "fn f() { crate::net::bind(); }",
        "pub(in crate::embed) fn f() {}",
    ];
    for text in broken {
        assert_eq!(faults("session", text).len(), 1, "{text}");
    }
    assert_eq!(faults("session", "use crate::topics::Router;").len(), 1, "the same floor");
    assert_eq!(faults("engine", "use std::time::Instant;").len(), 1);
    assert_eq!(faults("net", "use crate::ffi::status;").len(), 1);
    let sound = ["use crate::codec::qos::QoS;", "// crate::engine", "use crate::session::link::Link;"];
    for text in sound {
        assert!(faults("session", text).is_empty(), "{text}");
    }
}
