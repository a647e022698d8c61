//! What this process holds: threads, descriptors, memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether this process was started for `test` alone; if not, one is started now and must succeed.
pub fn alone(test: &str) -> bool {
    if std::env::var_os("MIDGE_ALONE").is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("MIDGE_ALONE", "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("1 passed"), "{printed}");
    print!("{printed}");
    false
}

/// Threads of this process whose name begins with `midge`.
pub fn broker_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter(|task| {
            let name = fs::read_to_string(task.as_ref().unwrap().path().join("comm"));
            name.is_ok_and(|name| name.starts_with("midge"))
        })
        .count()
}

/// Where the system tells of the thread that calls.
pub fn own_task() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap())
}

/// Whether a thread sleeps: what it waits for must wake it.
pub fn is_asleep(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Resident memory of this process, in KiB.
pub fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
