//! Envoy's ring hash and Maglev.

use super::{CompatError, HostRing, HostTable, KeyPoint, check_hosts};
use crate::maglev::is_prime;
use crate::width::{to_u16, to_u32};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cmp::Reverse;
use xxhash_rust::xxh64::xxh64;

/// The greatest ring that Envoy's configuration allows.
const RING_SIZE_MAX: u64 = 8_388_608;
/// The greatest table that Envoy's configuration allows.
const TABLE_SIZE_MAX: u64 = 5_000_011;

/// What Envoy places the hosts of a ring with. Keys are hashed by `XXH64` either way.
///
/// # Examples
/// See [`envoy_ring_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvoyHash {
    /// `XX_HASH`, the default: `XXH64` with seed 0.
    Xx,
    /// `MURMUR_HASH_2`: `MurmurHash64A` with the seed of libstdc++'s `std::hash`.
    Murmur2,
}

impl EnvoyHash {
    fn point(self, name: &[u8]) -> u64 {
        match self {
            Self::Xx => xxh64(name, 0),
            Self::Murmur2 => murmur_hash_64a(name, 0xc70f_6907),
        }
    }
}

/// The ring of Envoy's `RING_HASH` policy. `hosts` are hash keys (`address:port` unless configured
/// otherwise) and weights, in Envoy's order.
///
/// A host without weight has no point, as if it were not listed.
///
/// # Errors
/// [`CompatError`] for no host, more than 65,535, one that is there twice, weights that add up to
/// zero or beyond 32 bits, and sizes that are zero, crossed or above 8,388,608.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::{EnvoyHash, envoy_ring_hash};
///
/// // Envoy's own test: two hosts of at least three points in all have two each.
/// let hosts = [("127.0.0.1:80", 1), ("127.0.0.1:81", 1)];
/// let ring = envoy_ring_hash(&hosts, 3, 8_388_608, EnvoyHash::Xx)?;
/// assert_eq!(ring.points()[0], (5_454_692_015_285_649_509, 0));
/// # Ok::<(), quorate_hashring::compat::CompatError>(())
/// ```
pub fn envoy_ring_hash(
    hosts: &[(&str, u32)],
    size_min: u64,
    size_max: u64,
    hash: EnvoyHash,
) -> Result<HostRing, CompatError> {
    if size_min == 0 || size_min > size_max || size_max > RING_SIZE_MAX {
        return Err(CompatError::Sizes { size_min, size_max, max: RING_SIZE_MAX });
    }
    let shares = shares(hosts)?;
    let least = shares.iter().map(|(_, share)| *share).fold(1.0, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "below 2²⁴")]
    let (size_min, size_max) = (size_min as f64, size_max as f64);
    let scale = (ceil(least * size_min) / least).min(size_max); // H1: of all weights
    let mut points = Vec::new();
    let (mut current, mut target) = (0.0, 0.0);
    for (host, share) in shares {
        target += scale * share;
        let mut number = 0_u64;
        while current < target {
            let name = format!("{}_{number}", hosts[host].0);
            points.push((hash.point(name.as_bytes()), to_u16(host)));
            number += 1;
            current += 1.0;
        }
    }
    Ok(HostRing::new(points, KeyPoint::Xx64))
}

/// The table of Envoy's `MAGLEV` policy. `hosts` are hash keys and weights in any order.
///
/// A host without weight has no slot, as if it were not listed.
///
/// # Errors
/// [`CompatError`] for no host, more than 65,535, one that is there twice, weights that add up to
/// zero or beyond 32 bits, and a size that is no prime or above 5,000,011.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::envoy_maglev;
///
/// // Envoy's own test: the larger host has eleven slots of seventeen.
/// let table = envoy_maglev(&[("127.0.0.1:90", 1), ("127.0.0.1:91", 2)], 17)?;
/// assert_eq!(table.slots().iter().filter(|slot| **slot == 1).count(), 11);
/// # Ok::<(), quorate_hashring::compat::CompatError>(())
/// ```
pub fn envoy_maglev(hosts: &[(&str, u32)], table_size: u64) -> Result<HostTable, CompatError> {
    let size = u32::try_from(table_size).ok().filter(|size| is_prime(*size));
    let Some(size) = size.filter(|_| table_size <= TABLE_SIZE_MAX) else {
        return Err(CompatError::NotPrime { size: table_size });
    };
    let mut shares = shares(hosts)?;
    shares.sort_by_key(|(host, _)| hosts[*host].0);
    let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
    let mut players: Vec<Player> =
        shares.iter().map(|&(host, share)| Player::new(hosts[host].0, host, share, size)).collect();
    let mut slots = vec![u16::MAX; size as usize];
    // Envoy looks at every host in every round. Hosts that sit out wait in a heap here for their
    // next round, so that many light ones beside a heavy one cost nothing meanwhile.
    let first_round = (0..players.len()).map(|at| Reverse((1_u64, at)));
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> = first_round.collect();
    for _ in 0..slots.len() {
        let Some(mut next) = waiting.peek_mut() else { break };
        let Reverse((round, at)) = *next;
        let player = &mut players[at];
        player.take(&mut slots);
        player.target += most;
        *next = Reverse((player.due(round + 1), at));
    }
    Ok(HostTable { slots: slots.into() })
}

/// A host that takes slots in turn.
struct Player {
    host: u16,
    share: f64,
    target: f64,
    at: u32,
    skip: u32,
}

impl Player {
    fn new(key: &str, host: usize, share: f64, size: u32) -> Self {
        let below = |hash: u64, bound: u32| {
            #[expect(clippy::cast_possible_truncation, reason = "below a bound of 32 bits")]
            let rest = (hash % u64::from(bound)) as u32;
            rest
        };
        let at = below(xxh64(key.as_bytes(), 0), size);
        let skip = below(xxh64(key.as_bytes(), 1), size - 1) + 1;
        Self { host: to_u16(host), share, target: 0.0, at, skip }
    }

    /// Takes the next free slot of its permutation.
    fn take(&mut self, slots: &mut [u16]) {
        let size = to_u32(slots.len());
        while slots[self.at as usize] != u16::MAX {
            self.at = (self.at + self.skip) % size;
        }
        slots[self.at as usize] = self.host;
    }

    /// The first round from `next` on in which it plays: Envoy's comparison to the bit, whose
    /// product rises with the round. The quotient is only a guess of where to look.
    fn due(&self, next: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "rounds stay far below 2⁵³")]
        let plays = |round: u64| round as f64 * self.share >= self.target;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of rounds"
        )]
        let guess = (self.target / self.share) as u64;
        let mut round = guess.max(next);
        while round > next && plays(round - 1) {
            round -= 1;
        }
        while !plays(round) {
            round += 1;
        }
        round
    }
}

/// The hosts that have a weight, and their shares of the sum.
fn shares(hosts: &[(&str, u32)]) -> Result<Vec<(usize, f64)>, CompatError> {
    let keys: Vec<&str> = hosts.iter().map(|(key, _)| *key).collect();
    let sum = check_hosts(&keys, hosts.iter().map(|(_, weight)| *weight))?;
    let weighted = hosts.iter().enumerate().filter(|(_, (_, weight))| *weight > 0);
    Ok(weighted.map(|(at, (_, weight))| (at, f64::from(*weight) / f64::from(sum))).collect())
}

/// The ceiling of a number from 0 to 2²⁴; `core` has none of its own.
fn ceil(x: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2²⁴")]
    let floor = f64::from(x as u32);
    if floor < x { floor + 1.0 } else { floor }
}

/// Austin Appleby's `MurmurHash2`, 64 bits, for 64-bit machines.
fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let scramble = |word: u64| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 47)).wrapping_mul(M)
    };
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ scramble(u64::from_le_bytes(*word))).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}
