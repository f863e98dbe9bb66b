//! Files in memory, without the signal that usually comes with that.
//!
//! Hashing straight from the page cache saves a copy. But where a mapped page cannot be had any more,
//! because the file was cut or the disk failed, touching it raises SIGBUS, which ends the process. So
//! windows are listed, and while there are any, a handler puts zeros in place of what is missing and
//! notes that in the list. Every other SIGBUS goes where it went before.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

use crate::workers::locked;

/// Windows of the whole process at once; who comes too late reads instead.
const MOST: usize = 512;

/// A stretch of a file, readable as memory for as long as this lives. What cannot be had of it reads
/// as zeros, and `is_intact` says so afterwards.
pub(crate) struct Window {
    start: NonNull<u8>,
    /// Bytes between the page's start, where the mapping begins, and the stretch.
    skip: usize,
    length: usize,
    /// Bytes of the file before the mapping.
    offset: u64,
    entry: &'static Entry,
}

/// A window as the handler sees it. An empty range is no window.
struct Entry {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

static LIST: [Entry; MOST] = [const {
    Entry {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
    }
}; MOST];

/// How many windows there are.
static OPEN: Mutex<usize> = Mutex::new(0);
/// What SIGBUS did before, for the handler.
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BEFORE_FLAGS: AtomicI32 = AtomicI32::new(0);

// SAFETY: a window only reads its memory, from any thread.
unsafe impl Send for Window {}
// SAFETY: the same.
unsafe impl Sync for Window {}

impl Window {
    /// `None` where the file is shorter than that, where the kernel would not tell what is in its
    /// page cache (to those who could not write to it), or where it cannot be mapped.
    pub(crate) fn new(file: &File, offset: u64, length: usize) -> Option<Self> {
        let stat = rustix::fs::fstat(file).ok()?;
        // SAFETY: it only returns a number.
        let user = unsafe { libc::geteuid() };
        let end = offset.checked_add(length as u64)?;
        if end > stat.st_size as u64 || (user != 0 && user != stat.st_uid) {
            return None;
        }
        let skip = (offset % page() as u64) as usize;
        let offset = offset - skip as u64;
        let at = libc::off_t::try_from(offset).ok()?;
        let entry = LIST
            .iter()
            .find(|entry| !entry.taken.swap(true, Ordering::Acquire))?;
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            let (length, file) = (skip + length, file.as_raw_fd());
            libc::mmap(
                null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file,
                at,
            )
        };
        let Some(start) = NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) else {
            entry.taken.store(false, Ordering::Release);
            return None;
        };
        // In this order: the range is empty until it is right.
        entry.broken.store(false, Ordering::Relaxed);
        entry.start.store(start.as_ptr() as usize, Ordering::SeqCst);
        let end = start.as_ptr() as usize + skip + length;
        entry.end.store(end, Ordering::SeqCst);
        guard();
        Some(Self {
            start,
            skip,
            length,
            offset,
            entry,
        })
    }

    /// The bytes. Another process may change them meanwhile, like those of any file that is read: so
    /// they are for hashing, where it makes no difference when a byte was looked at.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for as long as `self` lives, and the handler keeps it readable.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.skip), self.length) }
    }

    /// Was everything that was looked at really the file's?
    pub(crate) fn is_intact(&self) -> bool {
        !self.entry.broken.load(Ordering::SeqCst)
    }

    /// The parts of the file that are not in the page cache, by whole pages.
    pub(crate) fn cold(&self) -> Vec<Range<u64>> {
        let page = page();
        let length = self.skip + self.length;
        let mut there = vec![0u8; length.div_ceil(page)];
        // SAFETY: `there` has a byte for each page of the mapping.
        let done = unsafe {
            libc::mincore(
                self.start.as_ptr().cast(),
                length,
                there.as_mut_ptr().cast(),
            )
        };
        if done != 0 {
            return Vec::new();
        }
        let mut at = self.offset;
        let mut cold = Vec::new();
        for run in there.chunk_by(|one, next| one & 1 == next & 1) {
            let end = at + (run.len() * page) as u64;
            if run[0] & 1 == 0 {
                cold.push(at..end);
            }
            at = end;
        }
        cold
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // First out of the list: the address may belong to somebody else right after.
        self.entry.end.store(0, Ordering::SeqCst);
        self.entry.start.store(0, Ordering::SeqCst);
        unguard();
        // SAFETY: start and length are those of the mapping, and this is its last use.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.skip + self.length) };
        self.entry.taken.store(false, Ordering::Release);
    }
}

fn page() -> usize {
    // SAFETY: it only returns a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Installs the handler with the first window.
fn guard() {
    let mut open = locked(&OPEN);
    *open += 1;
    if *open > 1 {
        return;
    }
    // SAFETY: `sigaction` is plain numbers, for which zeros are fine.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let mut before = action;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler calls nothing but what may be called in a handler.
    unsafe { libc::sigaction(libc::SIGBUS, null_mut(), &mut before) };
    if before.sa_sigaction != action.sa_sigaction {
        BEFORE_FLAGS.store(before.sa_flags, Ordering::SeqCst);
        BEFORE.store(before.sa_sigaction, Ordering::SeqCst);
        // SAFETY: the same.
        unsafe { libc::sigaction(libc::SIGBUS, &action, null_mut()) };
    }
}

/// Takes it away with the last one, unless somebody has put another one over it.
fn unguard() {
    let mut open = locked(&OPEN);
    *open -= 1;
    if *open > 0 {
        return;
    }
    // SAFETY: `sigaction` is plain numbers, for which zeros are fine.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it only asks.
    unsafe { libc::sigaction(libc::SIGBUS, null_mut(), &mut now) };
    if now.sa_sigaction == handler as *const () as usize {
        restore();
    }
}

/// Lets SIGBUS do what it did before.
fn restore() {
    // SAFETY: `sigaction` is plain numbers, for which zeros are fine.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    before.sa_sigaction = BEFORE.load(Ordering::SeqCst);
    before.sa_flags = BEFORE_FLAGS.load(Ordering::SeqCst);
    // SAFETY: what was installed before may be installed again.
    unsafe { libc::sigaction(libc::SIGBUS, &before, null_mut()) };
}

/// Puts zeros where a window has lost its file. Runs in a signal handler: system calls and atomics only.
extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid `info` to handlers that ask for it.
    let address = unsafe { (*info).si_addr() } as usize;
    for entry in &LIST {
        let start = entry.start.load(Ordering::SeqCst);
        let end = entry.end.load(Ordering::SeqCst);
        if !(start..end).contains(&address) {
            continue;
        }
        entry.broken.store(true, Ordering::SeqCst);
        let start = address - address % page();
        // SAFETY: this part of the window is replaced by zeros, in one step; errno is the thread's
        // own, and whoever was interrupted may be about to look at it.
        let mapped = unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let length = end - start;
            let mapped = libc::mmap(start as *mut c_void, length, libc::PROT_READ, flags, -1, 0);
            *errno = before;
            mapped
        };
        if mapped != libc::MAP_FAILED {
            return;
        }
    }
    let before = BEFORE.load(Ordering::SeqCst);
    if before == libc::SIG_DFL || before == libc::SIG_IGN {
        restore(); // and the instruction that failed fails again
    } else if BEFORE_FLAGS.load(Ordering::SeqCst) & libc::SA_SIGINFO != 0 {
        // SAFETY: a handler that was installed with this flag has this type.
        let before: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(before) };
        before(signal, info, context);
    } else {
        // SAFETY: a handler that was installed without it has this type.
        let before: extern "C" fn(c_int) = unsafe { std::mem::transmute(before) };
        before(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: usize) -> File {
        let name = format!("swarm-window-{}-{length}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, vec![7; length]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    #[test]
    fn a_window_shows_the_file() {
        let file = file(100_000);
        let window = Window::new(&file, 5_000, 90_000).unwrap();
        assert_eq!(window.bytes(), vec![7; 90_000]);
        assert!(window.is_intact());
        assert!(window.cold().is_empty());
        assert!(Window::new(&file, 5_000, 95_001).is_none());
        assert!(Window::new(&file, u64::MAX, 2).is_none());
    }

    #[test]
    fn a_file_that_is_cut_reads_as_zeros_and_is_found_out() {
        let file = file(200_000);
        let windows: Vec<Window> = (0..3)
            .map(|n| Window::new(&file, n * 60_000, 60_000).unwrap())
            .collect();
        file.set_len(70_000).unwrap();
        let sums = windows.iter().map(|window| {
            let bytes = window.bytes().iter();
            bytes.map(|&byte| u64::from(byte)).sum::<u64>()
        });
        assert_eq!(sums.collect::<Vec<_>>(), [7 * 60_000, 7 * 10_000, 0]);
        let intact: Vec<bool> = windows.iter().map(Window::is_intact).collect();
        assert_eq!(intact, [true, false, false]);
    }
}
