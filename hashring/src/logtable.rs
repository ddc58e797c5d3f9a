//! −log₂ of a fraction in integers, the same to the bit on every platform.
//!
//! Rendezvous hashing with weights compares `−ln(u) / weight`. `f64::ln` is not specified to the
//! bit, so two peers could disagree on a near-tie (H6); this table, made at compile time by
//! integer squaring, cannot.

/// Bits behind the binary point.
const FRACTION_BITS: u32 = 48;
/// One in fixed point.
const ONE: u64 = 1 << FRACTION_BITS;

/// `LOG2[i]` = log₂(1 + i/1024), rounded down to 48 bits.
static LOG2: [u64; 1025] = table();

const fn table() -> [u64; 1025] {
    let mut table = [0; 1025];
    let mut entry = 0;
    while entry < 1024 {
        table[entry] = log2_of_mantissa(1024 + entry as u64);
        entry += 1;
    }
    table[1024] = ONE;
    table
}

/// log₂(mantissa / 1024) for a mantissa in [1024, 2048): each squaring shows one more bit of the
/// logarithm, 1 if the square reached 2.
const fn log2_of_mantissa(mantissa: u64) -> u64 {
    let two: u128 = 1 << 64;
    let mut x = (mantissa as u128) << 53; // 1.0 is 2⁶³
    let mut log = 0;
    let mut bits = 0;
    while bits < FRACTION_BITS {
        x = (x * x) >> 63;
        log <<= 1;
        if x >= two {
            x >>= 1;
            log |= 1;
        }
        bits += 1;
    }
    log
}

/// −log₂(u / 2⁶⁴) with 48 bits behind the point; 0 counts as 1. Falls as u rises, at most 2⁻²² off.
///
/// A line between the entries of the table: 10 bits of u choose the entry, 24 more the point on
/// the line.
#[inline]
pub(crate) fn minus_log2(u: u64) -> u64 {
    let u = u.max(1);
    let zeros = u.leading_zeros();
    let mantissa = u << zeros;
    let entry = ((mantissa >> 53) & 0x3FF) as usize;
    let between = (mantissa >> 29) & 0xFF_FFFF;
    let (low, high) = (LOG2[entry], LOG2[entry + 1]);
    let log = low + (((high - low) * between) >> 24);
    (u64::from(zeros) + 1) * ONE - log
}

#[cfg(test)]
mod tests {
    use super::{LOG2, ONE, minus_log2};

    /// Near `u` in both directions, and around each power of two and each entry of the table.
    fn samples() -> Vec<u64> {
        let mut samples: Vec<u64> = (0..64).flat_map(|bit| near(1 << bit)).collect();
        samples.extend((0..1024_u64).flat_map(|i| near((1024 + i) << 53)));
        let mut x = 1_u64;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            samples.extend(near(x >> (x & 63)));
        }
        samples.extend([0, 1, u64::MAX]);
        samples.sort_unstable();
        samples.dedup();
        samples
    }

    fn near(u: u64) -> [u64; 5] {
        [u.saturating_sub(2), u.saturating_sub(1), u, u.saturating_add(1), u.saturating_add(2)]
    }

    #[test]
    fn the_table_rises() {
        assert_eq!(LOG2[0], 0);
        assert_eq!(LOG2[1024], ONE);
        assert!(LOG2.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn powers_of_two_are_exact() {
        for bit in 0..64_u32 {
            assert_eq!(minus_log2(1 << bit), u64::from(64 - bit) * ONE);
        }
    }

    #[test]
    fn never_rises_with_u() {
        for pair in samples().windows(2) {
            assert!(minus_log2(pair[0]) >= minus_log2(pair[1]), "{} and {}", pair[0], pair[1]);
        }
    }

    /// What rendezvous hashing rules nodes out by.
    #[test]
    fn never_below_its_tangent() {
        for u in samples() {
            assert!(minus_log2(u) >= ((!u >> 16) * 23) >> 4, "{u}");
        }
    }

    /// The logarithm of the floating-point library is the yardstick here: good to some 10⁻¹⁵.
    #[test]
    fn the_error_is_below_two_in_ten_million() {
        for u in samples().into_iter().filter(|&u| u > 0) {
            #[expect(clippy::cast_precision_loss, reason = "a yardstick, not an answer")]
            let (ours, exact) = (minus_log2(u) as f64 / ONE as f64, 64.0 - (u as f64).log2());
            assert!((ours - exact).abs() < 2e-7, "{u}: {ours} against {exact}");
        }
    }
}
