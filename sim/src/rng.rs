//! [`Rng`]: randomness whose meaning never changes.
//!
//! Own code, since a seed has to give the same run with every version of every dependency (H20),
//! and integers only, since a logarithm of a float differs between platforms (H23).

use std::sync::LazyLock;

/// One stream of random numbers: xoshiro256++.
///
/// Each part of a world draws from a stream of its own, so that one draw more in one part does not
/// change what the others draw (H6).
///
/// # Examples
/// ```
/// use quorate_sim::Rng;
/// let mut net = Rng::stream(7, "net", 1, 2);
/// assert_eq!(net.clone().word(), net.word());
/// assert_ne!(net.word(), Rng::stream(7, "net", 2, 1).word());
/// ```
///
/// # Source
/// Blackman & Vigna, "Scrambled linear pseudorandom number generators"; seeded by `SplitMix64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

/// `2^(i/256)` for `i` in `0..=256`, in units of `2^-62`.
static POWERS: LazyLock<[u64; 257]> = LazyLock::new(powers);

/// `ln 2` in units of `2^-32`.
const LN_2: u64 = 0xb172_17f8;

impl Rng {
    /// The stream of one purpose, for up to two things (nodes, lives) it is about.
    #[must_use]
    pub fn stream(seed: u64, name: &str, a: u64, b: u64) -> Self {
        let mut state = seed
            ^ fnv1a64(name.as_bytes())
            ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ b.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        Self { state: std::array::from_fn(|_| split_mix(&mut state)) }
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// 32 random bits.
    pub(crate) fn word32(&mut self) -> u32 {
        u32::try_from(self.word() >> 32).unwrap_or(0)
    }

    /// A number below `n`, each as likely; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.word()) * u128::from(n);
            let (high, low) = halves(product);
            // Of the 2^64 words a few too many fall on some numbers: those are drawn again.
            if n == 0 || low >= n || low >= n.wrapping_neg() % n {
                return high;
            }
        }
    }

    /// A position in something of this length; 0 if it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        let n = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(n)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both possible; `low` if they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).checked_add(1) {
            Some(n) => low + self.below(n),
            None => self.word(),
        }
    }

    /// Yes, in so many of a million cases.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Yes or no.
    pub fn flip(&mut self) -> bool {
        self.word() >> 63 == 1
    }

    /// One of them, if there is one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.index(of.len());
        of.get(at)
    }

    /// Any order, each as likely.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.index(last + 1));
        }
    }

    /// Exponentially distributed around `mean`, 44 times the mean at most.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // -ln u for u in (0, 1]: 64 ln 2 less the logarithm of a word in 1..=2^64.
        let below_one = (64_u64 << 32) - log2(self.word() | 1);
        let minus_ln = (u128::from(below_one) * u128::from(LN_2)) >> 32;
        let (_, low) = halves((u128::from(mean) * minus_ln) >> 32);
        low
    }

    /// From `low` to `high`, each doubling as likely as every other; `low` is at least 1.
    pub fn log_uniform(&mut self, low: u64, high: u64) -> u64 {
        let low = low.max(1);
        let high = high.max(low);
        let (from, to) = (log2(low), log2(high));
        exp2(self.between(from, to)).clamp(low, high)
    }
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn halves(wide: u128) -> (u64, u64) {
    ((wide >> 64) as u64, wide as u64)
}

/// The table, from eight square roots of two.
fn powers() -> [u64; 257] {
    // roots[k] = 2^(1/2^(k+1)), in units of 2^-62.
    let mut roots = [0_u128; 8];
    let mut root = 2_u128 << 62;
    for place in &mut roots {
        root = (root << 62).isqrt();
        *place = root;
    }
    std::array::from_fn(|i| {
        let mut power = 1_u128 << 62;
        for (k, root) in roots.iter().enumerate() {
            if i >> (7 - k) & 1 == 1 {
                power = (power * root) >> 62;
            }
        }
        let power = if i == 256 { 2 << 62 } else { power };
        halves(power).1
    })
}

/// The binary logarithm of `v` ≥ 1, in units of `2^-32`.
fn log2(v: u64) -> u64 {
    let exponent = u64::from(v.ilog2());
    // Between 2^62 and 2^63, as the table has it.
    let mantissa = (v << v.leading_zeros()) >> 1;
    let above = POWERS.partition_point(|power| *power <= mantissa).clamp(1, 256);
    let (low, high) = (POWERS[above - 1], POWERS[above]);
    let part = (u128::from(mantissa - low) << 24) / u128::from(high - low);
    let whole = u64::try_from(above - 1).unwrap_or(0) << 24;
    (exponent << 32) + whole + halves(part).1.min((1 << 24) - 1)
}

/// `2^x` for `x` in units of `2^-32`, below `64 << 32`; rounded down.
fn exp2(x: u64) -> u64 {
    let (exponent, fraction) = (x >> 32, x & 0xffff_ffff);
    let at = usize::try_from(fraction >> 24).unwrap_or(0);
    let (low, high) = (POWERS[at], POWERS[at + 1]);
    let part = (u128::from(high - low) * u128::from(fraction & 0x00ff_ffff)) >> 24;
    let mantissa = u128::from(low) + part;
    halves((mantissa << exponent) >> 62).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H20: a seed means the same for ever.
    #[test]
    fn first_outputs_are_golden() {
        let words = |mut rng: Rng| [rng.word(), rng.word(), rng.word()];
        let mut rng = Rng { state: [1, 2, 3, 4] };
        // The reference implementation's.
        assert_eq!([rng.word(), rng.word()], [41_943_041, 58_720_359]);
        let found = [
            words(Rng::stream(0, "sched", 0, 0)),
            words(Rng::stream(1, "net", 1, 2)),
            words(Rng::stream(u64::MAX, "disk", 3, 0)),
        ];
        let golden = [
            [0x73cf_daff_c2a0_8ae4, 0x721b_9cff_99c3_a5a8, 0xe763_cb88_4c57_8f7e],
            [0x21b4_d004_46ab_84c5, 0xe229_ef13_eedd_966f, 0x81fb_ae71_0a7c_1fdb],
            [0x86de_8d45_bdda_c1ce, 0x32db_ccf1_a4d6_ea53, 0x090c_cba4_5eeb_78df],
        ];
        assert_eq!(found, golden, "{found:#x?}");
    }

    #[test]
    fn draws_are_golden_too() {
        let mut rng = Rng::stream(5, "golden", 0, 0);
        let found = [
            rng.below(1_000),
            rng.between(10, 20),
            rng.exponential(1_000_000),
            rng.exponential(1_000_000),
            rng.log_uniform(1, 1_000_000_000),
            rng.log_uniform(50_000, 5_000_000),
        ];
        assert_eq!(found, [103, 14, 1_354_390, 440_751, 21, 3_914_344]);
    }

    #[test]
    fn logarithms_are_close_and_never_fall() {
        let mut last = 0;
        for v in (1..100_000).chain((0..64).map(|bit| 1 << bit)) {
            #[expect(clippy::cast_precision_loss, reason = "a comparison to six digits")]
            let (found, exact) = (log2(v) as f64 / 2_f64.powi(32), (v as f64).log2());
            assert!((found - exact).abs() < 1e-5, "{v}: {found} {exact}");
            assert!(v.is_power_of_two() || log2(v) >= last, "{v}");
            last = log2(v);
            let back = exp2(log2(v));
            assert!(back.abs_diff(v) <= 1 + v / 100_000, "{v} came back as {back}");
        }
        assert_eq!(log2(u64::MAX) >> 32, 63);
    }

    #[test]
    fn distributions_have_their_means_and_bounds() {
        let mut rng = Rng::stream(9, "means", 0, 0);
        let n = 200_000;
        let mean = (0..n).map(|_| rng.exponential(1_000_000)).sum::<u64>() / n;
        assert!((990_000..1_010_000).contains(&mean), "{mean}");
        let mut decades = [0_u32; 4];
        for _ in 0..n {
            let v = rng.log_uniform(10, 100_000);
            assert!((10..=100_000).contains(&v));
            decades[usize::try_from(v.ilog10() - 1).unwrap().min(3)] += 1;
        }
        assert!(decades.iter().all(|count| (48_000..52_000).contains(count)), "{decades:?}");
        let yes = (0..n).filter(|_| rng.chance(250_000)).count();
        assert!((49_000..51_000).contains(&yes), "{yes}");
        assert!((0..1_000).all(|_| rng.below(3) < 3 && rng.between(4, 6) <= 6));
        assert_eq!((rng.below(0), rng.below(1), rng.between(9, 2)), (0, 0, 9));
    }

    #[test]
    fn a_shuffle_loses_nothing_and_reaches_every_order() {
        let mut rng = Rng::stream(3, "shuffle", 0, 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            let mut of = [1, 2, 3, 4];
            rng.shuffle(&mut of);
            seen.insert(of);
        }
        assert_eq!(seen.len(), 24);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }
}
