//! The plain twin: no page-cache reads, and symlinks are looked for before the file is opened.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::windows::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Access, Errno};

const PAGE: usize = 4096;

/// Fills all of `buffers` from `offset` on, or fails: `TOO_SHORT` where the file ends before.
pub(crate) fn read_at(
    file: &File,
    buffers: &mut [IoSliceMut<'_>],
    mut offset: u64,
) -> Result<(), Errno> {
    for buffer in buffers {
        let mut left: &mut [u8] = buffer;
        while !left.is_empty() {
            match file.seek_read(left, offset)? {
                0 => return Err(super::TOO_SHORT),
                n => {
                    left = &mut left[n..];
                    offset += n as u64;
                }
            }
        }
    }
    Ok(())
}

/// Windows cannot ask what is in the page cache, so nothing is.
pub(crate) fn read_cached_at(_: &File, _: &mut [IoSliceMut<'_>], _: u64) -> Result<(), Errno> {
    Err(Errno(libc::EAGAIN))
}

/// Windows begins when it is asked to sync.
pub(crate) fn will_sync(_: &File) {}

/// Windows notices by itself, or it does not.
pub(crate) fn will_need(_: &File, _: u64, _: u64) {}

/// Windows decides for itself.
pub(crate) fn no_read_ahead(_: &File) {}

/// Windows has holes, and tells of them in a way of its own; they are read.
pub(crate) fn holes(_: &File, _: u64, _: u64) -> Vec<Range<u64>> {
    Vec::new()
}

/// Nobody has one.
pub(crate) enum Lock {}

/// Files are shared with whoever wants to write to them.
pub(crate) fn lock(file: Arc<File>) -> Result<(Arc<File>, Option<Lock>), Errno> {
    Ok((file, None))
}

/// Windows cannot be told to.
pub(crate) fn let_go(_: &File, _: u64, _: u64) {}

/// Writes `bytes` at `offset`, perhaps not all of them but at least one.
pub(crate) fn write_some_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    match file.seek_write(bytes, offset)? {
        0 => Err(Errno(libc::EIO)),
        n => Ok(n),
    }
}

pub(crate) fn write_some_of(file: &File, parts: &[&[u8]], offset: u64) -> Result<usize, Errno> {
    let first = parts.iter().find(|part| !part.is_empty());
    first.map_or(Ok(0), |part| write_some_at(file, part, offset))
}

/// Windows wants such a file opened otherwise from the start.
pub(crate) fn open_direct(_: &File, _: Access, _: bool) -> Option<(File, usize)> {
    None
}

/// Zeroed, page-aligned memory.
pub(crate) struct Map {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a Map owns its memory alone, and the memory belongs to no thread.
unsafe impl Send for Map {}
// SAFETY: a shared Map only tells its address and size.
unsafe impl Sync for Map {}

impl Map {
    /// `None` when the system has no memory left. `size` is above zero.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size.max(1), PAGE).ok()?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }

    /// Windows has large pages for those who may lock memory.
    pub(crate) fn on_large_pages(size: usize) -> Option<Self> {
        Self::new(size)
    }

    /// Several of them.
    pub(crate) fn several(size: usize, count: usize) -> Option<Vec<Self>> {
        (0..count).map(|_| Self::new(size)).collect()
    }

    /// All of its bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: zeroed when it was made, and borrowed for as long as the result lives.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.size()) }
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// `length` of its bytes from `start` on, which lie within it.
    ///
    /// # Safety
    /// Nobody writes to them while the result lives.
    pub(crate) unsafe fn bytes(&self, start: usize, length: usize) -> &[u8] {
        assert!(
            start
                .checked_add(length)
                .is_some_and(|end| end <= self.size())
        );
        // SAFETY: within the memory, which was zeroed when it was made.
        unsafe { std::slice::from_raw_parts(self.start().add(start), length) }
    }

    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: start and layout are those of the allocation, and this is its last use.
        unsafe { dealloc(self.start(), self.layout) };
    }
}

/// Windows lets nobody delete a file that is open; it may be shorter than `size` bytes (`TOO_SHORT`).
pub(crate) fn still_there(file: &File, size: u64) -> Result<(), Errno> {
    match file.metadata()?.len() < size {
        true => Err(super::TOO_SHORT),
        false => Ok(()),
    }
}

/// Windows lets nobody replace a file that is open.
pub(crate) fn is_same(_: &File, _: &File) -> Result<bool, Errno> {
    Ok(true)
}

/// Windows keeps such numbers to itself.
pub(crate) fn number(_: &File) -> Result<u64, Errno> {
    Ok(0)
}

/// Windows bounds handles by memory alone; this is what its C library allows.
pub(crate) fn descriptors() -> usize {
    8192
}

/// The space is kept until the file goes.
pub(crate) fn punch(_: &File, _: u64, _: u64) {}

/// Windows would have to write zeros.
pub(crate) fn allocate(_: &File, _: u64) -> Result<(), Errno> {
    Err(Errno(libc::EOPNOTSUPP))
}
