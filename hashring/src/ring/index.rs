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

    /// The owner of a hash.
    #[inline]
    pub(super) fn owner(&self, hash: u64, tokens: &[u64], owners: &[u16]) -> u16 {
        let bucket = self.bucket(hash);
        match bucket.below(piece(hash, self.shift)) {
            Some(below) => bucket.owners[below],
            None => owners[self.search(hash, tokens)],
        }
    }

    /// The first token at or above a hash, around the ring.
    #[inline]
    pub(super) fn token(&self, hash: u64, tokens: &[u64]) -> usize {
        let bucket = self.bucket(hash);
        match bucket.below(piece(hash, self.shift)) {
            Some(below) => around(bucket.first as usize + below, tokens.len()),
            None => self.search(hash, tokens),
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[usize::try_from(hash >> self.shift).unwrap_or(0)]
    }

    /// The slow way, for hashes that pieces cannot tell from a token.
    #[cold]
    fn search(&self, hash: u64, tokens: &[u64]) -> usize {
        let number = usize::try_from(hash >> self.shift).unwrap_or(0);
        let first = |number: usize| self.buckets[number].first as usize;
        let (first, end) = (first(number), first(number + 1));
        let held = &tokens[first..end];
        let inclusive = crate::plant::planted("m7_start_inclusive_end_exclusive");
        let below = |&token: &u64| token < hash || inclusive && token == hash;
        around(first + held.partition_point(below), tokens.len())
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

    /// How many of its tokens are below a hash, if the pieces can tell.
    ///
    /// Without a branch on how many there are: it would be guessed wrong half of the time.
    #[inline]
    fn below(&self, piece: u16) -> Option<usize> {
        let [a, b] = self.cuts;
        let unclear = (a == piece) | (b == piece) | self.crowded;
        (!unclear).then(|| usize::from(a < piece) + usize::from(b < piece))
    }
}

/// Behind the last token comes the first. // H28
#[inline]
const fn around(token: usize, tokens: usize) -> usize {
    if token == tokens { 0 } else { token }
}

/// The 16 bits behind those that name the bucket.
#[inline]
fn piece(hash: u64, shift: u32) -> u16 {
    to_u16(usize::try_from(hash >> (shift - 16) & 0xFFFF).unwrap_or(0))
}
