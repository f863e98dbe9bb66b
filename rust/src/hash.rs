//! SHA-1 and SHA-256 (FIPS 180-4): of one message as it arrives, and of several side by side.
//!
//! One stream waits for each round's result; several of them fill the waiting. See `lanes`.

mod lanes;
pub(crate) mod merkle;
pub(crate) mod pieces;

pub(crate) use lanes::LANES;
use sha1::Digest;

pub(crate) type Block = [u8; 64];
/// A SHA-1: what a piece has in version 1 torrents.
pub(crate) type Sum = [u8; 20];
/// A SHA-256: what the nodes of version 2's Merkle trees have.
pub(crate) type Sum256 = [u8; 32];

/// A hash function that takes blocks of 64 bytes into a state of 32-bit words.
pub(crate) trait Algorithm {
    type State: Copy + AsRef<[u32]>;
    type Sum: Default + AsMut<[u8]>;
    const INITIAL: Self::State;

    /// Adds blocks to each state: as many for each, and at most `LANES` of them.
    fn compress(states: &mut [Self::State], blocks: &[&[Block]]);
}

pub(crate) enum Sha1 {}

impl Algorithm for Sha1 {
    type State = [u32; 5];
    type Sum = Sum;
    const INITIAL: Self::State = [
        0x6745_2301,
        0xEFCD_AB89,
        0x98BA_DCFE,
        0x1032_5476,
        0xC3D2_E1F0,
    ];

    fn compress(states: &mut [Self::State], blocks: &[&[Block]]) {
        lanes::compress(states, blocks);
    }
}

pub(crate) enum Sha256 {}

impl Algorithm for Sha256 {
    type State = [u32; 8];
    type Sum = Sum256;
    const INITIAL: Self::State = [
        0x6A09_E667,
        0xBB67_AE85,
        0x3C6E_F372,
        0xA54F_F53A,
        0x510E_527F,
        0x9B05_688C,
        0x1F83_D9AB,
        0x5BE0_CD19,
    ];

    fn compress(states: &mut [Self::State], blocks: &[&[Block]]) {
        for (state, blocks) in states.iter_mut().zip(blocks) {
            sha2::block_api::compress256(state, blocks);
        }
    }
}

/// One piece's SHA-1 on its way.
#[derive(Clone, Default)]
pub(crate) struct Hasher(sha1::Sha1);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far; the hasher starts again.
    pub(crate) fn finish(&mut self) -> Sum {
        self.0.finalize_reset().into()
    }
}

/// Up to `LANES` messages, hashed side by side.
pub(crate) struct Batch<A: Algorithm> {
    states: [A::State; LANES],
    count: usize,
    /// Bytes of each message so far.
    lengths: [u64; LANES],
    /// What did not fill a block; then there is no more.
    tails: [Block; LANES],
}

impl<A: Algorithm> Batch<A> {
    pub(crate) fn new(count: usize) -> Self {
        assert!(count <= LANES);
        Self {
            states: [A::INITIAL; LANES],
            count,
            lengths: [0; LANES],
            tails: [[0; 64]; LANES],
        }
    }

    /// The next bytes of each message. Once they were a number that 64 does not divide, the
    /// message is complete.
    pub(crate) fn update(&mut self, parts: &[&[u8]]) {
        assert_eq!(parts.len(), self.count);
        let mut blocks: [&[Block]; LANES] = [&[]; LANES];
        for (lane, part) in parts.iter().enumerate() {
            assert!(part.is_empty() || self.lengths[lane].is_multiple_of(64));
            let (whole, rest) = part.as_chunks::<64>();
            blocks[lane] = whole;
            self.tails[lane][..rest.len()].copy_from_slice(rest);
            self.lengths[lane] += part.len() as u64;
        }
        self.add(&blocks);
    }

    /// The hash of each message.
    pub(crate) fn finish(mut self) -> Vec<A::Sum> {
        let mut ends = [[[0; 64]; 2]; LANES];
        let mut blocks: [&[Block]; LANES] = [&[]; LANES];
        let messages = self.lengths[..self.count].iter().zip(&self.tails);
        for ((end, slot), (length, tail)) in ends.iter_mut().zip(&mut blocks).zip(messages) {
            let used = (length % 64) as usize;
            let count = if used < 56 { 1 } else { 2 };
            end[0][..used].copy_from_slice(&tail[..used]);
            end[0][used] = 0x80;
            end[count - 1][56..].copy_from_slice(&(length * 8).to_be_bytes());
            *slot = &end[..count];
        }
        self.add(&blocks);
        self.states[..self.count].iter().map(sum::<A>).collect()
    }

    /// Adds blocks to the messages that still have some: those that end early leave the others.
    fn add(&mut self, blocks: &[&[Block]; LANES]) {
        let mut rest = *blocks;
        loop {
            let active = (0..self.count).filter(|&lane| !rest[lane].is_empty());
            let active: Vec<usize> = active.collect();
            let Some(count) = active.iter().map(|&lane| rest[lane].len()).min() else {
                return;
            };
            let mut states = [A::INITIAL; LANES];
            let mut now: [&[Block]; LANES] = [&[]; LANES];
            for (place, &lane) in active.iter().enumerate() {
                states[place] = self.states[lane];
                (now[place], rest[lane]) = rest[lane].split_at(count);
            }
            A::compress(&mut states[..active.len()], &now[..active.len()]);
            for (state, &lane) in states.iter().zip(&active) {
                self.states[lane] = *state;
            }
        }
    }
}

fn sum<A: Algorithm>(state: &A::State) -> A::Sum {
    let mut sum = A::Sum::default();
    for (bytes, word) in sum.as_mut().chunks_exact_mut(4).zip(state.as_ref()) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    sum
}

/// The hashes of any number of messages, `LANES` of similar length at a time.
pub(crate) fn hash_many<A: Algorithm>(messages: &[&[u8]]) -> Vec<A::Sum> {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&message| messages[message].len());
    let mut sums: Vec<A::Sum> = messages.iter().map(|_| A::Sum::default()).collect();
    for group in order.chunks(LANES) {
        let mut batch = Batch::<A>::new(group.len());
        let parts: Vec<&[u8]> = group.iter().map(|&message| messages[message]).collect();
        batch.update(&parts);
        for (&message, sum) in group.iter().zip(batch.finish()) {
            sums[message] = sum;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(sum: impl AsRef<[u8]>) -> String {
        let bytes = sum.as_ref().iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    const VECTORS: [(&[u8], usize, &str, &str); 4] = [
        (
            b"",
            1,
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"abc",
            1,
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            1,
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            b"a",
            1_000_000,
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
    ];

    #[test]
    fn known_vectors() {
        for (bytes, times, expected, _) in VECTORS {
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
        for (bytes, times, one, two) in VECTORS {
            let message = bytes.repeat(times);
            for count in 1..=LANES {
                let messages = vec![&message[..]; count];
                for sum in hash_many::<Sha1>(&messages) {
                    assert_eq!(hex(sum), one);
                }
                for sum in hash_many::<Sha256>(&messages) {
                    assert_eq!(hex(sum), two);
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
                let mut batch = Batch::<Sha1>::new(count);
                let cut = length / 128 * 64;
                let (front, back): (Vec<&[u8]>, Vec<&[u8]>) =
                    messages.iter().map(|message| message.split_at(cut)).unzip();
                batch.update(&front);
                batch.update(&back);
                for (message, sum) in messages.iter().zip(batch.finish()) {
                    assert_eq!(sum, <Sum>::from(sha1::Sha1::digest(message)));
                }
            }
        }
    }

    #[test]
    fn messages_of_any_lengths_in_one_call() {
        let noise: Vec<u8> = (0..4096u32).map(|at| ((at * at) >> 3) as u8).collect();
        let lengths = [1000, 0, 64, 63, 4096, 65, 128, 1, 55, 56, 999];
        let messages: Vec<&[u8]> = lengths.iter().map(|&length| &noise[..length]).collect();
        let expected = |message: &&[u8]| <Sum>::from(sha1::Sha1::digest(message));
        let expected: Vec<Sum> = messages.iter().map(expected).collect();
        assert_eq!(hash_many::<Sha1>(&messages), expected);
        let expected = |message: &&[u8]| <Sum256>::from(sha2::Sha256::digest(message));
        let expected: Vec<Sum256> = messages.iter().map(expected).collect();
        assert_eq!(hash_many::<Sha256>(&messages), expected);
    }

    #[test]
    fn no_messages_have_no_hashes() {
        let mut batch = Batch::<Sha1>::new(0);
        batch.update(&[]);
        assert!(batch.finish().is_empty());
        assert!(hash_many::<Sha256>(&[]).is_empty());
    }
}
