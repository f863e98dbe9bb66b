//! One torrent on the disk: its files, its pieces on their way in, and what a sync has to cover.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::files::{Fault, Files};
use crate::jobs::check::Check;
use crate::jobs::commit::Strip;
use crate::platform::{Access, Errno};
use crate::recent::Recent;
use crate::workers::{Engine, locked};

pub(crate) struct Storage {
    pub(crate) engine: Arc<Engine>,
    pub(crate) files: Files,
    /// Pieces have the digests of version 2, in a layout for it.
    pub(crate) v2: bool,
    pub(crate) recent: Recent,
    /// Pieces with parts in the queue, or half hashed.
    pub(crate) strips: Mutex<HashMap<u32, Strip>>,
    pub(crate) dirt: Mutex<Dirt>,
    pub(crate) checks: Mutex<HashMap<u64, Weak<Check>>>,
    pub(crate) empties_made: AtomicBool,
    /// Part of the names of files that are being copied.
    pub(crate) mark: String,
    closed: AtomicBool,
}

/// Files that the next sync has to cover.
#[derive(Default)]
pub(crate) struct Dirt {
    pub(crate) written: BTreeSet<usize>,
    /// Files whose sync failed. The kernel forgets what it could not write, so that a second sync
    /// would claim success: such a file never syncs again.
    pub(crate) lost: BTreeMap<usize, Errno>,
}

impl Storage {
    pub(crate) fn new(engine: Arc<Engine>, files: Files, v2: bool, mark: String) -> Arc<Self> {
        Arc::new(Self {
            empties_made: AtomicBool::new(!files.writable),
            engine,
            files,
            v2,
            recent: Recent::default(),
            mark,
            strips: Mutex::default(),
            dirt: Mutex::default(),
            checks: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Cancels checks and lets go of the files. Queued jobs still finish.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for check in locked(&self.checks)
            .drain()
            .filter_map(|(_, c)| c.upgrade())
        {
            check.cancel();
        }
        self.recent.clear();
        self.files.close();
    }

    /// Forgets what was written and which files are open: what is on the disk now counts.
    pub(crate) fn reopen(&self) {
        self.recent.clear();
        self.files.reopen();
    }

    /// Stops a check; it ends with an error completion (ECANCELED).
    pub(crate) fn cancel(&self, job: u64) {
        if let Some(check) = locked(&self.checks).remove(&job).and_then(|c| c.upgrade()) {
            check.cancel();
        }
    }

    /// The next sync has to cover the files of this piece: whoever wrote it may not have got to that.
    pub(crate) fn not_synced(&self, piece: u32) {
        if self.files.writable {
            let layout = &self.files.layout;
            let start = layout.piece_offset(piece);
            let places = self
                .files
                .places_of(start, layout.piece_size(piece) as usize);
            for &place in &places {
                self.files.places.not_synced(place);
            }
            locked(&self.dirt).written.extend(places);
        }
    }

    /// Writes one part of the stream behind the other, and remembers which files a sync has to cover.
    pub(crate) fn write(&self, offset: u64, parts: &[&[u8]]) -> Result<(), Fault> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.recent.forget(offset, length);
        self.files.write(offset, parts, |file| {
            locked(&self.dirt).written.insert(file);
        })
    }

    /// Makes the files that no piece will ever touch, and the symlinks.
    pub(crate) fn make_empties(&self) -> Result<(), Fault> {
        if self.empties_made.load(Ordering::Acquire) {
            return Ok(());
        }
        for file in 0..self.files.count() {
            let files = &self.files;
            if files.layout.file_length(file) == 0 && files.places.is_wanted(file) {
                let made = self.make_empty(file);
                made.map_err(Fault::whole(file, "open"))?;
            }
        }
        self.empties_made.store(true, Ordering::Release);
        Ok(())
    }

    /// What is there already needs nothing: it may lie where nothing can be written, or belong to
    /// another process as well.
    fn make_empty(&self, file: usize) -> Result<(), Errno> {
        let files = &self.files;
        if files.places.make_link(file)? {
            return Ok(());
        }
        if let Ok(there) = files.take(file, Access::Read, false)
            && there.place == file
            && there.file.file.metadata()?.len() == 0
        {
            return Ok(());
        }
        files.take(file, Access::Write, false).map(drop)
    }
}
