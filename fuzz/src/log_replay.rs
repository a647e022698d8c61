//! A log is written, its files are damaged, and it is opened: what is replayed was appended, in order and without a gap.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use midge::storage::durable::disk::{Disk, DiskFile};
use midge::storage::durable::log::{Log, LogError, NAMES, Salt};

use super::input::Input;

const SALT: Salt = Salt([0x5a; 16]);
const SECTOR: usize = 512;
/// Bytes before the first record.
const FIRST: usize = 4096;
/// Bytes of each file.
const SIZE: usize = FIRST + 12 * SECTOR;

/// Target `log_replay`: a script of appends, then damage to both files, then a start.
pub fn log_replay(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = Files::default();
    let mut log = Log::create(&disk, SALT, SIZE as u64).expect("a log is made");
    let (groups, applied) = write(&mut log, &mut input);
    // Tables of another time are damage, too.
    let other = u64::from(input.byte());
    let (stale, applied) = if other < 32 { (true, other % 8) } else { (false, applied) };
    let expected: Vec<_> = groups.iter().filter(|(generation, _)| *generation > applied).collect();
    let damaged = damage(&disk, &mut input);
    let mut replayed = 0;
    let opened = Log::open(&disk, SALT, applied, &mut |group| {
        let (_, appended) = expected.get(replayed).expect("more groups than were appended");
        assert_eq!(group, appended, "group {replayed}");
        replayed += 1;
        Ok(())
    });
    match opened {
        Err(error) => assert!(error.to_string().contains("log."), "{error}"),
        Ok(mut log) => {
            assert!(
                damaged || stale || replayed == expected.len(),
                "{replayed} of {} groups",
                expected.len()
            );
            assert_eq!(log.replayed().groups as usize, replayed);
            if log.takes(3) {
                log.append(b"new").expect("the log goes on");
            }
        }
    }
}

/// Appends, rotations and checkpoints; returns the groups with their generations, and the generation up to which the
/// tables have everything.
fn write(log: &mut Log, input: &mut Input<'_>) -> (Vec<(u64, Vec<u8>)>, u64) {
    let (mut groups, mut applied) = (Vec::new(), 0);
    for number in 0..input.below(24) {
        match input.byte() {
            0..40 => match log.rotate() {
                Ok(_) | Err(LogError::NotApplied { .. }) => {}
                Err(other) => panic!("{other}"),
            },
            chosen @ 40..90 => {
                applied = log.generation() - u64::from(chosen < 80);
                log.applied(applied).expect("it is applied");
            }
            chosen => {
                let len = usize::from(input.byte()) * if chosen < 100 { 64 } else { 5 };
                let group = vec![number as u8; len];
                if log.takes(len) {
                    log.append(&group).expect("it fits");
                    groups.push((log.generation(), group));
                }
            }
        }
    }
    (groups, applied)
}

/// Changes the files; returns whether it may have.
fn damage(disk: &Files, input: &mut Input<'_>) -> bool {
    let mut damaged = false;
    while !input.is_empty() {
        damaged = true;
        let name = input.pick(&NAMES);
        let mut files = disk.0.lock().expect("not poisoned");
        let other = files[NAMES[input.below(2)]].clone();
        let bytes = files.get_mut(name).expect("it exists");
        let place = |input: &mut Input<'_>, len: usize| usize::from(input.byte()) * SECTOR % len.max(1);
        match input.byte() % 6 {
            0 => {
                let at = place(input, bytes.len()) + 2 * usize::from(input.byte());
                let mask = input.byte();
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= mask);
            }
            1 => {
                let at = place(input, bytes.len());
                bytes[at..].iter_mut().take(SECTOR).for_each(|byte| *byte = 0);
            }
            2 => {
                // A sector of either file in the place of another one.
                let (from, to) = (place(input, other.len()), place(input, bytes.len()));
                bytes[to..].iter_mut().zip(&other[from..]).take(SECTOR).for_each(|(to, from)| *to = *from);
            }
            3 => bytes.truncate(place(input, bytes.len())),
            4 => bytes.resize(bytes.len() + usize::from(input.byte()) * 3, 7),
            _ => {
                let at = place(input, bytes.len());
                let part = input.bytes(64);
                bytes[at..].iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            }
        }
    }
    damaged
}

/// Files in memory, all durable.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

struct OpenFile {
    files: Files,
    /// The name that it had when it was created, or opened.
    name: String,
}

impl Files {
    fn handle(&self, name: &str) -> Box<dyn DiskFile> {
        Box::new(OpenFile { files: self.clone(), name: name.to_owned() })
    }
}

impl Disk for Files {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let exists = self.0.lock().expect("not poisoned").contains_key(name);
        Ok(exists.then(|| self.handle(name)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // A log is made under a passing name, and its handle is used under the final one.
        let name = name.trim_end_matches(".new");
        self.0.lock().expect("not poisoned").insert(name.to_owned(), Vec::new());
        Ok(self.handle(name))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().expect("not poisoned").remove(name);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().expect("not poisoned").keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl OpenFile {
    fn with<T>(&self, body: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        body(self.files.0.lock().expect("not poisoned").get_mut(&self.name).expect("it exists"))
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| Ok(bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| {
            assert!(buffer.len() <= bytes.len(), "a buffer of {} for {} bytes", buffer.len(), bytes.len());
            let found = bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<()> {
        self.with(|bytes| {
            let end = offset as usize + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset as usize..end].copy_from_slice(written);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|bytes| bytes.resize(len as usize, 0));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
