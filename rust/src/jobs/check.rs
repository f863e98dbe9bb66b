//! Check: what is on the disk is hashed by all threads side by side, a few MiB at a time.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::files::Fault;
use crate::hash::pieces::{Pass, Scratch, Sums, Versions, zero_sums};
use crate::hash::stretches::Source;
use crate::hash::{Sum, Sum256, merkle};
use crate::holes::in_holes;
use crate::layout::{Layout, Span};
use crate::platform::{Access, CANCELED, Errno, NOT_FOUND, TOO_SHORT};
use crate::ring::Outcome;
use crate::storage::Storage;
use crate::workers::{guarded, locked};

/// Pieces to be checked together; neighbours, all of them wanted.
pub(crate) struct Unit(Range<u32>);

pub(crate) struct Check {
    job: u64,
    storage: Arc<Storage>,
    digests: Digests,
    todo: Vec<u8>,
    /// What is read has to come from the device, not from the page cache.
    fresh: bool,
    canceled: AtomicBool,
    zeros: OnceLock<Sums>,
    progress: Mutex<Progress>,
    /// Memory for what has to be read, of threads that are done with it.
    scratches: Mutex<Vec<Scratch>>,
}

#[derive(Default)]
struct Progress {
    next: u32,
    /// Units that threads have and did not report yet.
    running: usize,
    fault: Option<Fault>,
    ended: bool,
}

/// What the pieces should have.
enum Digests {
    V1(Vec<Sum>),
    V2(Vec<Sum256>),
}

impl Digests {
    /// 20 bytes a piece are version 1, 32 are version 2.
    fn new(bytes: &[u8], pieces: usize) -> Option<Self> {
        match (bytes.as_chunks(), bytes.as_chunks()) {
            ((sums, []), _) if sums.len() == pieces => Some(Self::V1(sums.to_vec())),
            (_, (sums, [])) if sums.len() == pieces => Some(Self::V2(sums.to_vec())),
            _ => None,
        }
    }

    fn versions(&self) -> Versions {
        let v1 = matches!(self, Self::V1(_));
        Versions { v1, v2: !v1 }
    }

    fn agree(&self, piece: u32, sums: &Sums) -> bool {
        match self {
            Self::V1(digests) => digests[piece as usize] == sums.v1,
            Self::V2(digests) => digests[piece as usize] == sums.v2,
        }
    }
}

impl Check {
    /// `digests` are 20 bytes a piece (SHA-1), or 32 (the roots of the pieces' Merkle trees, which
    /// needs an aligned layout); `todo` is a bit a piece (wire order). With `fresh`, what is read comes
    /// from the device: a page that it never took may look well in the page cache.
    pub(crate) fn new(
        storage: Arc<Storage>,
        job: u64,
        digests: &[u8],
        todo: &[u8],
        fresh: bool,
    ) -> Result<Arc<Self>, &'static str> {
        let files = &storage.files;
        let pieces = files.layout.pieces() as usize;
        let digests = Digests::new(digests, pieces)
            .ok_or("digests must be 20 bytes for each piece, or 32 for each")?;
        if digests.versions().v2 {
            merkle::check(&files.layout, |file| files.is_pad(file))?;
        }
        if todo.len() != pieces.div_ceil(8) {
            return Err("todo must be one bit for each piece");
        }
        storage.reopen();
        let check = Arc::new(Self {
            job,
            digests,
            todo: todo.to_vec(),
            fresh,
            canceled: AtomicBool::new(false),
            zeros: OnceLock::new(),
            progress: Mutex::default(),
            scratches: Mutex::default(),
            storage,
        });
        locked(&check.storage.checks).insert(job, Arc::downgrade(&check));
        Ok(check)
    }

    pub(crate) fn cancel(&self) {
        self.canceled.store(true, Ordering::Release);
    }

    /// The next unit to hash; `None` when there is none left to start.
    pub(crate) fn claim(&self) -> Option<Unit> {
        let mut progress = locked(&self.progress);
        if self.canceled.load(Ordering::Acquire) && progress.fault.is_none() {
            progress.fault = Some(Fault::of(CANCELED, "check"));
        }
        let unit = if progress.fault.is_none() {
            self.wanted(progress.next)
        } else {
            None
        };
        match &unit {
            Some(Unit(pieces)) => {
                progress.next = pieces.end;
                progress.running += 1;
            }
            None => self.end(&mut progress),
        }
        unit
    }

    /// Hashes a unit, and reports it.
    pub(crate) fn run(&self, unit: Unit) {
        let first = unit.0.start;
        let count = unit.0.len();
        let done = guarded(|| self.hash(unit));
        let mut progress = locked(&self.progress);
        progress.running -= 1;
        match done {
            Ok(bits) => {
                let count = count as u32;
                let outcome = Outcome::Checked { first, bits, count };
                self.storage.engine.ring.push(self.job, outcome);
            }
            Err(fault) => {
                progress.fault.get_or_insert(fault);
            }
        }
        let over = progress.fault.is_some() || self.wanted(progress.next).is_none();
        if over {
            self.end(&mut progress);
        }
    }

    /// Reports the end, once the last unit has been reported.
    fn end(&self, progress: &mut Progress) {
        if progress.running > 0 || std::mem::replace(&mut progress.ended, true) {
            return;
        }
        locked(&self.storage.checks).remove(&self.job);
        let outcome = progress.fault.map_or(Outcome::CheckDone, Outcome::Error);
        self.storage.engine.ring.push(self.job, outcome);
    }

    /// The first unit at or after piece `from`.
    fn wanted(&self, from: u32) -> Option<Unit> {
        let layout = &self.storage.files.layout;
        let is_todo = |&piece: &u32| self.todo[piece as usize / 8] & (0x80 >> (piece % 8)) != 0;
        let first = (from..layout.pieces()).find(is_todo)?;
        let rest = (first..layout.pieces()).take_while(is_todo);
        let count = rest.take(Pass::most(layout)).count();
        Some(Unit(first..first + count as u32))
    }

    fn zero_sums(&self) -> &Sums {
        let layout = &self.storage.files.layout;
        let versions = self.digests.versions();
        self.zeros.get_or_init(|| zero_sums(layout, versions))
    }

    /// A bit for each piece of the unit. What is not there, or only in part, is not good; that is
    /// no error.
    fn hash(&self, Unit(pieces): Unit) -> Result<Vec<u8>, Fault> {
        let files = &self.storage.files;
        let mut bits = vec![0; pieces.len().div_ceil(8)];
        if self.fresh {
            let start = files.layout.piece_offset(pieces.start);
            files.refresh(start, files.layout.size(&pieces) as usize)?;
        }
        let holes = |span: &Span| Ok::<_, Fault>(files.holes(span));
        let zeros = in_holes(&files.layout, &pieces, holes)?;
        let mut good = |piece: u32| {
            let index = (piece - pieces.start) as usize;
            bits[index / 8] |= 0x80 >> (index % 8);
            self.storage.not_synced(piece);
        };
        let mut filled = Vec::with_capacity(pieces.len());
        for (piece, zero) in pieces.clone().zip(zeros) {
            if !zero {
                filled.push(piece);
            } else if self.digests.agree(piece, self.zero_sums()) {
                good(piece);
            }
        }
        let mut reader = Reader(self);
        let mut pass = Pass::new(&filled, self.digests.versions(), &files.layout);
        let mut scratch = locked(&self.scratches).pop().unwrap_or_else(Scratch::new);
        while pass.step(&mut scratch, &mut reader)? {
            self.storage.engine.work_before_more();
        }
        locked(&self.scratches).push(scratch);
        for (&piece, sums) in filled.iter().zip(pass.finish()) {
            if sums.is_some_and(|sums| self.digests.agree(piece, &sums)) {
                good(piece);
            }
        }
        Ok(bits)
    }
}

/// The files as a check reads them.
struct Reader<'a>(&'a Check);

impl Source for Reader<'_> {
    type Error = Fault;

    fn layout(&self) -> &Layout {
        &self.0.storage.files.layout
    }

    fn is_pad(&self, file: usize) -> bool {
        self.0.storage.files.is_pad(file)
    }

    fn with_file<R>(
        &mut self,
        span: &Span,
        job: impl FnOnce(&File, u64) -> Result<R, Errno>,
    ) -> Result<Option<R>, Fault> {
        if self.0.canceled.load(Ordering::Acquire) {
            return Err(Fault::of(CANCELED, "check"));
        }
        let used = match self.0.storage.files.take(span.file, Access::Read, false) {
            Err(NOT_FOUND) => return Ok(None),
            other => other.map_err(Fault::at(*span, "open"))?,
        };
        match job(&used.file.file, used.start + span.offset) {
            Err(NOT_FOUND | TOO_SHORT) => Ok(None),
            other => other.map(Some).map_err(Fault::at(*span, "read")),
        }
    }
}
