//! The torrent's stream over its files.

use std::ffi::OsString;
use std::fs::File;
use std::io::IoSliceMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::layout::{Layout, Span};
use crate::open_files::OpenFiles;
use crate::platform::{self, Access, Errno};

/// Bytes of one file from which on it pays to announce that they will be read.
pub(crate) const WORTHWHILE: usize = 512 << 10;

/// What went wrong where, in terms of the torrent's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) errno: Errno,
    pub(crate) file: usize,
    /// Bytes from the start of that file.
    pub(crate) offset: u64,
    pub(crate) operation: &'static str,
}

impl Fault {
    pub(crate) fn at(span: Span, operation: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self {
            errno,
            file: span.file,
            offset: span.offset,
            operation,
        }
    }

    /// A fault that concerns no file in particular.
    pub(crate) fn of(errno: Errno, operation: &'static str) -> Self {
        Self {
            errno,
            file: 0,
            offset: 0,
            operation,
        }
    }
}

/// The files of one torrent below its folder.
pub(crate) struct Files {
    pub(crate) layout: Layout,
    pub(crate) writable: bool,
    root: PathBuf,
    paths: Vec<Vec<OsString>>,
    open: Arc<OpenFiles>,
    id: u64,
    /// The folder was there once: if it is gone now it is not made again (an unplugged disk).
    rooted: AtomicBool,
    closed: AtomicBool,
}

impl Files {
    pub(crate) fn new(
        open: Arc<OpenFiles>,
        id: u64,
        root: PathBuf,
        paths: Vec<Vec<OsString>>,
        layout: Layout,
        writable: bool,
    ) -> Self {
        Self {
            rooted: AtomicBool::new(root.is_dir()),
            closed: AtomicBool::new(false),
            layout,
            writable,
            root,
            paths,
            open,
            id,
        }
    }

    /// How many files there are.
    pub(crate) fn count(&self) -> usize {
        self.paths.len()
    }

    /// A pad file (BEP 47) has no path: its bytes are zeros, and it is never on the disk.
    pub(crate) fn is_pad(&self, file: usize) -> bool {
        self.paths[file].is_empty()
    }

    /// The open file, from the cache or from the disk.
    pub(crate) fn open(&self, file: usize, access: Access) -> Result<Arc<File>, Errno> {
        let key = (self.id, file);
        if let Some(open) = self.open.get(key, access) {
            return Ok(open);
        }
        let open = Arc::new(self.open_new(file, access)?);
        if !self.closed.load(Ordering::Acquire) {
            self.open.put(key, &open, access);
        }
        Ok(open)
    }

    fn open_new(&self, file: usize, access: Access) -> Result<File, Errno> {
        let try_open = || {
            let make_root = !self.rooted.load(Ordering::Acquire);
            platform::open_below(&self.root, &self.paths[file], access, make_root)
        };
        let open = match try_open() {
            Err(Errno(libc::EMFILE | libc::ENFILE)) => {
                self.open.halve();
                try_open()?
            }
            other => other?,
        };
        if access == Access::Write {
            self.rooted.store(true, Ordering::Release);
            let length = self.layout.file_length(file);
            if open.metadata()?.len() > length {
                // Whatever was here is being overwritten, and the end of it is no part of the torrent.
                open.set_len(length)?;
            }
        }
        Ok(open)
    }

    /// Lets go of all descriptors, so that the next use looks at what the names mean now.
    pub(crate) fn reopen(&self) {
        self.open.forget(self.id);
    }

    /// Lets go of all descriptors for good; jobs under way finish with their own.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.open.forget(self.id);
    }

    /// Writes at `offset` of the stream, one positioned write per file touched.
    pub(crate) fn write(
        &self,
        offset: u64,
        mut bytes: &[u8],
        mut touched: impl FnMut(usize),
    ) -> Result<(), Fault> {
        for span in self.layout.spans(offset, bytes.len()) {
            let (now, rest) = bytes.split_at(span.length);
            bytes = rest;
            if self.is_pad(span.file) {
                continue;
            }
            let file = self
                .open(span.file, Access::Write)
                .map_err(Fault::at(span, "open"))?;
            touched(span.file);
            platform::write_at(&file, now, span.offset).map_err(Fault::at(span, "write"))?;
        }
        Ok(())
    }

    /// Starts to read ahead. What cannot be read fails when it is read.
    pub(crate) fn will_need(&self, offset: u64, length: usize) {
        for span in self.layout.spans(offset, length) {
            if span.length >= WORTHWHILE
                && !self.is_pad(span.file)
                && let Ok(file) = self.open(span.file, Access::Read)
            {
                platform::will_need(&file, span.offset, span.length as u64);
            }
        }
    }

    /// Fills `buffers` with one unbroken stretch of the stream from `offset` on. With `cached`, fails
    /// rather than wait for the disk.
    pub(crate) fn read(
        &self,
        offset: u64,
        mut buffers: Vec<&mut [u8]>,
        cached: bool,
    ) -> Result<(), Fault> {
        let length = buffers.iter().map(|buffer| buffer.len()).sum();
        for span in self.layout.spans(offset, length) {
            let mut now = take_front(&mut buffers, span.length);
            if self.is_pad(span.file) {
                now.iter_mut().for_each(|buffer| buffer.fill(0));
                continue;
            }
            let file = self
                .open(span.file, Access::Read)
                .map_err(Fault::at(span, "open"))?;
            let done = if cached {
                platform::read_cached_at(&file, &mut now, span.offset)
            } else {
                platform::read_at(&file, &mut now, span.offset)
            };
            done.map_err(Fault::at(span, "read"))?;
        }
        Ok(())
    }
}

/// Takes the first `length` bytes' worth of buffers, cutting one in two where a file ends in it.
fn take_front<'a>(buffers: &mut Vec<&'a mut [u8]>, length: usize) -> Vec<IoSliceMut<'a>> {
    let mut left = length;
    let whole = buffers
        .iter()
        .take_while(|buffer| {
            let fits = buffer.len() <= left;
            left -= if fits { buffer.len() } else { 0 };
            fits
        })
        .count();
    let mut front: Vec<_> = buffers.drain(..whole).map(IoSliceMut::new).collect();
    if left > 0
        && let Some(cut) = buffers.first_mut()
    {
        let (head, tail) = std::mem::take(cut).split_at_mut(left);
        front.push(IoSliceMut::new(head));
        *cut = tail;
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_cut_where_a_file_ends() {
        let (mut a, mut b, mut c) = ([1, 2], [3, 4, 5], [6]);
        let mut buffers: Vec<&mut [u8]> = vec![&mut a, &mut b, &mut c];
        let mut take = |n| -> Vec<Vec<u8>> {
            let front = take_front(&mut buffers, n);
            front.iter().map(|buffer| buffer.to_vec()).collect()
        };
        assert_eq!(take(3), [vec![1, 2], vec![3]]);
        assert_eq!(take(1), [[4]]);
        assert_eq!(take(1), [[5]]);
        assert_eq!(take(1), [[6]]);
        assert!(take(0).is_empty());
    }
}
