//! A quick hash for maps whose keys this program or its operator chooses.
//!
//! It does not withstand keys made to collide: a map that callers can fill keeps the standard library's hash,
//! unless it is so small that a walk through all of it costs little.

use std::collections::HashMap;
#[cfg(feature = "sqlite")]
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with the quick hash.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// A set with the quick hash.
#[cfg(feature = "sqlite")]
pub(crate) type QuickSet<K> = HashSet<K, BuildHasherDefault<QuickHasher>>;

/// Mixes in eight bytes at a time by a rotation and a multiplication.
#[derive(Clone, Default)]
pub(crate) struct QuickHasher(u64);

impl QuickHasher {
    fn mix(&mut self, word: u64) {
        // An odd number without a pattern in its bits: the golden ratio's.
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        let rest = rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.mix(rest);
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its place from the low bits and its tag from the high ones: both must depend on all of the key.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn names_that_differ_little_spread_over_low_and_high_bits() {
        let hash = |n: u32| BuildHasherDefault::<QuickHasher>::default().hash_one(format!("workspace-{n}"));
        let hashes: Vec<u64> = (0..4_096).map(hash).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        let low: HashSet<_> = hashes.iter().map(|h| h % 4_096).collect();
        let high: HashSet<_> = hashes.iter().map(|h| h >> 57).collect();
        assert!(low.len() > 2_000 && high.len() == 128, "{} low, {} high", low.len(), high.len());
    }
}
