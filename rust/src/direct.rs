//! One open file, and how it is written: past the page cache where that pays, through it otherwise.
//!
//! A page of the file is written in one way only. Those that lie in one piece as a whole may go
//! past the cache; pages that two pieces share, and the last one of a file, go through it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::platform::{self, Access, Errno, Lock};

const PAGE: usize = 4096;
/// Bytes in one stretch from which on a direct write costs less than a copy into the page cache: a
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

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        let Some((head, pages)) = self.pages_of(bytes, offset) else {
            return platform::write_at(&self.file, bytes, offset);
        };
        let (head, rest) = bytes.split_at(head);
        let at = offset + head.len() as u64;
        platform::write_at(&self.file, head, offset)?;
        let done = self.write_past(&rest[..pages], at)?;
        platform::write_at(&self.file, &rest[done..], at + done as u64)
    }

    /// How many bytes come before the whole pages, and how many are in them, if they go direct.
    fn pages_of(&self, bytes: &[u8], offset: u64) -> Option<(usize, usize)> {
        let least = match self.direct {
            Direct::Auto => WORTHWHILE,
            Direct::Always => PAGE,
            Direct::Never => return None,
        };
        let head = (offset.next_multiple_of(PAGE as u64) - offset) as usize;
        let pages = bytes.len().checked_sub(head)? / PAGE * PAGE;
        if pages < least || self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let (_, alignment) = self.past()?;
        let start = bytes[head..].as_ptr() as usize;
        start.is_multiple_of(*alignment).then_some((head, pages))
    }

    fn past(&self) -> Option<&(File, usize)> {
        let open =
            || platform::open_direct(&self.file, Access::Write, self.direct == Direct::Always);
        self.past.get_or_init(open).as_ref()
    }

    /// Writes past the cache; says how far that went before the file system refused.
    fn write_past(&self, pages: &[u8], offset: u64) -> Result<usize, Errno> {
        let Some((file, _)) = self.past() else {
            return Ok(0);
        };
        let mut done = 0;
        while done < pages.len() && done.is_multiple_of(PAGE) {
            match platform::write_some_at(file, &pages[done..], offset + done as u64) {
                Ok(count) => done += count,
                Err(Errno(libc::EINVAL | libc::EOPNOTSUPP)) => {
                    self.refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }
}
