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

    pub(crate) fn piece_length(&self) -> u32 {
        self.piece_length
    }

    pub(crate) fn length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many files there are.
    pub(crate) fn files(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn file_length(&self, file: usize) -> u64 {
        self.ends[file] - self.file_offset(file)
    }

    /// How far a slot should begin behind the start of a page, so that what is a page of a file is one
    /// in memory, too: for that file to which most of the `length` bytes at `offset` belong.
    pub(crate) fn shift(&self, offset: u64, length: usize) -> u64 {
        let longest = self.spans(offset, length).max_by_key(|span| span.length);
        longest.map_or(0, |span| offset.wrapping_sub(self.file_offset(span.file)))
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

    /// Does each piece lie in one file, at its start or after others of it, and in what pads it? So
    /// version 2 torrents (BEP 52) lay out their stream.
    pub(crate) fn is_aligned(&self, is_pad: impl Fn(usize) -> bool) -> bool {
        (0..self.ends.len())
            .filter(|&file| self.file_length(file) > 0)
            .all(|file| {
                let at_start = self
                    .file_offset(file)
                    .is_multiple_of(u64::from(self.piece_length));
                at_start != is_pad(file)
            })
    }

    /// The pieces that start in a file: all of its pieces, if the layout is aligned.
    pub(crate) fn pieces_of(&self, file: usize) -> Range<u32> {
        let piece = |offset: u64| offset.div_ceil(u64::from(self.piece_length)) as u32;
        piece(self.file_offset(file))..piece(self.ends[file])
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
                    offset: at - self.file_offset(index),
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

    /// Where a file starts in the stream.
    pub(crate) fn file_offset(&self, file: usize) -> u64 {
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
    fn a_slot_is_shifted_for_its_longest_file() {
        let layout = Layout::new([5000, 100, 9000].into_iter(), 8192).unwrap();
        assert_eq!(layout.shift(0, 4000), 0);
        assert_eq!(layout.shift(1, 4000), 1);
        // Ten bytes of the first file, the second, and the third from its start on.
        assert_eq!(layout.shift(4990, 8192) % 4096, 4096 - 110);
        assert_eq!(layout.shift(8192, 4000), 8192 - 5100);
        assert_eq!(layout.shift(14_100, 1), 0);
    }

    #[test]
    fn the_last_piece_may_be_short() {
        let layout = Layout::new([10, 23].into_iter(), 16).unwrap();
        assert_eq!(layout.pieces(), 3);
        let sizes: Vec<u32> = (0..4).map(|piece| layout.piece_size(piece)).collect();
        assert_eq!(sizes, [16, 16, 1, 0]);
        assert_eq!(layout.size(&(0..2)), 32);
        assert_eq!(layout.size(&(1..3)), 17);
    }

    #[test]
    fn aligned_files_have_pieces_of_their_own() {
        let layout = |lengths: &[u64]| Layout::new(lengths.iter().copied(), 16).unwrap();
        let odd = |file| file % 2 == 1;
        assert!(layout(&[20, 12, 0, 0, 16, 0, 3]).is_aligned(odd));
        assert!(
            !layout(&[20, 13, 3]).is_aligned(odd),
            "a file that starts inside a piece"
        );
        assert!(
            !layout(&[16, 16, 3]).is_aligned(odd),
            "a piece of nothing but padding"
        );
        let layout = layout(&[20, 12, 0, 0, 16, 0, 3]);
        assert_eq!(layout.pieces_of(0), 0..2);
        assert_eq!(layout.pieces_of(1), 2..2);
        assert_eq!(layout.pieces_of(2), 2..2);
        assert_eq!(layout.pieces_of(4), 2..3);
        assert_eq!(layout.pieces_of(6), 3..4);
    }

    #[test]
    fn absurd_numbers_are_refused() {
        assert!(Layout::new([1].into_iter(), 0).is_none());
        assert!(Layout::new([u64::MAX, 1].into_iter(), 16).is_none());
        assert!(Layout::new([u64::MAX].into_iter(), 16).is_none());
        assert!(Layout::new([1 << 62].into_iter(), 1).is_none());
    }
}
