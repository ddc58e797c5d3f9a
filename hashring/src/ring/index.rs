//! From a hash to its token with one cache line: buckets by the top bits of the hash, each with a
//! piece of the tokens in it and their owners.
//!
//! A lookup through the sorted tokens would wait for three lines, one after the other: where the
//! bucket begins, the tokens there, the owner. Of each token the 16 bits behind those of the
//! bucket are enough to compare, unless they are equal; then the tokens themselves decide.

use crate::width::{to_u16, to_u32};
use alloc::vec::Vec;

/// Tokens whose pieces fit a bucket. On average there is one or less; more than these in one of
/// twelve buckets at most.
const CUTS: usize = 2;
/// A piece that no hash is above.
const NO_CUT: u16 = u16::MAX;

/// 16 bytes: a quarter of a cache line, never across two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
struct Bucket {
    /// The first token at or above the bucket's first hash.
    first: u32,
    /// The pieces of its tokens.
    cuts: [u16; CUTS],
    /// Owners of its tokens, and of the token behind them.
    owners: [u16; CUTS + 1],
    /// Whether it holds more tokens than pieces.
    crowded: bool,
}

/// Where a hash belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first token at or above it, around the ring.
    pub(super) token: usize,
    pub(super) owner: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// One more than there are, which only says where tokens end.
    buckets: Vec<Bucket>,
    /// What brings a hash down to its bucket.
    shift: u32,
}

impl Index {
    /// Over tokens that rise; there is at least one.
    pub(super) fn new(tokens: &[u64], owners: &[u16]) -> Self {
        let bits = tokens.len().next_power_of_two().trailing_zeros().max(1);
        let shift = 64 - bits;
        let mut buckets = Vec::with_capacity((1 << bits) + 1);
        let mut first = 0;
        for number in 0..1_u64 << bits {
            let held = tokens[first..].iter().take_while(|&&token| token >> shift == number);
            let held = &tokens[first..first + held.count()];
            buckets.push(Bucket::new(first, held, owners, shift));
            first += held.len();
        }
        buckets.push(Bucket::new(first, &[], owners, shift));
        Self { buckets, shift }
    }

    /// The token of a hash, and its owner.
    #[inline]
    pub(super) fn place(&self, hash: u64, tokens: &[u64], owners: &[u16]) -> Place {
        let bucket = &self.buckets[usize::try_from(hash >> self.shift).unwrap_or(0)];
        let piece = piece(hash, self.shift);
        // Without a branch on how many there are: it would be guessed wrong half of the time.
        let [a, b] = bucket.cuts;
        if (a == piece) | (b == piece) | bucket.crowded {
            return self.search(hash, tokens, owners);
        }
        let below = usize::from(a < piece) + usize::from(b < piece);
        let token = bucket.first as usize + below;
        let token = if token == tokens.len() { 0 } else { token }; // H28
        Place { token, owner: bucket.owners[below] }
    }

    /// The slow way, for hashes that pieces cannot tell from a token.
    #[cold]
    fn search(&self, hash: u64, tokens: &[u64], owners: &[u16]) -> Place {
        let number = usize::try_from(hash >> self.shift).unwrap_or(0);
        let first = |number: usize| self.buckets[number].first as usize;
        let (first, end) = (first(number), first(number + 1));
        let held = &tokens[first..end];
        let inclusive = crate::plant::planted("m7_start_inclusive_end_exclusive");
        let below = |&token: &u64| token < hash || inclusive && token == hash;
        let token = first + held.partition_point(below);
        let token = if token == tokens.len() { 0 } else { token }; // H28
        Place { token, owner: owners[token] }
    }

    /// Bytes that it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

impl Bucket {
    fn new(first: usize, held: &[u64], owners: &[u16], shift: u32) -> Self {
        let mut cuts = [NO_CUT; CUTS];
        for (cut, &token) in cuts.iter_mut().zip(held) {
            *cut = piece(token, shift);
        }
        // Behind the last token of all stands the first.
        let owner = |at: usize| owners[(first + at) % owners.len()];
        let owners = core::array::from_fn(|at| owner(at.min(held.len())));
        Self { first: to_u32(first), cuts, owners, crowded: held.len() > CUTS }
    }
}

/// The 16 bits behind those that name the bucket.
#[inline]
fn piece(hash: u64, shift: u32) -> u16 {
    to_u16(usize::try_from(hash >> (shift - 16) & 0xFFFF).unwrap_or(0))
}
