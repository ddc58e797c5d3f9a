//! [`Snapshot`]: a few words that one thread replaces and many read whole, without a lock.

#![cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "the crate's tests reach it through `testing`")
)]

use crate::sync::{AtomicU64, Ordering};

/// A sequence lock over `N` words. Writers must exclude one another.
#[derive(Debug)]
pub struct Snapshot<const N: usize> {
    /// Odd while the words are being replaced.
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Snapshot<N> {
    /// Holding `words`.
    pub fn new(words: [u64; N]) -> Self {
        Self { sequence: AtomicU64::new(0), words: words.map(AtomicU64::new) }
    }

    /// The words as one `store` left them; `None` while one is under way.
    pub fn load(&self) -> Option<[u64; N]> {
        let before = self.sequence.load(Ordering::Acquire);
        // A word of an unfinished store brings that store's odd sequence along.
        let words = core::array::from_fn(|i| self.words[i].load(Ordering::Acquire));
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some(words)
    }

    /// Replaces the words. Callers hold a lock.
    pub fn store(&self, words: [u64; N]) {
        let even = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(even.wrapping_add(1), Ordering::Relaxed);
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(word, Ordering::Release);
        }
        self.sequence.store(even.wrapping_add(2), Ordering::Release);
    }
}
