//! The next parts of several pieces: hashed side by side, and what follows each other written at once.

use std::sync::Arc;

use super::Taken;
use crate::files::Fault;
use crate::hash::merkle::{self, LEAF};
use crate::hash::pieces::Extent;
use crate::hash::{Batch, Digest, Sha256, hash_many};
use crate::ring::Outcome;
use crate::storage::Storage;
use crate::workers::{guarded, locked};

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
    taken.sort_by_key(|one| (Arc::as_ptr(&one.storage), one.piece));
    let mut left = taken.into_iter().peekable();
    while let Some(first) = left.next() {
        let mut run = vec![first];
        while let Some(next) = left.next_if(|next| run[run.len() - 1].is_before(next)) {
            run.push(next);
        }
        write_run(run);
    }
}

/// Writes parts that follow each other at once, unless their hashes are wrong, and reports them.
fn write_run(run: Vec<Taken>) {
    let (together, is_many) = (write_together(&run), run.len() > 1);
    for one in run {
        let again = together.is_err() && is_many; // one by one they tell whom it concerns
        let done = match again {
            true => write_together(std::slice::from_ref(&one)),
            false => together,
        };
        one.finish(done);
    }
}

fn write_together(run: &[Taken]) -> Result<(), Fault> {
    let first = &run[0];
    if let Some(fault) = first.broken {
        return Err(fault);
    }
    guarded(|| {
        first.storage.make_empties()?;
        if first.is_to_be_written() {
            let parts: Vec<&[u8]> = run.iter().map(|one| one.part.bytes()).collect();
            first.storage.write(first.offset(), &parts)?;
        }
        Ok(())
    })
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

impl Taken {
    /// Where it begins in the stream.
    fn offset(&self) -> u64 {
        self.storage.offset_of(self.piece, &self.part)
    }

    /// A part of several is written before anybody knows whether its piece is right.
    fn is_to_be_written(&self) -> bool {
        !self.part.is_whole() || self.sum == self.part.digest
    }

    /// Can the two be written at once?
    fn is_before(&self, next: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &next.storage)
            && [self, next].map(|one| one.broken.is_none() && one.is_to_be_written()) == [true; 2]
            && self.offset() + self.part.bytes().len() as u64 == next.offset()
    }

    fn outcome(&self) -> Outcome {
        let (piece, offset) = (self.piece, self.part.offset);
        match self.part.digest {
            None => Outcome::Written { piece, offset },
            digest if digest == self.sum => Outcome::Verified { piece },
            _ => Outcome::Failed { piece },
        }
    }

    /// Reports it, `done` with.
    fn finish(self, done: Result<(), Fault>) {
        let done = done.map(|()| self.outcome());
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
}
