//! The two algorithms, as far as they differ: their states, where those begin, and their kernels.

use super::kernels::Kernel;

pub(crate) type Block = [u8; 64];
/// A SHA-1: what a piece has in version 1 torrents.
pub(crate) type Sum = [u8; 20];
/// A SHA-256: what the nodes of version 2's Merkle trees have.
pub(crate) type Sum256 = [u8; 32];

/// A hash function that takes blocks of 64 bytes into a state of 32-bit words.
pub(crate) trait Algorithm: Clone {
    type State: Copy + AsRef<[u32]>;
    type Sum: Clone + Default + AsMut<[u8]>;
    const INITIAL: Self::State;
    /// Lanes from which on sixteen at once are faster than three at a time.
    const WORTHWHILE: usize;

    /// Adds blocks to each state: as many for each, and at most `LANES` of them. This machine has
    /// the kernel.
    fn compress(kernel: Kernel, states: &mut [Self::State], blocks: &[&[Block]]);
}

#[derive(Clone)]
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

    const WORTHWHILE: usize = 9;

    fn compress(kernel: Kernel, states: &mut [Self::State], blocks: &[&[Block]]) {
        match kernel {
            // SAFETY: a kernel that this machine has brings the features that it needs.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { super::sha1_avx512::compress(states, blocks) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Kernel::ShaNi => unsafe { super::sha1_ni::compress(states, blocks) },
            _ => {
                for (state, blocks) in states.iter_mut().zip(blocks) {
                    sha1::block_api::compress(state, blocks);
                }
            }
        }
    }
}

#[derive(Clone)]
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

    const WORTHWHILE: usize = 16;

    fn compress(kernel: Kernel, states: &mut [Self::State], blocks: &[&[Block]]) {
        match kernel {
            // SAFETY: a kernel that this machine has brings the features that it needs.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { super::sha256_avx512::compress(states, blocks) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Kernel::ShaNi => unsafe { super::sha256_ni::compress(states, blocks) },
            _ => {
                for (state, blocks) in states.iter_mut().zip(blocks) {
                    sha2::block_api::compress256(state, blocks);
                }
            }
        }
    }
}

/// The round constants of SHA-256, by four rounds.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const SHA256_CONSTANTS: [u32; 64] = [
    0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5,
    0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
    0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3,
    0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
    0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC,
    0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
    0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7,
    0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
    0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13,
    0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
    0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3,
    0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
    0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5,
    0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
    0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208,
    0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
];

/// States and their blocks, three at a time. A lane that would be left over alone takes another one
/// along: three and one cost more than two and two.
#[cfg(target_arch = "x86_64")]
pub(super) fn in_threes<'a, 'b, S>(
    mut states: &'a mut [S],
    mut blocks: &'a [&'b [Block]],
) -> impl Iterator<Item = (&'a mut [S], &'a [&'b [Block]])> {
    std::iter::from_fn(move || {
        let count = match states.len() {
            0 => return None,
            4 => 2,
            lanes => lanes.min(3),
        };
        let (now, later) = std::mem::take(&mut states).split_at_mut(count);
        states = later;
        let (these, rest) = blocks.split_at(count);
        blocks = rest;
        Some((now, these))
    })
}
