//! Several pieces, read piecemeal and hashed side by side, in one pass for both versions.

use super::merkle::{self, LEAF};
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
    /// Bytes of the torrent's stream, which version 1 hashes.
    pub(crate) size: usize,
    /// Bytes of the file that the piece lies in, without what pads it: what version 2 hashes.
    pub(crate) data: usize,
    /// Leaves that the piece's subtree is wide.
    pub(crate) width: usize,
}

impl Extent {
    pub(crate) fn new(layout: &Layout, piece: u32) -> Self {
        let size = layout.piece_size(piece) as usize;
        let first = layout.spans(layout.piece_offset(piece), size).next();
        let file_length = first.map_or(0, |span| layout.file_length(span.file));
        Self {
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

/// Hashes up to `LANES` pieces that `read` fetches piecemeal: (piece, offset, where to). What `read`
/// says is not there (`false`) has no hash.
pub(crate) fn hash_pieces<E>(
    pieces: &[Extent],
    versions: Versions,
    scratch: &mut Scratch,
    mut read: impl FnMut(usize, usize, &mut [u8]) -> Result<bool, E>,
) -> Result<Vec<Option<Sums>>, E> {
    let ends = pieces.iter().map(|piece| match versions.v1 {
        true => piece.size,
        false => piece.data,
    });
    let ends: Vec<usize> = ends.collect();
    let mut there = vec![true; pieces.len()];
    let mut batch = Batch::<Sha1>::new(if versions.v1 { pieces.len() } else { 0 });
    let mut leaves = vec![Vec::new(); pieces.len()];
    for offset in (0..ends.iter().copied().max().unwrap_or(0)).step_by(Scratch::CHUNK) {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(LANES);
        for (lane, chunk) in scratch.chunks(&ends, offset).enumerate() {
            there[lane] = there[lane] && (chunk.is_empty() || read(lane, offset, chunk)?);
            parts.push(if there[lane] { chunk } else { &[] });
        }
        if versions.v1 {
            batch.update(&parts);
        }
        if versions.v2 {
            add_leaves(pieces, offset, &parts, &mut leaves);
        }
        if !there.contains(&true) {
            break;
        }
    }
    let firsts = batch.finish().into_iter().chain(std::iter::repeat([0; 20]));
    let sums = pieces.iter().zip(leaves).zip(firsts).zip(there);
    let sums = sums.map(|(((piece, leaves), v1), there)| {
        there.then(|| Sums {
            v1,
            v2: match versions.v2 {
                true => merkle::piece_root(leaves, piece.width),
                false => [0; 32],
            },
        })
    });
    Ok(sums.collect())
}

/// Hashes the leaves in these parts of the pieces, which lie `offset` bytes after their starts.
fn add_leaves(pieces: &[Extent], offset: usize, parts: &[&[u8]], leaves: &mut [Vec<Sum256>]) {
    let mut messages = Vec::with_capacity(parts.len() * Scratch::CHUNK / LEAF);
    let mut owners = Vec::with_capacity(messages.capacity());
    for (lane, part) in parts.iter().enumerate() {
        let data = part.len().min(pieces[lane].data.saturating_sub(offset));
        for leaf in part[..data].chunks(LEAF) {
            messages.push(leaf);
            owners.push(lane);
        }
    }
    for (lane, sum) in owners.into_iter().zip(hash_many::<Sha256>(&messages)) {
        leaves[lane].push(sum);
    }
}

/// Where pieces are read to: enough for the disk, little enough to be hashed from the L2 cache.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// Read at a time for each piece; whole leaves.
    const CHUNK: usize = 16 * LEAF;

    pub(crate) fn new() -> Self {
        Self(vec![0; LANES * Self::CHUNK])
    }

    /// Room for what each message, `ends` long, has from `offset` on.
    fn chunks(&mut self, ends: &[usize], offset: usize) -> impl Iterator<Item = &mut [u8]> {
        let chunks = self.0.chunks_exact_mut(Self::CHUNK).zip(ends);
        chunks.map(move |(chunk, end)| &mut chunk[..end.saturating_sub(offset).min(Self::CHUNK)])
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    const BOTH: Versions = Versions { v1: true, v2: true };

    fn extent(size: usize, data: usize) -> Extent {
        let width = data.div_ceil(LEAF).next_power_of_two();
        Extent { size, data, width }
    }

    fn stream(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn what_is_not_there_has_no_hash() {
        let size = 300_000;
        let data = stream(size);
        let read = |lane, offset: usize, into: &mut [u8]| {
            into.copy_from_slice(&data[offset..offset + into.len()]);
            if lane == 2 {
                Err("broken")
            } else {
                Ok(lane != 1 || offset == 0)
            }
        };
        let mut scratch = Scratch::new();
        let pieces = [extent(size, size); 3];
        let sums = hash_pieces(&pieces[..2], BOTH, &mut scratch, read).unwrap();
        assert_eq!(sums[0].unwrap().v1, Sum::from(sha1::Sha1::digest(&data)));
        assert_eq!(sums[1], None);
        let sums = hash_pieces(&pieces, BOTH, &mut scratch, read);
        assert_eq!(sums, Err("broken"));
    }

    #[test]
    fn padding_counts_in_version_1_only() {
        let (size, data) = (600_000, 70_000);
        let mut padded = stream(data);
        padded.resize(size, 0);
        let leaves: Vec<Sum256> = padded[..data]
            .chunks(LEAF)
            .map(|leaf| sha2::Sha256::digest(leaf).into())
            .collect();
        let expected = Sums {
            v1: sha1::Sha1::digest(&padded).into(),
            v2: merkle::piece_root(leaves, 8),
        };
        for versions in [
            BOTH,
            Versions {
                v1: false,
                v2: true,
            },
        ] {
            let mut most = 0;
            let read = |_, offset: usize, into: &mut [u8]| {
                most = most.max(offset + into.len());
                into.copy_from_slice(&padded[offset..offset + into.len()]);
                Ok::<_, ()>(true)
            };
            let pieces = [extent(size, data)];
            let sums = hash_pieces(&pieces, versions, &mut Scratch::new(), read).unwrap();
            let sums = sums[0].unwrap();
            assert_eq!(sums.v2, expected.v2);
            assert_eq!(most, if versions.v1 { size } else { data });
            if versions.v1 {
                assert_eq!(sums.v1, expected.v1);
            }
        }
    }
}
