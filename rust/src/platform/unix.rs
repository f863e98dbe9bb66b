//! Linux, and its twins for the other Unix systems.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::fs::fstat;
use rustix::io::Errno as Code;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{Access, Errno};

impl From<Code> for Errno {
    fn from(code: Code) -> Self {
        Self(code.raw_os_error())
    }
}

/// Fills all of `buffers` from `offset` on, or fails: `TOO_SHORT` where the file ends before.
pub(crate) fn read_at(
    file: &File,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
) -> Result<(), Errno> {
    fill(buffers, offset, |buffers, at| {
        rustix::io::preadv(file.as_fd(), buffers, at)
    })
}

/// The same, but fails (EAGAIN) rather than wait for the disk.
#[cfg(target_os = "linux")]
pub(crate) fn read_cached_at(
    file: &File,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
) -> Result<(), Errno> {
    fill(buffers, offset, |buffers, at| {
        rustix::io::preadv2(
            file.as_fd(),
            buffers,
            at,
            rustix::io::ReadWriteFlags::NOWAIT,
        )
    })
}

/// Other systems cannot ask what is in the page cache, so nothing is.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_cached_at(_: &File, _: &mut [IoSliceMut<'_>], _: u64) -> Result<(), Errno> {
    Err(Errno(libc::EAGAIN))
}

fn fill(
    mut buffers: &mut [IoSliceMut<'_>],
    mut offset: u64,
    read: impl Fn(&mut [IoSliceMut<'_>], u64) -> rustix::io::Result<usize>,
) -> Result<(), Errno> {
    const IOV_MAX: usize = 1024;
    while !buffers.is_empty() {
        let count = buffers.len().min(IOV_MAX);
        match read(&mut buffers[..count], offset) {
            Ok(0) => return Err(super::TOO_SHORT),
            Ok(n) => {
                IoSliceMut::advance_slices(&mut buffers, n);
                offset += n as u64;
            }
            Err(Code::INTR) => {}
            Err(code) => return Err(code.into()),
        }
    }
    Ok(())
}

/// Starts to write back what the page cache has of a file. Errors are left to whoever syncs it.
#[cfg(target_os = "linux")]
pub(crate) fn will_sync(file: &File) {
    use std::os::fd::AsRawFd;

    // SAFETY: no memory is involved, and the descriptor lives as long as the file.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Other systems begin when they are asked to sync.
#[cfg(not(target_os = "linux"))]
pub(crate) fn will_sync(_: &File) {}

/// Starts to read ahead, so that reads in turns at several places cost no seeks.
#[cfg(target_os = "linux")]
pub(crate) fn will_need(file: &File, offset: u64, length: u64) {
    let length = std::num::NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::WillNeed);
}

/// Other systems notice by themselves, or they do not.
#[cfg(not(target_os = "linux"))]
pub(crate) fn will_need(_: &File, _: u64, _: u64) {}

/// Nothing more is to be read than is asked for.
#[cfg(target_os = "linux")]
pub(crate) fn no_read_ahead(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

/// Other systems decide for themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn no_read_ahead(_: &File) {}

/// The holes in a stretch of a file, in order; they read as zeros. None where the system cannot tell.
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
pub(crate) fn holes(file: &File, offset: u64, length: u64) -> Vec<Range<u64>> {
    use rustix::fs::{SeekFrom, seek};
    let mut holes = Vec::new();
    let Ok(found) = fstat(file) else {
        return holes;
    };
    let end = (offset + length).min(found.st_size as u64);
    let mut at = offset;
    while at < end
        && let Ok(start) = seek(file, SeekFrom::Hole(at))
        && start < end
    {
        at = match seek(file, SeekFrom::Data(start)) {
            Ok(data) => data.min(end),
            Err(Code::NXIO) => end, // nothing but a hole is left
            Err(_) => break,
        };
        holes.push(start..at);
    }
    holes
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
pub(crate) fn holes(_: &File, _: u64, _: u64) -> Vec<Range<u64>> {
    Vec::new()
}

/// Drops the pages around these bytes from the page cache, if they are clean.
#[cfg(target_os = "linux")]
pub(crate) fn let_go(file: &File, offset: u64, length: u64) {
    const PAGE: u64 = 4096;
    let start = offset / PAGE * PAGE; // pages that are touched in part only would stay
    let length = (offset + length).next_multiple_of(PAGE) - start;
    let length = std::num::NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, start, length, rustix::fs::Advice::DontNeed);
}

/// Other systems cannot be told to.
#[cfg(not(target_os = "linux"))]
pub(crate) fn let_go(_: &File, _: u64, _: u64) {}

/// Writes `bytes` at `offset`, perhaps not all of them but at least one; interruptions are looped.
pub(crate) fn write_some_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    write_some(|| rustix::io::pwrite(file.as_fd(), bytes, offset))
}

/// The same of parts that are to lie one behind the other.
pub(crate) fn write_some_of(file: &File, parts: &[&[u8]], offset: u64) -> Result<usize, Errno> {
    let parts: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
    write_some(|| rustix::io::pwritev(file.as_fd(), &parts, offset))
}

fn write_some(write: impl Fn() -> rustix::io::Result<usize>) -> Result<usize, Errno> {
    loop {
        match write() {
            Ok(0) => return Err(Errno(libc::EIO)),
            Ok(n) => return Ok(n),
            Err(Code::INTR) => {}
            Err(code) => return Err(code.into()),
        }
    }
}

/// Opens a file once more, for reading or writing past the page cache, and says how the memory must be
/// aligned. It goes by whole pages. `None` where the file system refuses or, unless it may be tried `unasked`,
/// does not say that it takes them.
#[cfg(target_os = "linux")]
pub(crate) fn open_direct(file: &File, access: Access, unasked: bool) -> Option<(File, usize)> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
    const PAGE: u32 = 4096;
    let said = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let said = said.filter(|said| said.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let alignment = match said {
        // Zeros say that this file takes none.
        Some(said) => (1..=PAGE)
            .contains(&said.stx_dio_offset_align)
            .then_some(said.stx_dio_mem_align)
            .filter(|&alignment| alignment > 0)?,
        None if unasked => PAGE,
        None => return None,
    };
    // By its descriptor: the name may mean another file by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
    };
    let flags = flags | OFlags::DIRECT | OFlags::CLOEXEC;
    let again = openat(CWD, path, flags, Mode::empty()).ok()?;
    Some((File::from(again), alignment as usize))
}

/// Other systems have no such descriptors.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_direct(_: &File, _: Access, _: bool) -> Option<(File, usize)> {
    None
}

/// Zeroed, page-aligned memory straight from the system.
pub(crate) struct Map {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: a Map owns its memory alone, and the memory belongs to no thread.
unsafe impl Send for Map {}
// SAFETY: a shared Map only tells its address and size.
unsafe impl Sync for Map {}

impl Map {
    /// `None` when the system has no memory left.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh private mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), size, protection, MapFlags::PRIVATE).ok()?
        };
        NonNull::new(start.cast()).map(|start| Self { start, size })
    }

    /// The same on large pages, where there are some: for reading into as a whole.
    pub(crate) fn on_large_pages(size: usize) -> Option<Self> {
        let map = Self::new(size)?;
        #[cfg(target_os = "linux")]
        // SAFETY: it changes how the memory is made up, and nothing of what is in it.
        let _ = unsafe {
            rustix::mm::madvise(map.start().cast(), size, rustix::mm::Advice::LinuxHugepage)
        };
        Some(map)
    }

    /// Several of whole pages, side by side, so that a large page can hold more than one.
    pub(crate) fn several(size: usize, count: usize) -> Option<Vec<Self>> {
        let whole = std::mem::ManuallyDrop::new(Self::on_large_pages(size.checked_mul(count)?)?);
        let part = |n: usize| Self {
            // SAFETY: within the mapping, which nobody else unmaps: each part does so with its own.
            start: unsafe { whole.start.add(n * size) },
            size,
        };
        Some((0..count).map(part).collect())
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

    /// All of its bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: zeroed when it was made, and borrowed for as long as the result lives.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.size) }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: start and size are what mmap gave, and whoever drops the Map has the last use of it.
        let _ = unsafe { munmap(self.start().cast(), self.size) };
    }
}

/// Fails for a file that was deleted or replaced while it was open (ENOENT), and for one that is shorter
/// than `size` bytes (`TOO_SHORT`).
pub(crate) fn still_there(file: &File, size: u64) -> Result<(), Errno> {
    let found = fstat(file)?;
    match found.st_nlink {
        0 => Err(super::NOT_FOUND),
        _ if (found.st_size as u64) < size => Err(super::TOO_SHORT),
        _ => Ok(()),
    }
}

/// Are these one file, opened twice?
pub(crate) fn is_same(one: &File, other: &File) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// What tells a file from all others of its file system; 0 where nothing does.
pub(crate) fn number(file: &File) -> Result<u64, Errno> {
    Ok(fstat(file)?.st_ino)
}

/// How many descriptors this process may have open.
pub(crate) fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Gives back the space of a stretch, which reads as zeros then, where the system can.
#[cfg(target_os = "linux")]
pub(crate) fn punch(file: &File, offset: u64, length: u64) {
    use rustix::fs::FallocateFlags;

    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, hole, offset, length);
}

/// Other systems keep the space until the file goes.
#[cfg(not(target_os = "linux"))]
pub(crate) fn punch(_: &File, _: u64, _: u64) {}

/// Reserves the first `length` bytes of a file on the disk, which grows to that; what is in it stays.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, length: u64) -> Result<(), Errno> {
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
            Err(Code::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Other systems would have to write zeros.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(_: &File, _: u64) -> Result<(), Errno> {
    Err(Errno(libc::EOPNOTSUPP))
}
