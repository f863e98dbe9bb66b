//! SHA-1 (FIPS 180-4), of one piece as its parts arrive.

use sha1::{Digest, Sha1};

pub(crate) type Sum = [u8; 20];

/// One piece's hash on its way.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha1);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything so far; the hasher starts again.
    pub(crate) fn finish(&mut self) -> Sum {
        self.0.finalize_reset().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(sum: Sum) -> String {
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn known_vectors() {
        let cases: [(&[u8], usize, &str); 4] = [
            (b"", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (b"abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                1,
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            (b"a", 1_000_000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ];
        for (bytes, times, expected) in cases {
            let mut hasher = Hasher::default();
            for _ in 0..times {
                hasher.update(bytes);
            }
            assert_eq!(hex(hasher.finish()), expected);
            assert_eq!(hex(hasher.finish()), cases[0].2);
        }
    }
}
