//! The directory of the system: rights, the lock, and the log over real files.
#![allow(unsafe_code, reason = "std cannot fork")]

use std::fs;
use std::io::{ErrorKind, Read, pipe, stdin};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use midge::disk::Directory;
use midge::storage::StoreError;
use midge::storage::durable::disk::Disk;
use midge::storage::durable::log::Log;

use crate::log::SALT;

/// A path in the system's directory for temporary files, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("midge-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Scratch(path.canonicalize().unwrap())
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> String {
    match Directory::open(path) {
        Err(error @ StoreError::Directory { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_new_directory_and_its_files_are_the_owners_alone() {
    let scratch = Scratch::new("new");
    let disk = Directory::open(&scratch.store()).unwrap();
    disk.create("a").unwrap().write_at(3, b"x").unwrap();
    assert_eq!(mode(&scratch.store()), 0o700);
    assert_eq!(mode(&scratch.store().join("a")), 0o600);
    assert_eq!(mode(&scratch.store().join("lock")), 0o600);
    assert!(disk.create("a").is_err(), "a new file replaces none");
    let file = disk.open("a").unwrap().unwrap();
    let mut bytes = [9; 4];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!((bytes, file.len().unwrap()), ([0, 0, 0, b'x'], 4));
    assert!(file.read_at(1, &mut bytes).is_err(), "a read is exact");
    disk.rename("a", "b").unwrap();
    assert!(disk.open("a").unwrap().is_none());
    let mut names = disk.names().unwrap();
    names.sort();
    assert_eq!(names, ["b", "lock"]);
    disk.remove("b").unwrap();
    Disk::sync(&disk).unwrap();
    assert_eq!(disk.describe("b"), scratch.store().join("b").display().to_string());
}

#[test]
fn the_log_works_over_real_files() {
    let scratch = Scratch::new("log");
    let disk = Directory::open(&scratch.store()).unwrap();
    let mut log = Log::create(&disk, SALT, 1 << 16).unwrap();
    let blocks = fs::metadata(scratch.store().join("log.1")).unwrap().blocks();
    assert!(blocks * 512 >= 1 << 16, "the file has holes: {blocks} blocks");
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    log.append(&[2; 100_000]).unwrap();
    drop((log, disk));
    let disk = Directory::open(&scratch.store()).unwrap();
    let mut groups = Vec::new();
    let opened = Log::open(&disk, SALT, 0, &mut |group| {
        groups.push(group.to_vec());
        Ok(())
    });
    assert_eq!(opened.unwrap().generation(), 2);
    assert_eq!(groups, [b"one".to_vec(), vec![2; 100_000]]);
}

#[test]
fn a_second_broker_in_this_process_is_refused_until_the_first_has_ended() {
    let scratch = Scratch::new("second");
    let first = Directory::open(&scratch.store()).unwrap();
    let sentence = format!(
        "{}: another broker of this process uses it: stop that broker, or give this one a directory of its own",
        scratch.store().display()
    );
    assert_eq!(refusal(&scratch.store()), sentence);
    assert_eq!(refusal(&scratch.store()), sentence, "a refusal does not take the lock away");
    drop(first);
    Directory::open(&scratch.store()).unwrap();
}

/// The variable that gives a test a directory.
const GIVEN: &str = "MIDGE_TEST_DIRECTORY";

/// The directory for a test that another one runs, in a process of its own; otherwise it has nothing to do.
fn given() -> Option<PathBuf> {
    std::env::var_os(GIVEN).map(PathBuf::from)
}

/// A command that runs a test of this file with a directory.
fn with(program: &Path, test: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).env(GIVEN, path);
    command
}

/// What `say` says, perhaps as another user.
fn said(path: &Path, user: Option<u32>) -> String {
    let mut program = std::env::current_exe().unwrap();
    if user.is_some() {
        // Another user may not get to where this program lies.
        let copy = path.with_file_name("program");
        fs::copy(program, &copy).unwrap();
        program = copy;
    }
    let mut command = with(&program, "directory::say", path);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut output = command.output();
    // A process that another test starts at this moment has the copy open for writing.
    while output.as_ref().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy) {
        output = command.output();
    }
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Says what opening the directory says.
#[test]
fn say() {
    let Some(path) = given() else { return };
    println!("{}", refusal(&path));
}

#[test]
fn a_second_broker_in_another_process_is_told_which_process_has_the_directory() {
    let scratch = Scratch::new("process");
    let _first = Directory::open(&scratch.store()).unwrap();
    let words = said(&scratch.store(), None);
    let sentence = format!("another broker uses it (process {}): stop that broker", std::process::id());
    assert!(words.contains(&sentence), "{words}");
}

/// Opens two directories, forks, and ends without giving the locks back. The child drops its copy of the first one, keeps
/// the other, and lives for as long as its standard input is open.
#[test]
fn fork() {
    let Some(path) = given() else { return };
    let mut directory = Some(Directory::open(&path).unwrap());
    let _kept = Directory::open(&path.with_file_name("kept")).unwrap();
    let (mut dropped, tell_dropped) = pipe().unwrap();
    // SAFETY: the child touches nothing that another thread may have locked; it ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork has failed");
    if child == 0 {
        drop((directory.take(), tell_dropped));
        let _ = stdin().read(&mut [0]);
    } else {
        drop(tell_dropped);
        assert_eq!(dropped.read(&mut [0]).unwrap(), 0);
        assert!(refusal(&path).contains("another broker of this process uses it"));
    }
    // SAFETY: the call takes a number alone, and runs nothing of the process's.
    unsafe { libc::_exit(0) };
}

#[test]
fn a_forked_child_neither_gives_the_lock_back_nor_keeps_it_when_its_parent_is_gone() {
    let scratch = Scratch::new("fork");
    let mut command = with(&std::env::current_exe().unwrap(), "directory::fork", &scratch.store());
    let mut parent = command.stdin(Stdio::piped()).spawn().unwrap();
    let child_lives = parent.stdin.take();
    assert!(parent.wait().unwrap().success());
    Directory::open(&scratch.store()).unwrap();
    Directory::open(&scratch.0.join("kept")).unwrap();
    drop(child_lives);
}

#[test]
fn a_directory_of_another_user_is_refused_with_both_users() {
    let scratch = Scratch::new("user");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(scratch.store()).unwrap();
    fs::set_permissions(scratch.store(), fs::Permissions::from_mode(0o555)).unwrap();
    let owner = fs::metadata(scratch.store()).unwrap().uid();
    // Rights do not bind root.
    let (words, user) = match owner {
        0 => (said(&scratch.store(), Some(65_534)), 65_534),
        user => (refusal(&scratch.store()), user),
    };
    let path = scratch.store().display().to_string();
    let sentence = format!(
        "{path}: cannot be locked: Permission denied (os error 13): {path} belongs to user {owner} with mode 555, \
         and the broker runs as user {user}: change its owner or its mode"
    );
    assert!(words.contains(&sentence), "{words}");
}

#[test]
fn what_is_no_directory_is_refused_with_a_sentence_of_its_own() {
    let scratch = Scratch::new("file");
    let file = scratch.0.join("file");
    fs::write(&file, "text").unwrap();
    let name = file.display();
    assert_eq!(
        refusal(&file),
        format!("{name}: it is not a directory: name a directory, or one that does not exist yet")
    );
    let below = refusal(&file.join("store"));
    assert!(below.contains("a part of the path is a file: name another directory"), "{below}");
    let absent = refusal(&scratch.0.join("absent/store"));
    assert!(absent.ends_with("absent/store: cannot be created: No such file or directory (os error 2): create the directory above it"), "{absent}");
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

#[test]
fn a_path_is_kept_when_the_working_directory_changes() {
    let scratch = Scratch::new("relative");
    let relative = format!("{}/../{}", scratch.0.display(), scratch.0.file_name().unwrap().to_str().unwrap());
    let disk = Directory::open(Path::new(&relative)).unwrap();
    assert_eq!(disk.path(), scratch.0);
}
