//! What was written lately, read from the memory that it came in.
//!
//! A slot that is back in its pool keeps its bytes until it is handed out again, so that remembering
//! which ones they are costs no memory. Only pieces whose hash was right are remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::platform::Map;
use crate::workers::locked;

/// The memory of a slot, and how many of its bytes count.
pub(crate) struct Trace {
    pub(crate) memory: Weak<Map>,
    /// Where in it they begin.
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// The recent past of one torrent, by offsets in its stream.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Books>);

#[derive(Default)]
struct Books {
    traces: BTreeMap<u64, Trace>,
    /// How many traces there were after the last time when those that ended were dropped.
    alive: usize,
}

impl Recent {
    /// The parts of a piece that was right and is on the disk as well, and where they begin.
    pub(crate) fn keep(&self, parts: Vec<(u64, Trace)>) {
        let mut books = locked(&self.0);
        books.traces.extend(parts);
        if books.traces.len() > 2 * books.alive + 64 {
            books
                .traces
                .retain(|_, trace| trace.memory.strong_count() > 0);
            books.alive = books.traces.len();
        }
    }

    /// Something else is about to be written there, or what was written cannot be relied on.
    pub(crate) fn forget(&self, offset: u64, length: usize) {
        let mut books = locked(&self.0);
        let end = offset.saturating_add(length as u64);
        let touched = |at: u64, trace: &Trace| at < end && offset < at + trace.length as u64;
        // Traces do not overlap, so at most one that begins before the stretch reaches into it.
        let before = books.traces.range(..offset).next_back();
        let first = before.map_or(offset, |(&at, _)| at);
        let gone: Vec<u64> = (books.traces.range(first..end))
            .filter(|&(&at, trace)| touched(at, trace))
            .map(|(&at, _)| at)
            .collect();
        for at in gone {
            books.traces.remove(&at);
        }
    }

    /// What the files hold is no longer known to be what was written.
    pub(crate) fn clear(&self) {
        *locked(&self.0) = Books::default();
    }

    /// Copies the stream from `offset` on, if all of it is still in one slot's memory.
    pub(crate) fn copy(&self, offset: u64, into: &mut [u8]) -> bool {
        let Some((memory, start)) = self.find(offset, into.len()) else {
            return false;
        };
        // SAFETY: the trace lies within the memory, and nobody writes to that: it was committed, and
        // a pool hands out no memory that somebody holds as we do.
        let bytes = unsafe { memory.bytes(start, into.len()) };
        into.copy_from_slice(bytes);
        true
    }

    fn find(&self, offset: u64, length: usize) -> Option<(Arc<Map>, usize)> {
        let books = locked(&self.0);
        let (&at, trace) = books.traces.range(..=offset).next_back()?;
        let skip = usize::try_from(offset - at).ok()?;
        if skip.checked_add(length)? > trace.length {
            return None;
        }
        Some((trace.memory.upgrade()?, trace.start + skip))
    }
}
