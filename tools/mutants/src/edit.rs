//! Places of a file where mutants are written in, and the writing.

use std::cmp::Reverse;
use std::ops::Range;

/// How the alternatives of a place stand beside its own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A whole function: nothing is written, the place is only noted.
    Function,
    /// A guard of an arm that may be switched off: `!on(1) && (guard)`.
    Guard,
    /// `if on(1) { other; } else { statement; }`
    Statement,
    /// `(if on(1) { other } else { expression })`
    Expression,
    /// An empty place after a pattern: `if !on(1)`.
    Arm,
    /// An empty place at the start of a body: `if on(1) { return value; }`.
    Body,
}

#[derive(Clone, Debug)]
pub struct Alternative {
    /// Index among the mutants of the file.
    pub mutant: usize,
    pub text: String,
}

/// Bytes of the source with their alternatives; places lie beside or inside each other.
#[derive(Clone, Debug)]
pub struct Edit {
    pub range: Range<usize>,
    pub shape: Shape,
    pub alternatives: Vec<Alternative>,
}

/// A rewritten file, and where in it the mutants are.
#[derive(Debug, Default)]
pub struct Written {
    pub text: String,
    /// Bytes that are only compiled because of this mutant.
    pub alternatives: Vec<(Range<usize>, usize)>,
    /// Bytes of a place, with all of its mutants.
    pub places: Vec<(Range<usize>, Vec<usize>)>,
    /// Bytes of a function, and of its source.
    pub functions: Vec<(Range<usize>, Range<usize>)>,
}

/// Writes `source` with all mutants for which `number` has a number; `on` is the path of the switch.
pub fn write(source: &str, edits: &[Edit], on: &str, number: &dyn Fn(usize) -> Option<u32>) -> Written {
    let mut edits: Vec<Edit> = edits
        .iter()
        .map(|edit| {
            let mut edit = edit.clone();
            edit.alternatives.retain(|alternative| number(alternative.mutant).is_some());
            edit
        })
        .filter(|edit| edit.shape == Shape::Function || !edit.alternatives.is_empty())
        .collect();
    edits.sort_by_key(|edit| (edit.range.start, Reverse(edit.range.end), edit.shape));
    let mut writer = Writer { source, edits: &edits, on, number, written: Written::default() };
    let mut next = 0;
    writer.range(0..source.len(), &mut next);
    writer.written
}

struct Writer<'a> {
    source: &'a str,
    edits: &'a [Edit],
    on: &'a str,
    number: &'a dyn Fn(usize) -> Option<u32>,
    written: Written,
}

impl Writer<'_> {
    /// Writes these bytes of the source, with the places inside them from the `next` on.
    fn range(&mut self, range: Range<usize>, next: &mut usize) {
        let mut at = range.start;
        while let Some(edit) = self.edits.get(*next).filter(|edit| edit.range.end <= range.end) {
            *next += 1;
            self.push(&self.source[at..edit.range.start]);
            let start = self.written.text.len();
            self.place(edit, next);
            let whole = start..self.written.text.len();
            match edit.shape {
                Shape::Function => self.written.functions.push((whole, edit.range.clone())),
                _ => {
                    let mutants = edit.alternatives.iter().map(|alternative| alternative.mutant).collect();
                    self.written.places.push((whole, mutants));
                }
            }
            at = edit.range.end;
        }
        self.push(&self.source[at..range.end]);
    }

    fn place(&mut self, edit: &Edit, next: &mut usize) {
        let inner = edit.range.clone();
        match edit.shape {
            Shape::Function => self.range(inner, next),
            Shape::Expression => {
                self.push("(");
                for alternative in &edit.alternatives {
                    self.alternative(alternative, "if ", " { ", " } else ");
                }
                self.push("{ ");
                self.range(inner, next);
                self.push(" })");
            }
            Shape::Statement => {
                for alternative in &edit.alternatives {
                    self.alternative(alternative, "if ", " { ", " } else ");
                }
                self.push("{ ");
                self.range(inner, next);
                self.push(" }");
            }
            Shape::Body => {
                for alternative in &edit.alternatives {
                    self.alternative(alternative, " if ", " { return ", "; }");
                }
            }
            Shape::Arm => {
                for alternative in &edit.alternatives {
                    self.alternative(alternative, " if !", "", "");
                }
            }
            Shape::Guard => {
                for alternative in &edit.alternatives {
                    self.alternative(alternative, "!", "", " && ");
                }
                self.push("(");
                self.range(inner, next);
                self.push(")");
            }
        }
    }

    fn alternative(&mut self, alternative: &Alternative, before: &str, between: &str, after: &str) {
        let start = self.written.text.len();
        let number = (self.number)(alternative.mutant).unwrap_or_default();
        self.push(before);
        self.push(&format!("{}({number}u32)", self.on));
        self.push(between);
        self.push(&alternative.text);
        self.written.alternatives.push((start..self.written.text.len(), alternative.mutant));
        self.push(after);
    }

    fn push(&mut self, text: &str) {
        self.written.text.push_str(text);
    }
}
