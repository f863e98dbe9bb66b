//! All kernels against known vectors, and against the crates hashing one message after the other.

use sha2::Digest;

use super::*;

/// Numbers that look random, the same in every run (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// An algorithm's plain twin.
trait Plain: Algorithm {
    fn plainly(message: &[u8]) -> Self::Sum;
}

impl Plain for Sha1 {
    fn plainly(message: &[u8]) -> Sum {
        sha1::Sha1::digest(message).into()
    }
}

impl Plain for Sha256 {
    fn plainly(message: &[u8]) -> Sum256 {
        sha2::Sha256::digest(message).into()
    }
}

/// Every way to choose a kernel; says which ones this machine cannot test.
fn kernels() -> Vec<Option<Kernel>> {
    for name in ["avx512", "sha-ni"] {
        if Kernel::named(name).is_none() {
            println!("skipped: this machine has no {name}");
        }
    }
    let named = Kernel::available().map(Some);
    std::iter::once(None).chain(named).collect()
}

fn agree<A: Plain>(messages: &[&[u8]])
where
    A::Sum: PartialEq + std::fmt::Debug,
{
    let expected: Vec<A::Sum> = messages.iter().map(|message| A::plainly(message)).collect();
    for kernel in kernels() {
        let lengths: Vec<usize> = messages.iter().map(|message| message.len()).collect();
        let found = hash_many_with::<A>(kernel, messages);
        assert!(found == expected, "{kernel:?}, lengths {lengths:?}");
    }
}

fn hex(sum: impl AsRef<[u8]>) -> String {
    let bytes = sum.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

const VECTORS: [(&[u8], usize, &str, &str); 4] = [
    (
        b"",
        1,
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    (
        b"abc",
        1,
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        1,
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (
        b"a",
        1_000_000,
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ),
];

#[test]
fn known_vectors_in_every_lane() {
    for (bytes, times, one, two) in VECTORS {
        let message = bytes.repeat(times);
        for kernel in kernels() {
            for count in [1, 2, 3, 4, 9, LANES, LANES + 1] {
                let messages = vec![&message[..]; count];
                for sum in hash_many_with::<Sha1>(kernel, &messages) {
                    assert_eq!(hex(sum), one);
                }
                for sum in hash_many_with::<Sha256>(kernel, &messages) {
                    assert_eq!(hex(sum), two);
                }
            }
        }
    }
}

#[test]
fn every_length_up_to_300_in_every_number_of_lanes() {
    let mut noise = Noise(1);
    for length in 0..=300 {
        let messages: Vec<Vec<u8>> = (0..LANES).map(|_| noise.bytes(length)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
        for count in 1..=LANES {
            agree::<Sha1>(&messages[..count]);
            agree::<Sha256>(&messages[..count]);
        }
    }
}

#[test]
fn any_lengths_in_one_call() {
    let mut noise = Noise(2);
    for _ in 0..150 {
        let count = noise.below(40);
        let messages: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let most = [64, 300, 5000][noise.below(3)];
                let length = noise.below(most);
                noise.bytes(length)
            })
            .collect();
        let messages: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
        agree::<Sha1>(&messages);
        agree::<Sha256>(&messages);
    }
}

#[test]
fn messages_that_come_in_parts() {
    let mut noise = Noise(3);
    for kernel in kernels() {
        for _ in 0..50 {
            let count = 1 + noise.below(LANES);
            let messages: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let length = noise.below(2000);
                    noise.bytes(length)
                })
                .collect();
            let mut batch = Batch::<Sha1>::with(kernel, vec![Stream::default(); count]);
            let mut rest: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
            while rest.iter().any(|rest| !rest.is_empty()) {
                let mut parts = Vec::new();
                for rest in &mut rest {
                    let part = (noise.below(8) * 64).min(rest.len() / 64 * 64);
                    let part = if rest.len() < 64 { rest.len() } else { part };
                    let (now, later) = rest.split_at(part);
                    parts.push(now);
                    *rest = later;
                }
                batch.update(&parts);
            }
            let expected: Vec<Sum> = messages.iter().map(|m| Sha1::plainly(m)).collect();
            assert_eq!(batch.finish(), expected, "{kernel:?}");
        }
    }
}

#[test]
fn messages_go_on_in_other_company() {
    let mut noise = Noise(4);
    for kernel in kernels() {
        let messages: Vec<Vec<u8>> = (1..=40).map(|n| noise.bytes(64 * n + n % 7)).collect();
        let mut streams = vec![Stream::<Sha1>::default(); messages.len()];
        let mut rest: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
        while rest.iter().any(|rest| !rest.is_empty()) {
            let mut batch = Vec::new();
            let (mut lanes, mut parts) = (Vec::new(), Vec::new());
            for _ in 0..1 + noise.below(LANES) {
                let at = noise.below(messages.len());
                if !rest[at].is_empty() && !batch.contains(&at) {
                    let part = rest[at].len().min(64 * (1 + noise.below(9)));
                    let now;
                    (now, rest[at]) = rest[at].split_at(part);
                    batch.push(at);
                    lanes.push(std::mem::take(&mut streams[at]));
                    parts.push(now);
                }
            }
            let mut together = Batch::with(kernel, lanes);
            together.update(&parts);
            for (at, stream) in batch.into_iter().zip(together.into_streams()) {
                streams[at] = stream;
            }
        }
        for (stream, message) in streams.into_iter().zip(&messages) {
            let sum = Batch::with(kernel, vec![stream]).finish();
            assert_eq!(sum, [Sha1::plainly(message)]);
        }
    }
}

#[test]
fn no_messages_have_no_hashes() {
    let mut batch = Batch::<Sha1>::new(0);
    batch.update(&[]);
    assert!(batch.finish().is_empty());
    assert!(hash_many::<Sha256>(&[]).is_empty());
}

#[test]
fn sixteen_lanes_are_for_many_messages() {
    if Kernel::named("avx512").is_some() && Kernel::named("sha-ni").is_some() {
        let best = |lanes| Kernel::best(lanes, Sha1::WORTHWHILE);
        assert_eq!([best(1), best(8)], [Kernel::ShaNi; 2]);
        assert_eq!([best(9), best(16)], [Kernel::Avx512; 2]);
    }
    assert_eq!(Kernel::named("none"), None);
}
