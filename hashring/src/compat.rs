//! The placements of other systems, to the bit: for moving a fleet over without moving a key on
//! the first day.
//!
//! Build the mode that the fleet uses, see that it answers as before, then compare it with a
//! placement of this crate to learn what moving on would move. Answers are positions in the list
//! that was given.
//!
//! These modes have the flaws of their originals, on purpose. In the ketama modes and in Envoy's
//! ring the points of a server depend on the weights and the number of *all* servers, so that a
//! change of one makes others trade keys (H1), and shares are computed in floats, whose rounding
//! can cost a server a group of points (H30). Nothing else in this crate does that.

mod envoy;
#[cfg(feature = "ketama")]
mod ketama;

pub use envoy::{EnvoyHash, envoy_maglev, envoy_ring_hash};
#[cfg(feature = "ketama")]
pub use ketama::{Ketama, Server, ketama};

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use xxhash_rust::xxh64::xxh64;

/// Positions of hosts are 16 bits wide.
const HOSTS_MAX: usize = 65_535;

/// How a key becomes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyPoint {
    /// The first four bytes of its MD5, little-endian.
    #[cfg(feature = "ketama")]
    Md5,
    /// `XXH64` with seed 0, whatever places the hosts: what Envoy hashes headers and cookies with.
    Xx64,
}

impl KeyPoint {
    fn of(self, key: &[u8]) -> u64 {
        match self {
            #[cfg(feature = "ketama")]
            Self::Md5 => {
                let [a, b, c, d, ..] = crate::md5::md5(key);
                u64::from(u32::from_le_bytes([a, b, c, d]))
            }
            Self::Xx64 => xxh64(key, 0),
        }
    }
}

/// Points on a ring, each owned by a host of the list that was given.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::{EnvoyHash, envoy_ring_hash};
///
/// let hosts = [("10.0.0.1:80", 1), ("10.0.0.2:80", 1)];
/// let ring = envoy_ring_hash(&hosts, 1024, 8_388_608, EnvoyHash::Xx)?;
/// assert_eq!(ring.points().len(), 1024);
/// assert!(ring.host(b"session-17") < hosts.len());
/// # Ok::<(), quorate_hashring::compat::CompatError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRing {
    points: Box<[(u64, u16)]>,
    key_point: KeyPoint,
}

impl HostRing {
    /// The order of the list decides between equal points, as long as the caller pushed them in
    /// that order.
    fn new(mut points: Vec<(u64, u16)>, key_point: KeyPoint) -> Self {
        points.sort_by_key(|(point, _)| *point);
        Self { points: points.into(), key_point }
    }

    /// The position of a key's host.
    #[must_use]
    pub fn host(&self, key: &[u8]) -> usize {
        self.host_at(self.point(key))
    }

    /// Where a key lies on the ring, as the original hashes it: for a placement that is to take the
    /// ring's place, as long as clients go on hashing as they do.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::compat::{EnvoyHash, envoy_ring_hash};
    ///
    /// let ring = envoy_ring_hash(&[("a", 1), ("b", 1)], 64, 64, EnvoyHash::Xx)?;
    /// assert_eq!(ring.host_at(ring.point(b"session-17")), ring.host(b"session-17"));
    /// # Ok::<(), quorate_hashring::compat::CompatError>(())
    /// ```
    #[must_use]
    pub fn point(&self, key: &[u8]) -> u64 {
        self.key_point.of(key)
    }

    /// The position of the host of the first point at or behind this one; behind the last, of the
    /// first of all.
    #[must_use]
    pub fn host_at(&self, point: u64) -> usize {
        let at = self.points.partition_point(|(other, _)| *other < point);
        let (_, host) = self.points[if at < self.points.len() { at } else { 0 }];
        usize::from(host)
    }

    /// All points in order, with the positions of their hosts.
    #[must_use]
    pub fn points(&self) -> &[(u64, u16)] {
        &self.points
    }
}

/// Slots, each owned by a host of the list that was given.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::envoy_maglev;
///
/// let table = envoy_maglev(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)], 65_537)?;
/// assert_eq!(table.slots().len(), 65_537);
/// assert!(table.host(b"session-17") < 2);
/// # Ok::<(), quorate_hashring::compat::CompatError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTable {
    slots: Box<[u16]>,
}

impl HostTable {
    /// The position of a key's host: of slot `XXH64(key, 0) mod size`.
    #[must_use]
    pub fn host(&self, key: &[u8]) -> usize {
        self.host_at(xxh64(key, 0))
    }

    /// The position of the host of a hash.
    #[must_use]
    pub fn host_at(&self, hash: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of slots")]
        let slot = (hash % self.slots.len() as u64) as usize;
        usize::from(self.slots[slot])
    }

    /// The positions of the hosts of all slots.
    #[must_use]
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}

/// Why a named mode could not be built.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::{CompatError, envoy_maglev};
///
/// let refused = envoy_maglev(&[("a", 1)], 8);
/// assert_eq!(refused.unwrap_err(), CompatError::NotPrime { size: 8 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompatError {
    /// Effect: nothing was built. The list is empty.
    NoHost,
    /// Effect: nothing was built. Positions of hosts are 16 bits wide.
    TooManyHosts {
        /// How many there are.
        have: usize,
        /// The limit.
        max: usize,
    },
    /// Effect: nothing was built. A host is there twice.
    DuplicateHost {
        /// Its second position.
        position: usize,
    },
    /// Effect: nothing was built. The weights add up to zero, or to more than 2³² − 1.
    Weights {
        /// Their sum.
        sum: u64,
    },
    /// Effect: nothing was built. The least size of a ring is zero or above the greatest, or the
    /// greatest is above the limit.
    Sizes {
        /// The least size.
        size_min: u64,
        /// The greatest size.
        size_max: u64,
        /// The limit of both.
        max: u64,
    },
    /// Effect: nothing was built. The size of a Maglev table is not a prime up to 5,000,011.
    NotPrime {
        /// The size.
        size: u64,
    },
}

impl fmt::Display for CompatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("no host"),
            Self::TooManyHosts { have, max } => write!(f, "{have} hosts, limit {max}"),
            Self::DuplicateHost { position } => {
                write!(f, "the host at position {position} is there already")
            }
            Self::Weights { sum } => write!(f, "weights add up to {sum}"),
            Self::Sizes { size_min, size_max, max } => {
                write!(f, "sizes from {size_min} to {size_max}, limit {max}")
            }
            Self::NotPrime { size } => write!(f, "a table of {size} slots, not an allowed prime"),
        }
    }
}

impl Error for CompatError {}

/// What all modes demand of their hosts; gives the sum of the weights.
fn check_hosts<K: Ord>(keys: &[K], weights: impl Iterator<Item = u32>) -> Result<u32, CompatError> {
    if keys.is_empty() {
        return Err(CompatError::NoHost);
    }
    if keys.len() > HOSTS_MAX {
        return Err(CompatError::TooManyHosts { have: keys.len(), max: HOSTS_MAX });
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&at| &keys[at]); // stable: of two equal hosts the second comes second
    let twice = order.windows(2).find(|pair| keys[pair[0]] == keys[pair[1]]);
    if let Some(pair) = twice {
        return Err(CompatError::DuplicateHost { position: pair[1] });
    }
    let sum: u64 = weights.map(u64::from).sum();
    match u32::try_from(sum) {
        Ok(1..) => Ok(u32::try_from(sum).unwrap_or(u32::MAX)),
        _ => Err(CompatError::Weights { sum }),
    }
}
