//! SHA-256 by the SHA extensions of x86, over one to three messages in lockstep (see `sha1_ni`).

use std::arch::x86_64::*;

use super::algorithm::{Block, SHA256_CONSTANTS as K, in_threes};

type State = [u32; 8];

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
    let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
    // The order that the instructions want.
    let mut abef = [_mm_setzero_si128(); N];
    let mut cdgh = [_mm_setzero_si128(); N];
    for lane in 0..N {
        let [a, b, c, d, e, f, g, h] = states[lane].map(u32::cast_signed);
        abef[lane] = _mm_set_epi32(a, b, e, f);
        cdgh[lane] = _mm_set_epi32(c, d, g, h);
    }
    let count = blocks.map(<[Block]>::len).into_iter().min().unwrap_or(0);
    for at in 0..count {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut words = [[_mm_setzero_si128(); 4]; N];

        macro_rules! four_rounds {
            ($($group:literal)*) => {$(
                let k = K.as_ptr().cast::<__m128i>();
                // SAFETY: sixteen times four constants.
                let k = unsafe { _mm_loadu_si128(k.add($group)) };
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
                        let mixed = _mm_sha256msg1_epu32(w[$group % 4], w[($group + 1) % 4]);
                        let seven = _mm_alignr_epi8::<4>(w[($group + 3) % 4], w[($group + 2) % 4]);
                        let mixed = _mm_add_epi32(mixed, seven);
                        w[$group % 4] = _mm_sha256msg2_epu32(mixed, w[($group + 3) % 4]);
                    }
                    let sum = _mm_add_epi32(w[$group % 4], k);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                    let sum = _mm_shuffle_epi32::<0b1110>(sum);
                    abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], sum);
                }
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

        for lane in 0..N {
            abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
        }
    }
    for (lane, state) in states.into_iter().enumerate() {
        let words = [
            _mm_extract_epi32::<3>(abef[lane]),
            _mm_extract_epi32::<2>(abef[lane]),
            _mm_extract_epi32::<3>(cdgh[lane]),
            _mm_extract_epi32::<2>(cdgh[lane]),
            _mm_extract_epi32::<1>(abef[lane]),
            _mm_extract_epi32::<0>(abef[lane]),
            _mm_extract_epi32::<1>(cdgh[lane]),
            _mm_extract_epi32::<0>(cdgh[lane]),
        ];
        *state = words.map(i32::cast_unsigned);
    }
}
