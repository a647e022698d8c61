//! A disk under another one: files are read from below, and what is written stays in memory.

use std::io;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::locks::Mutex;
use crate::storage::durable::disk::{Disk, DiskFile};

const PAGE: usize = 4096;

/// A disk on which a store can be opened without a change of its files.
pub struct Scratch {
    below: Arc<dyn Disk>,
    /// Files that were opened, created or removed; those that do not exist are `None`.
    files: Mutex<HashMap<String, Option<Arc<Content>>>>,
}

impl Scratch {
    /// The files of `below`.
    pub fn over(below: Arc<dyn Disk>) -> Scratch {
        Scratch { below, files: Mutex::new(HashMap::new()) }
    }

    fn find(
        &self,
        files: &mut HashMap<String, Option<Arc<Content>>>,
        name: &str,
    ) -> io::Result<Option<Arc<Content>>> {
        if let Some(known) = files.get(name) {
            return Ok(known.clone());
        }
        let content = match self.below.open(name)? {
            Some(file) => Some(Arc::new(Content::over(file)?)),
            None => None,
        };
        files.insert(name.to_owned(), content.clone());
        Ok(content)
    }
}

impl Disk for Scratch {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let content = self.find(&mut self.files.lock(), name)?;
        Ok(content.map(|content| Box::new(ScratchFile(content)) as Box<dyn DiskFile>))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut files = self.files.lock();
        if self.find(&mut files, name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Content::default());
        files.insert(name.to_owned(), Some(Arc::clone(&content)));
        Ok(Box::new(ScratchFile(content)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let content = self.find(&mut files, from)?.ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), Some(content));
        files.insert(from.to_owned(), None);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        self.find(&mut files, name)?.ok_or(io::ErrorKind::NotFound)?;
        files.insert(name.to_owned(), None);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let mut names = self.below.names()?;
        names.retain(|name| !files.contains_key(name));
        names.extend(files.iter().filter(|(_, content)| content.is_some()).map(|(name, _)| name.clone()));
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        self.below.describe(name)
    }
}

/// A file: pages that were written, over those of the file below.
#[derive(Default)]
struct Content {
    below: Option<Box<dyn DiskFile>>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    len: u64,
    /// Bytes of the file below that still count; behind them are zeros.
    below_len: u64,
    pages: HashMap<u64, Box<[u8; PAGE]>>,
}

impl Content {
    fn over(file: Box<dyn DiskFile>) -> io::Result<Content> {
        let len = file.len()?;
        Ok(Content {
            below: Some(file),
            written: Mutex::new(Written { len, below_len: len, pages: HashMap::new() }),
        })
    }

    /// Fills `buffer` with what the file below has at `offset`, and zeros behind its end.
    fn read_below(&self, below_len: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let there = below_len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (from_below, zeros) = buffer.split_at_mut(there);
        zeros.fill(0);
        match &self.below {
            Some(file) if !from_below.is_empty() => file.read_at(offset, from_below),
            _ => {
                from_below.fill(0);
                Ok(())
            }
        }
    }
}

/// The page of a position, and the place in it.
fn place(at: u64) -> (u64, usize) {
    (at / PAGE as u64, (at % PAGE as u64) as usize)
}

struct ScratchFile(Arc<Content>);

impl DiskFile for ScratchFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.written.lock().len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let written = self.0.written.lock();
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > written.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if written.pages.is_empty() {
            return self.0.read_below(written.below_len, offset, buffer);
        }
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let (number, start) = place(at);
            let (part, others) = rest.split_at_mut(rest.len().min(PAGE - start));
            match written.pages.get(&number).and_then(|page| page.get(start..start + part.len())) {
                Some(page) => part.copy_from_slice(page),
                None => self.0.read_below(written.below_len, at, part)?,
            }
            at += part.len() as u64;
            rest = others;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = self.0.written.lock();
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (number, start) = place(at);
            let (part, others) = rest.split_at(rest.len().min(PAGE - start));
            if !written.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE]);
                self.0.read_below(written.below_len, number * PAGE as u64, &mut page[..])?;
                written.pages.insert(number, page);
            }
            let page =
                written.pages.get_mut(&number).and_then(|page| page.get_mut(start..start + part.len()));
            if let Some(page) = page {
                page.copy_from_slice(part);
            }
            at += part.len() as u64;
            rest = others;
        }
        written.len = written.len.max(end);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.0.written.lock();
        if len < written.len {
            written.below_len = written.below_len.min(len);
            let (last, start) = place(len);
            written.pages.retain(|number, _| *number <= last);
            if let Some(cut) = written.pages.get_mut(&last).and_then(|page| page.get_mut(start..)) {
                cut.fill(0);
            }
        }
        written.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
