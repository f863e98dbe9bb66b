//! Where the torrent's byte stream lies in its files and pieces. Pure arithmetic.

use std::ops::Range;

/// A stretch of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) file: usize,
    /// Bytes from the start of that file.
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

/// Piece and file boundaries of one torrent.
pub(crate) struct Layout {
    piece_length: u32,
    /// Where each file ends in the stream; a file starts where the one before it ends.
    ends: Vec<u64>,
    pieces: u32,
}

impl Layout {
    /// `None` when the numbers overflow, or name more pieces than the wire can.
    pub(crate) fn new(lengths: impl Iterator<Item = u64>, piece_length: u32) -> Option<Self> {
        let mut end = 0u64;
        let ends = lengths
            .map(|length| {
                end = end.checked_add(length)?;
                Some(end)
            })
            .collect::<Option<Vec<_>>>()?;
        if piece_length == 0 || end > i64::MAX as u64 {
            return None;
        }
        let pieces = u32::try_from(end.div_ceil(u64::from(piece_length))).ok()?;
        Some(Self {
            piece_length,
            ends,
            pieces,
        })
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.pieces
    }

    pub(crate) fn length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(crate) fn file_length(&self, file: usize) -> u64 {
        self.ends[file] - self.start(file)
    }

    /// Where a piece starts in the stream.
    pub(crate) fn piece_offset(&self, piece: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_length)
    }

    /// The length of a piece: the last one may be short. Zero for a piece that does not exist.
    pub(crate) fn piece_size(&self, piece: u32) -> u32 {
        let rest = self.length().saturating_sub(self.piece_offset(piece));
        rest.min(u64::from(self.piece_length)) as u32
    }

    /// How many bytes the pieces have together.
    pub(crate) fn size(&self, pieces: &Range<u32>) -> u64 {
        let end = self.piece_offset(pieces.end).min(self.length());
        end.saturating_sub(self.piece_offset(pieces.start))
    }

    /// The first of `pieces`, at most `most`, that all have the same size.
    pub(crate) fn equals(&self, pieces: Range<u32>, most: usize) -> Range<u32> {
        let size = self.piece_size(pieces.start);
        let same = |&piece: &u32| self.piece_size(piece) == size;
        let count = pieces.clone().take_while(same).take(most).count();
        pieces.start..pieces.start + count as u32
    }

    /// The files that `length` bytes at `offset` of the stream touch, in order.
    pub(crate) fn spans(&self, offset: u64, length: usize) -> impl Iterator<Item = Span> {
        let mut file = self.ends.partition_point(|&end| end <= offset);
        let mut at = offset;
        let mut left = length as u64;
        std::iter::from_fn(move || {
            while left > 0 && file < self.ends.len() {
                let (index, end) = (file, self.ends[file]);
                let take = (end - at).min(left);
                let span = Span {
                    file: index,
                    offset: at - self.start(index),
                    length: take as usize,
                };
                at += take;
                left -= take;
                if at == end {
                    file += 1;
                }
                if take > 0 {
                    return Some(span);
                }
            }
            None
        })
    }

    fn start(&self, file: usize) -> u64 {
        if file == 0 { 0 } else { self.ends[file - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(lengths: &[u64], offset: u64, length: usize) -> Vec<(usize, u64, usize)> {
        let layout = Layout::new(lengths.iter().copied(), 16).unwrap();
        layout
            .spans(offset, length)
            .map(|s| (s.file, s.offset, s.length))
            .collect()
    }

    #[test]
    fn spans_cross_files_and_skip_empty_ones() {
        assert_eq!(spans(&[10], 3, 4), [(0, 3, 4)]);
        assert_eq!(spans(&[4, 0, 0, 4], 2, 4), [(0, 2, 2), (3, 0, 2)]);
        assert_eq!(spans(&[0, 4, 0], 0, 4), [(1, 0, 4)]);
        assert_eq!(spans(&[4, 4], 4, 1), [(1, 0, 1)]);
        assert_eq!(spans(&[4, 4], 8, 1), []);
        assert_eq!(spans(&[4, 4], 0, 0), []);
    }

    #[test]
    fn every_byte_belongs_to_exactly_one_place() {
        let lengths = [3, 0, 1, 7, 0, 0, 5, 2];
        let map: Vec<(usize, u64)> = lengths
            .iter()
            .enumerate()
            .flat_map(|(file, &n)| (0..n).map(move |at| (file, at)))
            .collect();
        for start in 0..=map.len() {
            for end in start..=map.len() {
                let got: Vec<(usize, u64)> = spans(&lengths, start as u64, end - start)
                    .into_iter()
                    .flat_map(|(file, at, n)| (at..at + n as u64).map(move |at| (file, at)))
                    .collect();
                assert_eq!(got, map[start..end]);
            }
        }
    }

    #[test]
    fn the_last_piece_may_be_short() {
        let layout = Layout::new([10, 23].into_iter(), 16).unwrap();
        assert_eq!(layout.pieces(), 3);
        let sizes: Vec<u32> = (0..4).map(|piece| layout.piece_size(piece)).collect();
        assert_eq!(sizes, [16, 16, 1, 0]);
        assert_eq!(layout.size(&(0..2)), 32);
        assert_eq!(layout.size(&(1..3)), 17);
        assert_eq!(layout.equals(0..3, 3), 0..2);
        assert_eq!(layout.equals(0..3, 1), 0..1);
        assert_eq!(layout.equals(2..3, 3), 2..3);
    }

    #[test]
    fn absurd_numbers_are_refused() {
        assert!(Layout::new([1].into_iter(), 0).is_none());
        assert!(Layout::new([u64::MAX, 1].into_iter(), 16).is_none());
        assert!(Layout::new([u64::MAX].into_iter(), 16).is_none());
        assert!(Layout::new([1 << 62].into_iter(), 1).is_none());
    }
}
