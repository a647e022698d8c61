//! What a run has found: a table by folder, the survivors with their lines, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::equivalents::Reason;
use crate::judge::Verdict;
use crate::mutant::Mutant;

/// A mutant of the sample and what came of it.
#[derive(Debug)]
pub struct Row<'m> {
    pub mutant: &'m Mutant,
    pub verdict: Verdict,
    pub reason: Option<&'m Reason>,
}

#[derive(Debug)]
pub struct Report<'m> {
    pub seed: u64,
    pub rows: Vec<Row<'m>>,
    /// Names in the lists of equivalents that no mutant has.
    pub unknown: Vec<String>,
    /// Tests that do not pass without a mutant.
    pub unusable: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sampled: usize,
    noticed: usize,
    aside: usize,
    survivors: usize,
}

impl Counts {
    fn add(&mut self, row: &Row<'_>) {
        self.sampled += 1;
        match (row.reason, &row.verdict) {
            (Some(_), _) => self.aside += 1,
            (None, Verdict::Noticed(_)) => self.noticed += 1,
            (None, Verdict::Survived(_)) => self.survivors += 1,
        }
    }

    /// Of those that are not set aside, how many of a hundred are noticed.
    fn percent(&self) -> f64 {
        let judged = self.noticed + self.survivors;
        if judged == 0 { 100.0 } else { 100.0 * self.noticed as f64 / judged as f64 }
    }

    fn line(&self, name: &str) -> String {
        let Self { sampled, noticed, aside, survivors } = self;
        let percent = self.percent();
        format!("{name:<18} {sampled:>7} {noticed:>7} {aside:>9} {survivors:>9} {percent:>6.1} %\n")
    }
}

impl Report<'_> {
    fn counts(&self) -> (BTreeMap<String, Counts>, Counts) {
        let (mut folders, mut total) = (BTreeMap::<String, Counts>::new(), Counts::default());
        for row in &self.rows {
            let folder = row.mutant.file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folder = folder.split('/').take(2).collect::<Vec<_>>().join("/");
            folders.entry(folder).or_default().add(row);
            total.add(row);
        }
        (folders, total)
    }

    pub fn percent(&self) -> f64 {
        self.counts().1.percent()
    }

    fn survivors(&self) -> impl Iterator<Item = (&Row<'_>, usize)> {
        self.rows.iter().filter(|row| row.reason.is_none()).filter_map(|row| match row.verdict {
            Verdict::Survived(tests) => Some((row, tests)),
            Verdict::Noticed(_) => None,
        })
    }

    pub fn text(&self) -> String {
        let mut text = format!("seed {}\n", self.seed);
        let (folders, total) = self.counts();
        text.push_str("folder             sampled noticed set aside survivors\n");
        for (name, counts) in &folders {
            text.push_str(&counts.line(name));
        }
        text.push_str(&total.line("total"));
        for (row, tests) in self.survivors() {
            let Mutant { file, line, function, before, after, id, .. } = row.mutant;
            let reached = match tests {
                0 => "no test reaches it".to_owned(),
                1 => "the one test that reaches it passes".to_owned(),
                _ => format!("the {tests} tests that reach it pass"),
            };
            let _ = write!(text, "\nSURVIVED {file}:{line} {function}: {reached}\n");
            let _ = write!(text, "  - {before}\n  + {after}\n  id: {id}\n");
        }
        for row in self.rows.iter().filter(|row| row.reason.is_some()) {
            let (reason, id) = (row.reason.map_or("", |reason| &reason.text), &row.mutant.id);
            match &row.verdict {
                Verdict::Survived(_) => {
                    let _ = write!(text, "\nset aside: {id}\n  {reason}\n");
                }
                Verdict::Noticed(by) => {
                    let _ =
                        write!(text, "\nSTALE: {id}\n  is in the list of equivalents, but noticed by {by}\n");
                }
            }
        }
        for id in &self.unknown {
            let _ =
                write!(text, "\nSTALE: {id}\n  is in the list of equivalents, but there is no such mutant\n");
        }
        if !self.unusable.is_empty() {
            let _ = write!(
                text,
                "\nnot used, because they fail without a mutant: {}\n",
                self.unusable.join(", ")
            );
        }
        text
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let Mutant { file, line, function, change, before, after, id, .. } = row.mutant;
            let (noticed, tests) = match &row.verdict {
                Verdict::Noticed(by) => (Some(by), None),
                Verdict::Survived(tests) => (None, Some(tests)),
            };
            json!({
                "id": id, "file": file, "line": line, "function": function, "change": change, "before": before,
                "after": after, "noticed_by": noticed, "passing_tests": tests,
                "kind": row.reason.map(|reason| &reason.kind), "reason": row.reason.map(|reason| &reason.text),
            })
        });
        json!({
            "seed": self.seed, "percent": self.percent(), "mutants": rows.collect::<Vec<_>>(),
            "unknown_equivalents": self.unknown, "unusable_tests": self.unusable,
        })
    }
}
