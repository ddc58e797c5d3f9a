//! Identities: who sends, which cluster, which life of a process, which component, which lane.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Text that is not a valid identity.
///
/// # Examples
/// ```
/// use quorate_transport::{NodeId, ParseIdError};
/// let error: ParseIdError = "0".parse::<NodeId>().unwrap_err();
/// assert_eq!(error.to_string(), "not a valid node id");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct ParseIdError {
    what: &'static str,
}

/// A node of a cluster; zero is never one.
///
/// # Examples
/// ```
/// use quorate_transport::NodeId;
///
/// const A: NodeId = NodeId::new(1);
/// assert_eq!(A.to_string(), "1");
/// assert_eq!("1".parse(), Ok(A));
/// assert_eq!(NodeId::try_new(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The node `value`.
    ///
    /// # Panics
    /// If `value` is zero; [`try_new`](Self::try_new) does not.
    #[must_use]
    #[expect(clippy::panic, reason = "a literal zero is a mistake to find at compile time")]
    pub const fn new(value: u64) -> Self {
        match NonZeroU64::new(value) {
            Some(value) => Self(value),
            None => panic!("a node id is never zero"),
        }
    }

    /// The node `value`, or `None` for zero.
    #[must_use]
    pub const fn try_new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number; never zero.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self).map_err(|_| ParseIdError { what: "node id" })
    }
}

/// A cluster. Nodes of different clusters never talk, even on a reused address.
///
/// # Shape
/// Text form: 32 lower-case hex digits.
///
/// # Examples
/// ```
/// use quorate_transport::ClusterId;
///
/// let cluster = ClusterId::new(0xABC);
/// assert_eq!(cluster.to_string(), "00000000000000000000000000000abc");
/// assert_eq!(cluster.to_string().parse(), Ok(cluster));
/// assert!("abc".parse::<ClusterId>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(u128);

impl ClusterId {
    /// The cluster `value`.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32
            && text.bytes().all(digit)
            && let Ok(value) = u128::from_str_radix(text, 16)
        {
            return Ok(Self(value));
        }
        Err(ParseIdError { what: "cluster id" })
    }
}

/// Newtypes over one unsigned integer with decimal text.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty), $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// From the number.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn value(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.parse().map(Self).map_err(|_| ParseIdError { what: $what })
            }
        }
    };
}

number! {
    /// One life of a process: rises at each start of the node. Frames of an older life are never
    /// delivered once a newer one was heard of.
    ///
    /// Take it from a durable counter, or from the wall time at start (weaker: needs a clock that
    /// moved on between two starts).
    ///
    /// # Examples
    /// ```
    /// use quorate_transport::Incarnation;
    /// assert!(Incarnation::new(2) > Incarnation::new(1));
    /// ```
    Incarnation(u64), "incarnation"
}

number! {
    /// One session of one lane: a local counter, never reused in a process.
    ///
    /// # Examples
    /// ```
    /// use quorate_transport::SessionId;
    /// assert_eq!(SessionId::new(7).value(), 7);
    /// ```
    SessionId(u64), "session id"
}

number! {
    /// One component of a process: every frame is of one channel.
    ///
    /// # Shape
    /// 0 is the endpoint's own, 1 to 15 are reserved to the family (constants), 16 and up are the
    /// user's.
    ///
    /// # Examples
    /// ```
    /// use quorate_transport::ChannelId;
    /// const MINE: ChannelId = ChannelId::new(16);
    /// assert_ne!(MINE, ChannelId::RAFT);
    /// ```
    ChannelId(u16), "channel id"
}

impl ChannelId {
    /// The endpoint's own (pings); nobody can open it.
    pub const ENDPOINT: Self = Self(0);
    /// `quorate-raft`.
    pub const RAFT: Self = Self(1);
    /// Membership and dissemination.
    pub const GOSSIP: Self = Self(2);
    /// Leases and locks.
    pub const LEASE: Self = Self(3);
    /// Transactions.
    pub const TXN: Self = Self(4);
    /// Distributed rate limits.
    pub const RATELIMIT: Self = Self(5);
    /// Single-decree registers.
    pub const PAXOS: Self = Self(6);
}

/// One of the three independent connections of a pair of nodes.
///
/// # Shape
/// Heartbeats and votes go on `Control`, log entries and calls on `Data`, snapshots on `Bulk`: what
/// is large cannot stand in front of what is urgent. No order holds across lanes.
///
/// # Examples
/// ```
/// use quorate_transport::Lane;
/// assert_eq!(Lane::ALL.map(Lane::index), [0, 1, 2]);
/// assert_eq!("bulk".parse(), Ok(Lane::Bulk));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "three lanes are part of wire version 1")]
pub enum Lane {
    /// Heartbeats, votes, small urgent messages.
    Control = 0,
    /// Log entries and calls.
    Data = 1,
    /// Snapshots.
    Bulk = 2,
}

impl Lane {
    /// All of them, by index.
    pub const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Bulk];

    /// 0, 1 or 2.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The lane with this number on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Control),
            1 => Some(Self::Data),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Data => "data",
            Self::Bulk => "bulk",
        })
    }
}

impl FromStr for Lane {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "control" => Ok(Self::Control),
            "data" => Ok(Self::Data),
            "bulk" => Ok(Self::Bulk),
            _ => Err(ParseIdError { what: "lane" }),
        }
    }
}

/// What a node is to the cluster.
///
/// # Examples
/// ```
/// use quorate_transport::Role;
/// assert_eq!(Role::from_byte(1), Some(Role::Client));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the two roles are part of wire version 1")]
pub enum Role {
    /// Listens and dials.
    Member = 0,
    /// Only dials.
    Client = 1,
}

impl Role {
    /// The role with this number on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Member),
            1 => Some(Self::Client),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Client => "client",
        })
    }
}

impl FromStr for Role {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "member" => Ok(Self::Member),
            "client" => Ok(Self::Client),
            _ => Err(ParseIdError { what: "role" }),
        }
    }
}

/// Who this process is, fixed for its life.
///
/// # Examples
/// ```
/// use quorate_transport::{ClusterId, Identity, Incarnation, NodeId, Role};
///
/// let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(3));
/// assert_eq!(me.role, Role::Member);
/// assert_eq!(me.with_role(Role::Client).role, Role::Client);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The cluster it is of.
    pub cluster: ClusterId,
    /// Its name in it.
    pub node: NodeId,
    /// This life of the process.
    pub incarnation: Incarnation,
    /// Member or client.
    pub role: Role,
}

impl Identity {
    /// A member.
    #[must_use]
    pub const fn new(cluster: ClusterId, node: NodeId, incarnation: Incarnation) -> Self {
        Self { cluster, node, incarnation, role: Role::Member }
    }

    /// The same with another role.
    #[must_use]
    pub const fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }
}

/// Who is at the other end, as the handshake said.
///
/// # Examples
/// ```
/// use quorate_transport::{Incarnation, NodeId, Peer, Role};
///
/// let peer = Peer::new(NodeId::new(2), Incarnation::new(1), Role::Member);
/// assert!(!peer.authenticated); // only a certificate makes it true
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Peer {
    /// Its name.
    pub node: NodeId,
    /// The life of it that speaks.
    pub incarnation: Incarnation,
    /// Member or client.
    pub role: Role,
    /// Whether a certificate proved the name. Never without TLS.
    pub authenticated: bool,
}

impl Peer {
    /// A peer that proved nothing.
    #[must_use]
    pub const fn new(node: NodeId, incarnation: Incarnation, role: Role) -> Self {
        Self { node, incarnation, role, authenticated: false }
    }
}
