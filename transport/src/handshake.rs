//! [`Hello`] and [`HelloAck`]: the first frame of each direction (FORMAT.md, "Handshake").

use crate::{
    ChannelId, ClusterId, Frame, FrameError, Identity, Incarnation, Kind, Lane, NodeId, Role,
};
use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The wire version of this crate, the only one so far.
pub(crate) const WIRE_VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"QRTEHELO";
/// Length of a Hello's body.
pub(crate) const HELLO: usize = 128;
/// Length of the body of a `HelloAck`.
pub(crate) const HELLO_ACK: usize = 96;

/// The acceptor's answer to a [`Hello`]. The numbers are those on the wire.
///
/// # Examples
/// ```
/// use quorate_transport::HelloStatus;
/// assert_eq!(HelloStatus::from_byte(3), Some(HelloStatus::WrongCluster));
/// assert_eq!(HelloStatus::WrongCluster.to_string(), "wrong cluster");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HelloStatus {
    /// Welcome.
    Accept = 0,
    /// Another connection of the lane is alive and preferred.
    Duplicate = 1,
    /// A newer life of this node is known: the dialer is a zombie.
    StaleIncarnation = 2,
    /// Not this cluster.
    WrongCluster = 3,
    /// Not the node that was dialed.
    WrongNode = 4,
    /// No common wire version.
    Version = 5,
    /// The certificate does not name the dialer.
    Identity = 6,
    /// Only known peers are welcome.
    UnknownPeer = 7,
    /// Too many connections or handshakes.
    Overloaded = 8,
    /// Shutting down.
    Shutdown = 9,
    /// The dialer has the acceptor's own id.
    SelfConnect = 10,
}

impl HelloStatus {
    const ALL: [Self; 11] = [
        Self::Accept,
        Self::Duplicate,
        Self::StaleIncarnation,
        Self::WrongCluster,
        Self::WrongNode,
        Self::Version,
        Self::Identity,
        Self::UnknownPeer,
        Self::Overloaded,
        Self::Shutdown,
        Self::SelfConnect,
    ];

    /// The status with this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

impl fmt::Display for HelloStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accepted",
            Self::Duplicate => "duplicate connection",
            Self::StaleIncarnation => "stale incarnation",
            Self::WrongCluster => "wrong cluster",
            Self::WrongNode => "wrong node",
            Self::Version => "no common version",
            Self::Identity => "identity not proven",
            Self::UnknownPeer => "unknown peer",
            Self::Overloaded => "overloaded",
            Self::Shutdown => "shutting down",
            Self::SelfConnect => "own node id",
        })
    }
}

/// What a dialer says first.
///
/// # Examples
/// ```
/// use quorate_transport::{ClusterId, Hello, Identity, Incarnation, Lane, NodeId};
///
/// let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(3));
/// let hello = Hello::new(me, Lane::Data, Some(NodeId::new(2)), 0xABCD);
/// assert_eq!(Hello::decode(&hello.to_frame())?, hello);
/// # Ok::<(), quorate_transport::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// Lowest wire version the dialer speaks.
    pub wire_min: u16,
    /// Highest.
    pub wire_max: u16,
    /// The lane this connection is to be.
    pub lane: Lane,
    /// Who dials.
    pub identity: Identity,
    /// Who is wanted; `None`: whoever listens there.
    pub target: Option<NodeId>,
    /// Feature bits: 0 streams, 1 idempotent calls, 2 datagrams over UDP.
    pub features: u64,
    /// Random name of this connection, never zero.
    pub nonce: u64,
    /// Name of the last connection of the lane the dialer saw end, or zero.
    pub dead_nonce: u64,
    /// Largest body the dialer takes on this lane.
    pub frame_bytes_max: u32,
    /// Credit given per stream; 0 unknown.
    pub stream_window_bytes: u32,
    /// How often the dialer pings; 0 unknown.
    pub ping_interval_ms: u32,
    /// Where the dialer listens, if it says so.
    pub advertised: Option<SocketAddr>,
}

impl Hello {
    /// A Hello of this crate's version with the optional fields empty.
    #[must_use]
    pub const fn new(identity: Identity, lane: Lane, target: Option<NodeId>, nonce: u64) -> Self {
        Self {
            wire_min: WIRE_VERSION,
            wire_max: WIRE_VERSION,
            lane,
            identity,
            target,
            features: 0,
            nonce,
            dead_nonce: 0,
            frame_bytes_max: 0,
            stream_window_bytes: 0,
            ping_interval_ms: 0,
            advertised: None,
        }
    }

    /// The frame to send first.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut out = Writer::new(HELLO);
        out.put(0, MAGIC);
        out.put(8, &self.wire_min.to_le_bytes());
        out.put(10, &self.wire_max.to_le_bytes());
        out.put(12, &[self.lane as u8, self.identity.role as u8]);
        out.put(16, &self.identity.cluster.value().to_le_bytes());
        out.put(32, &self.identity.node.value().to_le_bytes());
        out.put(40, &self.identity.incarnation.value().to_le_bytes());
        out.put(48, &self.target.map_or(0, NodeId::value).to_le_bytes());
        out.put(56, &self.features.to_le_bytes());
        out.put(64, &self.nonce.to_le_bytes());
        out.put(72, &self.dead_nonce.to_le_bytes());
        out.put(80, &self.frame_bytes_max.to_le_bytes());
        out.put(84, &self.stream_window_bytes.to_le_bytes());
        out.put(88, &self.ping_interval_ms.to_le_bytes());
        out.put(96, &encode_address(self.advertised));
        out.into_frame(Kind::Hello)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] if the frame is not a well-formed Hello. Zero fields are not
    /// looked at, and neither is the version: that is for [`check`](Self::check).
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let raw = Reader::open(frame, Kind::Hello, HELLO)?;
        if raw.bytes::<8>(0) != *MAGIC {
            return Err(FrameError::Malformed { what: "hello magic" });
        }
        let malformed = |what| FrameError::Malformed { what };
        let node = NodeId::try_new(raw.u64(32)).ok_or_else(|| malformed("hello node"))?;
        let role = Role::from_byte(raw.u8(13)).ok_or_else(|| malformed("hello role"))?;
        let cluster = ClusterId::new(u128::from_le_bytes(raw.bytes(16)));
        let nonce = raw.u64(64);
        if nonce == 0 {
            return Err(malformed("hello nonce"));
        }
        Ok(Self {
            wire_min: raw.u16(8),
            wire_max: raw.u16(10),
            lane: Lane::from_byte(raw.u8(12)).ok_or_else(|| malformed("hello lane"))?,
            identity: Identity::new(cluster, node, Incarnation::new(raw.u64(40))).with_role(role),
            target: NodeId::try_new(raw.u64(48)),
            features: raw.u64(56),
            nonce,
            dead_nonce: raw.u64(72),
            frame_bytes_max: raw.u32(80),
            stream_window_bytes: raw.u32(84),
            ping_interval_ms: raw.u32(88),
            advertised: decode_address(&raw.bytes::<20>(96)),
        })
    }

    /// The acceptor's checks that need nothing but its own identity, in the order of the format;
    /// the first failure is the status. // H33, H34
    #[must_use]
    pub fn check(&self, me: &Identity) -> HelloStatus {
        if self.wire_min > WIRE_VERSION || self.wire_max < WIRE_VERSION {
            return HelloStatus::Version;
        }
        if self.identity.cluster != me.cluster {
            return HelloStatus::WrongCluster;
        }
        if self.target.is_some_and(|target| target != me.node) {
            return HelloStatus::WrongNode;
        }
        if self.identity.node == me.node {
            return HelloStatus::SelfConnect;
        }
        HelloStatus::Accept
    }
}

/// What an acceptor answers.
///
/// # Examples
/// ```
/// use quorate_transport::{HelloAck, HelloStatus, Incarnation, NodeId};
///
/// let ack = HelloAck::new(HelloStatus::Accept, NodeId::new(2), Incarnation::new(1), 0xABCD);
/// assert_eq!(HelloAck::decode(&ack.to_frame())?, ack);
/// # Ok::<(), quorate_transport::FrameError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HelloAck {
    /// The verdict.
    pub status: HelloStatus,
    /// Highest common wire version; 0 if there is none.
    pub wire: u16,
    /// Largest body the acceptor takes on this lane.
    pub frame_bytes_max: u32,
    /// Who answers.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Feature bits of both.
    pub features: u64,
    /// The nonce of the Hello.
    pub nonce: u64,
    /// The connection that is alive, with `Duplicate`.
    pub other_nonce: u64,
    /// The incarnation that is known, with `StaleIncarnation`.
    pub known: Incarnation,
    /// Credit given per stream; 0 unknown.
    pub stream_window_bytes: u32,
    /// How often the acceptor pings; 0 unknown.
    pub ping_interval_ms: u32,
    /// Where the acceptor saw the dialer.
    pub observed: Option<SocketAddr>,
}

impl HelloAck {
    /// An answer with the optional fields empty.
    #[must_use]
    pub const fn new(
        status: HelloStatus,
        node: NodeId,
        incarnation: Incarnation,
        nonce: u64,
    ) -> Self {
        Self {
            status,
            wire: if matches!(status, HelloStatus::Version) { 0 } else { WIRE_VERSION },
            frame_bytes_max: 0,
            node,
            incarnation,
            features: 0,
            nonce,
            other_nonce: 0,
            known: Incarnation::new(0),
            stream_window_bytes: 0,
            ping_interval_ms: 0,
            observed: None,
        }
    }

    /// The frame to answer with.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut out = Writer::new(HELLO_ACK);
        out.put(0, &[self.status as u8]);
        out.put(2, &self.wire.to_le_bytes());
        out.put(4, &self.frame_bytes_max.to_le_bytes());
        out.put(8, &self.node.value().to_le_bytes());
        out.put(16, &self.incarnation.value().to_le_bytes());
        out.put(24, &self.features.to_le_bytes());
        out.put(32, &self.nonce.to_le_bytes());
        out.put(40, &self.other_nonce.to_le_bytes());
        out.put(48, &self.known.value().to_le_bytes());
        out.put(56, &self.stream_window_bytes.to_le_bytes());
        out.put(60, &self.ping_interval_ms.to_le_bytes());
        out.put(64, &encode_address(self.observed));
        out.into_frame(Kind::HelloAck)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] if the frame is not a well-formed `HelloAck`.
    pub fn decode(frame: &Frame) -> Result<Self, FrameError> {
        let raw = Reader::open(frame, Kind::HelloAck, HELLO_ACK)?;
        let malformed = |what| FrameError::Malformed { what };
        let status = HelloStatus::from_byte(raw.u8(0)).ok_or_else(|| malformed("hello status"))?;
        Ok(Self {
            status,
            wire: raw.u16(2),
            frame_bytes_max: raw.u32(4),
            node: NodeId::try_new(raw.u64(8)).ok_or_else(|| malformed("hello node"))?,
            incarnation: Incarnation::new(raw.u64(16)),
            features: raw.u64(24),
            nonce: raw.u64(32),
            other_nonce: raw.u64(40),
            known: Incarnation::new(raw.u64(48)),
            stream_window_bytes: raw.u32(56),
            ping_interval_ms: raw.u32(60),
            observed: decode_address(&raw.bytes::<20>(64)),
        })
    }

    /// The dialer's checks: is this the answer to my Hello, from whom I wanted?
    ///
    /// # Errors
    /// The status to report: the acceptor's own refusal, or what is wrong with the answer.
    pub fn check(&self, hello: &Hello) -> Result<(), HelloStatus> {
        if self.status != HelloStatus::Accept {
            return Err(self.status);
        }
        if self.wire != WIRE_VERSION {
            return Err(HelloStatus::Version);
        }
        if self.nonce != hello.nonce || hello.target.is_some_and(|target| target != self.node) {
            return Err(HelloStatus::WrongNode);
        }
        if self.node == hello.identity.node {
            return Err(HelloStatus::SelfConnect);
        }
        Ok(())
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(len: usize) -> Self {
        Self(vec![0; len])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn into_frame(self, kind: Kind) -> Frame {
        Frame::new(kind, ChannelId::ENDPOINT).with_body(self.0)
    }
}

struct Reader(Bytes);

impl Reader {
    /// A frame of this kind and length, or an error; so the getters never go out of range.
    fn open(frame: &Frame, kind: Kind, len: usize) -> Result<Self, FrameError> {
        if frame.kind != kind {
            return Err(FrameError::Malformed { what: "handshake kind" });
        }
        if frame.channel != ChannelId::ENDPOINT || frame.aux != 0 || frame.id != 0 {
            return Err(FrameError::Malformed { what: "handshake header" });
        }
        if frame.body.len() != len {
            return Err(FrameError::Malformed { what: "handshake length" });
        }
        Ok(Self(frame.body.clone().into_bytes()))
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.0[at + i])
    }

    fn u8(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

fn encode_address(address: Option<SocketAddr>) -> [u8; 20] {
    let mut out = [0; 20];
    let Some(address) = address else { return out };
    out[2..4].copy_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            out[0] = 4;
            out[4..8].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out[0] = 6;
            out[4..20].copy_from_slice(&ip.octets());
        }
    }
    out
}

fn decode_address(raw: &[u8; 20]) -> Option<SocketAddr> {
    let port = u16::from_le_bytes([raw[2], raw[3]]);
    let ip = match raw[0] {
        4 => IpAddr::from([raw[4], raw[5], raw[6], raw[7]]),
        6 => IpAddr::from(std::array::from_fn::<u8, 16, _>(|i| raw[4 + i])),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
