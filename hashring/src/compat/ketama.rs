//! The ketama family: MD5 points of memcached clients.

use super::{CompatError, HostRing, KeyPoint, check_hosts};
use crate::md5::md5;
use crate::width::to_u16;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The port that libmemcached leaves out of names.
const PORT_LEFT_OUT: u16 = 11_211;

/// A server as a ketama client is told of it.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::Server;
///
/// let server = Server::new("10.0.1.1", 11_211, 600);
/// assert_eq!(server.weight, 600);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server<'a> {
    /// Its name or address, as the client's configuration spells it: another spelling of the same
    /// machine is another server.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Its weight; where the client has none, the same for all.
    pub weight: u32,
}

impl<'a> Server<'a> {
    /// A server from its parts.
    #[must_use]
    pub const fn new(host: &'a str, port: u16, weight: u32) -> Self {
        Self { host, port, weight }
    }
}

/// Which client's ketama. They differ in the names that are hashed, and in rounding.
///
/// # Examples
/// See [`ketama()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ketama {
    /// The original of last.fm, and its ports: `host:port-i`.
    Libketama,
    /// libmemcached with weighted ketama (`MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`): `host:port-i`, but
    /// `host-i` where the port is 11211.
    Libmemcached,
    /// libmemcached with the distribution that it names after spymemcached: `/host:port-i`.
    LibmemcachedSpy,
    /// spymemcached itself, which takes the leading slash off: `host:port-i`, where `host` is
    /// `name/address` for a server configured by name and the address for one configured by
    /// address. Equal weights count as none: 40 groups each, without rounding.
    Spymemcached,
}

impl Ketama {
    fn name(self, server: &Server<'_>) -> String {
        let Server { host, port, .. } = server;
        match self {
            Self::Libmemcached if *port == PORT_LEFT_OUT => String::from(*host),
            Self::LibmemcachedSpy => format!("/{host}:{port}"),
            _ => format!("{host}:{port}"),
        }
    }

    /// How many groups of four points a server has among `count`. // H1, H30
    fn groups(self, weight: u32, sum: u32, count: usize, even: bool) -> u32 {
        #[expect(clippy::cast_precision_loss, reason = "as the originals do")]
        let (share, count) = (weight as f32 / sum as f32, count as f32);
        #[expect(clippy::cast_possible_truncation, reason = "as the original does")]
        let groups = match self {
            Self::Libketama => (f64::from(share) * 40.0 * f64::from(count)) as f32,
            Self::Spymemcached if even => 40.0,
            _ => share * 160.0 / 4.0 * count + 1e-10,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "floors it")]
        let groups = groups as u32;
        groups
    }
}

/// The ring of a ketama client.
///
/// # Cost
/// One MD5 for every four points, about 40 per server; a lookup is one MD5 and a binary search.
///
/// # Errors
/// [`CompatError`] for no server, more than 65,535, one that is there twice, or weights that add
/// up to zero or beyond 32 bits.
///
/// # Examples
/// ```
/// use quorate_hashring::compat::{Ketama, Server, ketama};
///
/// let servers = [Server::new("10.0.1.1", 11_211, 600), Server::new("10.0.1.2", 11_211, 300)];
/// let ring = ketama(&servers, Ketama::Libketama)?;
/// assert!(ring.host(b"some key") < servers.len());
/// # Ok::<(), quorate_hashring::compat::CompatError>(())
/// ```
pub fn ketama(servers: &[Server<'_>], mode: Ketama) -> Result<HostRing, CompatError> {
    let keys: Vec<(&str, u16)> = servers.iter().map(|server| (server.host, server.port)).collect();
    let sum = check_hosts(&keys, servers.iter().map(|server| server.weight))?;
    let even = servers.iter().all(|server| server.weight == servers[0].weight);
    let mut points = Vec::new();
    for (position, server) in servers.iter().enumerate() {
        let name = mode.name(server);
        for group in 0..mode.groups(server.weight, sum, servers.len(), even) {
            let digest = md5(format!("{name}-{group}").as_bytes());
            let (words, _) = digest.as_chunks::<4>();
            let point = |word: &[u8; 4]| u64::from(u32::from_le_bytes(*word));
            points.extend(words.iter().map(|word| (point(word), to_u16(position))));
        }
    }
    if mode == Ketama::Spymemcached {
        points.reverse(); // it keeps points in a map: of two equal ones the last stays
    }
    Ok(HostRing::new(points, KeyPoint::Md5))
}

#[cfg(test)]
mod tests {
    use super::{Ketama, Server, ketama};
    use crate::md5::md5;

    /// The check of libketama itself (`test.sh`, `ketama_test.c`, `ketama.servers`): a million
    /// keys, their hashes, points and servers, as one MD5 over the printed list.
    #[test]
    fn a_million_keys_as_libketama_has_them() {
        let weights = [600, 300, 200, 350, 1000, 800, 950, 100];
        let hosts: Vec<String> = (1..=8).map(|i| format!("10.0.1.{i}")).collect();
        let servers: Vec<Server<'_>> = hosts
            .iter()
            .zip(weights)
            .map(|(host, weight)| Server::new(host, 11_211, weight))
            .collect();
        let ring = ketama(&servers, Ketama::Libketama).unwrap();
        let mut printed = String::from("\n"); // no error
        for key in (0..1_000_000).map(|i: u32| i.to_string()) {
            use core::fmt::Write as _;
            let [a, b, c, d, ..] = md5(key.as_bytes());
            let hash = u64::from(u32::from_le_bytes([a, b, c, d]));
            let at =
                ring.points().partition_point(|(point, _)| *point < hash) % ring.points().len();
            let (point, position) = ring.points()[at];
            assert_eq!(usize::from(position), ring.host(key.as_bytes()));
            writeln!(printed, "{hash} {point} 10.0.1.{}:11211", position + 1).unwrap();
        }
        let sum: String =
            md5(printed.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, "5672b131391f5aa2b280936aec1eea74");
    }
}
