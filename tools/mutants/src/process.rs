//! One run of a test binary: with a limit of time and memory, and nothing left behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compile::Binary;

/// Address space of a test process, in KiB: a mutant may allocate without end.
const MEMORY: u64 = 8 << 20;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Passed,
    /// The tests that failed.
    Failed(Vec<String>),
    Crashed(String),
    TimedOut,
}

/// What a worker needs to run tests: a folder of its own, and that of the package.
#[derive(Debug)]
pub struct Place {
    pub folder: PathBuf,
    pub package: PathBuf,
    /// Where programs find the package's shared library.
    pub libraries: PathBuf,
    /// What tests with a mutant may take beyond many times their own time.
    pub patience: Duration,
}

impl Place {
    /// Runs these tests of a binary, with one variable of the environment.
    pub fn run(
        &self,
        binary: &Binary,
        tests: &[&str],
        variable: (&str, &str),
        limit: Duration,
    ) -> io::Result<End> {
        let log = self.folder.join("output");
        let output = File::create(&log)?;
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -c 0; ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
            .arg(&binary.path)
            .args(if binary.harness { &["--exact", "--test-threads=2"][..] } else { &[] })
            .args(if binary.harness { tests } else { &[] })
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package)
            .env("LD_LIBRARY_PATH", &self.libraries)
            .env("TMPDIR", &self.folder)
            .env("PROPTEST_RNG_SEED", "1")
            .env("RUST_BACKTRACE", "0")
            .env(variable.0, variable.1)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        let ended = wait(&mut child, limit)?;
        if !ended.is_some_and(|status| status.success()) {
            // Children of the test, too: they are of its group.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
            child.wait()?;
        }
        Ok(if binary.harness { end(ended, &log, tests.len()) } else { end_of_program(ended, tests) })
    }
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn end_of_program(status: Option<ExitStatus>, tests: &[&str]) -> End {
    match status {
        None => End::TimedOut,
        Some(status) if status.success() => End::Passed,
        Some(status) => match status.signal() {
            Some(signal) => End::Crashed(format!("signal {signal}")),
            None => End::Failed(tests.iter().map(|&name| name.to_owned()).collect()),
        },
    }
}

fn end(status: Option<ExitStatus>, log: &Path, tests: usize) -> End {
    let Some(status) = status else {
        return End::TimedOut;
    };
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    if status.success() {
        // A test that ends its process early does not pass.
        let passed = text.lines().any(|line| line.starts_with(&format!("test result: ok. {tests} passed")));
        return if passed { End::Passed } else { End::Crashed("ended early".to_owned()) };
    }
    let failed = text.lines().filter_map(|line| line.strip_prefix("    ")?.split_whitespace().next());
    let listed = text.rfind("\nfailures:\n").map_or("", |at| &text[at..]);
    let names: Vec<String> =
        failed.filter(|name| listed.contains(&format!("    {name}\n"))).map(str::to_owned).collect();
    match status.signal() {
        Some(signal) => End::Crashed(format!("signal {signal}")),
        None if names.is_empty() => End::Crashed(format!("{status}")),
        None => End::Failed(names),
    }
}
