//! A disk in memory that forgets at a crash what was not synced, and fails when it is told.
//!
//! Everything is decided by seeds. What a crash leaves of unsynced writes: none, all, the first ones with the last of
//! them cut within, or any of them, sector by sector. Unsynced changes of names and lengths likewise. After a `sync` that
//! has failed, the pages count as clean: they are read, and lost at the next crash.
#![allow(dead_code, reason = "each test needs something else")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use midge::storage::durable::disk::{Disk, DiskFile};

use crate::dice::Dice;

mod sim_content;
use sim_content::{Content, Left, SECTOR};

/// The system's number for a failed disk.
pub const EIO: i32 = 5;
/// The system's number for a full disk.
pub const ENOSPC: i32 = 28;

/// A change of the directory.
#[derive(Clone)]
enum Entry {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

type Names = BTreeMap<String, usize>;

fn apply(names: &mut Names, entry: &Entry) {
    match entry {
        Entry::Create(name, file) => drop(names.insert(name.clone(), *file)),
        Entry::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Entry::Remove(name) => drop(names.remove(name)),
    }
}

/// What an operation does instead of its work.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It fails with this number of the system. A write may have been done in part.
    Error(i32),
    /// It and all later ones of this life fail with this number of the system.
    Errors(i32),
    /// A crash: it and all later ones of this life fail.
    Crash,
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<Entry>,
    /// Which life the disk is in; handles of an earlier one do nothing.
    life: u64,
    dead: bool,
    /// Operations that change or sync something, since the beginning.
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// An error of every sync from now on.
    sync_error: Option<i32>,
    /// An error of every read from now on.
    read_error: Option<i32>,
    /// Reads so far, and one that fails with a number of the system.
    reads: u64,
    read_fault: Option<(u64, i32)>,
    /// Whether syncs do not return.
    stalled: bool,
    waiting: usize,
    /// Bytes by which files may still grow.
    space: Option<u64>,
    /// Whether a sync says that it has worked, and does nothing.
    lying: bool,
    syncs: u64,
    written: u64,
    dice: Option<Dice>,
}

/// A disk in memory. Copies of the value are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    shared: Arc<(Mutex<State>, Condvar)>,
    life: u64,
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl State {
    /// Counts an operation, and fails if its turn has come.
    fn begin(&mut self, life: u64) -> io::Result<()> {
        self.alive(life)?;
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, Fault::Crash)) if at <= number => {
                self.dead = true;
                Err(error(EIO))
            }
            Some((at, Fault::Error(code))) if at == number => Err(error(code)),
            Some((at, Fault::Errors(code))) if at <= number => Err(error(code)),
            _ => Ok(()),
        }
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        if self.dead || life != self.life { Err(error(EIO)) } else { Ok(()) }
    }

    fn dice(&mut self) -> &mut Dice {
        self.dice.get_or_insert(Dice::new(0))
    }

    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) {
        self.files[file].write(offset, bytes);
        self.written += bytes.len() as u64;
    }
}

impl SimDisk {
    /// An empty disk. The seed says what failed writes and syncs leave; each crash has a seed of its own.
    pub fn new(seed: u64) -> SimDisk {
        let disk = SimDisk::default();
        disk.lock().dice = Some(Dice::new(seed));
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// The power fails, and is back: unsynced changes are lost in the way that the seed says. Returns the disk for the
    /// next life; all faults are over.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut state = self.lock();
        let mut dice = Dice::new(seed);
        let mut names = std::mem::take(&mut state.durable_names);
        let entries = std::mem::take(&mut state.unsynced_names);
        let left = Left::of(entries.len(), &mut dice);
        for (index, entry) in entries.iter().enumerate() {
            let kept = left.keeps(index, &mut dice);
            if kept {
                apply(&mut names, entry);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        for content in &mut state.files {
            content.crash(&mut dice);
        }
        self.next_life(&mut state)
    }

    /// The process is killed, and starts again: the system keeps what was written. All faults are over.
    pub fn restart(&self) -> SimDisk {
        self.next_life(&mut self.lock())
    }

    fn next_life(&self, state: &mut State) -> SimDisk {
        state.life += 1;
        (state.dead, state.fault, state.sync_error, state.space) = (false, None, None, None);
        (state.stalled, state.lying, state.read_error, state.read_fault) = (false, false, None, None);
        self.shared.1.notify_all();
        SimDisk { shared: Arc::clone(&self.shared), life: state.life }
    }

    /// The operation with this number meets a fault.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// The read with this number, of all since the beginning, fails with a number of the system.
    pub fn fault_at_read(&self, read: u64, number: i32) {
        self.lock().read_fault = Some((read, number));
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Every sync fails with this number of the system, or works again. What was not synced then counts as clean.
    pub fn fail_syncs(&self, number: Option<i32>) {
        self.lock().sync_error = number;
    }

    /// Every read fails with this number of the system, or works again.
    pub fn fail_reads(&self, number: Option<i32>) {
        self.lock().read_error = number;
    }

    /// No sync returns, until syncs are no longer stalled or the disk's life is over.
    pub fn stall_syncs(&self, stalled: bool) {
        self.lock().stalled = stalled;
        self.shared.1.notify_all();
    }

    /// Threads that are in a sync that does not return.
    pub fn stalled(&self) -> usize {
        self.lock().waiting
    }

    /// Files may grow by this number of bytes in all, or without a limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }

    /// A fault for tests of tests: syncs say that they have worked, and do nothing.
    pub fn lie(&self) {
        self.lock().lying = true;
    }

    /// Syncs of files, and bytes written, since the beginning.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.syncs, state.written)
    }

    /// Flips a bit of a file, on the disk and in the system's memory.
    pub fn flip(&self, name: &str, bit: u64) {
        self.change(name, |bytes| bytes[bit as usize / 8] ^= 1 << (bit % 8));
    }

    /// Changes the bytes of a file, on the disk and in the system's memory.
    pub fn change(&self, name: &str, mut change: impl FnMut(&mut Vec<u8>)) {
        let mut state = self.lock();
        let file = state.names[name];
        let content = &mut state.files[file];
        change(&mut content.cached);
        change(&mut content.durable);
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.files[state.names[name]].cached.clone()
    }

    /// A disk of its own with the same files, all durable.
    pub fn copy(&self) -> SimDisk {
        let state = self.lock();
        let files = state.files.iter().map(|content| Content {
            cached: content.cached.clone(),
            durable: content.cached.clone(),
            unsynced: Vec::new(),
        });
        let (files, names) = (files.collect(), state.names.clone());
        let copy = State { files, durable_names: names.clone(), names, ..State::default() };
        SimDisk { shared: Arc::new((Mutex::new(copy), Condvar::new())), life: 0 }
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let state = self.lock();
        state.alive(self.life)?;
        let file = state.names.get(name).copied();
        Ok(file.map(|file| Box::new(SimFile { disk: self.clone(), file }) as Box<dyn DiskFile>))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.begin(self.life)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Content::default());
        let entry = Entry::Create(name.to_owned(), file);
        apply(&mut state.names, &entry);
        state.unsynced_names.push(entry);
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(self.life)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = Entry::Rename(from.to_owned(), to.to_owned());
        apply(&mut state.names, &entry);
        state.unsynced_names.push(entry);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(self.life)?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = Entry::Remove(name.to_owned());
        apply(&mut state.names, &entry);
        state.unsynced_names.push(entry);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive(self.life)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(self.life)?;
        if let Some(number) = state.sync_error {
            return Err(error(number));
        }
        if !state.lying {
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        }
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("/sim/{name}")
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.alive(self.disk.life)?;
        Ok(state.files[self.file].cached.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.alive(self.disk.life)?;
        state.reads += 1;
        let meets_fault = state.read_fault.filter(|(at, _)| at + 1 == state.reads);
        if let Some(number) = state.read_error.or(meets_fault.map(|(_, number)| number)) {
            return Err(error(number));
        }
        let content = &state.files[self.file].cached;
        let bytes = content.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        if let Err(error) = state.begin(self.disk.life) {
            // A part may have been written, but never all: then a write succeeds.
            let part = state.dice().below((bytes.len() as u64 / SECTOR).max(1)) * SECTOR;
            if state.life == self.disk.life {
                state.write(self.file, offset, &bytes[..part as usize]);
            }
            return Err(error);
        }
        let len = state.files[self.file].cached.len() as u64;
        let growth = (offset + bytes.len() as u64).saturating_sub(len);
        if let Some(space) = state.space {
            let fits = bytes.len() as u64 - growth.saturating_sub(space);
            state.space = Some(space.saturating_sub(growth));
            if growth > space {
                state.write(self.file, offset, &bytes[..fits as usize]);
                return Err(error(ENOSPC));
            }
        }
        state.write(self.file, offset, bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.begin(self.disk.life)?;
        let content = &mut state.files[self.file];
        let freed = (content.cached.len() as u64).saturating_sub(len);
        content.set_len(len);
        state.space = state.space.map(|space| space + freed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.waiting += 1;
        while state.stalled && state.life == self.disk.life {
            state = self.disk.shared.1.wait(state).unwrap();
        }
        state.waiting -= 1;
        let begun = state.begin(self.disk.life);
        if state.life != self.disk.life {
            return begun;
        }
        state.syncs += 1;
        let failed = begun.err().or_else(|| state.sync_error.map(error));
        let (dead, lying) = (state.dead, state.lying);
        let mut dice = state.dice().clone();
        let content = &mut state.files[self.file];
        match failed {
            Some(failed) if dead => Err(failed),
            Some(failed) => {
                // Some of the pages have reached the disk; the others count as clean, and are lost.
                let cached = content.cached.clone();
                content.crash(&mut dice);
                content.cached = cached;
                state.dice = Some(dice);
                Err(failed)
            }
            None if lying => Ok(()),
            None => {
                content.settle();
                Ok(())
            }
        }
    }
}
