//! Several pieces, read piecemeal and hashed side by side, in one pass for both versions.

use std::ops::Range;

use super::merkle::{self, LEAF};
use super::stretches::{Source, Stretches};
use super::{Batch, LANES, Sha1, Sha256, Sum, Sum256, hash_many};
use crate::layout::Layout;
use crate::platform::Map;

/// Which hashes are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Versions {
    /// The SHA-1 of the piece.
    pub(crate) v1: bool,
    /// The root of the piece's Merkle tree.
    pub(crate) v2: bool,
}

/// What there is of one piece. (`data` and `width` hold where the layout is aligned.)
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Where it starts in the torrent's stream.
    pub(crate) start: u64,
    /// Bytes of the stream, which version 1 hashes.
    pub(crate) size: usize,
    /// Bytes of the file that the piece lies in, without what pads it: what version 2 hashes.
    pub(crate) data: usize,
    /// Leaves that the piece's subtree is wide.
    pub(crate) width: usize,
}

impl Extent {
    pub(crate) fn new(layout: &Layout, piece: u32) -> Self {
        let start = layout.piece_offset(piece);
        let size = layout.piece_size(piece) as usize;
        let first = layout.spans(start, size).next();
        let file_length = first.map_or(0, |span| layout.file_length(span.file));
        Self {
            start,
            size,
            data: first.map_or(0, |span| span.length),
            width: merkle::width(file_length, layout.piece_length()),
        }
    }

    /// How much of it is hashed.
    fn end(&self, versions: Versions) -> usize {
        if versions.v1 { self.size } else { self.data }
    }

    /// Where in the stream the next `length` bytes are that are to be hashed.
    fn part(&self, versions: Versions, from: usize, length: usize) -> Range<u64> {
        let end = self.end(versions);
        let (from, to) = (from.min(end) as u64, (from + length).min(end) as u64);
        self.start + from..self.start + to
    }
}

/// The hashes of one piece; those that are not wanted are zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) v1: Sum,
    pub(crate) v2: Sum256,
}

/// Neighbouring pieces on their way, `LANES` of them side by side, step by step.
pub(crate) struct Pass {
    groups: Vec<Group>,
    versions: Versions,
    /// How much of each piece has been hashed.
    done: usize,
}

/// Up to `LANES` pieces.
struct Group {
    pieces: Vec<Extent>,
    batch: Batch<Sha1>,
    leaves: Vec<Vec<Sum256>>,
    /// Which pieces are there as far as they were read.
    there: Vec<bool>,
}

impl Pass {
    /// Bytes of each piece that are hashed in a step.
    const STEP: usize = 1 << 20;

    /// How many pieces are worth a pass: one for every lane, and more of small ones.
    pub(crate) fn most(layout: &Layout) -> usize {
        const SMALL: usize = 1024;
        let step = LANES * Self::STEP / layout.piece_length() as usize;
        step.next_multiple_of(LANES).clamp(LANES, SMALL)
    }

    /// At most `Self::most` pieces, please: a step holds mappings of all that it hashes.
    pub(crate) fn new(pieces: &[u32], versions: Versions, layout: &Layout) -> Self {
        let groups = pieces.chunks(LANES).map(|pieces| Group {
            pieces: pieces
                .iter()
                .map(|&piece| Extent::new(layout, piece))
                .collect(),
            batch: Batch::new(if versions.v1 { pieces.len() } else { 0 }),
            leaves: vec![Vec::new(); pieces.len()],
            there: vec![true; pieces.len()],
        });
        Self {
            groups: groups.collect(),
            versions,
            done: 0,
        }
    }

    /// Hashes the next bytes of all pieces. Says whether there are more.
    pub(crate) fn step<S: Source>(
        &mut self,
        scratch: &mut Scratch,
        source: &mut S,
    ) -> Result<bool, S::Error> {
        let (versions, from) = (self.versions, self.done);
        let (room, scratch) = scratch.split();
        let pieces = self.groups.iter().flat_map(|group| &group.pieces);
        let parts = pieces.map(|piece| piece.part(versions, from, Self::STEP));
        let stretches = Stretches::look(parts.filter(|part| !part.is_empty()), room, source)?;
        let before: Vec<Before> = self.groups.iter().map(Group::remember).collect();
        for group in &mut self.groups {
            group.step(versions, from, &stretches, scratch, source)?;
        }
        if !stretches.are_intact() {
            // Something could not be had any more. Reading it tells what, and that it is an error.
            for (group, before) in self.groups.iter_mut().zip(before) {
                group.go_back(before);
                group.step(versions, from, &Stretches::default(), scratch, source)?;
            }
        }
        stretches.finish(source)?;
        self.done += Self::STEP;
        Ok(self.groups.iter().any(|group| {
            let mut pieces = group.pieces.iter().zip(&group.there);
            pieces.any(|(piece, &there)| there && !piece.part(versions, self.done, 1).is_empty())
        }))
    }

    /// The hashes of each piece that is there, after the last step.
    pub(crate) fn finish(self) -> Vec<Option<Sums>> {
        let versions = self.versions;
        let groups = self.groups.into_iter();
        groups.flat_map(|group| group.finish(versions)).collect()
    }
}

/// What a group had hashed before a step.
type Before = (Batch<Sha1>, Vec<bool>, Vec<usize>);

impl Group {
    fn remember(&self) -> Before {
        let leaves = self.leaves.iter().map(Vec::len).collect();
        (self.batch.clone(), self.there.clone(), leaves)
    }

    fn go_back(&mut self, before: Before) {
        let lengths;
        (self.batch, self.there, lengths) = before;
        for (leaves, length) in self.leaves.iter_mut().zip(lengths) {
            leaves.truncate(length);
        }
    }

    fn step<S: Source>(
        &mut self,
        versions: Versions,
        from: usize,
        stretches: &Stretches,
        chunks: &mut Vec<u8>,
        source: &mut S,
    ) -> Result<(), S::Error> {
        chunks.resize(LANES * Scratch::CHUNK, 0);
        let ends = self.pieces.iter().map(|piece| piece.end(versions));
        let end = ends.max().unwrap_or(0).min(from + Pass::STEP);
        for from in (from..end).step_by(Scratch::CHUNK) {
            let mut parts: Vec<&[u8]> = Vec::with_capacity(LANES);
            for ((piece, there), room) in (self.pieces.iter().zip(&mut self.there))
                .zip(chunks.chunks_exact_mut(Scratch::CHUNK))
            {
                let part = piece.part(versions, from, Scratch::CHUNK);
                let length = (part.end - part.start) as usize;
                if length == 0 || !*there {
                    parts.push(&[]);
                } else if let Some(bytes) = stretches.get(part.start, length) {
                    parts.push(bytes);
                } else {
                    let room = &mut room[..length];
                    *there = stretches.read(part.start, room, source)?;
                    parts.push(if *there { room } else { &[] });
                }
            }
            if versions.v1 {
                self.batch.update(&parts);
            }
            if versions.v2 {
                self.add_leaves(from, &parts);
            }
        }
        Ok(())
    }

    /// Hashes the leaves in these parts of the pieces, which lie `offset` bytes after their starts.
    fn add_leaves(&mut self, offset: usize, parts: &[&[u8]]) {
        let mut messages = Vec::with_capacity(parts.len() * Scratch::CHUNK / LEAF);
        let mut owners = Vec::with_capacity(messages.capacity());
        for (lane, part) in parts.iter().enumerate() {
            let data = self.pieces[lane].data.saturating_sub(offset);
            for leaf in part[..part.len().min(data)].chunks(LEAF) {
                messages.push(leaf);
                owners.push(lane);
            }
        }
        for (lane, sum) in owners.into_iter().zip(hash_many::<Sha256>(&messages)) {
            self.leaves[lane].push(sum);
        }
    }

    fn finish(self, versions: Versions) -> Vec<Option<Sums>> {
        let firsts = self.batch.finish().into_iter();
        let firsts = firsts.chain(std::iter::repeat([0; 20]));
        let lanes = self.pieces.iter().zip(self.leaves).zip(firsts);
        let sums = lanes.zip(self.there).map(|(((piece, leaves), v1), there)| {
            there.then(|| Sums {
                v1,
                v2: match versions.v2 {
                    true => merkle::piece_root(leaves, piece.width),
                    false => [0; 32],
                },
            })
        });
        sums.collect()
    }
}

/// The hashes of a piece of full length that is all zeros.
pub(crate) fn zero_sums(layout: &Layout, versions: Versions) -> Sums {
    let size = layout.piece_length() as usize;
    let zeros = vec![0; size.min(Pass::STEP)];
    let mut sums = Sums::default();
    if versions.v1 {
        let mut batch = Batch::<Sha1>::new(1);
        for from in (0..size).step_by(zeros.len()) {
            batch.update(&[&zeros[..zeros.len().min(size - from)]]);
        }
        sums.v1 = batch.finish()[0];
    }
    if versions.v2 {
        let leaf = hash_many::<Sha256>(&[&zeros[..LEAF]])[0];
        sums.v2 = merkle::piece_root(vec![leaf; size / LEAF], size / LEAF);
    }
    sums
}

/// Where pieces are read to, where they are not in memory already. It takes up nothing until then.
pub(crate) struct Scratch {
    /// For whole stretches.
    room: Option<Map>,
    chunks: Vec<u8>,
}

impl Scratch {
    /// Read at a time for each piece where the page cache is in between; whole leaves.
    const CHUNK: usize = 8 * LEAF;
    /// A step of all lanes, and the pages that its stretches begin and end in.
    const ROOM: usize = LANES * Pass::STEP + (2 << 20);

    pub(crate) fn new() -> Self {
        Self {
            room: Map::on_large_pages(Self::ROOM),
            chunks: Vec::new(),
        }
    }

    fn split(&mut self) -> (&mut [u8], &mut Vec<u8>) {
        let room = self.room.as_mut().map_or(&mut [][..], Map::bytes_mut);
        (room, &mut self.chunks)
    }
}

#[cfg(test)]
mod tests;
