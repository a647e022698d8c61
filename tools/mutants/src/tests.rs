//! Each operator on a small source, and where none applies.

use crate::edit;
use crate::find::{Found, find};
use crate::mutant::{Mutant, sample};

fn found(source: &str) -> Found {
    find("src/a.rs", source).unwrap()
}

/// The changes that are found in a body, but those of the body as a whole.
fn changes(body: &str) -> Vec<String> {
    let source = format!("fn f() -> impl Sized {{ {body} }}");
    found(&source).mutants.into_iter().map(|mutant| mutant.change).collect()
}

/// The source with every mutant written in.
fn written(source: &str) -> String {
    edit::write(source, &found(source).edits, "on", &|index| Some(index as u32 + 1)).text
}

#[test]
fn a_comparison_becomes_its_boundary_its_opposite_and_its_neighbour() {
    let expected = ["replace `<` with `<=` in `a < 3`", "replace `<` with `>=` in `a < 3`"];
    assert_eq!(changes("a < 3")[..2], expected);
    // `a < 4` would be `a <= 3` again.
    assert_eq!(changes("a < 3")[2..], ["replace `3` with `2` in `a < 3`"]);
    assert_eq!(changes("a > 3")[2..], ["replace `3` with `4` in `a > 3`"]);
    assert_eq!(
        changes("a == 0u8"),
        ["replace `==` with `!=` in `a == 0u8`", "replace `0u8` with `1u8` in `a == 0u8`"]
    );
    // There is no number below 0.
    assert_eq!(changes("a >= 0").len(), 2);
}

#[test]
fn operands_of_a_condition_are_dropped() {
    let expected =
        ["replace `&&` with `||` in `a && b`", "replace `a && b` with `a`", "replace `a && b` with `b`"];
    assert_eq!(changes("a && b"), expected);
    assert_eq!(changes("!a"), ["replace `!a` with `a`"]);
}

#[test]
fn a_chain_with_let_loses_what_is_no_let() {
    assert_eq!(
        changes("if let Some(a) = b && c && d { }"),
        ["replace `d` with `true`", "replace `c` with `true`"]
    );
    assert_eq!(changes("if let Some(a) = b { }"), [""; 0]);
}

#[test]
fn conditions_and_guards_are_always_and_never() {
    assert_eq!(changes("if a { }"), ["replace `a` with `true`", "replace `a` with `false`"]);
    assert_eq!(changes("while a { }"), ["replace `a` with `false`"]);
    let expected = ["delete the arm `1`", "replace `a` with `true`", "replace `a` with `false`"];
    assert_eq!(changes("match b { 1 if a => c, _ => d }"), expected);
    // Without an arm for the rest nothing can be left out.
    assert_eq!(changes("match b { 1 => c, 2 => d }"), [""; 0]);
    assert_eq!(changes("match b { Some(c) => c, None => d }"), [""; 0]);
    assert_eq!(changes("match b { Some(1) => c, other => d }"), ["delete the arm `Some(1)`"]);
}

#[test]
fn calls_and_assignments_are_left_out() {
    assert_eq!(changes("a.b(); c()?; d = e;"), ["delete `a.b();`", "delete `c()?;`", "delete `d = e;`"]);
    assert_eq!(changes("a += b;"), ["replace `a += b;` with `a -= b;`", "delete `a += b;`"]);
    assert_eq!(changes("let a = b(); return a;"), [""; 0]);
}

#[test]
fn arithmetic_ranges_and_continue_change() {
    assert_eq!(changes("a + b"), ["replace `+` with `-` in `a + b`"]);
    assert_eq!(changes("a << b"), ["replace `<<` with `>>` in `a << b`"]);
    assert_eq!(changes("a[1..]"), ["replace `1` with `2` in `1..`"]);
    assert_eq!(changes("loop { continue }"), ["replace `continue` with `break`"]);
}

#[test]
fn bodies_return_at_once_by_their_type() {
    let values = |output: &str| -> Vec<String> {
        let changes = found(&format!("fn f() -> {output} {{ a }}")).mutants.into_iter();
        changes.map(|mutant| mutant.change.replace("return ", "").replace(" at once", "")).collect()
    };
    assert_eq!(values("bool"), ["`true`", "`false`"]);
    assert_eq!(values("u16"), ["`0`", "`1`"]);
    assert_eq!(values("Option<u8>"), ["`None`", "`Some(0)`", "`Some(1)`"]);
    assert_eq!(values("Result<(), E>"), ["`Ok(())`"]);
    assert_eq!(values("&str"), ["`\"\"`", "`\"xyzzy\"`"]);
    assert_eq!(values("Vec<u8>"), ["`Default::default()`"]);
    assert_eq!(values("impl Sized"), [""; 0]);
    // What is the same already, or nothing, is no mutant.
    assert!(found("fn f() -> bool { true } fn g() {}").mutants.iter().all(|mutant| mutant.function == "f"));
    assert_eq!(found("fn f() -> bool { true }").mutants.len(), 1);
}

#[test]
fn constants_tests_macros_and_what_only_shows_are_left_alone() {
    for source in [
        "const A: u8 = 1 + 2;",
        "const fn f() -> u8 { 1 + 2 }",
        "fn f() -> impl Sized { [0; 1 + 2] }",
        "fn f() -> impl Sized { assert!(a < b) }",
        "#[cfg(test)] mod tests { fn f() -> u8 { 1 + 2 } }",
        "#[test] fn f() { g(); }",
        "impl fmt::Display for A { fn fmt(&self) -> bool { 1 + 2 } }",
    ] {
        assert_eq!(found(source).mutants.len(), 0, "{source}");
    }
    assert_eq!(found("#[cfg(test)] mod more;").test_modules, ["more"]);
    let twice =
        r#"#[cfg(not(feature = "a"))] mod more; #[cfg(all(feature = "a", feature = "b"))] pub mod more;"#;
    assert!(found(twice).test_modules.is_empty());
}

#[test]
fn all_mutants_are_written_beside_each_other() {
    assert_eq!(
        written("fn f() -> impl Sized { a < b + 1 }"),
        "fn f() -> impl Sized { (if on(1u32) { ((a) <= (b + 1)) } else if on(2u32) { ((a) >= (b + 1)) } \
         else { a < (if on(3u32) { ((b) - (1)) } else { b + 1 }) }) }"
    );
    assert_eq!(
        written("fn f() { a(); }"),
        "fn f() { if on(1u32) { return ; } if on(2u32) {  } else { a(); } }"
    );
    assert_eq!(
        written("fn f() -> impl Sized { match a { 1 => b, 2 if c => d, _ => e } }"),
        "fn f() -> impl Sized { match a { 1 if !on(1u32) => b, 2 if !on(2u32) && \
         ((if on(3u32) { (true) } else if on(4u32) { (false) } else { c })) => d, _ => e } }"
    );
}

#[test]
fn a_mutant_that_is_dropped_is_not_written() {
    let source = "fn f() -> impl Sized { a < b }";
    let only = edit::write(source, &found(source).edits, "on", &|index| (index == 1).then_some(2));
    assert_eq!(only.text, "fn f() -> impl Sized { (if on(2u32) { ((a) >= (b)) } else { a < b }) }");
    let none = edit::write(source, &found(source).edits, "on", &|_| None);
    assert_eq!(none.text, source);
}

#[test]
fn the_places_of_mutants_are_known() {
    let source = "fn f() -> impl Sized { a + b }";
    let written = edit::write(source, &found(source).edits, "on", &|index| Some(index as u32 + 1));
    let (range, mutant) = written.alternatives[0].clone();
    assert_eq!((&written.text[range], mutant), ("if on(1u32) { ((a) - (b))", 0));
    assert_eq!(&written.text[written.functions[0].0.clone()], &written.text["fn f() -> impl Sized ".len()..]);
}

#[test]
fn names_survive_lines_above_and_count_their_equals() {
    let source = "impl A { fn f(&self) -> impl Sized { (a < b, a < b) } }";
    let names = |found: Found| found.mutants.into_iter().map(|mutant| mutant.id).collect::<Vec<_>>();
    let shifted = format!("// A line.\n\nfn g() {{}}\n\n{source}");
    assert_eq!(names(found(source)), names(found(&shifted)));
    assert_eq!(found(&shifted).mutants[0].line, 5);
    assert_eq!(
        names(found(source)),
        [
            "src/a.rs: A::f: replace `<` with `<=` in `a < b`",
            "src/a.rs: A::f: replace `<` with `>=` in `a < b`",
            "src/a.rs: A::f: replace `<` with `<=` in `a < b` #2",
            "src/a.rs: A::f: replace `<` with `>=` in `a < b` #2",
        ]
    );
}

#[test]
fn a_sample_depends_on_seed_and_names_alone() {
    let all = found("fn f() -> impl Sized { (a < 1, a < 2, a < 3, a < 4, a < 5, a < 6, a < 7) }").mutants;
    let ids = |mutants: &[Mutant], seed| -> Vec<String> {
        sample(mutants.iter().collect(), seed, 5).iter().map(|mutant| mutant.id.clone()).collect()
    };
    assert_eq!(ids(&all, 1).len(), 5);
    assert_eq!(ids(&all, 1), ids(&all, 1));
    assert_ne!(ids(&all, 1), ids(&all, 2));
    // A mutant that goes takes nothing with it but itself.
    let chosen = ids(&all, 1);
    let fewer: Vec<Mutant> = all.iter().filter(|mutant| mutant.id != chosen[0]).cloned().collect();
    assert!(chosen[1..].iter().all(|id| ids(&fewer, 1).contains(id)));
}
