//! What the AVX-512 kernels share: sixteen messages, of which a register holds one 32-bit word each.

use std::arch::x86_64::*;

use super::{Block, LANES};

/// Where the messages' blocks are; lanes without a message hash the first one's blocks for nothing.
pub(super) fn pointers(blocks: &[&[Block]]) -> [*const Block; LANES] {
    std::array::from_fn(|lane| blocks.get(lane).unwrap_or(&blocks[0]).as_ptr())
}

/// One word of each message's state; zeros for lanes without a message.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn gather<const N: usize>(states: &[[u32; N]]) -> [__m512i; N] {
    std::array::from_fn(|word| {
        let mut lanes = [0; LANES];
        for (lane, state) in lanes.iter_mut().zip(states) {
            *lane = state[word];
        }
        // SAFETY: sixteen words of 32 bits are 512 bits.
        unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
    })
}

/// The other way round.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn scatter<const N: usize>(words: &[__m512i; N], states: &mut [[u32; N]]) {
    for (word, register) in words.iter().enumerate() {
        let mut lanes = [0; LANES];
        // SAFETY: sixteen words of 32 bits are 512 bits.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *register) };
        for (lane, state) in lanes.iter().zip(&mut *states) {
            state[word] = *lane;
        }
    }
}

/// Loads block `at` of every message: sixteen registers, one for each big-endian word of a block.
///
/// # Safety
/// Every pointer has more than `at` blocks behind it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn load(blocks: &[*const Block; LANES], at: usize) -> [__m512i; LANES] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203));
    // Whole lines at once: the lanes often lie a power of two apart, and a set of the L1 cache has
    // fewer than sixteen lines.
    let rows: [__m512i; LANES] = std::array::from_fn(|lane| {
        // SAFETY: the caller's promise; a block is 64 bytes.
        let row = unsafe { _mm512_loadu_si512(blocks[lane].add(at).cast()) };
        _mm512_shuffle_epi8(row, swap)
    });
    // Within the quarters of 128 bits: four messages each.
    let mut words = [_mm512_setzero_si512(); LANES];
    for four in 0..4 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| rows[4 * four + row]);
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        words[4 * four] = _mm512_unpacklo_epi64(ab_low, cd_low);
        words[4 * four + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
        words[4 * four + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        words[4 * four + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    // And the quarters themselves.
    for word in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|four| words[four + word]);
        let ab_low = _mm512_shuffle_i32x4::<0b1000_1000>(a, b);
        let ab_high = _mm512_shuffle_i32x4::<0b1101_1101>(a, b);
        let cd_low = _mm512_shuffle_i32x4::<0b1000_1000>(c, d);
        let cd_high = _mm512_shuffle_i32x4::<0b1101_1101>(c, d);
        words[word] = _mm512_shuffle_i32x4::<0b1000_1000>(ab_low, cd_low);
        words[word + 8] = _mm512_shuffle_i32x4::<0b1101_1101>(ab_low, cd_low);
        words[word + 4] = _mm512_shuffle_i32x4::<0b1000_1000>(ab_high, cd_high);
        words[word + 12] = _mm512_shuffle_i32x4::<0b1101_1101>(ab_high, cd_high);
    }
    words
}
