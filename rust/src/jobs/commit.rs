//! Commit: a piece's parts are hashed in order and written.
//!
//! The parts of one piece run one after the other, on whichever thread; those of several pieces are
//! hashed and written together.

mod together;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::files::Fault;
use crate::hash::merkle::LEAF;
use crate::hash::{Block, Digest, Sha1, Stream, Sum256};
use crate::platform::CANCELED;
use crate::recent::Trace;
use crate::ring::Outcome;
use crate::slot::Slot;
use crate::storage::Storage;
use crate::workers::{Closed, locked};

pub(crate) use together::run_pieces;

/// The next bytes of a piece. The last part brings the hash that the whole piece must have.
pub(crate) struct Part {
    pub(crate) job: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) slot: Arc<Slot>,
    pub(crate) digest: Option<Digest>,
    /// It may wait a little for others to be hashed with.
    pub(crate) patient: bool,
}

/// What is being done about a strip.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Whereabouts {
    /// Nothing: it has no parts.
    #[default]
    Idle,
    /// It waits for a thread.
    Queued,
    /// A thread has its first part.
    Taken,
}

/// One piece on its way to the disk.
#[derive(Default)]
pub(crate) struct Strip {
    parts: VecDeque<Part>,
    stream: Stream<Sha1>,
    /// Version 2 instead: the leaves of the piece's tree so far.
    leaves: Vec<Sum256>,
    /// The memory of the parts that were written, and where those begin in the stream.
    traces: Vec<(u64, Trace)>,
    /// Where the next part has to start: the end of what was queued.
    tail: u32,
    whereabouts: Whereabouts,
    /// A part could not be written: the rest of this try fails with it.
    broken: Option<Fault>,
    /// Grows when the piece starts again, so that a running part cannot report into the new try.
    epoch: u64,
}

/// The next part of a piece, in the hands of a thread.
struct Taken {
    storage: Arc<Storage>,
    piece: u32,
    part: Part,
    stream: Stream<Sha1>,
    leaves: Vec<Sum256>,
    epoch: u64,
    /// Why it cannot be written.
    broken: Option<Fault>,
    /// The hash of the piece, if this is its last part.
    sum: Option<Digest>,
}

impl Part {
    /// Is it all of its piece?
    fn is_whole(&self) -> bool {
        self.offset == 0 && self.digest.is_some()
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a committed slot has no writer any more (that is what committing means).
        let bytes = unsafe { self.slot.bytes() };
        &bytes[..self.length as usize]
    }
}

/// Why a part is refused.
pub(crate) enum Refused {
    Closed,
    Wrong(&'static str),
}

impl Strip {
    /// Could it be hashed for less beside others? Leaves of trees could not, and when the part after it
    /// has come, too, it has waited for long enough.
    fn may_wait(&self, v2: bool) -> bool {
        !v2 && self.parts.len() == 1 && self.parts[0].patient
    }

    fn restart(&mut self) -> VecDeque<Part> {
        self.stream = Stream::default();
        self.leaves.clear();
        self.traces.clear();
        self.tail = 0;
        self.broken = None;
        self.epoch += 1;
        std::mem::take(&mut self.parts)
    }
}

impl Storage {
    /// Queues a part. Parts of a piece come in order, and after an error it starts again from 0.
    pub(crate) fn commit(self: &Arc<Self>, piece: u32, part: Part) -> Result<(), Refused> {
        let size = self.files.layout.piece_size(piece);
        if part.length == 0 || part.length as usize > part.slot.len() {
            return Err(Refused::Wrong("the length is not within the slot"));
        }
        let end = match part.offset.checked_add(part.length) {
            Some(end) if end <= size => end,
            _ => return Err(Refused::Wrong("the part is not within its piece")),
        };
        if part.digest.is_some() != (end == size) {
            return Err(Refused::Wrong("exactly the last part has the digest"));
        }
        if matches!(part.digest, Some(Digest::V1(_)) if self.v2)
            || matches!(part.digest, Some(Digest::V2(_)) if !self.v2)
        {
            return Err(Refused::Wrong("the digest is of another version"));
        }
        let block = if self.v2 { LEAF } else { size_of::<Block>() };
        if !part.offset.is_multiple_of(block as u32) {
            return Err(Refused::Wrong(
                "the part does not start with a block of the hash, or a leaf",
            ));
        }
        if !self.files.writable || self.is_closed() {
            return Err(Refused::Closed);
        }
        let mut strips = locked(&self.strips);
        let strip = strips.entry(piece).or_default();
        if part.offset == 0 && strip.broken.is_some() {
            self.abandon(strip.restart());
        }
        if part.offset != strip.tail {
            return Err(Refused::Wrong("the part is not the piece's next one"));
        }
        strip.tail = if end == size { 0 } else { end };
        strip.parts.push_back(part);
        let may_wait = strip.may_wait(self.v2);
        let before = strip.whereabouts;
        if before == Whereabouts::Idle {
            strip.whereabouts = Whereabouts::Queued;
        }
        drop(strips);
        match before {
            Whereabouts::Idle => {
                let queued = self.engine.piece(Arc::clone(self), piece, may_wait);
                return queued.map_err(|Closed| {
                    locked(&self.strips).remove(&piece);
                    Refused::Closed
                });
            }
            Whereabouts::Queued if !may_wait => self.engine.hurry(),
            _ => {}
        }
        Ok(())
    }

    /// Drops a half-hashed piece, which then starts again from 0. Parts that are still queued end
    /// with an error (ECANCELED).
    pub(crate) fn forget(&self, piece: u32) {
        let mut strips = locked(&self.strips);
        if let Some(strip) = strips.get_mut(&piece) {
            self.abandon(strip.restart());
            if strip.whereabouts == Whereabouts::Idle {
                strips.remove(&piece);
            }
        }
    }

    fn abandon(&self, parts: VecDeque<Part>) {
        for part in parts {
            let fault = Fault::of(CANCELED, "write");
            self.engine.ring.push(part.job, Outcome::Error(fault));
        }
    }

    /// The next part of a piece, to be hashed and written by this thread.
    fn take_part(self: &Arc<Self>, piece: u32) -> Option<Taken> {
        let mut strips = locked(&self.strips);
        let strip = strips.get_mut(&piece)?;
        let Some(part) = strip.parts.pop_front() else {
            // It was forgotten meanwhile.
            strip.whereabouts = Whereabouts::Idle;
            if strip.tail == 0 {
                strips.remove(&piece);
            }
            return None;
        };
        strip.whereabouts = Whereabouts::Taken;
        Some(Taken {
            stream: std::mem::take(&mut strip.stream),
            leaves: std::mem::take(&mut strip.leaves),
            epoch: strip.epoch,
            broken: strip.broken,
            storage: Arc::clone(self),
            piece,
            part,
            sum: None,
        })
    }

    /// Queues the piece again if more parts of it have come.
    fn next_part(self: &Arc<Self>, piece: u32) {
        let mut strips = locked(&self.strips);
        let Some(strip) = strips.get_mut(&piece) else {
            return;
        };
        if !strip.parts.is_empty() {
            strip.whereabouts = Whereabouts::Queued;
            let may_wait = strip.may_wait(self.v2);
            drop(strips);
            (self.engine).piece_again(Arc::clone(self), piece, may_wait);
            return;
        }
        strip.whereabouts = Whereabouts::Idle;
        if strip.tail == 0 {
            strips.remove(&piece);
        }
    }

    /// Where a part begins in the stream.
    fn offset_of(&self, piece: u32, part: &Part) -> u64 {
        self.files.layout.piece_offset(piece) + u64::from(part.offset)
    }
}
