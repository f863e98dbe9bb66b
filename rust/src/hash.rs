//! SHA-1 (FIPS 180-4): of one piece as its parts arrive, and of several pieces side by side.
//!
//! One stream waits for each round's result; several of them fill the waiting. See `lanes`.

mod lanes;

pub(crate) use lanes::LANES;
use lanes::{Block, INITIAL, State, compress};
use sha1::{Digest, Sha1};

pub(crate) type Sum = [u8; 20];

/// One piece's hash on its way.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha1);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far; the hasher starts again.
    pub(crate) fn finish(&mut self) -> Sum {
        self.0.finalize_reset().into()
    }
}

/// Up to `LANES` messages of the same length, hashed side by side.
pub(crate) struct Batch {
    states: [State; LANES],
    count: usize,
    /// Bytes of each message so far.
    length: u64,
    /// What did not fill a block; then there is no more.
    tails: [Block; LANES],
}

impl Batch {
    pub(crate) fn new(count: usize) -> Self {
        assert!(count <= LANES);
        Self {
            states: [INITIAL; LANES],
            count,
            length: 0,
            tails: [[0; 64]; LANES],
        }
    }

    /// The next bytes of each message, as many of each. Only the last call may bring a number of
    /// bytes that 64 does not divide.
    pub(crate) fn update(&mut self, parts: &[&[u8]]) {
        assert!(parts.len() == self.count && self.length.is_multiple_of(64));
        let Some(length) = parts.first().map(|part| part.len()) else {
            return;
        };
        let mut blocks: [&[Block]; LANES] = [&[]; LANES];
        for (lane, part) in parts.iter().enumerate() {
            assert_eq!(part.len(), length);
            let (whole, rest) = part.as_chunks::<64>();
            blocks[lane] = whole;
            self.tails[lane][..rest.len()].copy_from_slice(rest);
        }
        compress(&mut self.states[..self.count], &blocks[..self.count]);
        self.length += length as u64;
    }

    /// The hash of each message.
    pub(crate) fn finish(mut self) -> Vec<Sum> {
        let used = (self.length % 64) as usize;
        let blocks = if used < 56 { 1 } else { 2 };
        let mut ends = [[[0; 64]; 2]; LANES];
        for (end, tail) in ends.iter_mut().zip(&self.tails) {
            end[0][..used].copy_from_slice(&tail[..used]);
            end[0][used] = 0x80;
            end[blocks - 1][56..].copy_from_slice(&(self.length * 8).to_be_bytes());
        }
        let ends = ends.each_ref().map(|end| &end[..blocks]);
        let states = &mut self.states[..self.count];
        compress(states, &ends[..self.count]);
        states.iter().map(sum).collect()
    }
}

/// Hashes up to `LANES` messages of `size` bytes that `read` fetches piecemeal: (message, offset,
/// where to). What `read` says is not there (`false`) has no hash.
pub(crate) fn side_by_side<E>(
    count: usize,
    size: usize,
    scratch: &mut Scratch,
    mut read: impl FnMut(usize, usize, &mut [u8]) -> Result<bool, E>,
) -> Result<Vec<Option<Sum>>, E> {
    let mut batch = Batch::new(count);
    let mut there = [true; LANES];
    for offset in (0..size).step_by(Scratch::CHUNK) {
        let length = (size - offset).min(Scratch::CHUNK);
        for (lane, chunk) in scratch.chunks(count, length).enumerate() {
            there[lane] = there[lane] && read(lane, offset, chunk)?;
        }
        if !there[..count].contains(&true) {
            break;
        }
        let parts: Vec<&[u8]> = scratch.chunks(count, length).map(|chunk| &*chunk).collect();
        batch.update(&parts);
    }
    let sums = batch.finish().into_iter().zip(there);
    Ok(sums.map(|(sum, there)| there.then_some(sum)).collect())
}

/// Where messages are read to: enough for the disk, little enough to be hashed from the L2 cache.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    /// Read at a time for each message.
    const CHUNK: usize = 256 << 10;

    pub(crate) fn new() -> Self {
        Self(vec![0; LANES * Self::CHUNK])
    }

    fn chunks(&mut self, count: usize, length: usize) -> impl Iterator<Item = &mut [u8]> {
        let chunks = self.0.chunks_exact_mut(Self::CHUNK).take(count);
        chunks.map(move |chunk| &mut chunk[..length])
    }
}

fn sum(state: &State) -> Sum {
    let mut sum = [0; 20];
    for (bytes, word) in sum.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(sum: Sum) -> String {
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const VECTORS: [(&[u8], usize, &str); 4] = [
        (b"", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (b"abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            1,
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (b"a", 1_000_000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
    ];

    #[test]
    fn known_vectors() {
        for (bytes, times, expected) in VECTORS {
            let mut hasher = Hasher::default();
            for _ in 0..times {
                hasher.update(bytes);
            }
            assert_eq!(hex(hasher.finish()), expected);
            assert_eq!(hex(hasher.finish()), VECTORS[0].2);
        }
    }

    #[test]
    fn known_vectors_in_every_lane() {
        for (bytes, times, expected) in VECTORS {
            let message = bytes.repeat(times);
            for count in 1..=LANES {
                let mut batch = Batch::new(count);
                batch.update(&vec![&message[..]; count]);
                for sum in batch.finish() {
                    assert_eq!(hex(sum), expected);
                }
            }
        }
    }

    #[test]
    fn lanes_agree_with_one_stream_at_every_length() {
        let noise: Vec<u8> = (0..4096u32).map(|at| ((at * at) >> 3) as u8).collect();
        for length in 0..300 {
            for count in 1..=LANES {
                let messages: Vec<&[u8]> = (0..count).map(|l| &noise[l * 77..][..length]).collect();
                let mut batch = Batch::new(count);
                let cut = length / 128 * 64;
                let (front, back): (Vec<&[u8]>, Vec<&[u8]>) =
                    messages.iter().map(|message| message.split_at(cut)).unzip();
                batch.update(&front);
                batch.update(&back);
                for (message, sum) in messages.iter().zip(batch.finish()) {
                    assert_eq!(sum, <Sum>::from(Sha1::digest(message)));
                }
            }
        }
    }

    #[test]
    fn messages_that_are_not_there_have_no_hash() {
        let size = 300_000;
        let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let read = |lane, offset: usize, into: &mut [u8]| {
            into.copy_from_slice(&data[offset..offset + into.len()]);
            if lane == 2 {
                Err("broken")
            } else {
                Ok(lane != 1 || offset == 0)
            }
        };
        let mut scratch = Scratch::new();
        let sums = side_by_side(2, size, &mut scratch, read);
        assert_eq!(sums, Ok(vec![Some(Sha1::digest(&data).into()), None]));
        assert_eq!(side_by_side(3, size, &mut scratch, read), Err("broken"));
    }

    #[test]
    fn no_messages_have_no_hashes() {
        let mut batch = Batch::new(0);
        batch.update(&[]);
        assert!(batch.finish().is_empty());
    }
}
