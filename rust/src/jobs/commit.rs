//! Commit: a piece's parts are hashed in order and written.
//!
//! The parts of one piece run one after the other, on whichever thread; those of several pieces are
//! hashed side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::files::Fault;
use crate::hash::merkle::{self, LEAF};
use crate::hash::pieces::Extent;
use crate::hash::{Batch, Block, Digest, Sha1, Sha256, Stream, Sum256, hash_many};
use crate::platform::CANCELED;
use crate::recent::Trace;
use crate::ring::Outcome;
use crate::slot::Slot;
use crate::storage::Storage;
use crate::workers::{Closed, guarded, locked};

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

/// Hashes and writes the next part of each of these pieces, at most `LANES` of them. `hashed` is called
/// between the two.
pub(crate) fn run_pieces(pieces: Vec<(Arc<Storage>, u32)>, hashed: impl FnOnce()) {
    let next = |(storage, piece): (Arc<Storage>, u32)| storage.take_part(piece);
    let mut taken: Vec<Taken> = pieces.into_iter().filter_map(next).collect();
    let hash = || {
        hash_together(&mut taken);
        Ok(())
    };
    if let Err(fault) = guarded(hash) {
        for one in &mut taken {
            one.broken.get_or_insert(fault);
        }
    }
    hashed();
    for one in taken {
        one.finish();
    }
}

/// Each part goes on where the last one of its piece has ended.
fn hash_together(taken: &mut [Taken]) {
    let (trees, mut streams): (Vec<_>, Vec<_>) = taken.iter_mut().partition(|one| one.storage.v2);
    let begun = streams
        .iter_mut()
        .map(|one| std::mem::take(&mut one.stream));
    let mut batch = Batch::of(begun.collect());
    batch.update(
        &streams
            .iter()
            .map(|one| one.part.bytes())
            .collect::<Vec<_>>(),
    );
    let (mut last, mut ended) = (Vec::new(), Vec::new());
    for (one, stream) in streams.into_iter().zip(batch.into_streams()) {
        if one.part.digest.is_some() {
            last.push(one);
            ended.push(stream);
        } else {
            one.stream = stream;
        }
    }
    for (one, sum) in last.into_iter().zip(Batch::of(ended).finish()) {
        one.sum = Some(Digest::V1(sum));
    }
    hash_trees(trees);
}

/// Padding behind a file's end has no leaves.
fn hash_trees(mut taken: Vec<&mut Taken>) {
    let extent = |one: &Taken| Extent::new(&one.storage.files.layout, one.piece);
    let mut leaves = Vec::new();
    let mut counts = Vec::with_capacity(taken.len());
    for one in &taken {
        let data = extent(one).data.saturating_sub(one.part.offset as usize);
        let bytes = one.part.bytes();
        let before = leaves.len();
        leaves.extend(bytes[..data.min(bytes.len())].chunks(LEAF));
        counts.push(leaves.len() - before);
    }
    let mut sums = hash_many::<Sha256>(&leaves).into_iter();
    for (one, count) in taken.iter_mut().zip(counts) {
        one.leaves.extend(sums.by_ref().take(count));
        if one.part.digest.is_some() {
            let leaves = std::mem::take(&mut one.leaves);
            one.sum = Some(Digest::V2(merkle::piece_root(leaves, extent(one).width)));
        }
    }
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

impl Taken {
    /// Writes the part, unless its hash is wrong, and reports it.
    fn finish(mut self) {
        let done = match self.broken {
            Some(fault) => Err(fault),
            None => guarded(|| self.write()),
        };
        let Self {
            storage,
            piece,
            part,
            stream,
            leaves,
            epoch,
            ..
        } = self;
        let is_last = part.digest.is_some();
        if let Some(strip) = locked(&storage.strips).get_mut(&piece)
            && strip.epoch == epoch
        {
            strip.broken = done.as_ref().err().copied().filter(|_| !is_last);
            strip.stream = stream;
            strip.leaves = leaves;
            let traces = &mut strip.traces;
            if matches!(done, Ok(Outcome::Written { .. } | Outcome::Verified { .. })) {
                traces.push((
                    storage.offset_of(piece, &part),
                    part.slot.trace(part.bytes().len()),
                ));
            }
            if is_last {
                let traces = std::mem::take(traces);
                if matches!(done, Ok(Outcome::Verified { .. })) {
                    storage.recent.keep(traces);
                }
            }
        }
        let job = part.job;
        drop(part); // first, so that the loop finds the slot back in its pool
        let ring = &storage.engine.ring;
        ring.push(job, done.unwrap_or_else(Outcome::Error));
        storage.next_part(piece);
    }

    fn write(&mut self) -> Result<Outcome, Fault> {
        self.storage.make_empties()?;
        let Self { piece, part, .. } = self;
        let right = part.digest.map(|digest| self.sum == Some(digest));
        if !part.is_whole() || right == Some(true) {
            let offset = self.storage.offset_of(*piece, part);
            self.storage.write(offset, part.bytes())?;
        }
        let (piece, offset) = (*piece, part.offset);
        Ok(match right {
            None => Outcome::Written { piece, offset },
            Some(true) => Outcome::Verified { piece },
            Some(false) => Outcome::Failed { piece },
        })
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
