//! SHA-1 by the SHA extensions of x86, over one to three messages in lockstep.
//!
//! A round needs the result of the round before it, so that one message keeps the SHA unit busy less
//! than half of the time; rounds of other messages fit in between. A fourth message does not fit the
//! registers.

use std::arch::x86_64::*;

use super::algorithm::{Block, in_threes};

type State = [u32; 5];

/// Adds to each state its blocks, as many for each. Any number of states; three at a time.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress(states: &mut [State], blocks: &[&[Block]]) {
    for (states, blocks) in in_threes(states, blocks) {
        match (states, blocks) {
            ([a], [x]) => together([a], [x]),
            ([a, b], [x, y]) => together([a, b], [x, y]),
            ([a, b, c], [x, y, z]) => together([a, b, c], [x, y, z]),
            _ => unreachable!("one to three lanes"),
        }
    }
}

/// `N` states in lockstep, four rounds of each at a time.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn together<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
    let swap = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    let mut abcd = [_mm_setzero_si128(); N];
    let mut e = [_mm_setzero_si128(); N];
    for lane in 0..N {
        let [a, b, c, d, f] = states[lane].map(u32::cast_signed);
        abcd[lane] = _mm_set_epi32(a, b, c, d);
        e[lane] = _mm_set_epi32(f, 0, 0, 0);
    }
    let count = blocks.map(<[Block]>::len).into_iter().min().unwrap_or(0);
    for at in 0..count {
        let (abcd_before, e_before) = (abcd, e);
        let mut words = [[_mm_setzero_si128(); 4]; N];

        macro_rules! four_rounds {
            ($($group:literal)*) => {$(
                for lane in 0..N {
                    let w = &mut words[lane];
                    if $group < 4 {
                        // SAFETY: a block is four words of 16 bytes, and `at` is below every
                        // lane's count.
                        let word = unsafe {
                            let block = blocks[lane].as_ptr().add(at).cast::<__m128i>();
                            _mm_loadu_si128(block.add($group % 4))
                        };
                        w[$group % 4] = _mm_shuffle_epi8(word, swap);
                    } else {
                        let mixed = _mm_sha1msg1_epu32(w[$group % 4], w[($group + 1) % 4]);
                        let mixed = _mm_xor_si128(mixed, w[($group + 2) % 4]);
                        w[$group % 4] = _mm_sha1msg2_epu32(mixed, w[($group + 3) % 4]);
                    }
                    let sum = if $group == 0 {
                        _mm_add_epi32(e[lane], w[0])
                    } else {
                        _mm_sha1nexte_epu32(e[lane], w[$group % 4])
                    };
                    e[lane] = abcd[lane];
                    abcd[lane] = _mm_sha1rnds4_epu32::<{ $group / 5 }>(abcd[lane], sum);
                }
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);

        for lane in 0..N {
            e[lane] = _mm_sha1nexte_epu32(e[lane], e_before[lane]);
            abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
        }
    }
    for (lane, state) in states.into_iter().enumerate() {
        let words = [
            _mm_extract_epi32::<3>(abcd[lane]),
            _mm_extract_epi32::<2>(abcd[lane]),
            _mm_extract_epi32::<1>(abcd[lane]),
            _mm_extract_epi32::<0>(abcd[lane]),
            _mm_extract_epi32::<3>(e[lane]),
        ];
        *state = words.map(i32::cast_unsigned);
    }
}
