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

/// One message on its way: the hash of what has come so far.
#[derive(Clone)]
pub(crate) struct Stream<A: Algorithm> {
    state: A::State,
    /// Bytes so far.
    length: u64,
    /// What did not fill a block; then there is no more.
    tail: Block,
}

impl<A: Algorithm> Default for Stream<A> {
    fn default() -> Self {
        Self {
            state: A::INITIAL,
            length: 0,
            tail: [0; 64],
        }
    }
}

/// Up to `LANES` messages, hashed side by side.
#[derive(Clone)]
pub(crate) struct Batch<A: Algorithm> {
    /// What to use whatever the number of lanes.
    kernel: Option<Kernel>,
    lanes: Vec<Stream<A>>,
}

impl<A: Algorithm> Batch<A> {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(None, vec![Stream::default(); count])
    }

    /// Goes on with messages of which something has come before.
    pub(crate) fn of(streams: Vec<Stream<A>>) -> Self {
        Self::with(None, streams)
    }

    /// With a kernel for all of it, rather than the best for the lanes that are left.
    fn with(kernel: Option<Kernel>, lanes: Vec<Stream<A>>) -> Self {
        assert!(lanes.len() <= LANES);
        Self { kernel, lanes }
    }

    /// The next bytes of each message. Once they were a number that 64 does not divide, the
    /// message is complete.
    pub(crate) fn update(&mut self, parts: &[&[u8]]) {
        assert_eq!(parts.len(), self.lanes.len());
        let mut blocks: [&[Block]; LANES] = [&[]; LANES];
        for ((lane, part), blocks) in self.lanes.iter_mut().zip(parts).zip(&mut blocks) {
            assert!(part.is_empty() || lane.length.is_multiple_of(64));
            let (whole, rest) = part.as_chunks::<64>();
            *blocks = whole;
            lane.tail[..rest.len()].copy_from_slice(rest);
            lane.length += part.len() as u64;
        }
        self.add(blocks);
    }

    /// The messages as far as they have come.
    pub(crate) fn into_streams(self) -> Vec<Stream<A>> {
        self.lanes
    }

    /// The hash of each message.
    pub(crate) fn finish(mut self) -> Vec<A::Sum> {
        let mut ends = [[[0; 64]; 2]; LANES];
        let mut blocks: [&[Block]; LANES] = [&[]; LANES];
        for ((end, slot), lane) in ends.iter_mut().zip(&mut blocks).zip(&self.lanes) {
            let used = (lane.length % 64) as usize;
            let count = if used < 56 { 1 } else { 2 };
            end[0][..used].copy_from_slice(&lane.tail[..used]);
            end[0][used] = 0x80;
            end[count - 1][56..].copy_from_slice(&(lane.length * 8).to_be_bytes());
            *slot = &end[..count];
        }
        self.add(blocks);
        self.lanes
            .iter()
            .map(|lane| sum::<A>(&lane.state))
            .collect()
    }

    /// Adds blocks to the messages that still have some: those that end early leave the others.
    fn add(&mut self, mut rest: [&[Block]; LANES]) {
        loop {
            let active = (0..self.lanes.len()).filter(|&lane| !rest[lane].is_empty());
            let active: Vec<usize> = active.collect();
            let Some(count) = active.iter().map(|&lane| rest[lane].len()).min() else {
                return;
            };
            let mut states = [A::INITIAL; LANES];
            let mut now: [&[Block]; LANES] = [&[]; LANES];
            for (place, &lane) in active.iter().enumerate() {
                states[place] = self.lanes[lane].state;
                (now[place], rest[lane]) = rest[lane].split_at(count);
            }
            let lanes = active.len();
            let kernel = self.kernel;
            let kernel = kernel.unwrap_or_else(|| Kernel::best(lanes, A::WORTHWHILE));
            A::compress(kernel, &mut states[..lanes], &now[..lanes]);
            for (state, &lane) in states.iter().zip(&active) {
                self.lanes[lane].state = *state;
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
        let mut batch = Batch::<A>::with(kernel, vec![Stream::default(); group.len()]);
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
