//! SHA-256 of up to sixteen messages in AVX-512 registers. The cost is that of sixteen.

use std::arch::x86_64::*;

use super::algorithm::{Block, SHA256_CONSTANTS as K};
use super::x16;

/// Bits of the three-operand logic instruction.
const CHOOSE: i32 = 0xCA;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xE8;

/// Adds to each state its blocks, as many for each; at most sixteen states.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [[u32; 8]], blocks: &[&[Block]]) {
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    if count == 0 {
        return;
    }
    let pointers = x16::pointers(blocks);
    let mut state = x16::gather(states);
    for at in 0..count {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        // SAFETY: every message has `count` blocks.
        let mut w = unsafe { x16::load(&pointers, at) };

        macro_rules! round {
            ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $t:expr) => {
                if $t >= 16 {
                    let (old, new) = (w[($t + 1) % 16], w[($t + 14) % 16]);
                    let low = _mm512_ternarylogic_epi32::<PARITY>(
                        _mm512_ror_epi32::<7>(old),
                        _mm512_ror_epi32::<18>(old),
                        _mm512_srli_epi32::<3>(old),
                    );
                    let high = _mm512_ternarylogic_epi32::<PARITY>(
                        _mm512_ror_epi32::<17>(new),
                        _mm512_ror_epi32::<19>(new),
                        _mm512_srli_epi32::<10>(new),
                    );
                    let sum = _mm512_add_epi32(w[$t % 16], w[($t + 9) % 16]);
                    w[$t % 16] = _mm512_add_epi32(sum, _mm512_add_epi32(low, high));
                }
                let sum = _mm512_add_epi32(w[$t % 16], _mm512_set1_epi32(K[$t].cast_signed()));
                let sum = _mm512_add_epi32(sum, $h);
                let logic = _mm512_ternarylogic_epi32::<CHOOSE>($e, $f, $g);
                let sum = _mm512_add_epi32(sum, logic);
                let turned = _mm512_ternarylogic_epi32::<PARITY>(
                    _mm512_ror_epi32::<6>($e),
                    _mm512_ror_epi32::<11>($e),
                    _mm512_ror_epi32::<25>($e),
                );
                let sum = _mm512_add_epi32(sum, turned);
                $d = _mm512_add_epi32($d, sum);
                let turned = _mm512_ternarylogic_epi32::<PARITY>(
                    _mm512_ror_epi32::<2>($a),
                    _mm512_ror_epi32::<13>($a),
                    _mm512_ror_epi32::<22>($a),
                );
                let logic = _mm512_ternarylogic_epi32::<MAJORITY>($a, $b, $c);
                $h = _mm512_add_epi32(sum, _mm512_add_epi32(turned, logic));
            };
        }
        macro_rules! eight_rounds {
            ($($t:literal)*) => {$(
                round!(a b c d e f g h $t);
                round!(h a b c d e f g $t + 1);
                round!(g h a b c d e f $t + 2);
                round!(f g h a b c d e $t + 3);
                round!(e f g h a b c d $t + 4);
                round!(d e f g h a b c $t + 5);
                round!(c d e f g h a b $t + 6);
                round!(b c d e f g h a $t + 7);
            )*};
        }
        eight_rounds!(0 8 16 24 32 40 48 56);

        for (before, now) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *before = _mm512_add_epi32(*before, now);
        }
    }
    x16::scatter(&state, states);
}
