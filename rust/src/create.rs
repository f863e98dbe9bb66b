//! The hashes of files that are to become a torrent, by several threads.

use std::fs::File;
use std::io::IoSliceMut;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::hash::{Hasher, Sum};
use crate::layout::Layout;
use crate::platform::{self, CANCELED, Errno, TOO_SHORT};
use crate::workers::locked;

const CHUNK: usize = 512 << 10;
/// Neighbouring bytes that one thread takes at a time (or one piece, if that is larger).
const UNIT: u64 = 8 << 20;

/// How far a hashing is; shared with whoever watches it.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    pub(crate) canceled: AtomicBool,
}

/// Why hashing stopped.
pub(crate) struct Trouble {
    pub(crate) errno: Errno,
    /// What to say instead of the errno's own text.
    pub(crate) reason: Option<&'static str>,
    pub(crate) path: Option<PathBuf>,
}

/// One run of `hash_files`.
pub(crate) struct Create {
    paths: Vec<PathBuf>,
    layout: Layout,
    progress: Arc<Progress>,
    next: AtomicUsize,
    sums: Mutex<Vec<u8>>,
    trouble: Mutex<Option<Trouble>>,
}

/// A file as one thread sees it while it reads on.
struct Open {
    index: usize,
    file: File,
    before: Option<SystemTime>,
}

impl Create {
    pub(crate) fn new(paths: Vec<PathBuf>, layout: Layout, progress: Arc<Progress>) -> Self {
        Self {
            sums: Mutex::new(vec![0; layout.pieces() as usize * size_of::<Sum>()]),
            next: AtomicUsize::new(0),
            trouble: Mutex::default(),
            paths,
            layout,
            progress,
        }
    }

    /// Takes units of pieces until there are none left. Run by every thread.
    pub(crate) fn run(&self) {
        if let Err(trouble) = self.try_run() {
            locked(&self.trouble).get_or_insert(trouble);
            self.next
                .store(self.layout.pieces() as usize, Ordering::Relaxed);
        }
    }

    /// 20 bytes for each piece, once every thread is done.
    pub(crate) fn finish(&self) -> Result<Vec<u8>, Trouble> {
        // A file that holds no piece's bytes was not opened yet, but has to be there as well.
        if locked(&self.trouble).is_none() {
            for index in 0..self.paths.len() {
                if self.layout.file_length(index) == 0
                    && let Err(trouble) = self.open(index)
                {
                    locked(&self.trouble).get_or_insert(trouble);
                    break;
                }
            }
        }
        match locked(&self.trouble).take() {
            Some(trouble) => Err(trouble),
            None => Ok(std::mem::take(&mut *locked(&self.sums))),
        }
    }

    fn try_run(&self) -> Result<(), Trouble> {
        let pieces = self.layout.pieces() as usize;
        let piece_size = u64::from(self.layout.piece_size(0)).max(1);
        let unit = (UNIT / piece_size).max(1) as usize;
        let mut chunk = vec![0; CHUNK];
        let mut open = None;
        loop {
            // Capped below the end, so that the counter cannot overflow.
            let claim = |next: usize| (next < pieces).then(|| (next + unit).min(pieces));
            let claimed = self
                .next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
            let Ok(first) = claimed else {
                return open.map_or(Ok(()), |open| self.unchanged(&open));
            };
            let mut sums = Vec::with_capacity(unit * size_of::<Sum>());
            for piece in first..(first + unit).min(pieces) {
                sums.extend(self.hash(piece as u32, &mut open, &mut chunk)?);
            }
            let at = first * size_of::<Sum>();
            locked(&self.sums)[at..at + sums.len()].copy_from_slice(&sums);
        }
    }

    fn hash(&self, piece: u32, open: &mut Option<Open>, chunk: &mut [u8]) -> Result<Sum, Trouble> {
        let mut hasher = Hasher::default();
        let offset = self.layout.piece_offset(piece);
        let size = self.layout.piece_size(piece) as usize;
        for span in self.layout.spans(offset, size) {
            if open.as_ref().is_none_or(|open| open.index != span.file) {
                let next = self.open(span.file)?;
                if let Some(last) = open.replace(next) {
                    self.unchanged(&last)?;
                }
            }
            let Some(Open { file, .. }) = open else {
                continue;
            };
            let mut at = span.offset;
            let mut left = span.length;
            while left > 0 {
                if self.progress.canceled.load(Ordering::Relaxed) {
                    return Err(Trouble {
                        errno: CANCELED,
                        reason: None,
                        path: None,
                    });
                }
                let now = &mut chunk[..left.min(CHUNK)];
                platform::read_at(file, &mut [IoSliceMut::new(now)], at)
                    .map_err(|errno| self.trouble(span.file, errno))?;
                hasher.update(now);
                at += now.len() as u64;
                left -= now.len();
                self.progress
                    .done
                    .fetch_add(now.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(hasher.finish())
    }

    fn open(&self, index: usize) -> Result<Open, Trouble> {
        let trouble = |errno| self.trouble(index, errno);
        let file = platform::open_plain(&self.paths[index]).map_err(trouble)?;
        let found = file.metadata().map_err(|e| trouble(e.into()))?;
        if found.len() != self.layout.file_length(index) {
            return Err(self.changed(index));
        }
        Ok(Open {
            index,
            file,
            before: found.modified().ok(),
        })
    }

    /// Is the file still as long and as old as when this thread opened it?
    fn unchanged(&self, open: &Open) -> Result<(), Trouble> {
        let found = open
            .file
            .metadata()
            .map_err(|error| self.trouble(open.index, error.into()))?;
        let same = found.len() == self.layout.file_length(open.index)
            && found.modified().ok() == open.before
            && platform::still_there(&open.file).is_ok();
        if same {
            Ok(())
        } else {
            Err(self.changed(open.index))
        }
    }

    fn trouble(&self, index: usize, errno: Errno) -> Trouble {
        if errno == TOO_SHORT {
            return self.changed(index);
        }
        Trouble {
            errno,
            reason: None,
            path: Some(self.paths[index].clone()),
        }
    }

    fn changed(&self, index: usize) -> Trouble {
        Trouble {
            errno: Errno(libc::EIO),
            reason: Some("the file changed while it was being read"),
            path: Some(self.paths[index].clone()),
        }
    }
}
