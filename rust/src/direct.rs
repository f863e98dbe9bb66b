//! One open file, and how it is written: past the page cache where that pays, through it otherwise.
//!
//! A page of the file is written in one way only. Those that lie in one piece as a whole may go
//! past the cache; pages that two pieces share, and the last one of a file, go through it. Parts that
//! follow each other are written at once.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::platform::{self, Access, Errno, Lock};

const PAGE: usize = 4096;
/// Bytes in one stretch, of one part or several, from which on a direct write costs less than a copy into the page cache: a
/// piece of 256 KiB without the pages that it shares.
const WORTHWHILE: usize = 192 << 10;

/// When writes pass the page cache by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direct {
    /// Where the file system says that it takes them, and the stretch is long enough to be worth it.
    Auto,
    /// All whole pages, wherever it works.
    Always,
    Never,
}

pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    direct: Direct,
    /// The descriptor for direct writes and the alignment of memory that they need, if there is one.
    past: OnceLock<Option<(File, usize)>>,
    /// The file system took the descriptor, but not a write.
    refused: AtomicBool,
    /// The last to be dropped: by then the file is closed.
    _lock: Option<Lock>,
}

impl OpenFile {
    pub(crate) fn new(file: Arc<File>, lock: Option<Lock>, direct: Direct) -> Self {
        Self {
            file,
            direct,
            past: OnceLock::new(),
            refused: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Writes all of these parts, one behind the other, from `offset` on.
    pub(crate) fn write_at(&self, parts: &[&[u8]], offset: u64) -> Result<(), Errno> {
        let mut done = self.write_together(parts, offset)?;
        let mut at = offset;
        for part in parts {
            let skip = done.min(part.len());
            done -= skip;
            self.write_part(&part[skip..], at + skip as u64)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Writes what there is of whole pages at once, where each part begins with one. Says how far that went.
    fn write_together(&self, parts: &[&[u8]], offset: u64) -> Result<usize, Errno> {
        let [others @ .., last] = parts else {
            return Ok(0);
        };
        let whole = offset.is_multiple_of(PAGE as u64)
            && others.iter().all(|part| part.len().is_multiple_of(PAGE));
        if others.is_empty() || !whole {
            return Ok(0);
        }
        let mut pages = others.to_vec();
        pages.push(&last[..last.len() / PAGE * PAGE]);
        let length = pages.iter().map(|part| part.len()).sum();
        let Some((file, alignment)) = self.past_for(length) else {
            return Ok(0);
        };
        let is_aligned = |part: &&[u8]| (part.as_ptr() as usize).is_multiple_of(*alignment);
        if !pages.iter().all(is_aligned) {
            return Ok(0);
        }
        match platform::write_some_of(file, &pages, offset) {
            Ok(count) => Ok(count / PAGE * PAGE),
            Err(errno) => self.refuses(errno),
        }
    }

    fn write_part(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        let head = (offset.next_multiple_of(PAGE as u64) - offset) as usize;
        let pages = bytes.len().saturating_sub(head) / PAGE * PAGE;
        let Some((file, alignment)) = self.past_for(pages) else {
            return platform::write_at(&self.file, bytes, offset);
        };
        let (head, rest) = bytes.split_at(head);
        if !(rest.as_ptr() as usize).is_multiple_of(*alignment) {
            return platform::write_at(&self.file, bytes, offset);
        }
        let at = offset + head.len() as u64;
        platform::write_at(&self.file, head, offset)?;
        let done = self.write_past(file, &rest[..pages], at)?;
        platform::write_at(&self.file, &rest[done..], at + done as u64)
    }

    /// The descriptor for so many bytes of whole pages and what it needs, if they are to go past the cache.
    fn past_for(&self, pages: usize) -> Option<&(File, usize)> {
        let least = match self.direct {
            Direct::Auto => WORTHWHILE,
            Direct::Always => PAGE,
            Direct::Never => return None,
        };
        let worthwhile = pages >= least && !self.refused.load(Ordering::Relaxed);
        worthwhile.then(|| self.past()).flatten()
    }

    fn past(&self) -> Option<&(File, usize)> {
        let open =
            || platform::open_direct(&self.file, Access::Write, self.direct == Direct::Always);
        self.past.get_or_init(open).as_ref()
    }

    /// Writes past the cache; says how far that went before the file system refused.
    fn write_past(&self, file: &File, pages: &[u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < pages.len() && done.is_multiple_of(PAGE) {
            match platform::write_some_at(file, &pages[done..], offset + done as u64) {
                Ok(count) => done += count,
                Err(errno) => return self.refuses(errno).map(|_| done),
            }
        }
        Ok(done)
    }

    /// Was that a no to all direct writes? Then nothing was written, and no more of them are tried.
    fn refuses(&self, errno: Errno) -> Result<usize, Errno> {
        match errno {
            Errno(libc::EINVAL | libc::EOPNOTSUPP) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(0)
            }
            errno => Err(errno),
        }
    }
}
