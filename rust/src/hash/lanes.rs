//! The compression function over several messages at once.
//!
//! A round of SHA-1 needs the result of the round before it, so that one message keeps an x86 core's
//! SHA unit busy less than half of the time. Rounds of other messages fit in between.

use super::Block;

/// Messages that are hashed side by side: more of them do not fit the registers.
pub(crate) const LANES: usize = 3;

type State = [u32; 5];

/// Adds blocks to each state: as many for each, and at most `LANES` of them.
pub(super) fn compress(states: &mut [State], blocks: &[&[Block]]) {
    assert_eq!(states.len(), blocks.len());
    assert!(blocks.windows(2).all(|pair| pair[0].len() == pair[1].len()));
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the features that the kernel needs are there.
        unsafe { x86::compress_any(states, blocks) };
        return;
    }
    for (state, blocks) in states.iter_mut().zip(blocks) {
        sha1::block_api::compress(state, blocks);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Block, State};

    pub(super) fn available() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1")
    }

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn compress_any(states: &mut [State], blocks: &[&[Block]]) {
        match (states, blocks) {
            ([a, b, c], [x, y, z]) => compress([a, b, c], [x, y, z]),
            ([a, b], [x, y]) => compress([a, b], [x, y]),
            (states, blocks) => {
                for (state, blocks) in states.iter_mut().zip(blocks) {
                    compress([state], [*blocks]);
                }
            }
        }
    }

    /// `N` states in lockstep, four rounds of each at a time.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn compress<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
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
                ($group:literal) => {
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
                };
            }
            four_rounds!(0);
            four_rounds!(1);
            four_rounds!(2);
            four_rounds!(3);
            four_rounds!(4);
            four_rounds!(5);
            four_rounds!(6);
            four_rounds!(7);
            four_rounds!(8);
            four_rounds!(9);
            four_rounds!(10);
            four_rounds!(11);
            four_rounds!(12);
            four_rounds!(13);
            four_rounds!(14);
            four_rounds!(15);
            four_rounds!(16);
            four_rounds!(17);
            four_rounds!(18);
            four_rounds!(19);

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
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Sha1};
    use super::*;

    /// Not a test of time: `cargo test --release -- --ignored --nocapture lanes_speed` prints it.
    #[test]
    #[ignore = "prints a figure"]
    fn lanes_speed() {
        const SIZE: usize = 1 << 18;
        let data = vec![7u8; SIZE * LANES];
        let parts: Vec<&[Block]> = data.chunks(SIZE).map(|c| c.as_chunks::<64>().0).collect();
        for round in 0..3 {
            for lanes in 0..=LANES {
                let start = std::time::Instant::now();
                let mut bytes = 0;
                let mut states = [Sha1::INITIAL; LANES];
                while start.elapsed().as_millis() < 300 {
                    if lanes == 0 {
                        sha1::block_api::compress(&mut states[0], parts[0]);
                    } else {
                        compress(&mut states[..lanes], &parts[..lanes]);
                    }
                    bytes += SIZE * lanes.max(1);
                }
                let rate = bytes as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20);
                println!("round {round}, {lanes} lanes (0: the crate): {rate:.0} MiB/s");
            }
        }
    }
}
