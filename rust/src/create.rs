//! The hashes of files that are to become a torrent, by several threads.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::hash::merkle::{self, file_root};
use crate::hash::pieces::{Pass, Scratch, Sums, Versions, zero_sums};
use crate::hash::stretches::Source;
use crate::hash::{LANES, Sum256};
use crate::holes::in_holes;
use crate::layout::{Layout, Span};
use crate::platform::{self, CANCELED, Errno, TOO_SHORT};
use crate::workers::locked;

/// Files that one thread keeps open: pieces that are read in turns may each lie in one of their own.
const OPEN_FILES: usize = 2 * LANES;

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

/// What `hash_files` found: what was not asked for is empty.
#[derive(Default)]
pub(crate) struct Hashes {
    /// The SHA-1 of each piece, back to back.
    pub(crate) pieces: Vec<u8>,
    /// The root of each file's Merkle tree; `None` for files without bytes, and for pads.
    pub(crate) roots: Vec<Option<Sum256>>,
    /// Each file's piece layer; empty for a file that is no longer than a piece.
    pub(crate) layers: Vec<Vec<Sum256>>,
}

/// One run of `hash_files`.
pub(crate) struct Create {
    /// An empty path is a pad file: zeros.
    paths: Vec<PathBuf>,
    layout: Layout,
    versions: Versions,
    progress: Arc<Progress>,
    next: AtomicUsize,
    zeros: OnceLock<Sums>,
    sums: Mutex<Vec<Sums>>,
    trouble: Mutex<Option<Trouble>>,
}

/// A file that a thread reads on. Whether it is still as it was is for those to find out who know how
/// it was before: this only sees that it is as long as they say.
struct Open {
    index: usize,
    file: File,
}

impl Create {
    /// Version 2 needs an aligned layout.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        layout: Layout,
        versions: Versions,
        progress: Arc<Progress>,
    ) -> Result<Self, &'static str> {
        let is_pad = |file: usize| paths[file].as_os_str().is_empty();
        if versions.v2 {
            merkle::check(&layout, is_pad)?;
        }
        Ok(Self {
            sums: Mutex::new(vec![Sums::default(); layout.pieces() as usize]),
            next: AtomicUsize::new(0),
            zeros: OnceLock::new(),
            trouble: Mutex::default(),
            paths,
            layout,
            versions,
            progress,
        })
    }

    fn is_pad(&self, file: usize) -> bool {
        self.paths[file].as_os_str().is_empty()
    }

    /// Takes units of pieces until there are none left. Run by every thread.
    pub(crate) fn run(&self) {
        if let Err(trouble) = self.try_run() {
            locked(&self.trouble).get_or_insert(trouble);
            self.next
                .store(self.layout.pieces() as usize, Ordering::Relaxed);
        }
    }

    /// What was found, once every thread is done.
    pub(crate) fn finish(&self) -> Result<Hashes, Trouble> {
        // A file that holds no piece's bytes was not opened yet, but has to be there as well.
        if locked(&self.trouble).is_none() {
            for index in 0..self.paths.len() {
                if self.layout.file_length(index) == 0
                    && !self.is_pad(index)
                    && let Err(trouble) = self.open(index)
                {
                    locked(&self.trouble).get_or_insert(trouble);
                    break;
                }
            }
        }
        match locked(&self.trouble).take() {
            Some(trouble) => Err(trouble),
            None => Ok(self.hashes(&locked(&self.sums))),
        }
    }

    fn hashes(&self, sums: &[Sums]) -> Hashes {
        let mut hashes = Hashes::default();
        if self.versions.v1 {
            hashes.pieces = sums.iter().flat_map(|sums| sums.v1).collect();
        }
        for file in 0..if self.versions.v2 {
            self.paths.len()
        } else {
            0
        } {
            let pieces = self.layout.pieces_of(file);
            let pieces = &sums[pieces.start as usize..pieces.end as usize];
            let layer: Vec<Sum256> = pieces.iter().map(|sums| sums.v2).collect();
            let root = file_root(layer.clone(), self.layout.piece_length());
            hashes.roots.push(root);
            hashes
                .layers
                .push(if layer.len() > 1 { layer } else { Vec::new() });
        }
        hashes
    }

    fn try_run(&self) -> Result<(), Trouble> {
        let pieces = self.layout.pieces() as usize;
        let unit = Pass::most(&self.layout);
        let mut scratch = Scratch::new();
        let mut reader = Reader {
            create: self,
            open: VecDeque::new(),
        };
        loop {
            // Capped at the end, so that the counter cannot overflow.
            let claim = |next: usize| (next < pieces).then(|| (next + unit).min(pieces));
            let claimed = self
                .next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
            let Ok(first) = claimed else {
                return Ok(());
            };
            let claimed = first as u32..(first + unit).min(pieces) as u32;
            let sums = reader.sums(claimed, &mut scratch)?;
            locked(&self.sums)[first..first + sums.len()].copy_from_slice(&sums);
        }
    }

    fn check_canceled(&self) -> Result<(), Trouble> {
        if !self.progress.canceled.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Trouble {
            errno: CANCELED,
            reason: None,
            path: None,
        })
    }

    fn open(&self, index: usize) -> Result<Open, Trouble> {
        let trouble = |errno| self.trouble(index, errno);
        let file = platform::open_plain(&self.paths[index]).map_err(trouble)?;
        let found = file.metadata().map_err(|e| trouble(e.into()))?;
        if found.len() != self.layout.file_length(index) {
            return Err(self.changed(index));
        }
        platform::no_read_ahead(&file); // what is worth it is announced
        Ok(Open { index, file })
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

/// The files as one thread reads them.
struct Reader<'a> {
    create: &'a Create,
    open: VecDeque<Open>,
}

impl Reader<'_> {
    fn sums(&mut self, pieces: Range<u32>, scratch: &mut Scratch) -> Result<Vec<Sums>, Trouble> {
        let create = self.create;
        create.check_canceled()?;
        let zeros = in_holes(&create.layout, &pieces, |span| {
            let found = self.with_file(span, |file, offset| {
                Ok(platform::holes(file, offset, span.length as u64))
            });
            Ok(found?.unwrap_or_default())
        })?;
        let mut sums = vec![Sums::default(); pieces.len()];
        let mut filled = Vec::with_capacity(pieces.len());
        for (piece, zero) in pieces.clone().zip(zeros) {
            if zero {
                let zeros = || zero_sums(&create.layout, create.versions);
                sums[(piece - pieces.start) as usize] = *create.zeros.get_or_init(zeros);
                self.passed(u64::from(create.layout.piece_length()));
            } else {
                filled.push(piece);
            }
        }
        let mut pass = Pass::new(&filled, create.versions, &create.layout);
        while pass.step(scratch, self)? {}
        for (piece, found) in filled.iter().zip(pass.finish()) {
            sums[(piece - pieces.start) as usize] = found.unwrap_or_default();
        }
        Ok(sums)
    }

    /// The open file, one of the few that a thread keeps.
    fn handle(&mut self, index: usize) -> Result<&File, Trouble> {
        let place = match self.open.iter().position(|open| open.index == index) {
            Some(place) => place,
            None => {
                if self.open.len() == OPEN_FILES {
                    self.open.pop_front();
                }
                self.open.push_back(self.create.open(index)?);
                self.open.len() - 1
            }
        };
        Ok(&self.open[place].file)
    }
}

impl Source for Reader<'_> {
    type Error = Trouble;

    fn layout(&self) -> &Layout {
        &self.create.layout
    }

    fn is_pad(&self, file: usize) -> bool {
        self.create.is_pad(file)
    }

    fn with_file<R>(
        &mut self,
        span: &Span,
        job: impl FnOnce(&File, u64) -> Result<R, Errno>,
    ) -> Result<Option<R>, Trouble> {
        let create = self.create;
        create.check_canceled()?;
        let done = job(self.handle(span.file)?, span.offset);
        done.map(Some)
            .map_err(|errno| create.trouble(span.file, errno))
    }

    fn passed(&mut self, bytes: u64) {
        self.create
            .progress
            .done
            .fetch_add(bytes, Ordering::Relaxed);
    }
}
