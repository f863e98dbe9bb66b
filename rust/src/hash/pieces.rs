//! Several pieces, read piecemeal and hashed side by side, in one pass for both versions.

use std::ops::Range;

use super::merkle::{self, LEAF};
use super::stretches::{Source, Stretches};
use super::{Batch, LANES, Sha1, Sha256, Sum, Sum256, hash_many};
use crate::layout::Layout;

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
}

/// The hashes of one piece; those that are not wanted are zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) v1: Sum,
    pub(crate) v2: Sum256,
}

/// Up to `LANES` pieces that are hashed side by side, step by step.
pub(crate) struct Pass {
    pieces: Vec<Extent>,
    versions: Versions,
    batch: Batch<Sha1>,
    leaves: Vec<Vec<Sum256>>,
    /// Which pieces are there as far as they were read.
    there: Vec<bool>,
    /// How much of each piece has been hashed.
    done: usize,
}

impl Pass {
    /// Bytes of each piece that are hashed in a step.
    const STEP: usize = 1 << 20;

    pub(crate) fn new(pieces: &[u32], versions: Versions, layout: &Layout) -> Self {
        let extents = pieces.iter().map(|&piece| Extent::new(layout, piece));
        Self {
            pieces: extents.collect(),
            versions,
            batch: Batch::new(if versions.v1 { pieces.len() } else { 0 }),
            leaves: vec![Vec::new(); pieces.len()],
            there: vec![true; pieces.len()],
            done: 0,
        }
    }

    /// Hashes the next bytes of all pieces. Says whether there are more.
    pub(crate) fn step<S: Source>(
        &mut self,
        scratch: &mut Scratch,
        source: &mut S,
    ) -> Result<bool, S::Error> {
        let parts = (0..self.pieces.len()).map(|lane| self.part(lane, self.done, Self::STEP));
        let stretches = Stretches::look(parts.filter(|part| !part.is_empty()), source)?;
        let before = (self.batch.clone(), self.there.clone());
        let leaves: Vec<usize> = self.leaves.iter().map(Vec::len).collect();
        self.hash(&stretches, scratch, source)?;
        if !stretches.are_intact() {
            // Something could not be had any more. Reading it tells what, and that it is an error.
            (self.batch, self.there) = before;
            for (leaves, length) in self.leaves.iter_mut().zip(leaves) {
                leaves.truncate(length);
            }
            self.hash(&Stretches::default(), scratch, source)?;
        }
        stretches.drop_cold(source)?;
        self.done += Self::STEP;
        let more = (0..self.pieces.len()).any(|lane| !self.part(lane, self.done, 1).is_empty());
        Ok(more && self.there.contains(&true))
    }

    /// The hashes of each piece that is there, after the last step.
    pub(crate) fn finish(self) -> Vec<Option<Sums>> {
        let firsts = self.batch.finish().into_iter();
        let firsts = firsts.chain(std::iter::repeat([0; 20]));
        let lanes = self.pieces.iter().zip(self.leaves).zip(firsts);
        let sums = lanes.zip(self.there).map(|(((piece, leaves), v1), there)| {
            there.then(|| Sums {
                v1,
                v2: match self.versions.v2 {
                    true => merkle::piece_root(leaves, piece.width),
                    false => [0; 32],
                },
            })
        });
        sums.collect()
    }

    /// Where in the stream are the piece's next `length` bytes that are to be hashed?
    fn part(&self, lane: usize, from: usize, length: usize) -> Range<u64> {
        let piece = &self.pieces[lane];
        let end = match self.versions.v1 {
            true => piece.size,
            false => piece.data,
        };
        let (from, to) = (from.min(end) as u64, (from + length).min(end) as u64);
        piece.start + from..piece.start + to
    }

    fn hash<S: Source>(
        &mut self,
        stretches: &Stretches,
        scratch: &mut Scratch,
        source: &mut S,
    ) -> Result<(), S::Error> {
        for from in (self.done..self.done + Self::STEP).step_by(Scratch::CHUNK) {
            let mut parts: Vec<&[u8]> = Vec::with_capacity(LANES);
            for (lane, room) in scratch.rooms().take(self.pieces.len()).enumerate() {
                let part = self.part(lane, from, Scratch::CHUNK);
                let length = (part.end - part.start) as usize;
                if length == 0 || !self.there[lane] {
                    parts.push(&[]);
                } else if let Some(bytes) = stretches.get(part.start, length) {
                    parts.push(bytes);
                } else {
                    let room = &mut room[..length];
                    self.there[lane] = stretches.read(part.start, room, source)?;
                    parts.push(if self.there[lane] { room } else { &[] });
                }
            }
            if self.versions.v1 {
                self.batch.update(&parts);
            }
            if self.versions.v2 {
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

/// Where pieces are read to: enough for the disk, little enough to stay near the core.
#[derive(Default)]
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// Read at a time for each piece; whole leaves.
    const CHUNK: usize = 8 * LEAF;

    /// Room for a chunk of each piece. The memory is there once it is asked for.
    fn rooms(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.0.resize(LANES * Self::CHUNK, 0);
        self.0.chunks_exact_mut(Self::CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::PathBuf;

    use sha2::Digest;

    use super::*;
    use crate::layout::Span;
    use crate::platform::{Errno, TOO_SHORT};

    const BOTH: Versions = Versions { v1: true, v2: true };
    const PIECE: u32 = 1 << 21;

    /// One file and what pads it. It may turn shorter in the middle of the work.
    struct Sample {
        layout: Layout,
        path: PathBuf,
        file: File,
        data: Vec<u8>,
        /// Cut to that length when it is looked at for the second time.
        cut: Option<u64>,
        broken: bool,
    }

    impl Sample {
        fn new(name: &str, size: usize) -> Self {
            let path = std::env::temp_dir().join(format!("swarm-{name}-{}", std::process::id()));
            let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            File::create(&path).unwrap().write_all(&data).unwrap();
            let pad = u64::from(PIECE) - size as u64 % u64::from(PIECE);
            Self {
                layout: Layout::new([size as u64, pad].into_iter(), PIECE).unwrap(),
                file: File::options().read(true).write(true).open(&path).unwrap(),
                path,
                data,
                cut: None,
                broken: false,
            }
        }

        fn hash(&mut self, versions: Versions) -> Result<Vec<Option<Sums>>, Errno> {
            let pieces: Vec<u32> = (0..self.layout.pieces()).collect();
            let mut pass = Pass::new(&pieces, versions, &self.layout);
            let mut scratch = Scratch::default();
            while pass.step(&mut scratch, self)? {}
            Ok(pass.finish())
        }

        fn expected(&self) -> Vec<Sums> {
            let pieces = self.data.chunks(PIECE as usize);
            let sums = pieces.map(|piece| {
                let mut padded = piece.to_vec();
                padded.resize(PIECE as usize, 0);
                let leaves = piece
                    .chunks(LEAF)
                    .map(|leaf| sha2::Sha256::digest(leaf).into());
                let width = merkle::width(self.data.len() as u64, PIECE);
                Sums {
                    v1: sha1::Sha1::digest(&padded).into(),
                    v2: merkle::piece_root(leaves.collect(), width),
                }
            });
            sums.collect()
        }
    }

    impl Drop for Sample {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    impl Source for Sample {
        type Error = Errno;

        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn is_pad(&self, file: usize) -> bool {
            file == 1
        }

        fn with_file<R>(
            &mut self,
            span: &Span,
            job: impl FnOnce(&File, u64) -> Result<R, Errno>,
        ) -> Result<Option<R>, Errno> {
            if self.broken {
                return Err(Errno(libc::EIO));
            }
            let done = job(&self.file, span.offset);
            if let Some(length) = self.cut.take() {
                self.file.set_len(length).unwrap();
            }
            match done {
                Err(TOO_SHORT) => Ok(None),
                other => other.map(Some),
            }
        }
    }

    #[test]
    fn padding_counts_in_version_1_only() {
        for size in [70_000, 1 << 20, (3 << 20) + 5, 5 << 20] {
            let mut sample = Sample::new("padding", size);
            let expected = sample.expected();
            let sums = sample.hash(BOTH).unwrap();
            assert_eq!(sums, expected.iter().copied().map(Some).collect::<Vec<_>>());
            for (v1, v2) in [(true, false), (false, true)] {
                let sums = sample.hash(Versions { v1, v2 }).unwrap();
                for (sums, expected) in sums.into_iter().zip(&expected) {
                    let sums = sums.unwrap();
                    assert_eq!(sums.v1, if v1 { expected.v1 } else { [0; 20] });
                    assert_eq!(sums.v2, if v2 { expected.v2 } else { [0; 32] });
                }
            }
        }
    }

    #[test]
    fn what_is_cut_while_it_is_hashed_has_no_hash() {
        let mut sample = Sample::new("cut", 5 << 20);
        let expected = sample.expected();
        sample.cut = Some(3 << 20);
        let sums = sample.hash(BOTH).unwrap();
        assert_eq!(sums, [Some(expected[0]), None, None]);
    }

    #[test]
    fn an_error_is_an_error() {
        let mut sample = Sample::new("error", 1 << 20);
        sample.broken = true;
        assert_eq!(sample.hash(BOTH), Err(Errno(libc::EIO)));
    }

    #[test]
    fn zeros_have_the_hash_of_zeros() {
        for piece_length in [32 << 10, 4 << 20] {
            let layout = Layout::new([1 << 30].into_iter(), piece_length).unwrap();
            let sums = zero_sums(&layout, BOTH);
            let zeros = vec![0; piece_length as usize];
            assert_eq!(sums.v1, Sum::from(sha1::Sha1::digest(&zeros)));
            let leaves = zeros
                .chunks(LEAF)
                .map(|leaf| sha2::Sha256::digest(leaf).into());
            let root = merkle::piece_root(leaves.collect(), zeros.len() / LEAF);
            assert_eq!(sums.v2, root);
        }
    }
}
