//! Settings of a ring.

use crate::error::BuildError;
use crate::{KeyHash, Weight};

/// Tokens of a node of weight one, at most.
const VNODES_MAX: u16 = 4_096;

/// Settings of a [`Ring`](crate::Ring), checked when it is built.
///
/// # Examples
/// ```
/// use quorate_hashring::{KeyHash, RingConfig};
///
/// let config = RingConfig::default().vnodes(512).key_hash(KeyHash::xxh64(0));
/// assert_ne!(config, RingConfig::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingConfig {
    vnodes: u16,
    seed: u64,
    key_hash: KeyHash,
}

impl RingConfig {
    /// Tokens of a node of weight one. Default: 160 · range: 1 to 4,096 · too few: worse balance
    /// (the relative deviation is about 1/√vnodes) · too many: 10 bytes and 2 per replica for each
    /// token, cache misses.
    #[must_use]
    pub const fn vnodes(mut self, vnodes: u16) -> Self {
        self.vnodes = vnodes;
        self
    }

    /// Another seed gives another ring from the same nodes. Default: 0.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What turns keys into hashes. Default: `XXH3` with seed 0.
    #[must_use]
    pub const fn key_hash(mut self, key_hash: KeyHash) -> Self {
        self.key_hash = key_hash;
        self
    }

    pub(crate) const fn hash(&self) -> KeyHash {
        self.key_hash
    }

    pub(crate) const fn token_seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        if (1..=VNODES_MAX).contains(&self.vnodes) {
            return Ok(());
        }
        let (value, max) = (u64::from(self.vnodes), u64::from(VNODES_MAX));
        Err(BuildError::OutOfRange { name: "vnodes", value, min: 1, max })
    }

    /// Tokens of a node: a function of its own weight only, so that nobody else's change makes
    /// nodes trade keys (H1). A node with any weight has at least one (H10).
    pub(crate) fn tokens_of(&self, weight: Weight) -> u64 {
        if weight.is_zero() {
            return 0;
        }
        ((u64::from(self.vnodes) * u64::from(weight.raw()) + 0x8000) >> 16).max(1)
    }
}

impl Default for RingConfig {
    fn default() -> Self {
        Self { vnodes: 160, seed: 0, key_hash: KeyHash::default() }
    }
}
