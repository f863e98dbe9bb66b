//! SHA-1 and SHA-256 (FIPS 180-4): of one message as it arrives, and of several side by side.
//!
//! One stream waits for each round's result; several of them fill the waiting. There is a file for
//! each way to do that; `kernels` chooses.

mod algorithm;
pub(crate) mod kernels;
pub(crate) mod merkle;
pub(crate) mod pieces;
#[cfg(target_arch = "x86_64")]
mod sha1_avx512;
#[cfg(target_arch = "x86_64")]
mod sha1_ni;
#[cfg(target_arch = "x86_64")]
mod sha256_avx512;
#[cfg(target_arch = "x86_64")]
mod sha256_ni;
pub(crate) mod stretches;
#[cfg(target_arch = "x86_64")]
mod x16;

pub(crate) use algorithm::{Algorithm, Block, Sha1, Sha256, Sum, Sum256};
use kernels::Kernel;
use sha1::Digest as _;

/// Messages that are hashed side by side, at most.
pub(crate) const LANES: usize = 16;

/// The hash that a piece must have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    /// The SHA-1 of its bytes.
    V1(Sum),
    /// The root of its Merkle tree.
    V2(Sum256),
}

impl Digest {
    /// 20 bytes are version 1, 32 are version 2.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let v1 = bytes.try_into().map(Self::V1);
        v1.or_else(|_| bytes.try_into().map(Self::V2)).ok()
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
#[derive(Clone)]
pub(crate) struct Batch<A: Algorithm> {
    /// What to use whatever the number of lanes.
    kernel: Option<Kernel>,
    states: [A::State; LANES],
    count: usize,
    /// Bytes of each message so far.
    lengths: [u64; LANES],
    /// What did not fill a block; then there is no more.
    tails: [Block; LANES],
}

impl<A: Algorithm> Batch<A> {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(None, count)
    }

    /// With a kernel for all of it, rather than the best for the lanes that are left.
    fn with(kernel: Option<Kernel>, count: usize) -> Self {
        assert!(count <= LANES);
        Self {
            kernel,
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
            let lanes = active.len();
            let kernel = self.kernel;
            let kernel = kernel.unwrap_or_else(|| Kernel::best(lanes, A::WORTHWHILE));
            A::compress(kernel, &mut states[..lanes], &now[..lanes]);
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
    hash_many_with::<A>(None, messages)
}

/// The same with a kernel of the caller's choice, which this machine must have.
pub(crate) fn hash_many_with<A: Algorithm>(
    kernel: Option<Kernel>,
    messages: &[&[u8]],
) -> Vec<A::Sum> {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|&message| messages[message].len());
    let mut sums: Vec<A::Sum> = messages.iter().map(|_| A::Sum::default()).collect();
    for group in order.chunks(LANES) {
        let mut batch = Batch::<A>::with(kernel, group.len());
        let parts: Vec<&[u8]> = group.iter().map(|&message| messages[message]).collect();
        batch.update(&parts);
        for (&message, sum) in group.iter().zip(batch.finish()) {
            sums[message] = sum;
        }
    }
    sums
}

#[cfg(test)]
mod tests;
