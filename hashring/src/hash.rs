//! From the bytes of a key to its hash. Bytes in, never `K: Hash`: what a type feeds to a hasher
//! may change between two releases of its crate, and with it every placement (H5).

use crate::siphash::siphash13;
use core::fmt;
use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh64::xxh64;

/// The function that turns keys into hashes. It is part of a placement: two nodes that hash
/// differently disagree about every key.
///
/// Partitions use the *top* bits of the hash, so all keys of a partition share them: a map in
/// memory that is fed with the same hash should remix it first (H25).
///
/// # Examples
/// ```
/// use quorate_hashring::KeyHash;
///
/// assert_eq!(KeyHash::default(), KeyHash::Xxh3 { seed: 0 });
/// assert_eq!(KeyHash::default().hash(b"key"), KeyHash::default().hash(b"key"));
/// ```
///
/// # Source
/// `XXH3` and `XXH64` by their specification; `SipHash` by Aumasson and Bernstein 2012.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyHash {
    /// `XXH3`, 64 bits: the default, with seed 0.
    Xxh3 {
        /// Its seed.
        seed: u64,
    },
    /// `XXH64`, for fleets that use it elsewhere.
    Xxh64 {
        /// Its seed.
        seed: u64,
    },
    /// SipHash-1-3 with a secret key: strangers who choose keys cannot aim at one node (H26).
    SipHash13 {
        /// The secret.
        key: SipKey,
    },
}

impl KeyHash {
    /// `XXH3` with a seed.
    #[must_use]
    pub const fn xxh3(seed: u64) -> Self {
        Self::Xxh3 { seed }
    }

    /// `XXH64` with a seed.
    #[must_use]
    pub const fn xxh64(seed: u64) -> Self {
        Self::Xxh64 { seed }
    }

    /// SipHash-1-3 with a key.
    #[must_use]
    pub const fn siphash13(key: SipKey) -> Self {
        Self::SipHash13 { key }
    }

    /// The hash of a key.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        match self {
            Self::Xxh3 { seed } => xxh3_64_with_seed(key, *seed),
            Self::Xxh64 { seed } => xxh64(key, *seed),
            Self::SipHash13 { key: secret } => siphash13(secret.0, key),
        }
    }

    /// The number of the function in formats: 1 `XXH3`, 2 `XXH64`, 3 SipHash-1-3.
    #[must_use]
    pub const fn id(&self) -> u16 {
        match self {
            Self::Xxh3 { .. } => 1,
            Self::Xxh64 { .. } => 2,
            Self::SipHash13 { .. } => 3,
        }
    }

    /// What formats and spaces hold beside the number: the seed, or a check of the key that does
    /// not tell the key. // H26
    pub(crate) fn parameter(&self) -> u64 {
        match self {
            Self::Xxh3 { seed } | Self::Xxh64 { seed } => *seed,
            Self::SipHash13 { key } => siphash13(key.0, b"quorate"),
        }
    }
}

impl Default for KeyHash {
    fn default() -> Self {
        Self::Xxh3 { seed: 0 }
    }
}

/// The secret key of SipHash-1-3: 128 bits that neither `Debug` nor any format shows.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, SipKey};
///
/// let hash = KeyHash::siphash13(SipKey::new(0x0123, 0x4567));
/// assert!(!format!("{hash:?}").contains("123"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SipKey((u64, u64));

impl SipKey {
    /// A key from its two halves; take them from the system's random source.
    #[must_use]
    pub const fn new(low: u64, high: u64) -> Self {
        Self((low, high))
    }
}

impl fmt::Debug for SipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SipKey(..)") // H26
    }
}

/// Spreads a number over all 64 bits (the finaliser of splitmix64).
#[inline]
pub(crate) const fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The golden ratio in 64 bits: the step of splitmix64 and of sequences of probes.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// splitmix64: numbers that only have to look random, and be the same everywhere.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`, by the top bits of a product.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let product = u128::from(self.next()) * u128::from(bound);
        #[expect(clippy::cast_possible_truncation, reason = "below `bound`, which has 32 bits")]
        let below = (product >> 64) as u32;
        below
    }
}
