//! A hasher for maps that live as long as a file is being opened: half of that time would go to SipHash. Seeded at
//! random, because the keys are whatever users called their objects.

use std::hash::{BuildHasher, Hasher};

/// Makes hashers with a seed of its own.
#[derive(Clone, Debug)]
pub(super) struct Folding(u64);

impl Default for Folding {
    fn default() -> Self {
        Self(rand::random())
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { seed: self.0, hash: self.0 }
    }
}

/// Multiplies, and folds the upper half of each product onto the lower.
#[derive(Debug)]
pub(super) struct Folded {
    seed: u64,
    hash: u64,
}

impl Folded {
    #[allow(clippy::cast_possible_truncation, reason = "the halves of a product")]
    fn fold(&mut self, word: u64) {
        /// An odd number without a pattern: the golden ratio's digits.
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let product = u128::from(self.hash ^ word) * u128::from(FACTOR);
        let [lower, upper] = [product, product >> 64].map(|part| part as u64);
        self.hash = lower ^ upper;
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last[7] = u8::try_from(rest.len()).unwrap_or(8);
        self.fold(u64::from_le_bytes(last));
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        let mut last = Self { ..*self };
        last.fold(self.seed.rotate_left(32));
        last.fold(self.seed);
        last.hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_that_look_alike_are_spread() {
        let folding = Folding::default();
        let mut upper = HashSet::new();
        let mut lower = HashSet::new();
        for number in 0..65_536 {
            let hash = folding.hash_one(format!("core/configmaps/default/object-{number:06}").as_bytes());
            upper.insert(hash >> 48);
            lower.insert(hash & 0xFFFF);
        }
        // Of as many as there are places, chance alone finds 63 in 100.
        assert!(upper.len() > 38_000 && lower.len() > 38_000, "{} {}", upper.len(), lower.len());
        assert_ne!(folding.hash_one(&b"a"[..]), folding.hash_one(&b"a\0"[..]));
    }
}
