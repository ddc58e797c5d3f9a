//! [`Datagram`]: a 40-byte header and a body that fits one packet (FORMAT.md, "Datagrams").

use crate::{ChannelId, ClusterId, Identity, Incarnation, NodeId};

const HEADER: usize = 40;
const MAGIC: u16 = 0x5144;
const VERSION: u8 = 1;

/// Bytes that are not a datagram for this node.
///
/// # Examples
/// ```
/// use quorate_transport::*;
/// let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
/// let error = Datagram::decode(b"short", &me, 1_192).unwrap_err();
/// assert_eq!(error, DatagramError::Length { found: 5, expected: 40 });
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// Effect: dropped. Cut off, or with something behind it; another copy may be whole.
    #[error("datagram has {found} bytes, expected {expected}")]
    Length {
        /// Bytes that arrived.
        found: usize,
        /// Bytes the header speaks of.
        expected: usize,
    },
    /// Effect: dropped. Not of this format: the same bytes fail again.
    #[error("malformed {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// Effect: dropped. Altered on the way; another copy may be whole.
    #[error("datagram crc is {found:08x}, expected {expected:08x}")]
    Crc {
        /// Computed.
        expected: u32,
        /// Read.
        found: u32,
    },
    /// Effect: dropped. It is of another cluster: the same bytes fail again.
    #[error("datagram of another cluster")]
    Cluster,
    /// Effect: dropped. It is for another node, or pretends to be from this one.
    #[error("datagram for another node")]
    Target,
    /// Effect: dropped. The same bytes fail again.
    #[error("body of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Length of the body.
        bytes: u32,
        /// The limit.
        max: u32,
    },
}

impl DatagramError {
    /// Never: nobody sends it again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        false
    }

    /// Whether bytes were altered or lost on the way.
    #[must_use]
    pub const fn is_corruption(self) -> bool {
        matches!(self, Self::Length { .. } | Self::Crc { .. })
    }
}

/// One packet as it was sent.
///
/// # Shape
/// 40 bytes of header and the body, of exactly the length the header says. Whoever sends it names
/// itself; nothing proves the name.
///
/// # Examples
/// ```
/// use quorate_transport::*;
///
/// let id = |n| Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
/// let wire = Datagram::encode(&id(1), NodeId::new(2), ChannelId::new(16), b"hi")?;
/// let found = Datagram::decode(&wire, &id(2), 1_192)?;
/// assert_eq!((found.source, found.body), (NodeId::new(1), &b"hi"[..]));
/// assert_eq!(Datagram::decode(&wire, &id(3), 1_192), Err(DatagramError::Target));
/// # Ok::<(), DatagramError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The component it is for.
    pub channel: ChannelId,
    /// Who says to have sent it.
    pub source: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The payload.
    pub body: &'a [u8],
}

fn fold_cluster(cluster: ClusterId) -> u64 {
    let [high, low] = [cluster.value() >> 64, cluster.value() & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or_default()
}

fn fold_node(node: NodeId) -> u32 {
    let [high, low] = [node.value() >> 32, node.value() & u64::from(u32::MAX)];
    u32::try_from(high ^ low).unwrap_or_default()
}

fn crc(wire: &[u8]) -> u32 {
    let mut hasher = crate::crc::hasher();
    hasher.update(&wire[..36]);
    hasher.update(&wire[HEADER..]);
    hasher.finalize()
}

impl<'a> Datagram<'a> {
    /// The packet of `from` for `to`.
    ///
    /// # Errors
    /// [`DatagramError::TooLarge`] if the length does not fit its field. // H4
    pub fn encode(
        from: &Identity,
        to: NodeId,
        channel: ChannelId,
        body: &[u8],
    ) -> Result<Vec<u8>, DatagramError> {
        let body_len = u16::try_from(body.len()).map_err(|_| DatagramError::TooLarge {
            bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            max: u32::from(u16::MAX),
        })?;
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[VERSION, 0]);
        out.extend_from_slice(&channel.value().to_le_bytes());
        out.extend_from_slice(&body_len.to_le_bytes());
        out.extend_from_slice(&fold_cluster(from.cluster).to_le_bytes());
        out.extend_from_slice(&from.node.value().to_le_bytes());
        out.extend_from_slice(&from.incarnation.value().to_le_bytes());
        out.extend_from_slice(&fold_node(to).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(body);
        let crc = crc(&out);
        out[36..HEADER].copy_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    /// Reads a packet that came to `me`. Nothing is allocated.
    ///
    /// # Errors
    /// [`DatagramError`]: it is to be dropped.
    pub fn decode(
        wire: &'a [u8],
        me: &Identity,
        body_bytes_max: u32,
    ) -> Result<Self, DatagramError> {
        let found = wire.len();
        if found < HEADER {
            return Err(DatagramError::Length { found, expected: HEADER });
        }
        let u16_at = |at: usize| u16::from_le_bytes([wire[at], wire[at + 1]]);
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| wire[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| wire[at + i]));
        if u16_at(0) != MAGIC {
            return Err(DatagramError::Malformed { what: "datagram magic" });
        }
        if wire[2] != VERSION || wire[3] != 0 {
            return Err(DatagramError::Malformed { what: "datagram version or flags" });
        }
        let body_len = u16_at(6);
        let expected = HEADER + usize::from(body_len);
        if found != expected {
            return Err(DatagramError::Length { found, expected });
        }
        if u32::from(body_len) > body_bytes_max {
            let bytes = u32::from(body_len);
            return Err(DatagramError::TooLarge { bytes, max: body_bytes_max });
        }
        let (expected, found) = (crc(wire), u32_at(36));
        if expected != found {
            return Err(DatagramError::Crc { expected, found });
        }
        if u64_at(8) != fold_cluster(me.cluster) {
            return Err(DatagramError::Cluster);
        }
        let source = NodeId::try_new(u64_at(16));
        let source = source.ok_or(DatagramError::Malformed { what: "datagram source" })?;
        if u32_at(32) != fold_node(me.node) || source == me.node {
            return Err(DatagramError::Target);
        }
        Ok(Self {
            channel: ChannelId::new(u16_at(4)),
            source,
            incarnation: Incarnation::new(u64_at(24)),
            body: &wire[HEADER..],
        })
    }
}
