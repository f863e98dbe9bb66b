//! SHA-1 of up to sixteen messages in AVX-512 registers. The cost is that of sixteen.

use std::arch::x86_64::*;

use super::{Block, x16};

/// Bits of the three-operand logic instruction.
const CHOOSE: i32 = 0xCA;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xE8;

/// Adds to each state its blocks, as many for each; at most sixteen states.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [[u32; 5]], blocks: &[&[Block]]) {
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    if count == 0 {
        return;
    }
    let pointers = x16::pointers(blocks);
    let [mut a, mut b, mut c, mut d, mut e] = x16::gather(states);
    for at in 0..count {
        let before = [a, b, c, d, e];
        // SAFETY: every message has `count` blocks.
        let mut w = unsafe { x16::load(&pointers, at) };

        macro_rules! round {
            ($a:ident $b:ident $c:ident $d:ident $e:ident $t:expr, $logic:ident $k:literal) => {
                if $t >= 16 {
                    let mixed = _mm512_ternarylogic_epi32::<PARITY>(
                        w[($t + 13) % 16],
                        w[($t + 8) % 16],
                        w[($t + 2) % 16],
                    );
                    w[$t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(mixed, w[$t % 16]));
                }
                let sum = _mm512_add_epi32(w[$t % 16], _mm512_set1_epi32($k as i32));
                let sum = _mm512_add_epi32(sum, $e);
                let logic = _mm512_ternarylogic_epi32::<$logic>($b, $c, $d);
                let sum = _mm512_add_epi32(sum, logic);
                $e = _mm512_add_epi32(sum, _mm512_rol_epi32::<5>($a));
                $b = _mm512_rol_epi32::<30>($b);
            };
        }
        macro_rules! twenty_rounds {
            ($first:literal $logic:ident $k:literal) => {
                twenty_rounds!($logic $k: $first, $first + 5, $first + 10, $first + 15);
            };
            ($logic:ident $k:literal: $($t:expr),*) => {$(
                round!(a b c d e $t, $logic $k);
                round!(e a b c d $t + 1, $logic $k);
                round!(d e a b c $t + 2, $logic $k);
                round!(c d e a b $t + 3, $logic $k);
                round!(b c d e a $t + 4, $logic $k);
            )*};
        }
        twenty_rounds!(0 CHOOSE 0x5A82_7999u32);
        twenty_rounds!(20 PARITY 0x6ED9_EBA1u32);
        twenty_rounds!(40 MAJORITY 0x8F1B_BCDCu32);
        twenty_rounds!(60 PARITY 0xCA62_C1D6u32);

        let [a0, b0, c0, d0, e0] = before;
        a = _mm512_add_epi32(a, a0);
        b = _mm512_add_epi32(b, b0);
        c = _mm512_add_epi32(c, c0);
        d = _mm512_add_epi32(d, d0);
        e = _mm512_add_epi32(e, e0);
    }
    x16::scatter(&[a, b, c, d, e], states);
}
