//! The Merkle trees of version 2 torrents (BEP 52): binary, over the SHA-256 of 16 KiB leaves.
//!
//! A tree is as wide as a power of two; where a file ends before, leaves are 32 zero bytes. A piece
//! is a subtree. The *piece layer* is the layer of a file's tree in which each node is a piece.

use super::{Sha256, Sum256, hash_many};
use crate::layout::Layout;

/// Bytes under one leaf.
pub(crate) const LEAF: usize = 16 << 10;
/// What stands for a leaf behind the end of the file.
const NOTHING: Sum256 = [0; 32];

/// Can version 2 hash a stream that is laid out so? If not: why.
pub(crate) fn check(layout: &Layout, is_pad: impl Fn(usize) -> bool) -> Result<(), &'static str> {
    let piece_length = layout.piece_length();
    if !piece_length.is_power_of_two() || (piece_length as usize) < LEAF {
        return Err("version 2 needs pieces of a power of two, 16 KiB or more");
    }
    if !layout.is_aligned(is_pad) {
        return Err("version 2 needs pad files, so that each file starts with a piece");
    }
    Ok(())
}

/// How many leaves wide the subtree of a piece is: full in a file of several pieces; a file that is
/// no longer than a piece has a tree of its own size.
pub(crate) fn width(file_length: u64, piece_length: u32) -> usize {
    let leaves = file_length
        .min(u64::from(piece_length))
        .div_ceil(LEAF as u64);
    leaves.next_power_of_two() as usize
}

/// The root over `nodes`, in a tree that is `width` of them wide (a power of two); what is missing
/// on the right is `filler`.
fn reduce(mut nodes: Vec<Sum256>, mut width: usize, mut filler: Sum256) -> Sum256 {
    assert!(width.is_power_of_two() && nodes.len() <= width);
    while width > 1 {
        if !nodes.len().is_multiple_of(2) {
            nodes.push(filler);
        }
        nodes = parents(&nodes);
        width /= 2;
        if nodes.len() < width {
            filler = parents(&[filler; 2])[0];
        }
    }
    nodes.first().copied().unwrap_or(filler)
}

fn parents(nodes: &[Sum256]) -> Vec<Sum256> {
    let pairs = nodes.as_flattened().chunks_exact(2 * size_of::<Sum256>());
    hash_many::<Sha256>(&pairs.collect::<Vec<_>>())
}

/// The root of a piece's subtree over the hashes of its leaves.
pub(crate) fn piece_root(leaves: Vec<Sum256>, width: usize) -> Sum256 {
    reduce(leaves, width, NOTHING)
}

/// The root of a file's tree over its piece layer. `None` for a file without bytes.
pub(crate) fn file_root(layer: Vec<Sum256>, piece_length: u32) -> Option<Sum256> {
    let width = layer.len().next_power_of_two();
    if layer.is_empty() {
        return None;
    }
    // The filler is looked at only in a file of several pieces, whose pieces are full width.
    let filler = reduce(Vec::new(), piece_length as usize / LEAF, NOTHING);
    Some(reduce(layer, width, filler))
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    /// The plain way: all the leaves of the whole tree, filled up, and layer by layer to the root.
    fn plainly(leaves: &[Sum256], width: usize) -> Sum256 {
        let mut layer = leaves.to_vec();
        layer.resize(width, NOTHING);
        while layer.len() > 1 {
            let pairs = layer.chunks(2);
            layer = pairs
                .map(|pair| sha2::Sha256::digest(pair.as_flattened()).into())
                .collect();
        }
        layer[0]
    }

    fn some_leaves(count: usize) -> Vec<Sum256> {
        (0..count)
            .map(|n| sha2::Sha256::digest(n.to_be_bytes()).into())
            .collect()
    }

    #[test]
    fn a_subtree_is_filled_with_nothing() {
        for count in 1..40 {
            let leaves = some_leaves(count);
            for width in [count.next_power_of_two(), 64, 128] {
                assert_eq!(
                    piece_root(leaves.clone(), width),
                    plainly(&leaves, width),
                    "{count} leaves in {width}"
                );
            }
        }
    }

    #[test]
    fn a_file_of_pieces_is_the_tree_over_all_its_leaves() {
        for per_piece in [1, 2, 8] {
            for count in per_piece + 1..70 {
                let leaves = some_leaves(count);
                let layer: Vec<Sum256> = leaves
                    .chunks(per_piece)
                    .map(|piece| piece_root(piece.to_vec(), per_piece))
                    .collect();
                let root = file_root(layer, (per_piece * LEAF) as u32);
                assert_eq!(root, Some(plainly(&leaves, count.next_power_of_two())));
            }
        }
    }

    #[test]
    fn a_small_file_is_a_tree_of_its_own_size() {
        let piece = 1 << 20;
        let leaf = LEAF as u64;
        let widths = [1, leaf, leaf + 1, 3 * leaf, 5 * leaf, 1 << 20, 1 << 40];
        let widths = widths.map(|length| width(length, piece));
        assert_eq!(widths, [1, 1, 2, 4, 8, 64, 64]);
        let leaves = some_leaves(3);
        let root = piece_root(leaves.clone(), 4);
        assert_eq!(file_root(vec![root], piece), Some(plainly(&leaves, 4)));
        assert_eq!(file_root(Vec::new(), piece), None);
    }
}
