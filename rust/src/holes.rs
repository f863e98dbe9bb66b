//! Pieces that lie in the holes of sparse files: zeros, whose hash is known without reading them.

use std::ops::Range;

use crate::layout::{Layout, Span};

/// Which of `pieces` lie in holes. Those of one file alone, and of full length.
///
/// `holes` are those in a stretch of a file, as offsets from the file's start, inside of the stretch.
pub(crate) fn in_holes<E>(
    layout: &Layout,
    pieces: &Range<u32>,
    mut holes: impl FnMut(&Span) -> Result<Vec<Range<u64>>, E>,
) -> Result<Vec<bool>, E> {
    let length = u64::from(layout.piece_length());
    let mut found = vec![false; pieces.len()];
    let start = layout.piece_offset(pieces.start);
    for span in layout.spans(start, layout.size(pieces) as usize) {
        if (span.length as u64) < length {
            continue;
        }
        let start = layout.file_offset(span.file);
        for hole in holes(&span)? {
            let first = (start + hole.start).div_ceil(length);
            for piece in first..(start + hole.end) / length {
                found[(piece - u64::from(pieces.start)) as usize] = true;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lengths: &[u64], pieces: Range<u32>, holes: &[(usize, Range<u64>)]) -> Vec<u32> {
        let layout = Layout::new(lengths.iter().copied(), 16).unwrap();
        let ask = |span: &Span| {
            let end = span.offset + span.length as u64;
            let there = holes.iter().filter(|(file, _)| *file == span.file);
            let inside = there.map(|(_, hole)| hole.start.max(span.offset)..hole.end.min(end));
            Ok::<_, ()>(inside.filter(|hole| !hole.is_empty()).collect())
        };
        let marks = in_holes(&layout, &pieces, ask).unwrap();
        pieces
            .zip(marks)
            .filter(|(_, mark)| *mark)
            .map(|(piece, _)| piece)
            .collect()
    }

    #[test]
    fn pieces_wholly_in_a_hole_of_one_file() {
        assert_eq!(found(&[160], 0..10, &[(0, 0..160)]), Vec::from_iter(0..10));
        assert_eq!(found(&[160], 3..5, &[(0, 0..160)]), [3, 4]);
        assert_eq!(found(&[160], 0..10, &[(0, 1..47), (0, 64..80)]), [1, 4]);
        assert!(found(&[160], 0..10, &[]).is_empty());
        // The first file ends in the middle of piece 1, and the last piece is short.
        assert_eq!(
            found(&[24, 60], 0..6, &[(0, 0..24), (1, 0..60)]),
            [0, 2, 3, 4]
        );
        assert_eq!(
            found(&[8, 8, 20], 0..3, &[(0, 0..8), (1, 0..8), (2, 0..20)]),
            [1]
        );
    }
}
