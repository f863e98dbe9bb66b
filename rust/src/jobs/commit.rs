//! Commit: a piece's parts are hashed in order and written.
//!
//! The parts of one piece run one after the other, on whichever thread; pieces run side by side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::files::Fault;
use crate::hash::{Batch, Hasher, LANES, Sha1, Sum};
use crate::platform::{Access, CANCELED};
use crate::ring::Outcome;
use crate::slot::Slot;
use crate::storage::Storage;
use crate::workers::{guarded, locked};

/// The next bytes of a piece. The last part brings the hash that the whole piece must have.
pub(crate) struct Part {
    pub(crate) job: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) slot: Arc<Slot>,
    pub(crate) digest: Option<Sum>,
}

/// One piece on its way to the disk.
#[derive(Default)]
pub(crate) struct Strip {
    parts: VecDeque<Part>,
    hasher: Hasher,
    /// Where the next part has to start: the end of what was queued.
    tail: u32,
    /// A thread has this strip, or it is in the queue for one.
    running: bool,
    /// A part could not be written: the rest of this try fails with it.
    broken: Option<Fault>,
    /// Grows when the piece starts again, so that a running part cannot report into the new try.
    epoch: u64,
}

/// The hash of what a slot holds.
struct Known {
    slot: Arc<Slot>,
    sum: Sum,
}

/// Runs pieces, at most `LANES` of them.
pub(crate) fn run_pieces(pieces: Vec<(Arc<Storage>, u32)>) {
    // Whatever goes wrong here, each piece can still be hashed on its own.
    let known = guarded(|| Ok(hash_together(&pieces))).unwrap_or_default();
    for ((storage, piece), known) in pieces.into_iter().zip(known) {
        storage.run_piece(piece, known);
    }
}

/// The hashes of the pieces that are one part.
fn hash_together(pieces: &[(Arc<Storage>, u32)]) -> [Option<Known>; LANES] {
    let mut known: [Option<Known>; LANES] = Default::default();
    let mut wholes: Vec<(usize, Arc<Slot>, u32)> = Vec::with_capacity(LANES);
    for (place, (storage, piece)) in pieces.iter().enumerate() {
        if let Some((slot, length)) = storage.whole(*piece) {
            wholes.push((place, slot, length));
        }
    }
    if wholes.len() < 2 {
        return known;
    }
    let mut batch = Batch::<Sha1>::new(wholes.len());
    let bytes = wholes.iter().map(|(_, slot, length)| {
        // SAFETY: a committed slot has no writer any more.
        unsafe { &slot.bytes()[..*length as usize] }
    });
    batch.update(&bytes.collect::<Vec<_>>());
    for ((place, slot, _), sum) in wholes.into_iter().zip(batch.finish()) {
        known[place] = Some(Known { slot, sum });
    }
    known
}

/// Why a part is refused.
pub(crate) enum Refused {
    Closed,
    Wrong(&'static str),
}

impl Strip {
    fn restart(&mut self) -> VecDeque<Part> {
        self.hasher = Hasher::default();
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
        let idle = !std::mem::replace(&mut strip.running, true);
        drop(strips);
        if idle && self.engine.piece(Arc::clone(self), piece).is_err() {
            locked(&self.strips).remove(&piece);
            return Err(Refused::Closed);
        }
        Ok(())
    }

    /// Drops a half-hashed piece, which then starts again from 0. Parts that are still queued end
    /// with an error (ECANCELED).
    pub(crate) fn forget(&self, piece: u32) {
        let mut strips = locked(&self.strips);
        if let Some(strip) = strips.get_mut(&piece) {
            self.abandon(strip.restart());
            if !strip.running {
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

    /// The next part of a piece, if it is all of it.
    fn whole(&self, piece: u32) -> Option<(Arc<Slot>, u32)> {
        let strips = locked(&self.strips);
        let part = strips.get(&piece)?.parts.front()?;
        let whole = part.offset == 0 && part.digest.is_some();
        whole.then(|| (Arc::clone(&part.slot), part.length))
    }

    /// Hashes and writes all queued parts of a piece. The hash of the first may be `known`.
    fn run_piece(&self, piece: u32, mut known: Option<Known>) {
        loop {
            let mut strips = locked(&self.strips);
            let Some(strip) = strips.get_mut(&piece) else {
                return;
            };
            let Some(part) = strip.parts.pop_front() else {
                strip.running = false;
                if strip.tail == 0 {
                    strips.remove(&piece);
                }
                return;
            };
            let (broken, epoch) = (strip.broken, strip.epoch);
            let mut hasher = std::mem::take(&mut strip.hasher);
            drop(strips);
            // A piece that was forgotten meanwhile may have started again with another slot.
            let known = known.take();
            let known = known.filter(|known| Arc::ptr_eq(&known.slot, &part.slot));
            let sum = known.map(|known| known.sum);

            let done = match broken {
                Some(fault) => Err(fault),
                None => guarded(|| self.write_part(piece, &part, &mut hasher, sum)),
            };
            if let Some(strip) = locked(&self.strips).get_mut(&piece)
                && strip.epoch == epoch
            {
                strip.broken = done.as_ref().err().copied();
                strip.hasher = hasher;
                if part.digest.is_some() {
                    strip.broken = None;
                    strip.hasher = Hasher::default();
                }
            }
            let job = part.job;
            drop(part); // first, so that the loop finds the slot back in its pool
            self.engine
                .ring
                .push(job, done.unwrap_or_else(Outcome::Error));
        }
    }

    fn write_part(
        &self,
        piece: u32,
        part: &Part,
        hasher: &mut Hasher,
        known: Option<Sum>,
    ) -> Result<Outcome, Fault> {
        self.make_empties()?;
        // SAFETY: a committed slot has no writer any more (that is what committing means).
        let bytes = unsafe { part.slot.bytes() };
        let bytes = &bytes[..part.length as usize];
        if known.is_none() {
            hasher.update(bytes);
        }
        let right = part
            .digest
            .map(|digest| known.unwrap_or_else(|| hasher.finish()) == digest);
        let whole = part.offset == 0 && right.is_some();
        if !whole || right == Some(true) {
            let offset = self.files.layout.piece_offset(piece) + u64::from(part.offset);
            self.write(offset, bytes)?;
        }
        Ok(match right {
            None => Outcome::Written {
                piece,
                offset: part.offset,
            },
            Some(true) => Outcome::Verified { piece },
            Some(false) => Outcome::Failed { piece },
        })
    }

    /// Makes the files that no piece will ever touch.
    pub(crate) fn make_empties(&self) -> Result<(), Fault> {
        if self.empties_made.load(Ordering::Acquire) {
            return Ok(());
        }
        for file in 0..self.files.count() {
            let files = &self.files;
            if files.layout.file_length(file) == 0 && files.places.is_wanted(file) {
                let made = files.take(file, Access::Write, false);
                made.map_err(Fault::whole(file, "open"))?;
            }
        }
        self.empties_made.store(true, Ordering::Release);
        Ok(())
    }
}
