//! Jump consistent hash (Lamping, Veach 2014): numbered shards of which only the last one goes.

use core::num::NonZeroU32;

/// The shard of a hash among `buckets` numbered shards.
///
/// Growing from n to n + 1 shards moves 1/(n + 1) of the hashes, all of them to the new shard.
/// Shards have neither names nor weights and only the last one can go: where that does not fit,
/// take [`Rendezvous`](crate::Rendezvous) or a [`Ring`](crate::Ring).
///
/// # Cost
/// O(ln buckets) steps in expectation, each a division of floats; no memory. The division follows
/// the paper to the bit, so that every implementation of it agrees: IEEE 754 defines it exactly.
///
/// # Examples
/// ```
/// use core::num::NonZeroU32;
/// use quorate_hashring::jump;
///
/// let ten = NonZeroU32::new(10).unwrap();
/// let eleven = NonZeroU32::new(11).unwrap();
/// for hash in 0..1000_u64 {
///     let before = jump(hash, ten);
///     let after = jump(hash, eleven);
///     assert!(after == before || after == 10);
/// }
/// ```
///
/// # Source
/// Lamping, Veach: *A Fast, Minimal Memory, Consistent Hash Algorithm*, arXiv 1406.2294, figure 1.
#[must_use]
#[inline]
pub fn jump(hash: u64, buckets: NonZeroU32) -> u32 {
    let buckets = i64::from(buckets.get());
    let mut key = hash;
    let mut bucket = 0_i64; // the last jump's target below `buckets`
    let mut next = 0_i64;
    while next < buckets {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = step(bucket, key);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below `buckets`"
    )]
    return bucket as u32;
}

/// The next bucket that a growing table would move this key to. The association of the paper,
/// `(b + 1) · (2³¹ / ((key >> 33) + 1))`, is part of the answer.
#[inline]
fn step(bucket: i64, key: u64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "both are at most 2³², exact in an f64")]
    let (reach, draw) = ((bucket + 1) as f64, ((key >> 33) + 1) as f64);
    #[expect(clippy::cast_possible_truncation, reason = "at most 2³² · 2³¹, below 2⁶³ in sum")]
    return (reach * (2_147_483_648.0 / draw)) as i64;
}

#[cfg(test)]
mod tests {
    use super::jump;
    use core::num::NonZeroU32;

    fn at(hash: u64, buckets: u32) -> u32 {
        jump(hash, NonZeroU32::new(buckets).unwrap())
    }

    #[test]
    fn the_ends_of_the_range() {
        for buckets in [1, 2, 3, 1000, u32::MAX] {
            for hash in [0, 1, u64::MAX, 1 << 63, 0x8000_0000] {
                assert!(at(hash, buckets) < buckets);
            }
        }
        assert_eq!(at(u64::MAX, 1), 0);
    }

    #[test]
    fn growing_moves_only_to_the_new_one() {
        for hash in (0..500_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            let mut before = 0;
            for buckets in 2..200 {
                let after = at(hash, buckets);
                assert!(after == before || after == buckets - 1, "{hash} among {buckets}");
                before = after;
            }
        }
    }
}
