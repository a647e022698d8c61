//! The names that the pages for host programs use exist. Their programs are run by `cargo test --doc` and tests/c/run.sh.

const PAGES: &[(&str, &str)] = &[
    ("README.md", include_str!("../README.md")),
    ("docs/access.md", include_str!("../docs/access.md")),
    ("docs/c.md", include_str!("../docs/c.md")),
    ("docs/embedding.md", include_str!("../docs/embedding.md")),
    ("docs/from-mosquitto.md", include_str!("../docs/from-mosquitto.md")),
    ("docs/listeners.md", include_str!("../docs/listeners.md")),
    ("docs/rust.md", include_str!("../docs/rust.md")),
    ("docs/storage.md", include_str!("../docs/storage.md")),
];

fn names<'p>(page: &'p str, beginning: &str) -> Vec<&'p str> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let words = page.split(|letter| !is_part(letter)).map(|word| word.trim_end_matches('.'));
    words.filter(|word| word.starts_with(beginning)).collect()
}

#[test]
fn functions_and_constants_of_the_pages_are_in_the_header() {
    let header = include_str!("../include/midge.h");
    // It has an environment variable.
    let command = include_str!("../src/bin/midge/api.rs");
    let mut found = 0;
    for (path, page) in PAGES {
        for name in names(page, "midge_").into_iter().chain(names(page, "MIDGE_")) {
            found += 1;
            assert!(header.contains(name) || command.contains(name), "{path}: {name}");
        }
    }
    assert!(found > 100);
}

#[test]
fn settings_of_the_pages_are_in_the_table() {
    let table = include_str!("../docs/CONFIGURATION.md").replace("<name>", "tcp");
    let mut found = 0;
    for (path, page) in PAGES {
        // Between backticks; those of programs are tried by running them. The fences of blocks are three.
        let text: String = page.split("```").step_by(2).collect();
        let quoted = text.split('`').skip(1).step_by(2).filter(|words| !words.contains([' ', '<']));
        let groups =
            ["listener.", "runtime.", "mqtt.", "session.", "retained.", "queue.", "storage.", "hooks."];
        for key in quoted.filter(|key| groups.iter().any(|group| key.starts_with(group))) {
            found += 1;
            assert!(table.contains(&format!("`{key}`")), "{path}: {key}");
        }
    }
    assert!(found > 15, "{found}");
}

/// Links within the repository lead somewhere.
#[test]
fn links_of_the_pages_lead_to_files() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for (path, page) in PAGES {
        let folder = root.join(path);
        let folder = folder.parent().unwrap_or(root);
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or(link);
            if !link.starts_with("http") && !file.is_empty() {
                found += 1;
                assert!(folder.join(file).exists(), "{path}: {link}");
            }
        }
    }
    assert!(found > 20);
}
