//! Pieces of real files, padded, cut and unreadable.

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
        let mut scratch = Scratch::new();
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
