//! The statements against the citations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::scan::{self, Citation, Kind};
use crate::statements::{self, Binds};

/// The citations of each statement.
fn by_statement() -> BTreeMap<String, BTreeSet<Citation>> {
    let mut all: BTreeMap<String, BTreeSet<Citation>> = BTreeMap::new();
    for citation in scan::all() {
        // The scanner's own test cites what does not exist.
        if citation.file != "tests/conformance/scan.rs" {
            all.entry(citation.id.clone()).or_default().insert(citation);
        }
    }
    all
}

#[test]
fn every_statement_is_listed_once() {
    let all = statements::all();
    let ids: BTreeSet<_> = all.iter().map(|statement| statement.id).collect();
    assert_eq!(ids.len(), all.len());
    for statement in &all {
        let words = statement.says.split_whitespace().count();
        assert!((1..=20).contains(&words), "{} takes {words} words", statement.id);
    }
}

#[test]
fn every_citation_is_of_a_listed_statement() {
    let known: BTreeSet<_> = statements::all().iter().map(|statement| statement.id.to_owned()).collect();
    for (id, citations) in by_statement() {
        assert!(known.contains(&id), "{id} is no statement: {:?}", citations.first());
    }
}

#[test]
fn every_statement_that_binds_a_server_is_tested() {
    let cited = by_statement();
    let without = |kind| {
        let lacks = |id: &str| !cited.get(id).is_some_and(|all| all.iter().any(|c| c.kind == kind));
        let needing = statements::all().into_iter().filter(|s| s.needs_test() && lacks(s.id));
        needing.map(|s| s.id).collect::<Vec<_>>()
    };
    assert_eq!(without(Kind::Test), Vec::<&str>::new(), "statements without a test");
    assert_eq!(without(Kind::Source), Vec::<&str>::new(), "statements without a line that obeys them");
}

/// A reason not to obey and a line that obeys contradict each other.
#[test]
fn what_is_exempt_is_neither_obeyed_nor_tested() {
    let cited = by_statement();
    for statement in statements::all().iter().filter(|s| s.exempt.is_some()) {
        let has = |kind| cited.get(statement.id).is_some_and(|all| all.iter().any(|c| c.kind == kind));
        assert!(!has(Kind::Test), "{} is exempt and has a test", statement.id);
        assert!(!has(Kind::Source), "{} is exempt and has a line that obeys it", statement.id);
    }
}

/// Writes the table for tools/conformance.py, where `MIDGE_CONFORMANCE` says.
#[test]
fn the_table_can_be_written() {
    let cited = by_statement();
    let mut out = String::new();
    for statement in statements::all() {
        let of = |kind| {
            let citations = cited.get(statement.id).into_iter().flatten().filter(move |c| c.kind == kind);
            citations.map(|c| format!("{}#{}", c.file, c.symbol)).collect::<Vec<_>>().join(" ")
        };
        let binds = match statement.binds {
            Binds::Server => "server",
            Binds::Both => "both",
            Binds::Client => "client",
        };
        let fields = [
            statement.id,
            binds,
            statement.says,
            statement.exempt.unwrap_or(""),
            &of(Kind::Source),
            &of(Kind::Test),
        ];
        writeln!(out, "{}", fields.join("\t")).unwrap();
    }
    assert_eq!(out.lines().count(), statements::all().len());
    if let Some(path) = std::env::var_os("MIDGE_CONFORMANCE") {
        std::fs::write(path, out).unwrap();
    }
}

/// docs/CONFORMANCE.md has every statement with all its places and tests; `make conformance` writes it again.
#[test]
fn the_committed_page_is_up_to_date() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFORMANCE.md")).unwrap();
    let cited = by_statement();
    for statement in statements::all() {
        let row = page.lines().find(|line| line.starts_with(&format!("| {} |", statement.id)));
        let row = row.unwrap_or_else(|| panic!("{} is missing: run `make conformance`", statement.id));
        let places = cited.get(statement.id).into_iter().flatten().filter(|c| c.kind != Kind::Helper);
        for Citation { file, symbol, .. } in places {
            let is_there = row.contains(file) && row.contains(symbol) && row.contains(statement.says);
            assert!(is_there, "{} in {file}, {symbol}: run `make conformance`", statement.id);
        }
        assert!(!row.ends_with("FAILED |") && !row.ends_with("NOT RUN |"), "{row}");
    }
}
