//! One mutant: what is changed, and the name by which a list of equivalents knows it.

use std::collections::HashMap;

/// A change of the source that some test is expected to notice.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The number by which the environment switches it on; counted from 1 over all files.
    pub number: u32,
    /// Path below the root, with `/`.
    pub file: String,
    /// Line of the first byte that is changed, counted from 1.
    pub line: usize,
    /// Path of the function inside the file, such as `Session::close`.
    pub function: String,
    /// What is changed into what, in words.
    pub change: String,
    /// The whole line, and that line after the change.
    pub before: String,
    pub after: String,
    /// File, function and change, and a count among equals: it survives edits elsewhere in the file.
    pub id: String,
}

/// Counts mutants with the same words, in the order of the source.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, u32>);

impl Names {
    pub fn name(&mut self, file: &str, function: &str, change: &str) -> String {
        let name = format!("{file}: {function}: {change}");
        let count = self.0.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 { name } else { format!("{name} #{count}") }
    }
}

/// The text on one line, without comments and superfluous spaces, and cut in the middle if it is too long for a name.
pub fn brief(text: &str) -> String {
    cut(text, 60, 25)
}

/// The same for a reader, who is shown more.
pub fn line(text: &str) -> String {
    cut(text, 150, 60)
}

fn cut(text: &str, head: usize, tail: usize) -> String {
    let lines = text.lines().map(|line| line.trim()).filter(|line| !line.starts_with("//"));
    let joined = lines.collect::<Vec<_>>().join(" ");
    let words = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    let letters: Vec<char> = words.chars().collect();
    if letters.len() <= head + tail + 5 {
        return words;
    }
    let (head, tail) = (&letters[..head], &letters[letters.len() - tail..]);
    format!("{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
}

/// A number that depends on nothing but the bytes (FNV-1a, mixed): samples are the same on every machine.
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// The first `sample` of `mutants` in an order that the seed decides.
pub fn sample(mut mutants: Vec<&Mutant>, seed: u64, sample: usize) -> Vec<&Mutant> {
    mutants
        .sort_by_cached_key(|mutant| hash(seed.to_string().bytes().chain([b' ']).chain(mutant.id.bytes())));
    mutants.truncate(sample);
    mutants.sort_by_key(|mutant| mutant.number);
    mutants
}
